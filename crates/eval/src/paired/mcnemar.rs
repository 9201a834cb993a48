//! McNemar's tests: whether one side wins more often than chance would let it.

use statrs::function::beta::beta_reg;
use statrs::function::gamma::ln_gamma;

/// McNemar's exact test (two-sided): the binomial probability of a split at least as uneven as `wins` to `losses`.
pub fn mcnemar_exact(wins: u64, losses: u64) -> f64 {
    let (fewer, total) = (wins.min(losses), wins + losses);
    if fewer == total - fewer {
        return 1.0;
    }
    (2.0 * binomial_at_most(fewer, total)).min(1.0)
}

/// McNemar's mid-p test: the exact p less the probability of the split seen. Less conservative than the exact test, and
/// close to its level in small samples too (Fagerland, Lydersen and Laake 2013).
pub fn mcnemar_mid_p(wins: u64, losses: u64) -> f64 {
    let (fewer, total) = (wins.min(losses), wins + losses);
    if fewer == total - fewer {
        return 1.0;
    }
    let [fewer_real, total_real] = [fewer, total].map(|count| count as f64);
    let ways =
        ln_gamma(total_real + 1.0) - ln_gamma(fewer_real + 1.0) - ln_gamma(total_real - fewer_real + 1.0);
    (mcnemar_exact(wins, losses) - (ways - total_real * 2f64.ln()).exp()).clamp(0.0, 1.0)
}

/// P(X <= `count`) for X ~ Binomial(`total`, 1/2), with `count` < `total`.
fn binomial_at_most(count: u64, total: u64) -> f64 {
    beta_reg((total - count) as f64, (count + 1) as f64, 0.5)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn mcnemar_is_statsmodels_and_the_published_example() {
        // Fagerland et al. 2013, airway hyper-responsiveness (Bentur et al.): 1 against 7, exact p 0.070, mid-p 0.039.
        let cases = [
            (1, 7, 0.070_312_5, 0.039_062_5),
            (7, 1, 0.070_312_5, 0.039_062_5),
            (10, 10, 1.0, 1.0),
            (0, 5, 0.062_5, 0.031_25),
            (0, 0, 1.0, 1.0),
            (59, 86, 0.030_481_814_649_487_685, 0.025_111_377_256_256_79),
            (400, 330, 0.010_605_994_778_707_762, 0.009_577_201_018_983_78),
        ];
        for (wins, losses, exact, mid) in cases {
            assert!((mcnemar_exact(wins, losses) - exact).abs() < 1e-10, "{wins}:{losses}");
            assert!((mcnemar_mid_p(wins, losses) - mid).abs() < 1e-10, "{wins}:{losses}");
        }
    }
}
