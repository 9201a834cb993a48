//! Intervals for a share of items and for macro-F1.
//!
//! Which one is used (under about 300 items the normal approximation claims too much, Bowyer et al. 2025):
//! - a share of fewer than [`SMALL`] items: the equal-tailed posterior under Jeffreys' prior, Beta(k + 1/2, n - k + 1/2), with the
//!   bound set to 0 where nothing and to 1 where everything was right (Brown, Cai and DasGupta 2001),
//! - a share of [`SMALL`] items or more: Wilson's score interval,
//! - macro-F1: the bias-corrected and accelerated bootstrap over items ([`macro_f1`]); so too means of graded scores
//!   ([`crate::graded`]).
//!
//! Other means, clustered items, items crossed with runs and any other statistic: [`crate::mean`], [`crate::crossed`] and
//! [`crate::bootstrap`].

mod quantiles;

use serde::{Deserialize, Serialize};

use crate::bootstrap::{self, bca_levels};
use crate::metrics::{Confusion, Tally};
use crate::resample::Resampler;
use quantiles::beta_quantile;
pub use quantiles::student_quantile;
pub(crate) use quantiles::{bisect, normal_cdf, normal_quantile, quantile, zero};

/// Items from which on intervals rest on large samples.
pub const SMALL: u64 = 300;

/// Resamples of a bootstrap.
pub(crate) const RESAMPLES: usize = 2000;

/// A measured number and its interval at the confidence of the decision.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Estimate {
    /// The measured number.
    pub value: f64,
    /// Lower end of the interval.
    pub low: f64,
    /// Upper end of the interval.
    pub high: f64,
    /// How the interval was made.
    pub interval: Method,
}

impl Estimate {
    /// Moved by `shift`, as wide as before.
    pub(crate) fn shifted(self, shift: f64) -> Self {
        let Self { value, low, high, interval } = self;
        Self { value: value + shift, low: low + shift, high: high + shift, interval }
    }
}

/// How an interval was made.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Method {
    /// Beta posterior of a share under Jeffreys' prior.
    Jeffreys,
    /// Wilson's score interval of a share.
    Wilson,
    /// Exact interval of a share (Clopper and Pearson 1934).
    ClopperPearson,
    /// Bias-corrected and accelerated bootstrap (Efron 1987).
    BootstrapBca,
    /// Percentiles of a bootstrap.
    BootstrapPercentile,
    /// Student's interval of a mean.
    Student,
    /// Student's interval of a mean of items that come in clusters.
    ClusteredStudent,
    /// Student's interval of a mean over items crossed with runs.
    CrossedStudent,
    /// Percentiles of a bootstrap over items crossed with runs.
    CrossedBootstrap,
    /// The interval of a difference over its items, widened by the luck of draws and seeds ([`crate::replication`]).
    ItemsAndRuns,
    /// Confidence sequence of a paired difference: it holds at every number of items at once.
    AnytimeValid,
    /// The interval of accuracy, for a macro-F1 whose bootstrap has no spread (no error at all, or nothing right).
    Accuracy,
    /// Dirichlet posterior of a paired difference under Jeffreys' prior.
    DirichletPosterior,
    /// Tango's score interval of a paired difference (Tango 1998).
    TangoScore,
    /// DeLong's interval of the area under a curve (DeLong et al. 1988).
    #[serde(rename = "delong")]
    DeLong,
    /// Hoeffding's bound (Hoeffding 1963), for scores whose bootstrap has no spread.
    Hoeffding,
}

/// The interval of `right` of `items`, chosen by the number of items as the module says. Without items it is (0, 1).
pub fn proportion(right: u64, items: u64, confidence: f64) -> Estimate {
    if items < SMALL { jeffreys(right, items, confidence) } else { wilson(right, items, confidence) }
}

/// Equal-tailed Beta posterior under Jeffreys' prior; 0 or 1 where the sample has nothing else.
pub fn jeffreys(right: u64, items: u64, confidence: f64) -> Estimate {
    let (successes, failures) = counts(right, items);
    let tail = (1.0 - confidence) / 2.0;
    let low = if right == 0 { 0.0 } else { beta_quantile(successes + 0.5, failures + 0.5, tail) };
    let high = if failures == 0.0 { 1.0 } else { beta_quantile(successes + 0.5, failures + 0.5, 1.0 - tail) };
    Estimate { value: share(right, items), low, high, interval: Method::Jeffreys }
}

/// Wilson's score interval, without continuity correction.
pub fn wilson(right: u64, items: u64, confidence: f64) -> Estimate {
    let value = share(right, items);
    let (mut low, mut high) = (0.0, 1.0);
    if items > 0 {
        let total = items as f64;
        let square = normal_quantile(0.5 + confidence / 2.0).powi(2);
        let centre = (value + square / (2.0 * total)) / (1.0 + square / total);
        let spread = (value * (1.0 - value) / total + square / (4.0 * total * total)).sqrt();
        let half = square.sqrt() * spread / (1.0 + square / total);
        low = if right == 0 { 0.0 } else { (centre - half).clamp(0.0, 1.0) };
        high = if right >= items { 1.0 } else { (centre + half).clamp(0.0, 1.0) };
    }
    Estimate { value, low, high, interval: Method::Wilson }
}

/// Clopper and Pearson's exact interval: it covers at least as often as it says, usually more.
pub fn clopper_pearson(right: u64, items: u64, confidence: f64) -> Estimate {
    let (successes, failures) = counts(right, items);
    let tail = (1.0 - confidence) / 2.0;
    let low = if right == 0 { 0.0 } else { beta_quantile(successes, failures + 1.0, tail) };
    let high = if failures == 0.0 { 1.0 } else { beta_quantile(successes + 1.0, failures, 1.0 - tail) };
    Estimate { value: share(right, items), low, high, interval: Method::ClopperPearson }
}

/// Macro-F1 of `pairs` of (gold, predicted) over `labels` labels, with the bias-corrected and accelerated bootstrap interval of 2,000
/// resamples of the items.
///
/// `pairs` must come in an order that does not depend on how the record is stored (sorted by example id): the resamples are drawn from
/// `seed`. Pairs beyond `labels` are left out. Each resample is scored as the sample is, over the labels that occur in it. Where the acceleration or the bias
/// cannot be computed the percentiles stand; where all resamples agree, the interval of accuracy.
pub fn macro_f1(pairs: &[(usize, usize)], labels: usize, confidence: f64, seed: u64) -> Estimate {
    let known = |pair: &(usize, usize)| pair.0 < labels && pair.1 < labels;
    let pairs: Vec<(usize, usize)> = pairs.iter().copied().filter(known).collect();
    let whole = Confusion::new(pairs.iter().copied(), labels);
    let mut tally = whole.tally();
    let value = tally.macro_f1();
    let acceleration = acceleration(&whole, &mut tally);
    let mut resampler = Resampler::new(seed);
    let mut scores: Vec<f64> = (0..RESAMPLES)
        .map(|_| {
            resampler.fill(&mut tally, &pairs);
            tally.macro_f1()
        })
        .collect();
    let Some(estimate) = bootstrap(value, &mut scores, acceleration, confidence) else {
        let accuracy = proportion(whole.right(), whole.items(), confidence);
        return Estimate {
            value,
            low: accuracy.low.min(value),
            high: accuracy.high.max(value),
            interval: Method::Accuracy,
        };
    };
    estimate
}

/// The bias-corrected and accelerated interval of `value` from its resamples `scores`, or their percentiles where the acceleration
/// or the bias cannot be computed; `None` where all resamples agree.
pub(crate) fn bootstrap(
    value: f64,
    scores: &mut [f64],
    acceleration: f64,
    confidence: f64,
) -> Option<Estimate> {
    scores.sort_unstable_by(f64::total_cmp);
    if scores.first() == scores.last() {
        return None;
    }
    let tail = (1.0 - confidence) / 2.0;
    let (levels, interval) = match bca_levels(scores, value, acceleration, tail) {
        Some(levels) => (levels, Method::BootstrapBca),
        None => ([tail, 1.0 - tail], Method::BootstrapPercentile),
    };
    let [low, high] = levels.map(|level| quantile(scores, level));
    Some(Estimate { value, low, high, interval })
}

/// Acceleration by the jackknife: leaving out one item changes the score only through the item's cell of the confusion counts.
/// `tally` holds the same items.
fn acceleration(whole: &Confusion, tally: &mut Tally) -> f64 {
    let mut left_out = Vec::new();
    for (gold, row) in whole.counts.iter().enumerate() {
        for (predicted, &count) in row.iter().enumerate().filter(|(_, count)| **count > 0) {
            tally.remove((gold, predicted));
            left_out.push((tally.macro_f1(), count as f64));
            tally.add((gold, predicted), 1);
        }
    }
    bootstrap::acceleration(left_out.iter().copied())
}

fn share(right: u64, items: u64) -> f64 {
    if items == 0 { 0.0 } else { right.min(items) as f64 / items as f64 }
}

fn counts(right: u64, items: u64) -> (f64, f64) {
    (right.min(items) as f64, items.saturating_sub(right) as f64)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn assert_bounds(estimate: Estimate, low: f64, high: f64, tolerance: f64) {
        assert!((estimate.low - low).abs() < tolerance, "{estimate:?} against {low}");
        assert!((estimate.high - high).abs() < tolerance, "{estimate:?} against {high}");
    }

    #[test]
    fn wilson_is_statsmodels() {
        assert_bounds(wilson(8, 10, 0.95), 0.490_162_471_536_641_83, 0.943_317_848_545_624_7, 1e-9);
        assert_bounds(wilson(45, 100, 0.95), 0.356_145_379_795_119_8, 0.547_553_970_025_579_7, 1e-9);
        assert_bounds(wilson(250, 300, 0.9), 0.794_995_206_249_343_7, 0.865_712_878_967_237_7, 1e-9);
        assert_bounds(wilson(0, 20, 0.95), 0.0, 0.161_125_158_052_819_38, 1e-9);
        assert_bounds(wilson(20, 20, 0.95), 0.838_874_841_947_180_6, 1.0, 1e-9);
    }

    #[test]
    fn jeffreys_is_statsmodels_but_for_the_edges() {
        assert_bounds(jeffreys(8, 10, 0.95), 0.497_225_503_560_007, 0.955_940_586_447_369_2, 1e-9);
        assert_bounds(jeffreys(45, 100, 0.95), 0.355_076_941_894_331_25, 0.547_771_007_959_964_7, 1e-9);
        assert_bounds(jeffreys(990, 1000, 0.95), 0.982_333_602_689_282_2, 0.994_847_299_254_678_5, 1e-9);
        assert_bounds(jeffreys(0, 20, 0.95), 0.0, 0.116_638_982_904_875_39, 1e-9);
        assert_bounds(jeffreys(20, 20, 0.95), 0.883_361_017_095_124_6, 1.0, 1e-9);
    }

    #[test]
    fn clopper_pearson_is_statsmodels() {
        assert_bounds(clopper_pearson(8, 10, 0.95), 0.443_904_537_692_358_5, 0.974_789_273_673_166_6, 1e-9);
        assert_bounds(clopper_pearson(250, 300, 0.9), 0.793_842_824_437_452_5, 0.867_815_108_189_257_3, 1e-9);
        assert_bounds(clopper_pearson(20, 20, 0.95), 0.831_566_529_016_914_7, 1.0, 1e-9);
    }

    #[test]
    fn the_number_of_items_chooses() {
        assert_eq!(proportion(250, 299, 0.95).interval, Method::Jeffreys);
        assert_eq!(proportion(250, 300, 0.95).interval, Method::Wilson);
        assert!(wilson(5, 10, 2.0).low.is_nan(), "no confidence, no interval, no panic");
        let nothing = proportion(0, 0, 0.95);
        assert_eq!((nothing.low, nothing.high), (0.0, 1.0));
    }

    /// Exact coverage: the binomial weight of the counts whose interval holds the truth.
    fn coverage(items: u64, truth: f64, interval: impl Fn(u64) -> Estimate) -> f64 {
        let mut weight = items as f64 * (1.0 - truth).ln();
        let mut covered = 0.0;
        for right in 0..=items {
            let estimate = interval(right);
            if (estimate.low..=estimate.high).contains(&truth) {
                covered += weight.exp();
            }
            weight += ((items - right) as f64 / (right + 1) as f64 * truth / (1.0 - truth)).ln();
        }
        covered
    }

    #[test]
    fn shares_cover_as_often_as_they_say() {
        for (items, truth) in
            [(60, 0.5), (100, 0.7), (100, 0.85), (250, 0.6), (300, 0.8), (400, 0.7), (500, 0.9)]
        {
            let share = coverage(items, truth, |right| proportion(right, items, 0.95));
            assert!((0.93..=0.97).contains(&share), "{items} items at {truth}: {share}");
        }
    }

    /// 160 answers of fixtures/scripts/eval_reference.py.
    fn answers() -> Vec<(usize, usize)> {
        (0..160)
            .map(|item| {
                let gold = item / 40;
                let predicted = if item % 5 == 0 { (gold + 1) % 4 } else { gold };
                (gold, if item < 20 { 3 } else { predicted })
            })
            .collect()
    }

    #[test]
    fn the_bootstrap_is_scipys() {
        let estimate = macro_f1(&answers(), 4, 0.95, 7);
        assert!((estimate.value - 0.695_526_315_789_473_7).abs() < 1e-12, "{estimate:?}");
        assert_eq!(estimate.interval, Method::BootstrapBca);
        // scipy.stats.bootstrap with 9,999 resamples of another generator: 0.6294 and 0.7659.
        assert_bounds(estimate, 0.629_4, 0.765_9, 0.01);
        assert_eq!(estimate, macro_f1(&answers(), 4, 0.95, 7), "the seed decides");
        assert_ne!(estimate, macro_f1(&answers(), 4, 0.95, 8));
    }

    #[test]
    fn a_perfect_score_takes_the_interval_of_accuracy() {
        let perfect: Vec<(usize, usize)> = (0..50).map(|item| (item % 2, item % 2)).collect();
        let estimate = macro_f1(&perfect, 2, 0.95, 1);
        assert_eq!((estimate.value, estimate.high, estimate.interval), (1.0, 1.0, Method::Accuracy));
        assert!((estimate.low - jeffreys(50, 50, 0.95).low).abs() < 1e-12);
        assert_eq!(macro_f1(&[], 2, 0.95, 1).value, 0.0);
    }

    #[test]
    fn the_bootstrap_covers_the_macro_f1_of_the_population() {
        // Four equally frequent labels, each answered right with 0.75 and as the next label otherwise: by symmetry every
        // label's precision, recall and F1 are 0.75.
        let mut source = Resampler::new(11);
        let mut covered = 0;
        for trial in 0..200 {
            let sample: Vec<(usize, usize)> = (0..120)
                .map(|_| {
                    let gold = source.below(4);
                    (gold, if source.below(4) == 0 { (gold + 1) % 4 } else { gold })
                })
                .collect();
            let estimate = macro_f1(&sample, 4, 0.95, trial);
            covered += u32::from((estimate.low..=estimate.high).contains(&0.75));
        }
        // 200 trials: 190 expected, standard deviation 3.1.
        assert!((180..=199).contains(&covered), "{covered} of 200");
    }
}
