//! Membership inference: can one tell from a model's losses which rows it was given or trained on (Yeom et al. 2018)?
//!
//! A row with a lower loss is guessed to be a member. The area under the curve (AUC) is the probability that a member has a
//! lower loss than a held-out row, ties counting half; 0.5 is guessing. What an attacker can be sure of is better told by the
//! true-positive rate at a low false-positive rate (Carlini et al. 2022).

use serde::{Deserialize, Serialize};

use crate::interval::{Estimate, Method, clopper_pearson, normal_quantile};

/// False-positive rate at which the true-positive rate is told.
pub const FALSE_POSITIVE_RATE: f64 = 0.01;

/// How well members can be told from held-out rows.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Membership {
    /// Members.
    pub members: usize,
    /// Held-out rows.
    pub held_out: usize,
    /// Area under the curve with DeLong's interval.
    pub auc: Estimate,
    /// Share of members below every loss but the lowest 1% of held-out rows, with its exact interval.
    pub true_positive_rate: Estimate,
    /// Share of held-out rows below that threshold: 0 where there are fewer than 100.
    pub false_positive_rate: f64,
}

/// Compares the losses of `members` with those of `held_out` rows. `None` where a side is empty or a loss is not a number.
pub fn membership(members: &[f64], held_out: &[f64], confidence: f64) -> Option<Membership> {
    if members.is_empty() || held_out.is_empty() || members.iter().chain(held_out).any(|loss| loss.is_nan()) {
        return None;
    }
    let allowed = (FALSE_POSITIVE_RATE * held_out.len() as f64).floor() as usize;
    let mut sorted = held_out.to_vec();
    sorted.sort_unstable_by(f64::total_cmp);
    let threshold = sorted[allowed.min(sorted.len() - 1)];
    let below = |losses: &[f64]| losses.iter().filter(|loss| **loss < threshold).count();
    Some(Membership {
        members: members.len(),
        held_out: held_out.len(),
        auc: auc(members, held_out, confidence),
        true_positive_rate: clopper_pearson(below(members) as u64, members.len() as u64, confidence),
        false_positive_rate: below(held_out) as f64 / held_out.len() as f64,
    })
}

/// The area under the curve with the interval of DeLong, DeLong and Clarke-Pearson (1988). Where nothing varies (a perfect
/// separation) the exact interval of the smaller side stands.
fn auc(members: &[f64], held_out: &[f64], confidence: f64) -> Estimate {
    let wins = |member: f64, other: f64| match member.total_cmp(&other) {
        std::cmp::Ordering::Less => 1.0,
        std::cmp::Ordering::Equal => 0.5,
        std::cmp::Ordering::Greater => 0.0,
    };
    let of_members: Vec<f64> =
        members.iter().map(|&m| average(held_out.iter().map(|&h| wins(m, h)))).collect();
    let of_held_out: Vec<f64> =
        held_out.iter().map(|&h| average(members.iter().map(|&m| wins(m, h)))).collect();
    let value = average(of_members.iter().copied());
    let variance =
        variance(&of_members) / members.len() as f64 + variance(&of_held_out) / held_out.len() as f64;
    if variance == 0.0 {
        let fewer = members.len().min(held_out.len()) as u64;
        let exact = clopper_pearson((value * fewer as f64).round() as u64, fewer, confidence);
        return Estimate { value, ..exact };
    }
    let half = normal_quantile(0.5 + confidence / 2.0) * variance.sqrt();
    Estimate { value, low: (value - half).max(0.0), high: (value + half).min(1.0), interval: Method::DeLong }
}

fn average(values: impl ExactSizeIterator<Item = f64>) -> f64 {
    let count = values.len();
    values.sum::<f64>() / count as f64
}

/// Sample variance; 0 of one value.
fn variance(values: &[f64]) -> f64 {
    let mean = average(values.iter().copied());
    values.iter().map(|value| (value - mean).powi(2)).sum::<f64>() / (values.len().max(2) - 1) as f64
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Losses of a linear congruential sequence, so that the script has the same.
    fn losses(count: usize, scale: f64, mut state: u64) -> Vec<f64> {
        (0..count)
            .map(|_| {
                state = (state * 1_103_515_245 + 12_345) % (1 << 31);
                scale * (state % 997) as f64 / 997.0
            })
            .collect()
    }

    #[test]
    fn auc_and_rates_are_those_of_scikit_learn_and_delong() {
        // fixtures/scripts/eval_probes.py: scikit-learn's roc_auc_score and roc_curve, DeLong's variance by mid-ranks
        // (Sun and Xu 2014).
        let found = membership(&losses(60, 0.7, 1), &losses(250, 1.0, 2), 0.95).expect("are losses");
        let expected = [
            0.616_333_333_333_333_3,
            0.547_363_143_345_416_9,
            0.685_303_523_321_249_7,
            0.016_666_666_666_666_666,
            0.008,
        ];
        let got = [
            found.auc.value,
            found.auc.low,
            found.auc.high,
            found.true_positive_rate.value,
            found.false_positive_rate,
        ];
        for (got, expected) in got.iter().zip(expected) {
            assert!((got - expected).abs() < 1e-10, "{found:?}");
        }
    }

    #[test]
    fn perfect_separation_is_no_certainty() {
        let found = membership(&[0.1, 0.2, 0.3], &[1.0, 1.1, 1.2, 1.3], 0.95).expect("are losses");
        assert_eq!((found.auc.value, found.auc.high), (1.0, 1.0));
        // Clopper and Pearson, 3 of 3: (0.05 / 2)^(1/3).
        assert!((found.auc.low - 0.025f64.powf(1.0 / 3.0)).abs() < 1e-9, "{found:?}");
        let equal = membership(&[0.5; 4], &[0.5; 4], 0.95).expect("are losses");
        assert_eq!((equal.auc.value, equal.true_positive_rate.value), (0.5, 0.0));
        assert!(membership(&[], &[1.0], 0.95).is_none());
        assert!(membership(&[f64::NAN], &[1.0], 0.95).is_none());
    }
}
