//! Intervals for scores between 0 and 1: their mean, their mean difference on the same items, and shares of fields.
//!
//! Scores that are all 0 or 1 are counted, and treated as right and wrong answers are. Otherwise the interval is the
//! bias-corrected and accelerated bootstrap over items (Efron 1987), 2,000 resamples; where all resamples agree, which is no
//! proof that there is no spread, Hoeffding's bound stands.

use crate::bootstrap::acceleration;
use crate::interval::{Estimate, Method, RESAMPLES, bootstrap, proportion};
use crate::paired::PairedCounts;
use crate::resample::Resampler;

/// Random sign changes of the paired test.
const SIGN_CHANGES: u32 = 9_999;

/// Whether every score is 0 or 1.
pub(crate) fn is_binary(scores: &[f64]) -> bool {
    scores.iter().all(|score| *score == 0.0 || *score == 1.0)
}

/// The mean of `scores` with its interval. The scores must come in an order that does not depend on how the record is stored: the
/// resamples are drawn from `seed`.
pub fn mean(scores: &[f64], confidence: f64, seed: u64) -> Estimate {
    if is_binary(scores) {
        let right = scores.iter().filter(|score| **score == 1.0).count();
        return proportion(right as u64, scores.len() as u64, confidence);
    }
    resampled_mean(scores, confidence, seed)
        .unwrap_or_else(|| hoeffding(average(scores), scores.len(), (0.0, 1.0), confidence))
}

/// The bootstrap interval of the mean; `None` where the resamples have no spread.
fn resampled_mean(values: &[f64], confidence: f64, seed: u64) -> Option<Estimate> {
    let value = average(values);
    let mut resampler = Resampler::new(seed);
    let mut means: Vec<f64> = (0..RESAMPLES)
        .map(|_| {
            (0..values.len()).map(|_| values[resampler.below(values.len())]).sum::<f64>()
                / values.len() as f64
        })
        .collect();
    // Leaving out an item moves the mean in proportion to the item's distance from it.
    let acceleration = acceleration(values.iter().map(|item| (-item, 1.0)));
    bootstrap(value, &mut means, acceleration, confidence)
}

/// Hoeffding's two-sided bound for the mean of `items` values within `range`.
fn hoeffding(value: f64, items: usize, (least, most): (f64, f64), confidence: f64) -> Estimate {
    let half = (most - least) * ((2.0 / (1.0 - confidence)).ln() / (2.0 * items.max(1) as f64)).sqrt();
    Estimate {
        value,
        low: (value - half).max(least),
        high: (value + half).min(most),
        interval: Method::Hoeffding,
    }
}

fn average(values: &[f64]) -> f64 {
    values.iter().sum::<f64>() / values.len().max(1) as f64
}

/// How a share of fields is made of how many are right, in the answers, and in the targets.
pub type FieldShare = fn([u64; 3]) -> f64;

/// Precision, recall and F1 over the fields of all answers together. Without any field in answers and targets all are 1; a ratio
/// whose denominator alone is empty is 0.
pub const FIELD_SHARES: [(&str, FieldShare); 3] = [
    ("micro_precision", |[right, answered, wanted]| ratio(right, answered, wanted)),
    ("micro_recall", |[right, answered, wanted]| ratio(right, wanted, answered)),
    ("micro_f1", |[right, answered, wanted]| ratio(2 * right, answered + wanted, 0)),
];

fn ratio(part: u64, whole: u64, other: u64) -> f64 {
    match (whole, other) {
        (0, 0) => 1.0,
        (0, _) => 0.0,
        _ => part as f64 / whole as f64,
    }
}

/// A share of the fields of all items together, with the bootstrap interval over items. `counts` are of each item the fields that
/// are right, in the answer, and in the target; for their order and `seed` see [`mean`].
pub fn field_share(counts: &[[u32; 3]], share: FieldShare, confidence: f64, seed: u64) -> Estimate {
    let add = |total: [u64; 3], item: &[u32; 3]| [0, 1, 2].map(|at| total[at] + u64::from(item[at]));
    let total = counts.iter().fold([0; 3], add);
    let value = share(total);
    let mut resampler = Resampler::new(seed);
    let mut shares: Vec<f64> = (0..RESAMPLES)
        .map(|_| {
            share((0..counts.len()).fold([0; 3], |sum, _| add(sum, &counts[resampler.below(counts.len())])))
        })
        .collect();
    let left_out: Vec<f64> =
        counts.iter().map(|item| share([0, 1, 2].map(|at| total[at] - u64::from(item[at])))).collect();
    let acceleration = acceleration(left_out.iter().map(|one| (*one, 1.0)));
    bootstrap(value, &mut shares, acceleration, confidence)
        .unwrap_or_else(|| hoeffding(value, counts.len(), (0.0, 1.0), confidence))
}

/// Two sides' scores on the same items, as differences: second less first.
#[derive(Clone, Debug, PartialEq)]
pub struct PairedScores {
    differences: Vec<f64>,
    seed: u64,
}

impl PairedScores {
    /// The differences in an order that does not depend on how the record is stored; `seed` decides the random draws.
    pub fn new(differences: Vec<f64>, seed: u64) -> Self {
        Self { differences, seed }
    }

    /// Items.
    pub fn items(&self) -> u64 {
        self.differences.len() as u64
    }

    /// Mean difference; 0 without items.
    pub fn difference(&self) -> f64 {
        average(&self.differences)
    }

    /// Mean squared difference less the square of the mean, drawn a little towards one half as [`PairedCounts::discordant`] is.
    pub fn variance(&self) -> f64 {
        let squares: f64 = self.differences.iter().map(|difference| difference * difference).sum();
        let mean = self.difference();
        ((squares + 0.5) / (self.differences.len() + 1) as f64 - mean * mean).max(0.0)
    }

    /// Items on which the second side scores higher, and on which the first does.
    pub fn wins_and_losses(&self) -> [u64; 2] {
        [1.0, -1.0]
            .map(|sign| self.differences.iter().filter(|difference| **difference * sign > 0.0).count() as u64)
    }

    /// The mean difference with its interval.
    pub fn interval(&self, confidence: f64) -> Estimate {
        if self.differences.iter().all(|difference| *difference == 0.0) {
            // As many ties of right and wrong answers would leave more doubt than this, not less.
            return PairedCounts { both_right: self.items(), ..PairedCounts::default() }.interval(confidence);
        }
        resampled_mean(&self.differences, confidence, self.seed)
            .unwrap_or_else(|| hoeffding(self.difference(), self.differences.len(), (-1.0, 1.0), confidence))
    }

    /// Two-sided p of a paired permutation test of the mean difference: the share of 9,999 random sign changes (and the data
    /// themselves) whose mean is at least as far from 0.
    pub fn permutation_p(&self) -> f64 {
        let mut resampler = Resampler::new(self.seed);
        let seen = self.differences.iter().sum::<f64>().abs();
        // Sums in another order differ in their last bits.
        let at_least = seen - 1e-9 * (1.0 + seen);
        let extreme = (0..SIGN_CHANGES)
            .filter(|_| {
                let sum: f64 = self
                    .differences
                    .iter()
                    .map(|difference| if resampler.below(2) == 0 { *difference } else { -difference })
                    .sum();
                sum.abs() >= at_least
            })
            .count();
        (extreme as f64 + 1.0) / (f64::from(SIGN_CHANGES) + 1.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn binary_scores_are_counted() {
        let scores = [1.0, 0.0, 1.0, 1.0];
        assert_eq!(mean(&scores, 0.95, 1), proportion(3, 4, 0.95));
        assert_eq!(mean(&[], 0.95, 1), proportion(0, 0, 0.95));
    }

    #[test]
    fn a_mean_is_bootstrapped_and_the_seed_decides() {
        // By hand: 40 scores of 0.25 and 0.75 in turn have the mean 0.5 and the standard error 0.25 / sqrt(40) = 0.0395.
        let scores: Vec<f64> = (0..40).map(|item| if item % 2 == 0 { 0.25 } else { 0.75 }).collect();
        let estimate = mean(&scores, 0.95, 3);
        assert!((estimate.value - 0.5).abs() < 1e-12);
        assert!(
            (estimate.low - 0.422_5).abs() < 0.012 && (estimate.high - 0.577_5).abs() < 0.012,
            "{estimate:?}"
        );
        assert_eq!(estimate, mean(&scores, 0.95, 3));
        // Hoeffding: sqrt(ln(40) / 80) = 0.2147.
        let same = mean(&[0.5; 40], 0.95, 3);
        assert!((same.low - (0.5 - 0.214_7)).abs() < 1e-3 && same.interval == Method::Hoeffding, "{same:?}");
    }

    #[test]
    fn shares_of_fields_are_over_all_items_together() {
        // By hand: 3 right of 5 answered and 6 wanted: precision 0.6, recall 0.5, F1 6/11.
        let counts = [[1, 1, 2], [2, 2, 3], [0, 2, 1], [0, 0, 0]];
        let shares = FIELD_SHARES.map(|(_, share)| field_share(&counts, share, 0.95, 1).value);
        assert!((shares[0] - 0.6).abs() < 1e-12 && (shares[1] - 0.5).abs() < 1e-12);
        assert!((shares[2] - 6.0 / 11.0).abs() < 1e-12);
        let nothing = FIELD_SHARES.map(|(_, share)| share([0, 0, 0]));
        assert_eq!(nothing, [1.0, 1.0, 1.0]);
        assert_eq!(FIELD_SHARES.map(|(_, share)| share([0, 0, 4])), [0.0, 0.0, 0.0]);
    }

    #[test]
    fn paired_scores_by_hand() {
        let paired = PairedScores::new(vec![0.5, 0.25, 0.0, -0.25], 1);
        assert_eq!((paired.items(), paired.difference(), paired.wins_and_losses()), (4, 0.125, [2, 1]));
        // (0.375 + 0.5) / 5 - 0.015625.
        assert!((paired.variance() - 0.159_375).abs() < 1e-12);
        // Of the 8 sign patterns of 0.5, 0.25, 0.25 six have a sum of at least 0.5 in size: only +-(0.5 - 0.5) have 0.
        assert!((paired.permutation_p() - 0.75).abs() < 0.02, "{}", paired.permutation_p());
        assert_eq!(PairedScores::new(vec![0.0; 30], 1).permutation_p(), 1.0);
        let equal = PairedScores::new(vec![0.0; 30], 1).interval(0.95);
        assert!(equal.low < -0.01 && equal.high > 0.01, "{equal:?}");
    }

    #[test]
    fn the_interval_of_a_paired_difference_covers_as_often_as_it_says() {
        // Differences of 0.8, 0.3, 0 and -0.5 with equal chance: mean 0.15.
        let mut source = Resampler::new(5);
        let mut covered = 0;
        for trial in 0..200 {
            let sample = (0..100).map(|_| [0.8, 0.3, 0.0, -0.5][source.below(4)]).collect();
            let estimate = PairedScores::new(sample, trial).interval(0.95);
            covered += u32::from((estimate.low..=estimate.high).contains(&0.15));
        }
        // 190 expected, standard deviation 3.1.
        assert!((180..=199).contains(&covered), "{covered} of 200");
    }
}
