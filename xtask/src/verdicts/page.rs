//! The page that real runs leave.

use std::fmt::Write as _;

use eval::contrast::Outcome as Contrast;
use eval::verdict::Choice;
use task::record::Decision;

use super::measured::Kind;
use super::trial::{Effort, Trial};
use super::trials::{Outcome, Runs};

/// The page.
pub(super) fn page(outcomes: &[Outcome], runs: &Runs<'_>, (kind, model): (Kind, &str)) -> String {
    let what = match kind {
        Kind::Embedded => "tasks of the embedded model's generator",
        Kind::Data => "data sets of real texts",
    };
    let mut text = format!(
        "# Quality of the verdict on {what}, {}\n\n\
         `cargo xtask verdicts {}`, model {model}: the product itself is run on {} worlds, in each once exhaustively and {} times \
         with about a tenth of that (other seeds, other dev and test rows). The truth of a world is what its exhaustive run says.\n\n",
        task::date::today(),
        kind.word(),
        outcomes.len(),
        runs.repeats
    );
    text += &summary(outcomes);
    text += &crossed(outcomes);
    text += &table(outcomes);
    text + &notes(runs, kind)
}

/// An exhaustive run and a budgeted one of the same world.
type Pair<'a> = (&'a Trial, &'a Trial);

fn pairs(outcomes: &[Outcome]) -> Vec<Pair<'_>> {
    outcomes
        .iter()
        .filter_map(|outcome| outcome.exhaustive.as_ref().map(|truth| (truth, &outcome.budgeted)))
        .flat_map(|(truth, budgeted)| budgeted.iter().map(move |trial| (truth, trial)))
        .collect()
}

fn decides(trial: &Trial) -> bool {
    trial.choice != Choice::Undecided
}

/// Whether one run calls one arm better, and the other run the other arm.
fn opposite((truth, trial): &Pair<'_>) -> bool {
    matches!(
        (truth.outcome, trial.outcome),
        (Contrast::FineTuneBetter, Contrast::InContextBetter)
            | (Contrast::InContextBetter, Contrast::FineTuneBetter)
    )
}

/// Whether the arm that a budgeted run names is, in the exhaustive run, worse than the best one by more than the margin.
fn regrets((truth, trial): &Pair<'_>) -> bool {
    let [in_context, fine_tune, floor] = truth.scores;
    let named = match trial.choice {
        Choice::InContext => in_context,
        Choice::FineTune => fine_tune,
        Choice::Floor => floor,
        Choice::Equivalent | Choice::Undecided => None,
    };
    let best = truth.scores.iter().flatten().copied().fold(0.0, f64::max);
    named.is_some_and(|named| best - named > Decision::default().margin)
}

fn of(count: usize, all: usize) -> String {
    match all {
        0 => "none".to_owned(),
        _ => format!("{count} of {all} ({:.1}%)", 100.0 * count as f64 / all as f64),
    }
}

fn summary(outcomes: &[Outcome]) -> String {
    let pairs = pairs(outcomes);
    let truths: Vec<&Trial> = outcomes.iter().filter_map(|outcome| outcome.exhaustive.as_ref()).collect();
    let count = |rule: &dyn Fn(&Pair<'_>) -> bool| pairs.iter().filter(|pair| rule(pair)).count();
    let both = count(&|(truth, trial)| decides(truth) && decides(trial));
    let agree = count(&|(truth, trial)| decides(truth) && truth.choice == trial.choice);
    let told = |trial: &Trial| trial.outcome != Contrast::Undecided;
    let told_both = count(&|(truth, trial)| told(truth) && told(trial));
    let told_alike = count(&|(truth, trial)| told(truth) && truth.outcome == trial.outcome);
    let decided = count(&|(_, trial)| decides(trial));
    let bold = count(&|(truth, trial)| !decides(truth) && decides(trial));
    let shares: Vec<f64> = pairs.iter().map(|(truth, trial)| trial.tokens / truth.tokens).collect();
    let mean = |values: &[f64]| values.iter().sum::<f64>() / values.len().max(1) as f64;
    let items: Vec<f64> = pairs.iter().map(|(_, trial)| trial.items[0] as f64).collect();
    let left = count(&|(_, trial)| trial.items[0] < trial.items[1]);
    let seconds: f64 = truths.iter().copied().chain(pairs.iter().map(|pair| pair.1)).map(|t| t.seconds).sum();
    let rows = [
        ("budgeted and exhaustive both decide, and agree", of(agree, both)),
        ("the same for the contrast of the two arms alone, floors left aside", of(told_alike, told_both)),
        (
            "one arm called better where the exhaustive run calls the other one better",
            of(count(&opposite), decided),
        ),
        (
            "named an arm that is worse in the exhaustive run, by more than the margin, than the best of the three",
            of(count(&regrets), decided),
        ),
        ("the budgeted verdict is undecided", of(pairs.len() - decided, pairs.len())),
        (
            "the exhaustive verdict is undecided",
            of(truths.iter().filter(|truth| !decides(truth)).count(), truths.len()),
        ),
        ("decided within the budget where the exhaustive run could not", of(bold, pairs.len())),
        (
            "tokens of a budgeted run over those of the exhaustive one, mean",
            format!("{:.1}%", 100.0 * mean(&shares)),
        ),
        ("the same, largest", format!("{:.1}%", 100.0 * shares.iter().copied().fold(0.0, f64::max))),
        ("test items asked within the budget, mean", format!("{:.0}", mean(&items))),
        ("the test set was left before its end", of(left, pairs.len())),
        (
            "worlds in which a run failed, so that others are missing",
            of(outcomes.iter().filter(|outcome| outcome.failed.is_some()).count(), outcomes.len()),
        ),
        ("time of all runs together", format!("{:.0} minutes", seconds / 60.0)),
    ];
    let mut text = "| | |\n|---|---|\n".to_owned();
    for (what, figure) in rows {
        let _ = writeln!(text, "| {what} | {figure} |");
    }
    text
}

const CHOICES: [(Choice, &str); 5] = [
    (Choice::FineTune, "fine-tune"),
    (Choice::InContext, "in-context"),
    (Choice::Floor, "floor"),
    (Choice::Equivalent, "equivalent"),
    (Choice::Undecided, "undecided"),
];

fn name(choice: Choice) -> &'static str {
    CHOICES.iter().find(|(known, _)| *known == choice).map_or("", |(_, name)| *name)
}

/// Budgeted verdicts against exhaustive ones.
fn crossed(outcomes: &[Outcome]) -> String {
    let pairs = pairs(outcomes);
    let names: Vec<&str> = CHOICES.iter().map(|(_, name)| *name).collect();
    let mut text = format!(
        "\nBudgeted verdicts by the exhaustive one:\n\n| exhaustive | worlds | {} |\n|---|---:{}|\n",
        names.join(" | "),
        "|---:".repeat(names.len())
    );
    for (truth, called) in CHOICES {
        let worlds =
            outcomes.iter().filter(|o| o.exhaustive.as_ref().is_some_and(|t| t.choice == truth)).count();
        let cells: Vec<String> = CHOICES
            .iter()
            .map(|(choice, _)| pairs.iter().filter(|(t, b)| t.choice == truth && b.choice == *choice).count())
            .map(|count| count.to_string())
            .collect();
        let _ = writeln!(text, "| {called} | {worlds} | {} |", cells.join(" | "));
    }
    text
}

/// The verdicts of a world's budgeted runs, and why there are no more.
fn with_failure(outcome: &Outcome, verdicts: String) -> String {
    match &outcome.failed {
        Some(reason) => [verdicts, format!("failed: {reason}")].join(" "),
        None => verdicts,
    }
}

/// A line for each world.
fn table(outcomes: &[Outcome]) -> String {
    let mut text = "\n| | world | accuracy: in-context, fine-tuned, floor | fine-tuned less in-context | exhaustive | budgeted \
                    | items asked | tokens |\n|---:|---|---|---|---|---|---|---|\n"
        .to_owned();
    for outcome in outcomes {
        let Some(truth) = &outcome.exhaustive else {
            let reason = outcome.failed.as_deref().unwrap_or("not run");
            let _ = writeln!(text, "| {} | {} | {reason} | | | | | |", outcome.number, outcome.describe());
            continue;
        };
        let scores: Vec<String> = truth
            .scores
            .iter()
            .map(|score| score.map_or_else(|| "-".to_owned(), |s| format!("{s:.3}")))
            .collect();
        let [value, low, high] = truth.difference.map(|part| 100.0 * part);
        let list = |cell: &dyn Fn(&Trial) -> String| {
            outcome.budgeted.iter().map(cell).collect::<Vec<_>>().join(", ")
        };
        let _ = writeln!(
            text,
            "| {} | {} | {} | {value:+.1} [{low:+.1}, {high:+.1}] | {} | {} | {}; {} | {} |",
            outcome.number,
            outcome.describe(),
            scores.join(", "),
            name(truth.choice),
            with_failure(outcome, list(&|trial| name(trial.choice).to_owned())),
            truth.items[0],
            list(&|trial| format!("{}", trial.items[0])),
            list(&|trial| format!("{:.1}%", 100.0 * trial.tokens / truth.tokens)),
        );
    }
    text
}

fn effort(effort: &Effort) -> String {
    let Effort { shots, draws, parts, seeds, rates, dev, test, early_stopping } = effort;
    let parts: Vec<String> =
        parts.iter().map(|part| if *part == 1 { "all".to_owned() } else { format!("1/{part}") }).collect();
    format!(
        "demonstrations {shots:?}, {draws} draws of each; {} of the training rows, {seeds} seeds of each, {rates} learning rate{}; {dev} dev \
         rows and {test} test rows, {}",
        parts.join(", "),
        if *rates == 1 { "" } else { "s" },
        if *early_stopping { "left early where the finalists are told apart" } else { "all of them asked" }
    )
}

/// What a reader must know to read the figures right.
fn notes(runs: &Runs<'_>, kind: Kind) -> String {
    let own = match kind {
        Kind::Embedded => {
            "- Tasks are of words, concepts and label words that the model's training never saw (random words for the families of \
             symbols); wrong labels are in all parts alike, so that no arm can be right more often than labels are.\n"
        }
        Kind::Data => {
            "- A world is some labels of one set: all rows of them, of its training and its test file together, drawn anew. Of \
             restaurant8k it is the rows with one slot, whose name is the label.\n"
        }
    };
    format!(
        "\n## How to read this\n\
         - Exhaustive: {}. Budgeted: {}. Where a world has fewer rows, dev and test are smaller in proportion. Demonstrations are random \
         balanced draws, trainings are LoRA; searches, hybrids and probes are off in both.\n\
         - Tokens are the operations that the engine counted, over two for each parameter: all of a run, the measuring of speeds and \
         waiting times too. No run has a limit of time, so that a busy machine changes no result.\n\
         - Training rows are the same in all runs of a world, in another order (which draws, subsets and batches follow); dev and test rows of \
         budgeted runs are none of the exhaustive run's, and overlap among themselves. Runs of one world are not independent cases.\n\
         - The exhaustive run is no oracle: it chooses other finalists, and where the arms differ by about the margin both may be right.\n\
         {own}",
        effort(&runs.efforts[0]),
        effort(&runs.efforts[1])
    )
}
