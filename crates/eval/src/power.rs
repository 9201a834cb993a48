//! How many test items a comparison needs, before it is run and after.
//!
//! [`items_to_detect`] and [`items_to_equate`] are the formulas of the verdict; [`exact_power`] is the truth that they
//! approximate (464 items for 10% wins against 5% losses have 80.3% with the mid-p test), and [`detectable_difference`] says
//! what a test set of given size can see.

use statrs::function::beta::beta_reg;
use statrs::function::gamma::ln_gamma;

use crate::Error;
use crate::interval::normal_quantile;
use crate::paired::{mcnemar_exact, mcnemar_mid_p};

/// The chance of seeing a difference that is there.
pub const POWER: f64 = 0.8;

/// Items at which a paired test at `confidence` (two-sided) sees a true difference of `difference` with 80% power, where the two
/// sides disagree (one right, one wrong) on the share `discordant` of the items:
/// n = (z(confidence) + z(80%))^2 (discordant - difference^2) / difference^2, rounded up.
///
/// At 95% the factor is 7.85. `None` where the difference is 0. A discordance below the difference is impossible and is
/// raised to it.
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

/// The smallest true difference that [`items_to_detect`] allows `items` to see at `confidence`, where the sides disagree on
/// the share `discordant`; `None` where even complete disagreement in one direction is too little, or there are no items.
pub fn detectable_difference(items: u64, discordant: f64, confidence: f64) -> Option<f64> {
    if !(0.0..=1.0).contains(&discordant) {
        return None;
    }
    // n d^2 = f (D - d^2), so d = sqrt(f D / (n + f)).
    let factor = (normal_quantile(0.5 + confidence / 2.0) + normal_quantile(POWER)).powi(2);
    let difference = (factor * discordant / (items as f64 + factor)).sqrt();
    (items > 0 && difference <= discordant && difference > 0.0).then_some(difference)
}

/// Which of McNemar's tests.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum McNemar {
    /// The exact conditional test.
    Exact,
    /// The mid-p test.
    MidP,
}

/// The exact power of a two-sided McNemar test at level `alpha` on `items` items, of which the second side alone is right
/// with probability `win` and the first alone with probability `loss`: the chance that the test rejects in favour of the
/// truly better side (of either, where they are equal).
///
/// Summed over the numbers of discordant items within eight standard deviations: quick up to some million items. Errors
/// where the probabilities are no probabilities or alpha is not in (0, 1).
pub fn exact_power(items: u64, win: f64, loss: f64, alpha: f64, test: McNemar) -> Result<f64, Error> {
    let discordant = win + loss;
    for (quantity, value) in
        [("a win's probability", win), ("a loss's probability", loss), ("their sum", discordant)]
    {
        if !(0.0..=1.0).contains(&value) {
            return Err(Error::Input { quantity, value, range: "in [0, 1]" });
        }
    }
    if !(alpha > 0.0 && alpha < 1.0) {
        return Err(Error::Input { quantity: "alpha", value: alpha, range: "in (0, 1)" });
    }
    if discordant == 0.0 {
        return Ok(0.0);
    }
    let (better, worse) = (win.max(loss) / discordant, win.min(loss) / discordant);
    let total = items as f64;
    let (centre, reach) = (total * discordant, 8.0 * (total * discordant * (1.0 - discordant)).sqrt() + 10.0);
    let from = (centre - reach).max(0.0) as u64;
    let to = ((centre + reach) as u64).min(items);
    let power = (from..=to).map(|seen| {
        let Some(critical) = most_losses(seen, alpha, test) else { return 0.0 };
        let mut rejects = binomial_at_most(critical, seen, worse);
        if better == worse {
            rejects *= 2.0;
        }
        binomial(seen, items, discordant) * rejects
    });
    Ok(power.sum::<f64>().min(1.0))
}

/// The largest number of losses in `discordant` items at which the test rejects; `None` where it never does.
fn most_losses(discordant: u64, alpha: f64, test: McNemar) -> Option<u64> {
    let rejects = |losses: u64| {
        let p = match test {
            McNemar::Exact => mcnemar_exact(discordant - losses, losses),
            McNemar::MidP => mcnemar_mid_p(discordant - losses, losses),
        };
        p <= alpha
    };
    // p grows with the number of losses up to one half.
    let (mut rejected, mut kept) = (0, discordant.div_ceil(2));
    if discordant == 0 || !rejects(0) {
        return None;
    }
    while kept - rejected > 1 {
        let middle = rejected + (kept - rejected) / 2;
        if rejects(middle) {
            rejected = middle;
        } else {
            kept = middle;
        }
    }
    Some(rejected)
}

/// P(X <= `count`) for X ~ Binomial(`total`, `chance`).
fn binomial_at_most(count: u64, total: u64, chance: f64) -> f64 {
    if count >= total {
        return 1.0;
    }
    beta_reg((total - count) as f64, count as f64 + 1.0, 1.0 - chance)
}

/// P(X = `count`) for X ~ Binomial(`total`, `chance`).
fn binomial(count: u64, total: u64, chance: f64) -> f64 {
    if chance >= 1.0 {
        return if count == total { 1.0 } else { 0.0 };
    }
    let [count, total] = [count, total].map(|number| number as f64);
    let ways = ln_gamma(total + 1.0) - ln_gamma(count + 1.0) - ln_gamma(total - count + 1.0);
    (ways + count * chance.ln() + (total - count) * (1.0 - chance).ln()).exp()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn worked_values_of_the_method() {
        // Worked values of the method; SciPy's quantiles give 463.08, 1038.67, 1954.37 and 4701.48
        // (fixtures/scripts/eval_reference.py).
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

    #[test]
    fn exact_power_is_messs_and_scipys() {
        // 144 pairs, 0.45 against 0.25, one-sided level 0.025, exact test: power 0.80 (the validated example of MESS, after
        // Duffy 1984).
        let power = exact_power(144, 0.45, 0.25, 0.05, McNemar::Exact).expect("are shares");
        assert!((power - 0.80).abs() < 0.005, "{power}");
        // Complete enumeration with scipy.stats.binom (fixtures/scripts/eval_statistics.py).
        for (items, win, loss, test, expected) in [
            (144, 0.45, 0.25, McNemar::Exact, 0.800_919_443_970_691),
            (464, 0.1, 0.05, McNemar::Exact, 0.770_943_968_218_581_8),
            (464, 0.1, 0.05, McNemar::MidP, 0.802_509_529_202_772_9),
            (250, 0.075, 0.075, McNemar::MidP, 0.047_590_983_508_210_46),
            (30, 0.1, 0.3, McNemar::MidP, 0.396_178_532_392_400_1),
        ] {
            let power = exact_power(items, win, loss, 0.05, test).expect("are shares");
            assert!((power - expected).abs() < 1e-9, "{items} {win} {loss}: {power} against {expected}");
        }
        assert!(exact_power(100, 0.7, 0.4, 0.05, McNemar::Exact).is_err());
        assert!(exact_power(100, 0.1, f64::NAN, 0.05, McNemar::Exact).is_err());
        assert_eq!(exact_power(100, 0.0, 0.0, 0.05, McNemar::MidP), Ok(0.0));
        assert_eq!(exact_power(0, 0.2, 0.1, 0.05, McNemar::MidP), Ok(0.0));
    }

    #[test]
    fn the_formula_keeps_its_promise_and_the_tests_their_level() {
        for (difference, discordant) in [(0.05, 0.15), (0.03, 0.12), (0.1, 0.2)] {
            let items = items_to_detect(difference, discordant, 0.95).expect("differs");
            let [win, loss] = [discordant + difference, discordant - difference].map(|share| share / 2.0);
            let power = exact_power(items, win, loss, 0.05, McNemar::MidP).expect("are shares");
            assert!((0.77..0.83).contains(&power), "{difference} at {discordant}: {power}");
            let detected = detectable_difference(items, discordant, 0.95).expect("is enough");
            assert!((detected - difference).abs() < 5e-4, "{detected}");
            // The exact test never exceeds its level; mid-p hardly ever, by very little (Fagerland et al. 2013).
            let level = |test| {
                exact_power(items, discordant / 2.0, discordant / 2.0, 0.05, test).expect("are shares")
            };
            assert!(level(McNemar::Exact) <= 0.05 && level(McNemar::MidP) < 0.0505);
        }
        // 250 items with 15% discordant see seven points at best (METHOD: "only 7 or more is detectable").
        let seen = detectable_difference(250, 0.15, 0.95).expect("is enough");
        assert!((seen - 0.0676).abs() < 1e-4, "{seen}");
        assert_eq!(detectable_difference(10, 0.01, 0.95), None);
        assert_eq!(detectable_difference(0, 0.5, 0.95), None);
    }
}
