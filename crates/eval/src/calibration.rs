//! Correcting label scores for what a prompt alone suggests.
//!
//! A prompt makes some labels likely whatever the input is (the last demonstration's, a frequent word's). Both corrections
//! estimate that bias as a prior over the labels and divide by it:
//! - contextual calibration (Zhao et al. 2021, "Calibrate Before Use") takes the mean label probability of inputs without
//!   content (`N/A`, `[MASK]`, the empty text),
//! - batch calibration (Zhou et al. 2023, "Batch Calibration") takes the mean label probability of a batch of real inputs, whose
//!   labels are not looked at.
//!
//! The formula is the same, so there is one [`prior`]: what differs is the rows it is given. It is returned, not applied, so that it can
//! be fixed on dev and used unchanged on test.

/// Natural-log softmax of one row of label scores. A row whose scores are all `-inf` (or empty) is returned unchanged.
pub fn log_softmax(scores: &[f64]) -> Vec<f64> {
    let total = log_sum_exp(scores.iter().copied());
    if total == f64::NEG_INFINITY {
        return scores.to_vec();
    }
    scores.iter().map(|score| score - total).collect()
}

/// The log prior over labels: the log of the mean, over `rows`, of the softmax over labels of the summed log-probabilities.
///
/// `rows` is `[inputs][labels]`; the result has one natural-log probability a label and is empty where `rows` is. It is computed
/// in log space, so that a label far less likely than another keeps a finite prior. In rows shorter than the first one the
/// missing labels count as impossible.
pub fn prior(rows: &[Vec<f64>]) -> Vec<f64> {
    let labels = rows.first().map_or(0, Vec::len);
    let normalised: Vec<Vec<f64>> = rows.iter().map(|row| log_softmax(row)).collect();
    (0..labels)
        .map(|label| {
            let column = normalised.iter().map(|row| row.get(label).copied().unwrap_or(f64::NEG_INFINITY));
            log_sum_exp(column) - (rows.len() as f64).ln()
        })
        .collect()
}

/// Calibrated log-probabilities of one row: the softmax over labels divided by the prior and normalised again.
///
/// Without a prior (`None`) this is [`log_softmax`]. A label that the prior holds for impossible (`-inf`), or does not mention, keeps
/// its own score: there is nothing to divide by.
pub fn apply(scores: &[f64], prior: Option<&[f64]>) -> Vec<f64> {
    let own = log_softmax(scores);
    let Some(prior) = prior else { return own };
    let divided: Vec<f64> = own
        .iter()
        .enumerate()
        .map(|(label, score)| match prior.get(label) {
            Some(bias) if bias.is_finite() => score - bias,
            _ => *score,
        })
        .collect();
    log_softmax(&divided)
}

/// Index of the highest score; ties go to the lower index, scores that are not a number lose to all others. 0 for an empty row.
pub fn best(scores: &[f64]) -> usize {
    let mut winner = 0;
    let mut highest = f64::NAN;
    for (label, &score) in scores.iter().enumerate() {
        if score > highest || (highest.is_nan() && !score.is_nan()) {
            winner = label;
            highest = score;
        }
    }
    winner
}

/// Natural log of the sum of the exponentials.
pub(crate) fn log_sum_exp(values: impl Iterator<Item = f64> + Clone) -> f64 {
    let highest = values.clone().fold(f64::NEG_INFINITY, f64::max);
    if !highest.is_finite() {
        return highest;
    }
    highest + values.map(|value| (value - highest).exp()).sum::<f64>().ln()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn assert_close(left: &[f64], right: &[f64]) {
        assert_eq!(left.len(), right.len());
        for (a, b) in left.iter().zip(right) {
            assert!((a - b).abs() < 1e-12, "{left:?} against {right:?}");
        }
    }

    fn logs(probabilities: &[f64]) -> Vec<f64> {
        probabilities.iter().map(|p| p.ln()).collect()
    }

    #[test]
    fn log_softmax_is_scipys() {
        // scipy.special.log_softmax([1, 2, 3.5]) (fixtures/scripts/eval_reference.py).
        assert_close(
            &log_softmax(&[1.0, 2.0, 3.5]),
            &[-2.766_367_899_807_133_5, -1.766_367_899_807_133_7, -0.266_367_899_807_133_7],
        );
    }

    #[test]
    fn a_prior_flips_the_label_that_the_prompt_favours() {
        // By hand: p = (0.6, 0.4), content-free mean (0.8, 0.2): ratios 0.75 and 2, normalised 3/11 and 8/11.
        let prior = prior(&[logs(&[0.9, 0.1]), logs(&[0.7, 0.3])]);
        assert_close(&prior, &logs(&[0.8, 0.2]));
        let calibrated = apply(&logs(&[0.6, 0.4]), Some(&prior));
        assert_close(&calibrated, &logs(&[3.0 / 11.0, 8.0 / 11.0]));
        assert_eq!((best(&logs(&[0.6, 0.4])), best(&calibrated)), (0, 1));
    }

    #[test]
    fn a_prior_is_normalised_whatever_constant_its_rows_carry() {
        let rows = [vec![-100.0, -101.0, -107.0], vec![5.0, 4.0, 9.0]];
        let moved = [vec![0.0, -1.0, -7.0], vec![-1.0, -2.0, 3.0]];
        assert_close(&prior(&rows), &prior(&moved));
        assert!((prior(&rows).iter().map(|p| p.exp()).sum::<f64>() - 1.0).abs() < 1e-12);
    }

    #[test]
    fn extreme_scores_stay_finite() {
        let prior = prior(&[vec![0.0, -5000.0], vec![0.0, -6000.0]]);
        assert_close(&prior, &[0.0, -5000.0 - 2f64.ln()]);
        assert_eq!(best(&apply(&[0.0, -4999.0], Some(&prior))), 1);
    }

    #[test]
    fn bad_rows_never_panic() {
        assert!(prior(&[]).is_empty());
        assert_eq!(apply(&[0.0, 0.0], Some(&[])), log_softmax(&[0.0, 0.0]));
        assert_eq!(prior(&[vec![0.0, 0.0], vec![0.0]]).len(), 2);
        assert_eq!(log_softmax(&[f64::NEG_INFINITY]), [f64::NEG_INFINITY]);
        assert_eq!(best(&[]), 0);
        assert_eq!(best(&[f64::NAN, 1.0, 1.0]), 1);
        assert_eq!(best(&[f64::NAN, f64::NEG_INFINITY]), 1);
    }
}
