//! The main metric (accuracy, for labels) against demonstrations and against labels.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use task::record::{Experiment, Family, Part, RECIPE_SEARCH};

use crate::crossed::crossed_mean;
use crate::evidence::{Answered, Evidence};
use crate::interval::Estimate;

/// How the main metric rises with what a method is given.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Curve {
    /// Side of the comparison.
    pub family: Family,
    /// As in the record: `random`, `bm25`, `lora`, ...
    pub method: String,
    /// What the points count.
    pub axis: Axis,
    /// The part that was answered: test, unless only dev has more than one point.
    pub part: Part,
    /// The points, from few to many.
    pub points: Vec<CurvePoint>,
}

/// What a curve runs over.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Axis {
    /// Demonstrations in the prompt.
    Shots,
    /// Labelled training examples.
    Labels,
}

/// One size of a method, over its seeds.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct CurvePoint {
    /// Demonstrations or labels.
    pub at: usize,
    /// Mean over the seeds of the task's main metric: of labels, of accuracy.
    pub score: f64,
    /// The worst seed's.
    pub lowest: f64,
    /// The best seed's.
    pub highest: f64,
    /// Standard deviation over seeds (n - 1 in the denominator); `None` for a single seed.
    pub standard_deviation: Option<f64>,
    /// The mean over items and seeds with its interval, which speaks about new items and new seeds at once ([`crossed_mean`]);
    /// `None` for a single seed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub band: Option<Estimate>,
    /// Seeds in the mean. Runs that broke down before they could answer are not in it, but are counted in `collapsed`.
    pub seeds: usize,
    /// Runs of this size on any part, losing candidates included.
    pub runs: usize,
    /// How many of those collapsed.
    pub collapsed: usize,
    /// The experiments in the mean.
    pub experiments: Vec<String>,
}

/// What a point is of: family, method and size.
type Slot<'a> = (Family, &'a str, usize);

/// The curves of all methods, by family and method. `zero_shot` is the point 0 of the other in-context methods, and a curve of its own
/// only where there are none.
///
/// Where one seed of a size was answered under several settings (calibrations, learning rates), the setting that went on to test
/// stands; among several (or none) of those, the one with the highest score on dev, never on test.
pub(crate) fn curves(evidence: &Evidence<'_>) -> Vec<Curve> {
    let mut methods: BTreeMap<(Family, &str), BTreeMap<usize, Vec<&Answered<'_>>>> = BTreeMap::new();
    for answered in evidence.answered.iter().filter(|a| a.experiment.method != RECIPE_SEARCH) {
        let (family, method, at) = slot(answered.experiment);
        methods.entry((family, method)).or_default().entry(at).or_default().push(answered);
    }
    let zero = methods.get(&(Family::InContext, ZERO_SHOT)).and_then(|sizes| sizes.get(&0)).cloned();
    if methods.keys().filter(|(family, _)| *family == Family::InContext).count() > 1 {
        methods.remove(&(Family::InContext, ZERO_SHOT));
    }
    let mut curves = Vec::new();
    for ((family, method), mut sizes) in methods {
        if let (Family::InContext, Some(zero)) = (family, &zero) {
            sizes.entry(0).or_insert_with(|| zero.clone());
        }
        let [test, dev] = [Part::Test, Part::Dev].map(|part| points(evidence, &sizes, part));
        let use_test = test.len() > 1 || test.len() >= dev.len();
        let (part, points) = if use_test { (Part::Test, test) } else { (Part::Dev, dev) };
        if !points.is_empty() {
            let axis = if family == Family::InContext { Axis::Shots } else { Axis::Labels };
            curves.push(Curve { family, method: method.to_owned(), axis, part, points });
        }
    }
    curves
}

const ZERO_SHOT: &str = "zero_shot";

fn slot(experiment: &Experiment) -> Slot<'_> {
    let at = match experiment.family {
        Family::InContext => experiment.shots.unwrap_or(0),
        _ => experiment.labels_used,
    };
    (experiment.family, experiment.method.as_str(), at)
}

fn points(
    evidence: &Evidence<'_>,
    sizes: &BTreeMap<usize, Vec<&Answered<'_>>>,
    part: Part,
) -> Vec<CurvePoint> {
    sizes.iter().filter_map(|(&at, answered)| point(evidence, at, answered, part)).collect()
}

fn point(evidence: &Evidence<'_>, at: usize, all: &[&Answered<'_>], part: Part) -> Option<CurvePoint> {
    let mut seeds: BTreeMap<Option<u64>, &Answered<'_>> = BTreeMap::new();
    for &candidate in all.iter().filter(|a| a.experiment.part == part && a.score().is_some()) {
        let holder = seeds.entry(candidate.experiment.seed).or_insert(candidate);
        if rank(evidence, candidate) > rank(evidence, holder) {
            *holder = candidate;
        }
    }
    let scores: Vec<f64> = seeds.values().filter_map(|answered| answered.score()).collect();
    let spread = Spread::of(&scores)?;
    let mut runs: BTreeMap<&str, bool> = BTreeMap::new();
    for answered in all {
        *runs.entry(crate::evidence::stem(&answered.experiment.id)).or_default() |=
            answered.experiment.collapse.is_some();
    }
    Some(CurvePoint {
        at,
        score: spread.mean,
        lowest: spread.lowest,
        highest: spread.highest,
        standard_deviation: spread.standard_deviation,
        band: band(evidence, &seeds.values().copied().collect::<Vec<_>>()),
        seeds: scores.len(),
        runs: runs.len(),
        collapsed: runs.values().filter(|collapsed| **collapsed).count(),
        experiments: seeds.values().map(|answered| answered.experiment.id.clone()).collect(),
    })
}

/// The interval of the mean over items crossed with seeds; `None` for a single seed, or seeds that answered other items.
fn band(evidence: &Evidence<'_>, seeds: &[&Answered<'_>]) -> Option<Estimate> {
    let (first, rest) = seeds.split_first().filter(|(_, rest)| !rest.is_empty())?;
    let ids = |answered: &Answered<'_>| {
        answered.predictions.iter().map(|prediction| prediction.example.clone()).collect::<Vec<_>>()
    };
    let own = ids(first);
    if rest.iter().any(|other| ids(other) != own) {
        return None;
    }
    let record = evidence.record;
    let clusters: Option<Vec<&str>> =
        own.iter().map(|id| record.clusters.get(id).map(String::as_str)).collect();
    let runs: Vec<Vec<f64>> = seeds.iter().map(|answered| answered.scores()).collect();
    let crossed = crossed_mean(&runs, clusters.as_deref(), record.decision.confidence).ok()?;
    // Student's interval does not know that a share ends at 0 and 1.
    let Estimate { value, low, high, interval } = crossed.estimate;
    Some(Estimate { value, low: low.clamp(0.0, 1.0), high: high.clamp(0.0, 1.0), interval })
}

/// What decides between settings of one seed: whether it is on test, then its score on dev. Equal ranks keep the first id.
fn rank(evidence: &Evidence<'_>, answered: &Answered<'_>) -> (bool, f64) {
    let dev = evidence.twin(answered.experiment, Part::Dev).and_then(Answered::score);
    (evidence.is_on_test(answered.experiment), dev.unwrap_or(-1.0))
}

/// Mean and spread of some numbers.
#[derive(Clone, Copy, Debug, PartialEq)]
struct Spread {
    mean: f64,
    lowest: f64,
    highest: f64,
    standard_deviation: Option<f64>,
}

impl Spread {
    /// `None` without numbers.
    fn of(values: &[f64]) -> Option<Self> {
        let count = values.len() as f64;
        let lowest = values.iter().copied().reduce(f64::min)?;
        let highest = values.iter().copied().reduce(f64::max)?;
        let mean = (values.iter().sum::<f64>() / count).clamp(lowest, highest);
        let squares: f64 = values.iter().map(|value| (value - mean).powi(2)).sum();
        let standard_deviation = (values.len() > 1).then(|| (squares / (count - 1.0)).sqrt());
        Some(Self { mean, lowest, highest, standard_deviation })
    }
}

/// The smallest observed size, over `curves` of `family`, at which the mean score is at least `score`: (curve, point).
/// Nothing is read between the points or beyond the last one.
pub fn first_to_reach(curves: &[Curve], family: Family, score: f64) -> Option<(&Curve, &CurvePoint)> {
    let reaching = curves.iter().filter(|curve| curve.family == family).filter_map(|curve| {
        // A mean of equal scores may miss them by a rounding.
        let point = curve.points.iter().find(|point| point.score >= score - 1e-12)?;
        Some((curve, point))
    });
    reaching.min_by_key(|(_, point)| point.at)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn spreads_are_by_hand() {
        let spread = Spread::of(&[0.5, 0.7, 0.9]).expect("is not empty");
        assert!((spread.mean - 0.7).abs() < 1e-12);
        assert!((spread.standard_deviation.expect("has three") - 0.2).abs() < 1e-12);
        assert_eq!((spread.lowest, spread.highest), (0.5, 0.9));
        assert_eq!(Spread::of(&[0.5]).and_then(|spread| spread.standard_deviation), None);
        assert_eq!(Spread::of(&[]), None);
    }
}
