//! Many tests at once: p-values adjusted so that each may be read against the level of one test.
//!
//! The confirmatory contrast is one test and needs none of this. Everything else that a report tests is exploratory: within
//! one table [`holm`] bounds the chance of any false finding, over slices [`benjamini_hochberg`] bounds the expected share
//! of false findings among the findings.

use crate::Error;

/// Holm's step-down adjustment (Holm 1979), which controls the family-wise error rate under any dependence.
///
/// Returns one adjusted p-value a test, in the order given; a hypothesis is rejected at level alpha where its adjusted value
/// is at most alpha. With m tests the k-th smallest p is multiplied by m - k + 1, values are made non-decreasing along that
/// order and capped at 1. Errors where a p-value is not in \[0, 1\].
pub fn holm(p_values: &[f64]) -> Result<Vec<f64>, Error> {
    let order = ascending(p_values)?;
    let mut adjusted = vec![0.0; p_values.len()];
    let mut highest = 0.0f64;
    for (rank, &test) in order.iter().enumerate() {
        let left = (p_values.len() - rank) as f64;
        highest = highest.max(left * p_values[test]).min(1.0);
        adjusted[test] = highest;
    }
    Ok(adjusted)
}

/// Benjamini and Hochberg's step-up adjustment (1995), which controls the false discovery rate of independent (or positively
/// dependent) tests.
///
/// Returns one adjusted p-value a test, in the order given. With m tests the k-th smallest p is multiplied by m / k, and
/// each value is lowered to the smallest one behind it in that order. Errors where a p-value is not in \[0, 1\].
pub fn benjamini_hochberg(p_values: &[f64]) -> Result<Vec<f64>, Error> {
    let order = ascending(p_values)?;
    let mut adjusted = vec![0.0; p_values.len()];
    let mut lowest = 1.0f64;
    for (rank, &test) in order.iter().enumerate().rev() {
        lowest = lowest.min(p_values.len() as f64 / (rank + 1) as f64 * p_values[test]);
        adjusted[test] = lowest;
    }
    Ok(adjusted)
}

/// The tests from the smallest p-value to the largest.
fn ascending(p_values: &[f64]) -> Result<Vec<usize>, Error> {
    if let Some(&value) = p_values.iter().find(|p| !(0.0..=1.0).contains(*p)) {
        return Err(Error::Input { quantity: "a p-value", value, range: "in [0, 1]" });
    }
    let mut order: Vec<usize> = (0..p_values.len()).collect();
    order.sort_by(|&left, &right| p_values[left].total_cmp(&p_values[right]));
    Ok(order)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::resample::Resampler;

    /// The fifteen p-values of Benjamini and Hochberg 1995, section 3.2 (Neuhaus et al. 1992).
    const NEUHAUS: [f64; 15] = [
        0.0001, 0.0004, 0.0019, 0.0095, 0.0201, 0.0278, 0.0298, 0.0344, 0.0459, 0.3240, 0.4262, 0.5719,
        0.6528, 0.7590, 1.0,
    ];

    #[test]
    fn the_papers_example_rejects_three_and_four() {
        // The paper: Bonferroni (and Hochberg's and Holm's procedures) reject the first three at 0.05, theirs the first four.
        let rejected = |adjusted: Vec<f64>| adjusted.iter().filter(|p| **p <= 0.05).count();
        assert_eq!(rejected(holm(&NEUHAUS).expect("are p-values")), 3);
        assert_eq!(rejected(benjamini_hochberg(&NEUHAUS).expect("are p-values")), 4);
    }

    #[test]
    fn adjusted_values_are_statsmodels() {
        // statsmodels.stats.multitest.multipletests (fixtures/scripts/eval_statistics.py), values given out of order.
        let p_values = [0.04, 0.01, 0.005, 0.03, 0.2, 0.03];
        let expected_holm = [0.12, 0.05, 0.03, 0.12, 0.2, 0.12];
        let expected_hochberg = [0.048, 0.03, 0.03, 0.045, 0.2, 0.045];
        for (found, expected) in
            [(holm(&p_values), expected_holm), (benjamini_hochberg(&p_values), expected_hochberg)]
        {
            let found = found.expect("are p-values");
            for (a, b) in found.iter().zip(expected) {
                assert!((a - b).abs() < 1e-12, "{found:?} against {expected:?}");
            }
        }
    }

    #[test]
    fn bad_p_values_are_named() {
        assert!(holm(&[0.1, f64::NAN]).is_err());
        let error = benjamini_hochberg(&[1.5]).expect_err("is not a p-value");
        assert_eq!(error.to_string(), "a p-value is 1.5, but must be in [0, 1]");
        assert_eq!(holm(&[]), Ok(vec![]));
    }

    #[test]
    fn false_findings_stay_at_or_below_the_level() {
        // Twenty tests, twelve of true hypotheses (uniform p) and eight of false ones (p = u^6): over 4,000 tables, any
        // false rejection under Holm, and the mean share of false ones among the rejected under Benjamini-Hochberg (bound
        // 0.05 x 12/20).
        let mut source = Resampler::new(5);
        let tables = 4000;
        let (mut any_false, mut share_false) = (0, 0.0);
        for _ in 0..tables {
            let p_values: Vec<f64> = (0..20)
                .map(|test| if test < 12 { source.uniform() } else { source.uniform().powi(6) })
                .collect();
            let step_down = holm(&p_values).expect("are p-values");
            any_false += u32::from(step_down[..12].iter().any(|p| *p <= 0.05));
            let step_up = benjamini_hochberg(&p_values).expect("are p-values");
            let found = step_up.iter().filter(|p| **p <= 0.05).count();
            let wrong = step_up[..12].iter().filter(|p| **p <= 0.05).count();
            share_false += wrong as f64 / found.max(1) as f64;
        }
        let (any_false, share_false) =
            (f64::from(any_false) / f64::from(tables), share_false / f64::from(tables));
        assert!(any_false <= 0.05, "family-wise error rate {any_false}");
        // Standard error about 0.002: the exact rate is 0.03.
        assert!((share_false - 0.03).abs() < 0.007, "false discovery rate {share_false}");
    }
}
