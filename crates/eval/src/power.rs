//! How many test items a comparison needs.

use crate::interval::normal_quantile;

/// The chance of seeing a difference that is there.
pub const POWER: f64 = 0.8;

/// Items at which a paired test at `confidence` (two-sided) sees a true difference of `difference` with 80% power, where the two
/// sides disagree (one right, one wrong) on the share `discordant` of the items:
/// n = (z(confidence) + z(80%))^2 (discordant - difference^2) / difference^2, rounded up.
///
/// At 95% the factor is 7.85. `None` where the difference is 0. A discordance below the difference is impossible and is raised to it.
pub fn items_to_detect(difference: f64, discordant: f64, confidence: f64) -> Option<u64> {
    items(difference, paired_variance(difference, discordant), 0.5 + confidence / 2.0)
}

/// Items at which two one-sided tests at level `alpha` declare equivalence within `margin` with 80% power, where the true
/// difference is `difference`: the same formula on the distance to the nearer margin, with the one-sided quantile.
///
/// `None` where the difference does not lie within the margin.
pub fn items_to_equate(difference: f64, margin: f64, discordant: f64, alpha: f64) -> Option<u64> {
    let distance = margin - difference.abs();
    if distance <= 0.0 { None } else { items(distance, paired_variance(difference, discordant), 1.0 - alpha) }
}

/// Variance of an item's difference where the sides disagree on the share `discordant` of the items.
fn paired_variance(difference: f64, discordant: f64) -> f64 {
    discordant.max(difference.abs()) - difference * difference
}

/// Items at which a test at the one-sided `level` sees a mean at the `distance` with 80% power, where an item has the `variance`.
pub(crate) fn items(distance: f64, variance: f64, level: f64) -> Option<u64> {
    let factor = (normal_quantile(level) + normal_quantile(POWER)).powi(2);
    let needed = factor * variance / (distance * distance);
    (distance != 0.0 && needed.is_finite() && needed < 1e18).then(|| (needed.ceil() as u64).max(1))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn worked_values_of_the_method() {
        // Worked values of the method; SciPy's quantiles give 463.08, 1038.67, 1954.37 and 4701.48 (fixtures/scripts/eval_reference.py).
        let cases = [(0.05, 0.15, 464), (0.03, 0.12, 1039), (0.02, 0.10, 1955), (0.01, 0.06, 4702)];
        for (difference, discordant, expected) in cases {
            assert_eq!(items_to_detect(difference, discordant, 0.95), Some(expected));
            assert_eq!(items_to_detect(-difference, discordant, 0.95), Some(expected));
        }
    }

    #[test]
    fn equivalence_needs_more_the_nearer_the_margin() {
        // By hand: (1.644854 + 0.841621)^2 x 0.1 / 0.02^2 = 1545.6.
        assert_eq!(items_to_equate(0.0, 0.02, 0.1, 0.05), Some(1546));
        assert!(items_to_equate(0.01, 0.02, 0.1, 0.05) > items_to_equate(0.0, 0.02, 0.1, 0.05));
        assert_eq!(items_to_equate(0.02, 0.02, 0.1, 0.05), None);
        assert_eq!(items_to_detect(0.0, 0.1, 0.95), None);
    }
}
