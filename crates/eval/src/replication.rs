//! What other draws of demonstrations and other training seeds would have said.
//!
//! An interval over items speaks of one prompt and one set of weights. Whether prompting or training is better is a question about the two
//! procedures: another draw or seed gives another prompt and other weights. So the runs of the finalists' configurations (everything
//! alike but the seed) are averaged, and the interval of the difference of the two averages counts both kinds of luck: that of the items,
//! as the finalists' own interval has it, and that of the runs, s1^2 / K1 + s2^2 / K2 for K runs each.
//!
//! Two or three runs say little about s. It is therefore shrunk, as variances are that stand for so many degrees of freedom: what was
//! known beforehand ([`PRIOR_DEVIATION`]), then the other configurations of the family that were run more than once, then the finalist's
//! own. A run's deviation is what the items do not explain (analysis of variance, as in [`crate::crossed`]). Demonstrations that are
//! looked up are not drawn: such a prompt has no luck of its own. Collapsed runs are left out: they would not be shipped.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use task::record::{Experiment, Family, RECIPE_SEARCH};

use crate::contrast::Outcome;
use crate::crossed::run_deviation;
use crate::evidence::Evidence;
use crate::interval::{Estimate, Method, normal_quantile, student_quantile};
use crate::mean::mean;
use crate::paired;
use crate::wording::count;

/// Standard deviation between runs before any is seen: two and a half points. Published spreads are 0.2 to 5 points between training
/// seeds and 1 to 14 between draws of demonstrations (Bertsch et al. 2025).
pub const PRIOR_DEVIATION: f64 = 0.025;

/// What that counts, in degrees of freedom.
const PRIOR_FREEDOM: f64 = 4.0;

/// The most that other configurations than the finalist's count, in degrees of freedom: their luck is not quite the same.
const FAMILY_FREEDOM: f64 = 8.0;

/// Ways of choosing demonstrations without a draw.
const WITHOUT_A_DRAW: [&str; 4] = ["zero_shot", "bm25", "embedding", "diverse"];

/// How far the runs of one configuration lie apart.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct RunSpread {
    /// Runs of the configuration that answered.
    pub runs: usize,
    /// Mean of their scores.
    pub mean: f64,
    /// Standard deviation between runs, beyond what the items explain; 0 where nothing is drawn.
    pub deviation: f64,
    /// Degrees of freedom that it rests on.
    pub freedom: f64,
}

impl RunSpread {
    /// One run, and nothing drawn.
    pub const NONE: Self = Self { runs: 1, mean: 0.0, deviation: 0.0, freedom: PRIOR_FREEDOM };

    /// The spread of the configuration of `finalist` among `experiments` (which hold the finalist itself); those of other families or parts
    /// are passed over.
    pub fn of<'a>(experiments: impl IntoIterator<Item = &'a Experiment>, finalist: &'a Experiment) -> Self {
        let mut cells: BTreeMap<Cell<'_>, Vec<&Experiment>> = BTreeMap::new();
        for experiment in experiments.into_iter().filter(|one| counts(one, finalist)) {
            cells.entry(cell(experiment)).or_default().push(experiment);
        }
        // The order of storage must not matter, to the last bit.
        cells.values_mut().for_each(|runs| runs.sort_by(|left, right| left.id.cmp(&right.id)));
        let own = cells.remove(&cell(finalist)).unwrap_or_else(|| vec![finalist]);
        let own = scores(finalist, &own);
        let means: Vec<f64> = own.iter().map(|run| mean(run)).collect();
        let without =
            finalist.family == Family::InContext && WITHOUT_A_DRAW.contains(&finalist.method.as_str());
        let mut variance = Pooled { variance: PRIOR_DEVIATION.powi(2), freedom: PRIOR_FREEDOM };
        if !without {
            let mut family = Pooled { variance: 0.0, freedom: 0.0 };
            cells.values().for_each(|runs| family.add(&scores(runs[0], runs)));
            family.freedom = family.freedom.min(FAMILY_FREEDOM);
            variance.pool(family);
            variance.add(&own);
        }
        Self {
            runs: own.len(),
            mean: mean(&means),
            deviation: if without { 0.0 } else { variance.variance.sqrt() },
            freedom: variance.freedom,
        }
    }

    /// Squared standard error of the mean of the runs.
    fn of_mean(&self) -> f64 {
        self.deviation.powi(2) / self.runs.max(1) as f64
    }
}

/// `estimate`, whose interval at `confidence` speaks of items alone, with the luck of the runs of `sides` as well: the two half-widths add
/// as squares. Student's quantile has Satterthwaite's (1946) degrees of freedom.
pub fn widened(estimate: &Estimate, sides: &[RunSpread], confidence: f64) -> Estimate {
    let variance: f64 = sides.iter().map(RunSpread::of_mean).sum();
    if variance <= 0.0 {
        return *estimate;
    }
    let freedom =
        variance.powi(2) / sides.iter().map(|side| side.of_mean().powi(2) / side.freedom).sum::<f64>();
    let luck = student_quantile(freedom, 0.5 + confidence / 2.0).powi(2) * variance;
    let half = |end: f64| ((end - estimate.value).powi(2) + luck).sqrt();
    Estimate {
        value: estimate.value,
        low: (estimate.value - half(estimate.low)).max(-1.0),
        high: (estimate.value + half(estimate.high)).min(1.0),
        interval: Method::ItemsAndRuns,
    }
}

/// The difference of the two arms over the draws and seeds of their finalists' configurations.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Replication {
    /// Runs of the in-context finalist's configuration.
    pub in_context: RunSpread,
    /// Runs of the fine-tuned finalist's configuration.
    pub fine_tune: RunSpread,
    /// Mean of the fine-tuned runs less that of the in-context ones, with the luck of items and runs in its interval.
    pub difference: Estimate,
    /// Runs of each configuration, in all, at which the interval would leave out 0 if the difference stays as it is; `None` where it
    /// already does, or where the items alone leave too much doubt.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub runs_needed: Option<usize>,
}

impl Replication {
    /// Looks at the runs of both finalists on test; `finalists` is their own difference with its interval.
    pub(crate) fn new(evidence: &Evidence<'_>, finalists: &Estimate) -> Self {
        let [in_context, fine_tune] = [evidence.in_context(), evidence.fine_tune()]
            .map(|side| RunSpread::of(&evidence.record.experiments, side.experiment));
        let confidence = evidence.record.decision.confidence;
        let items = finalists.shifted(fine_tune.mean - in_context.mean - finalists.value);
        let difference = widened(&items, &[in_context, fine_tune], confidence);
        let runs_needed = (difference.low <= 0.0 && difference.high >= 0.0)
            .then(|| runs_needed(&items, [in_context, fine_tune], confidence))
            .flatten();
        Self { in_context, fine_tune, difference, runs_needed }
    }

    /// `2 draws and 3 seeds`: the runs behind the difference.
    pub fn runs(&self) -> String {
        format!(
            "{} and {}",
            count(self.in_context.runs as u64, "draw"),
            count(self.fine_tune.runs as u64, "seed")
        )
    }

    /// What remains of the finalists' outcome: one side is better where the interval leaves out 0 on that side here too, and the two are
    /// equivalent where their averages are no farther apart than the margin.
    pub fn confirmed(&self, finalists: Outcome, margin: f64) -> Outcome {
        let holds = match finalists {
            Outcome::FineTuneBetter => self.difference.low > 0.0,
            Outcome::InContextBetter => self.difference.high < 0.0,
            Outcome::Equivalent => self.difference.value.abs() <= margin,
            Outcome::Undecided => true,
        };
        if holds { finalists } else { Outcome::Undecided }
    }
}

/// K with d^2 > h^2 + z^2 (s1^2 + s2^2) / K, where d is the difference and h the half-width towards 0 that the items leave.
fn runs_needed(items: &Estimate, sides: [RunSpread; 2], confidence: f64) -> Option<usize> {
    let towards = if items.value > 0.0 { items.low } else { items.high };
    let left = items.value.powi(2) - (items.value - towards).powi(2);
    let luck = normal_quantile(0.5 + confidence / 2.0).powi(2)
        * sides.iter().map(|side| side.deviation.powi(2)).sum::<f64>();
    let more = 1 + sides.iter().map(|side| side.runs).max().unwrap_or(0);
    // Beyond a hundred runs it is no advice.
    (left > 0.0).then(|| ((luck / left).ceil() as usize).max(more)).filter(|runs| *runs <= 100)
}

/// What two runs must share to differ in their seed alone.
type Cell<'a> = (&'a str, usize, usize, [String; 4]);

fn cell(experiment: &Experiment) -> Cell<'_> {
    // The draws of a prompt see other labels, as many as they have demonstrations.
    let labels = if experiment.family == Family::InContext { 0 } else { experiment.labels_used };
    let settings = ["calibration", "learning_rate", "epochs", "adaptation"]
        .map(|key| experiment.configuration.get(key).map(ToString::to_string).unwrap_or_default());
    (&experiment.method, experiment.shots.unwrap_or(0), labels, settings)
}

fn counts(experiment: &Experiment, finalist: &Experiment) -> bool {
    experiment.family == finalist.family
        && experiment.part == finalist.part
        && experiment.method != RECIPE_SEARCH
        && experiment.collapse.is_none()
        && !experiment.predictions.is_empty()
}

/// `[run][item]` of those of `runs` that answered the items of `reference`.
fn scores(reference: &Experiment, runs: &[&Experiment]) -> Vec<Vec<f64>> {
    let of = |run: &&Experiment| paired::scores(reference, run).ok();
    runs.iter().filter_map(of).map(|pairs| pairs.into_iter().map(|[_, score]| score).collect()).collect()
}

/// A variance and the degrees of freedom that it rests on.
struct Pooled {
    variance: f64,
    freedom: f64,
}

impl Pooled {
    fn pool(&mut self, other: Self) {
        let freedom = self.freedom + other.freedom;
        if freedom > 0.0 {
            self.variance = (self.variance * self.freedom + other.variance * other.freedom) / freedom;
            self.freedom = freedom;
        }
    }

    fn add(&mut self, runs: &[Vec<f64>]) {
        if let Ok(deviation) = run_deviation(runs) {
            self.pool(Self { variance: deviation.powi(2), freedom: runs.len() as f64 - 1.0 });
        }
    }
}

#[cfg(test)]
mod tests {
    use task::record::{Answer, Part, Prediction, Setup, TokensPerRequest};

    use super::*;
    use crate::paired::PairedCounts;
    use crate::resample::Resampler;

    fn run(family: Family, method: &str, size: usize, seed: u64, right: &[bool]) -> Experiment {
        let answer = |(item, &right): (usize, &bool)| Prediction {
            example: format!("e{item:04}"),
            answer: Answer::Label { gold: 0, predicted: usize::from(!right), scores: Vec::new() },
        };
        Experiment {
            id: format!("{method}/{size}/{seed}@test"),
            family,
            method: method.to_owned(),
            labels_used: size,
            shots: (family == Family::InContext).then_some(size),
            seed: Some(seed),
            configuration: BTreeMap::new(),
            part: Part::Test,
            predictions: right.iter().enumerate().map(answer).collect(),
            tokens: TokensPerRequest::default(),
            setup: Setup::default(),
            seconds_per_request: 0.0,
            artefact: None,
            collapse: None,
            calls: Default::default(),
        }
    }

    /// `count` right answers first, then wrong ones, of 100.
    fn first(count: usize) -> Vec<bool> {
        (0..100).map(|item| item < count).collect()
    }

    #[test]
    fn both_kinds_of_luck_add_as_squares() {
        let side = |runs, deviation, freedom| RunSpread { runs, mean: 0.0, deviation, freedom };
        let items = Estimate { value: 0.05, low: 0.01, high: 0.11, interval: Method::TangoScore };
        let found = widened(&items, &[side(2, 0.03, 5.0), side(4, 0.02, 8.0)], 0.95);
        // s^2 / K: 0.00045 + 0.0001; Satterthwaite: 0.00055^2 / (0.00045^2 / 5 + 0.0001^2 / 8) = 7.2455; t(0.975) = 2.34848, by
        // numerical integration of the density.
        assert!((found.low + 0.018_069_4).abs() < 1e-6, "{found:?}");
        assert!((found.high - 0.131_445_9).abs() < 1e-6, "{found:?}");
        assert_eq!(widened(&items, &[RunSpread::NONE; 2], 0.95), items, "nothing drawn");
    }

    #[test]
    fn a_variance_is_shrunk_towards_what_was_known() {
        // Nested answers of 100 items, 60 and 80 right: mean square between runs 100 x 0.02 = 2, residual: 20 items differ, 0.2 x 0.8 / 2
        // x 100 / 99 = 0.0808; variance (2 - 0.0808) / 100 = 0.019192.
        let runs =
            [(0, 60), (1, 80)].map(|(seed, right)| run(Family::FineTune, "lora", 64, seed, &first(right)));
        let found = RunSpread::of(&runs, &runs[1]);
        assert_eq!((found.runs, found.freedom), (2, 5.0));
        assert!((found.mean - 0.7).abs() < 1e-12);
        let expected = (4.0 * 0.025f64.powi(2) + 0.019_191_919) / 5.0;
        assert!((found.deviation.powi(2) - expected).abs() < 1e-8, "{found:?} {expected}");
        // Another size with the same spread counts as much.
        let mut more: Vec<Experiment> = runs.to_vec();
        more.extend(
            [(0, 60), (1, 80)].map(|(seed, right)| run(Family::FineTune, "lora", 16, seed, &first(right))),
        );
        let found = RunSpread::of(&more, &more[1]);
        let expected = (4.0 * 0.025f64.powi(2) + 2.0 * 0.019_191_919) / 6.0;
        assert!((found.deviation.powi(2) - expected).abs() < 1e-8, "{found:?}");
        // Collapsed runs would not be shipped.
        more[2].collapse = Some("one label for everything".to_owned());
        assert_eq!(RunSpread::of(&more, &more[1]).freedom, 5.0);
    }

    #[test]
    fn what_is_looked_up_has_no_luck_and_one_draw_has_what_was_known() {
        let retrieved = run(Family::InContext, "bm25", 8, 0, &first(70));
        assert_eq!(RunSpread::of([&retrieved], &retrieved).deviation, 0.0);
        let drawn = run(Family::InContext, "random", 8, 0, &first(70));
        let found = RunSpread::of([&drawn], &drawn);
        assert_eq!((found.deviation, found.freedom, found.runs), (PRIOR_DEVIATION, 4.0, 1));
    }

    #[test]
    fn procedures_that_do_not_differ_are_seldom_told_apart() {
        // Both arms have accuracy 0.7 on average over their runs, which vary with standard deviation 3 points; two runs each, the
        // better one on dev is the finalist. The items alone call the lucky side better far more often than 5% of the time.
        let (trials, items) = (400, 1000);
        let mut source = Resampler::new(17);
        let [mut fooled, mut alone] = [0, 0];
        for _ in 0..trials {
            let arms = [(Family::InContext, "random"), (Family::FineTune, "lora")].map(|(family, method)| {
                [0, 1].map(|seed| {
                    let chance = 0.7 + 0.03 * source.normal();
                    let right: Vec<bool> = (0..items).map(|_| source.uniform() < chance).collect();
                    run(family, method, 32, seed, &right)
                })
            });
            let right = |arm: &[Experiment; 2]| {
                arm[0].predictions.iter().map(|p| p.score() > 0.5).collect::<Vec<_>>()
            };
            let counts = PairedCounts::new(right(&arms[0]).into_iter().zip(right(&arms[1])));
            let own = counts.interval(0.95);
            let spreads = arms.each_ref().map(|arm| RunSpread::of(arm, &arm[0]));
            let shifted = own.shifted(spreads[1].mean - spreads[0].mean - own.value);
            let both = widened(&shifted, &spreads, 0.95);
            let apart = |estimate: &Estimate| estimate.low > 0.0 || estimate.high < 0.0;
            alone += u32::from(apart(&own));
            fooled += u32::from(apart(&own) && apart(&both));
        }
        println!("told apart: {fooled} of {trials}, by the items alone {alone}");
        assert!(f64::from(fooled) / f64::from(trials) <= 0.05, "{fooled}");
        assert!(f64::from(alone) / f64::from(trials) > 0.2, "{alone}");
    }
}
