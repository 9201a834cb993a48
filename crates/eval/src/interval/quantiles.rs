//! Quantiles: of samples, and of the distributions that intervals come from.

use statrs::distribution::{ContinuousCDF, Normal};
use statrs::function::beta::beta_reg;

/// Quantile of sorted values, interpolated linearly (NumPy's default).
pub(crate) fn quantile(sorted: &[f64], level: f64) -> f64 {
    let position = level.clamp(0.0, 1.0) * (sorted.len().max(1) - 1) as f64;
    let below = position.floor() as usize;
    let above = (below + 1).min(sorted.len().saturating_sub(1));
    let (Some(low), Some(high)) = (sorted.get(below), sorted.get(above)) else { return f64::NAN };
    low + (high - low) * (position - below as f64)
}

/// Quantile of the standard normal distribution; not a number for what is no probability.
pub(crate) fn normal_quantile(probability: f64) -> f64 {
    if (0.0..=1.0).contains(&probability) { Normal::standard().inverse_cdf(probability) } else { f64::NAN }
}

pub(crate) fn normal_cdf(value: f64) -> f64 {
    Normal::standard().cdf(value)
}

/// Quantile of Beta(`a`, `b`) by bisection on the regularised incomplete beta function, to the last bit that it resolves.
pub(super) fn beta_quantile(a: f64, b: f64, probability: f64) -> f64 {
    bisect(0.0, 1.0, |x| beta_reg(a, b, x) < probability)
}

/// Quantile of Student's t with `freedom` (> 0, not necessarily whole) degrees of freedom, through that of t^2 / (freedom + t^2),
/// which is Beta(1/2, freedom / 2).
pub fn student_quantile(freedom: f64, probability: f64) -> f64 {
    if freedom.is_nan() || freedom <= 0.0 || !(0.0..=1.0).contains(&probability) {
        return f64::NAN;
    }
    if freedom > 1e7 {
        return normal_quantile(probability);
    }
    let share = beta_quantile(0.5, freedom / 2.0, (2.0 * probability - 1.0).abs());
    let size = (freedom * share / (1.0 - share)).sqrt();
    if probability < 0.5 { -size } else { size }
}

/// The point between `low` and `high` where `below` turns from true to false.
pub(crate) fn bisect(mut low: f64, mut high: f64, below: impl Fn(f64) -> bool) -> f64 {
    for _ in 0..60 {
        let middle = low + (high - low) / 2.0;
        if below(middle) {
            low = middle;
        } else {
            high = middle;
        }
    }
    low + (high - low) / 2.0
}

/// The zero between `low` and `high` of a function that does not fall, to 1e-12: by chords, whose standing end counts half from the second
/// time on (the Illinois rule: Dowell and Jarratt 1971), and a halving wherever a chord has left more than half. For functions that
/// take long: a dozen or two of values instead of [`bisect`]'s sixty.
pub(crate) fn zero(low: f64, high: f64, value: impl Fn(f64) -> f64) -> f64 {
    let [mut below, mut above] = [low, high].map(|at| (at, value(at)));
    if below.1 >= 0.0 || above.1 <= 0.0 {
        return if below.1 >= 0.0 { below.0 } else { above.0 };
    }
    let mut halve = false;
    let mut stood: Option<bool> = None;
    while above.0 - below.0 > 1e-12 {
        let width = above.0 - below.0;
        let chord = below.0 - below.1 * width / (above.1 - below.1);
        let inside = chord > below.0 && chord < above.0;
        let at = if halve || !inside { below.0 + width / 2.0 } else { chord };
        if at <= below.0 || at >= above.0 {
            break;
        }
        let found = value(at);
        if found == 0.0 {
            return at;
        }
        let rises = found > 0.0;
        if rises {
            above = (at, found);
        } else {
            below = (at, found);
        }
        if stood == Some(rises) {
            if rises { below.1 /= 2.0 } else { above.1 /= 2.0 }
        }
        stood = Some(rises);
        halve = above.0 - below.0 > width / 2.0 && !halve;
    }
    below.0 + (above.0 - below.0) / 2.0
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_zero_is_found_in_few_values() {
        use std::cell::Cell;
        let count = |expected: f64, function: &dyn Fn(f64) -> f64| {
            let asked = Cell::new(0);
            let counted = |x: f64| {
                asked.set(asked.get() + 1);
                function(x)
            };
            let found = zero(-1.0, 1.0, counted);
            assert!((found - expected).abs() < 1e-9, "{found} instead of {expected}");
            asked.get()
        };
        assert!(count(0.1, &|x| x * x * x - 0.001) <= 30);
        assert!(count(0.3, &|x| if x < 0.3 { -0.025 } else { 0.975 }) <= 100);
        assert!(count(-0.019_599_639_845_400_54, &|x| normal_cdf(x / 0.01) - 0.025) <= 40);
        assert_eq!(zero(0.0, 1.0, |x| x + 1.0), 0.0);
        assert_eq!(zero(0.0, 1.0, |x| x - 2.0), 1.0);
    }

    #[test]
    fn students_quantiles_are_scipys() {
        // scipy.stats.t.ppf.
        let cases = [
            (1.0, 0.975, 12.706_204_736_174_698),
            (4.0, 0.025, -2.776_445_105_197_798_7),
            (4.37, 0.975, 2.686_148_100_040_884_7),
            (29.0, 0.95, 1.699_127_026_533_497),
            (1e6, 0.975, 1.959_966_356_814_107),
            (12.0, 0.5, 0.0),
        ];
        for (freedom, probability, expected) in cases {
            let found = student_quantile(freedom, probability);
            assert!((found - expected).abs() < 1e-8, "{freedom}: {found} against {expected}");
        }
        assert!(student_quantile(0.0, 0.9).is_nan() && student_quantile(3.0, 1.5).is_nan());
    }
}
