//! Whether a finalist's answers stay when nothing that matters changes: prompt formats, orders, wordings, typos, seeds, reruns.

use serde::{Deserialize, Serialize};
use task::record::{Experiment, Family, Part};

use crate::agreement::{Agreement, agreement};
use crate::interval::{Estimate, clopper_pearson};
use crate::mean::mean;
use crate::probes::{Look, answer, difference, way};
use crate::spread::Spread;
use crate::wording::{count, percent, points, range};

/// Stability of one finalist. What was not measured is absent.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Stability {
    /// Other prompt formats.
    pub formats: Option<Spread>,
    /// Other orders of the demonstrations.
    pub orders: Option<Spread>,
    /// The labels' names exchanged among the labels, in the demonstrations too.
    pub label_names: Option<Spread>,
    /// Inputs in other words.
    pub paraphrases: Option<Change>,
    /// Inputs with typos, one entry a rate.
    pub typos: Vec<Change>,
    /// The same requests again, in batches of other sizes.
    pub repeats: Option<Repeats>,
    /// The same configuration under other seeds, on dev.
    pub seeds: Option<Seeds>,
    /// Share of the arm's runs that collapsed, with its exact interval: an upper bound where none did.
    pub collapsed: Option<Rate>,
}

/// A share of things, counted.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Rate {
    /// How many.
    pub count: u64,
    /// Of how many.
    pub items: u64,
    /// The share with its exact interval (Clopper and Pearson).
    pub share: Estimate,
}

impl Rate {
    /// `count` of `items` at `confidence`.
    pub fn new(count: usize, items: usize, confidence: f64) -> Self {
        let (count, items) = (count as u64, items as u64);
        Self { count, items, share: clopper_pearson(count, items, confidence) }
    }

    /// `0 of 30 (at most 11.6%)`, `2 of 40`.
    pub(crate) fn shown(&self) -> String {
        let bound =
            if self.count == 0 { format!(" (at most {})", percent(self.share.high)) } else { String::new() };
        format!("{} of {}{bound}", self.count, self.items)
    }
}

/// What other inputs do to the score.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Change {
    /// Which inputs.
    pub name: String,
    /// Rewrites of each input.
    pub variants: usize,
    /// Items.
    pub items: usize,
    /// Score on the rewritten inputs, their mean where there are several, less that on the usual ones.
    pub difference: Estimate,
    /// Share of answers that stayed.
    pub unchanged: f64,
}

/// What asking again does.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Repeats {
    /// Ways of batching, the usual one not counted.
    pub runs: usize,
    /// Items asked each time.
    pub items: usize,
    /// Answers that differ from the usual ones, of all that were asked again.
    pub changed: Rate,
    /// Largest difference of a label's log-probability, where there are any.
    pub largest_difference: Option<f64>,
}

/// What other seeds do.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Seeds {
    /// Item by item.
    pub agreement: Agreement,
    /// The runs compared.
    pub experiments: Vec<String>,
}

impl Stability {
    pub(crate) fn new(look: &Look<'_>) -> Self {
        Self {
            formats: spread(look, "format"),
            orders: spread(look, "order"),
            label_names: spread(look, "label_names"),
            paraphrases: paraphrases(look),
            typos: typos(look),
            repeats: repeats(look),
            seeds: seeds(look),
            collapsed: collapsed(look),
        }
    }

    /// What stands in the table, most telling first.
    pub(crate) fn shown(&self) -> Vec<String> {
        let mut parts = Vec::new();
        let over = |spread: &Spread, what: &str| {
            format!(
                "{what} {} to {} (SD {}, {})",
                percent(spread.lowest),
                percent(spread.highest),
                points(spread.standard_deviation),
                spread.variants
            )
        };
        parts.extend(self.formats.as_ref().map(|spread| over(spread, "formats")));
        parts.extend(self.orders.as_ref().map(|spread| over(spread, "orders")));
        parts.extend(self.label_names.as_ref().map(|spread| over(spread, "label names exchanged")));
        parts.extend(self.paraphrases.as_ref().map(|change| format!("paraphrase {}", change.shown())));
        parts.extend(self.typos.iter().map(|change| format!("{} {}", change.name, change.shown())));
        parts.extend(
            self.repeats.as_ref().map(|repeats| format!("asked again: {} changed", repeats.changed.shown())),
        );
        parts.extend(self.seeds.as_ref().map(|seeds| {
            let agreement = &seeds.agreement;
            format!(
                "{} agree on {} of items, churn {} of {}",
                count(agreement.runs as u64, "seed"),
                percent(agreement.consistency),
                agreement.changed,
                agreement.items
            )
        }));
        parts
    }
}

impl Change {
    /// `-3.1 points (-7.0 to 0.8 points)`.
    pub(crate) fn shown(&self) -> String {
        let Estimate { value, low, high, .. } = self.difference;
        format!("{} ({})", points(value), range(low, high))
    }
}

fn spread(look: &Look<'_>, name: &str) -> Option<Spread> {
    let (original, variants) = look.variants(name)?;
    let ways: Vec<_> = variants.iter().map(|variant| way(&variant.name, &variant.predictions)).collect();
    Spread::new(&way("as usual", original), &ways).ok()
}

/// All rewrites together: each item's score is its mean over them.
fn paraphrases(look: &Look<'_>) -> Option<Change> {
    let (original, variants) = look.variants("paraphrase")?;
    change(look, "paraphrase", original, &variants.iter().collect::<Vec<_>>())
}

fn typos(look: &Look<'_>) -> Vec<Change> {
    let Some((original, variants)) = look.variants("typos") else { return Vec::new() };
    variants.iter().filter_map(|variant| change(look, &variant.name, original, &[variant])).collect()
}

fn change(
    look: &Look<'_>,
    name: &str,
    original: &[task::record::Prediction],
    variants: &[&task::probe::Variant],
) -> Option<Change> {
    let usual = way("as usual", original);
    let ways: Vec<_> = variants.iter().map(|variant| way(&variant.name, &variant.predictions)).collect();
    if ways.is_empty() || ways.iter().any(|way| way.scores.len() != usual.scores.len()) {
        return None;
    }
    let items = usual.scores.len();
    let means: Vec<f64> = (0..items)
        .map(|item| ways.iter().map(|way| way.scores[item]).sum::<f64>() / ways.len() as f64)
        .collect();
    let stayed: Vec<f64> = ways
        .iter()
        .map(|way| agreement(&[usual.answers.clone(), way.answers.clone()]).map(|found| found.consistency))
        .collect::<Result<_, _>>()
        .ok()?;
    Some(Change {
        name: name.to_owned(),
        variants: ways.len(),
        items,
        difference: difference(&usual.scores, &means, look.confidence(), look.seed(name)),
        unchanged: mean(&stayed),
    })
}

fn repeats(look: &Look<'_>) -> Option<Repeats> {
    let (original, variants) = look.variants("repeats")?;
    let usual: Vec<_> = original.iter().map(answer).collect();
    let changed = |variant: &task::probe::Variant| {
        variant.predictions.iter().map(answer).zip(&usual).filter(|(now, before)| now != *before).count()
    };
    let (changed, asked) = (
        variants.iter().map(changed).sum::<usize>(),
        variants.iter().map(|variant| variant.predictions.len()).sum::<usize>(),
    );
    Some(Repeats {
        runs: variants.len(),
        items: usual.len(),
        changed: Rate::new(changed, asked, look.confidence()),
        largest_difference: variants
            .iter()
            .filter_map(|variant| variant.largest_difference)
            .max_by(f64::total_cmp),
    })
}

/// The finalist's configuration under every seed that answered dev.
fn seeds(look: &Look<'_>) -> Option<Seeds> {
    let finalist = look.finalist()?;
    let setting = |experiment: &Experiment, name: &str| experiment.configuration.get(name).cloned();
    let alike = |experiment: &&Experiment| {
        experiment.part == Part::Dev
            && experiment.family == finalist.family
            && experiment.method == finalist.method
            && experiment.shots == finalist.shots
            && (look.family == Family::InContext || experiment.labels_used == finalist.labels_used)
            && ["calibration", "learning_rate"]
                .iter()
                .all(|name| setting(experiment, name) == setting(finalist, name))
            && !experiment.predictions.is_empty()
    };
    let runs: Vec<&Experiment> = look.record.experiments.iter().filter(alike).collect();
    let answers: Vec<Vec<_>> = runs
        .iter()
        .map(|run| {
            let mut sorted: Vec<_> = run.predictions.iter().collect();
            sorted.sort_by(|one, other| one.example.cmp(&other.example));
            sorted.into_iter().map(answer).collect()
        })
        .collect();
    let agreement = agreement(&answers).ok()?;
    let mut experiments: Vec<String> = runs.iter().map(|run| run.id.clone()).collect();
    experiments.sort();
    Some(Seeds { agreement, experiments })
}

/// Collapsed runs among those of the arm on dev; prompts of one seed and several calibrations are one run each.
fn collapsed(look: &Look<'_>) -> Option<Rate> {
    if look.family != Family::FineTune {
        return None;
    }
    let runs = look
        .record
        .experiments
        .iter()
        .filter(|experiment| experiment.family == look.family && experiment.part == Part::Dev);
    let (mut all, mut collapsed) = (0, 0);
    for run in runs {
        all += 1;
        collapsed += usize::from(run.collapse.is_some());
    }
    (all > 0).then(|| Rate::new(collapsed, all, look.confidence()))
}
