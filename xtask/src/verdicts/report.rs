//! The page that a simulation leaves.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use eval::contrast::Outcome;
use task::record::Decision;

use super::{Budgeted, Null, Outcomes};

/// What a reader must know to read the figures right.
const NOTE: &str = "
## What this shows, and what not
- It tests the rules (choice on dev, looks, intervals, curves), not the models: a world's curves are smooth power laws, its luck is normal,
  and an item's difficulty is one number. Real curves are rougher; how the estimator of labels does on published ones is in
  `crates/eval/tests/bertsch.rs`.
- Runs of one world share its law and its exhaustive answer: they are not as many independent cases.
- Where the arms truly differ by less than the margin, no budget of this size can call them equivalent: such worlds end undecided, or
  with the side that the finalists' own luck made better. The exhaustive run has other finalists, so that the two may rightly disagree there.
- \"Exhaustive\" is every size, three learning rates, five seeds, ten draws and 4,000 test items; \"budgeted\" one rate, two seeds, two draws
  and at most 800 items. Tokens are forward tokens, a training token counting three.
";

/// The page.
pub(super) fn report(worlds: &[Outcomes], null: &Null, [count, repeats]: [usize; 2]) -> String {
    let margin = Decision::default().margin;
    let pairs: Vec<(&Outcomes, &Budgeted)> =
        worlds.iter().flat_map(|world| world.budgeted.iter().map(move |run| (world, run))).collect();
    let decided = |outcome: Outcome| outcome != Outcome::Undecided;
    let of = |count: usize, all: usize| {
        format!("{count} of {all} ({:.1}%)", 100.0 * count as f64 / all.max(1) as f64)
    };
    let both: Vec<_> = pairs.iter().filter(|(w, b)| decided(b.outcome) && decided(w.exhaustive)).collect();
    let agree = both.iter().filter(|(w, b)| b.outcome == w.exhaustive).count();
    let answered: Vec<_> = pairs.iter().filter(|(_, b)| decided(b.outcome)).collect();
    let side = answered
        .iter()
        .filter(|(_, b)| match b.outcome {
            Outcome::FineTuneBetter => b.own < 0.0,
            Outcome::InContextBetter => b.own > 0.0,
            _ => false,
        })
        .count();
    let better = |b: &Budgeted| matches!(b.outcome, Outcome::FineTuneBetter | Outcome::InContextBetter);
    let small = answered.iter().filter(|(_, b)| better(b) && b.own.abs() < margin).count();
    let same = |b: &Budgeted| b.outcome == Outcome::Equivalent;
    let none = answered.iter().filter(|(_, b)| same(b) && b.own.abs() > margin).count();
    let clear: Vec<_> = both.iter().filter(|(w, _)| w.truth.abs() > 2.0 * margin - 1e-9).collect();
    let clearly = clear.iter().filter(|(w, b)| b.outcome == w.exhaustive).count();
    let open = pairs.iter().filter(|(_, b)| !decided(b.outcome)).count();
    let exhaustive_open = worlds.iter().filter(|world| !decided(world.exhaustive)).count();
    let bold = pairs.iter().filter(|(w, b)| decided(b.outcome) && !decided(w.exhaustive)).count();
    let tokens = pairs.iter().map(|(w, b)| b.tokens / w.tokens).sum::<f64>() / pairs.len().max(1) as f64;
    let most = pairs.iter().map(|(w, b)| b.tokens / w.tokens).fold(0.0, f64::max);
    let items = pairs.iter().map(|(_, b)| b.items).sum::<usize>() as f64 / pairs.len().max(1) as f64;
    let crossings: Vec<bool> = pairs.iter().filter_map(|(_, b)| b.crossing).collect();
    let covered = crossings.iter().filter(|held| **held).count();
    let refused = pairs.iter().filter(|(_, b)| b.refused).count();
    let mut text = format!(
        "# Quality of the verdict on simulated worlds\n\n\
         `cargo xtask verdicts --worlds {count} --repeats {repeats} --null {}`: {count} worlds with known laws, each run exhaustively once \
         and {repeats} times within a budget. Everything is simulated: the answers of models follow the worlds' laws, while the choice \
         on dev, the looks at the test set and the verdict are those of a real run.\n\n\
         | | |\n|---|---|\n",
        null.trials
    );
    let rows = [
        ("budgeted and exhaustive both decide, and agree", of(agree, both.len())),
        ("the same, where the arms truly differ by twice the margin or more", of(clearly, clear.len())),
        ("the budgeted verdict is undecided", of(open, pairs.len())),
        ("the exhaustive verdict is undecided", of(exhaustive_open, worlds.len())),
        ("decided within the budget where the exhaustive run could not", of(bold, pairs.len())),
        ("called the finalist better that is truly worse", of(side, answered.len())),
        (
            "called a finalist better that truly is, but by less than the margin, or is worse",
            of(small, answered.len()),
        ),
        (
            "called equivalent where the finalists truly differ by more than the margin",
            of(none, answered.len()),
        ),
        (
            "tokens of a budgeted run over those of the exhaustive one, mean",
            format!("{:.1}%", 100.0 * tokens),
        ),
        ("the same, largest", format!("{:.1}%", 100.0 * most)),
        ("test items asked within the budget, mean (of 800; exhaustive 4,000)", format!("{items:.0}")),
        ("labels until fine-tuning draws level: refused", of(refused, pairs.len())),
        ("its 95% interval holds the true number, where one is given", of(covered, crossings.len())),
        (
            "no difference: one side called better under early stopping (at most 5% wanted)",
            of(null.looking, null.trials),
        ),
        (
            "the same, or at the end by the interval of all items (the margin of 2 points and the luck of runs left aside)",
            of(null.whole, null.trials),
        ),
        ("no difference: McNemar's mid-p below 0.05 at one of the same looks", of(null.naive, null.trials)),
    ];
    for (what, figure) in rows {
        let _ = writeln!(text, "| {what} | {figure} |");
    }
    text += &by_difference(worlds);
    text + NOTE
}

/// What was said at each size of the true difference.
fn by_difference(worlds: &[Outcomes]) -> String {
    let mut sizes: BTreeMap<i64, [usize; 4]> = BTreeMap::new();
    for world in worlds {
        let row = sizes.entry((1000.0 * world.truth).round() as i64).or_default();
        for run in &world.budgeted {
            row[match run.outcome {
                Outcome::FineTuneBetter => 0,
                Outcome::InContextBetter => 1,
                Outcome::Equivalent => 2,
                Outcome::Undecided => 3,
            }] += 1;
        }
    }
    let mut text = "\nBudgeted runs by the true difference (fine-tuned less in-context, in points; margin 2.0):\n\n\
                    | true | fine-tuned better | in-context better | equivalent | undecided |\n|---:|---:|---:|---:|---:|\n"
        .to_owned();
    for (tenths, [tuned, prompt, same, open]) in sizes.into_iter().rev() {
        let _ = writeln!(text, "| {:+.1} | {tuned} | {prompt} | {same} | {open} |", tenths as f64 / 10.0);
    }
    text
}
