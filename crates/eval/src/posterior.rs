//! The posterior of a paired difference: what 2x2 counts say about P(win) - P(loss).

use statrs::function::beta::{beta_reg, ln_beta};

use crate::interval::zero;

/// Posterior of the difference of two shares measured on the same items, under Jeffreys' prior for the three outcomes of an item:
/// (P(win), P(loss), P(tie)) ~ Dirichlet(wins + 1/2, losses + 1/2, ties + 1/2).
///
/// With D = P(win) + P(loss) and s = P(win) / D, D ~ Beta(wins + losses + 1, ties + 1/2) and s ~ Beta(wins + 1/2, losses + 1/2) are
/// independent, and the difference is D (2s - 1). Its distribution function is therefore a one-dimensional integral over s
/// of D's, which is computed by quadrature: nothing is sampled. (Where the two sides agree on everything D's prior adds two halves.)
#[derive(Clone, Copy, Debug)]
pub(crate) struct DifferencePosterior {
    wins: f64,
    losses: f64,
    ties: f64,
}

/// Panels of the composite rule; with five points each the error stays below 1e-9 for up to some thousand items.
const PANELS: usize = 80;
/// Standard deviations from the mean within which a quantile is sought first.
const FAR: f64 = 5.0;
/// Gauss-Legendre abscissas and weights of five points on (-1, 1).
const POINTS: [(f64, f64); 5] = [
    (0.0, 0.568_888_888_888_888_9),
    (-0.538_469_310_105_683_1, 0.478_628_670_499_366_47),
    (0.538_469_310_105_683_1, 0.478_628_670_499_366_47),
    (-0.906_179_845_938_664, 0.236_926_885_056_189_1),
    (0.906_179_845_938_664, 0.236_926_885_056_189_1),
];

impl DifferencePosterior {
    /// The posterior after so many items were won, lost and tied.
    pub(crate) fn new(wins: u64, losses: u64, ties: u64) -> Self {
        let [wins, losses, ties] = [wins, losses, ties].map(|count| count as f64 + 0.5);
        Self { wins, losses, ties }
    }

    /// Probability that the difference is at most `difference`.
    pub(crate) fn at_most(&self, difference: f64) -> f64 {
        if difference <= -1.0 {
            return 0.0;
        }
        if difference < 0.0 {
            let mirrored = Self { wins: self.losses, losses: self.wins, ties: self.ties };
            return 1.0 - mirrored.at_most(-difference);
        }
        if difference >= 1.0 {
            return 1.0;
        }
        // For s <= (1 + difference) / 2 the difference cannot be exceeded; beyond, D must stay below difference / (2s - 1).
        let turn = (1.0 + difference) / 2.0;
        let beyond = self.integrate(turn, |share| {
            let bound = (difference / (2.0 * share - 1.0)).clamp(0.0, 1.0);
            beta_reg(self.wins + self.losses, self.ties, bound)
        });
        (beta_reg(self.wins, self.losses, turn) + beyond).clamp(0.0, 1.0)
    }

    /// The difference that is not exceeded with `probability`.
    pub(crate) fn quantile(&self, probability: f64) -> f64 {
        let total = self.wins + self.losses + self.ties;
        let mean = (self.wins - self.losses) / total;
        let deviation = (((self.wins + self.losses) / total - mean * mean) / total).sqrt();
        let above = |difference: f64| self.at_most(difference) - probability;
        let (low, high) = ((mean - FAR * deviation).max(-1.0), (mean + FAR * deviation).min(1.0));
        // Near the mean; where it is not there, which an end says, anywhere.
        let near = zero(low, high, above);
        if near > low && near < high { near } else { zero(-1.0, 1.0, above) }
    }

    /// Integral over s in (`from`, 1) of the density of s times `value`. With s = sin^2(angle) the density has no poles
    /// (wins, losses >= 1/2), and the panels cover only the angles that carry weight.
    fn integrate(&self, from: f64, value: impl Fn(f64) -> f64) -> f64 {
        let norm = 2f64.ln() - ln_beta(self.wins, self.losses);
        // In the angle the density is close to normal with a standard deviation of 1 / (2 sqrt(wins + losses)).
        let centre = (self.wins / (self.wins + self.losses)).sqrt().asin();
        let reach = 12.0 / (2.0 * (self.wins + self.losses).sqrt());
        let low = from.sqrt().asin().max(centre - reach);
        let high = std::f64::consts::FRAC_PI_2.min(centre + reach);
        if low >= high {
            return 0.0;
        }
        let half = (high - low) / (2.0 * PANELS as f64);
        let mut sum = 0.0;
        for panel in 0..PANELS {
            let middle = low + half * (2 * panel + 1) as f64;
            for (abscissa, weight) in POINTS {
                let (sine, cosine) = (middle + half * abscissa).sin_cos();
                let density = norm
                    + (2.0 * self.wins - 1.0) * sine.ln()
                    + (2.0 * self.losses - 1.0) * cosine.max(1e-300).ln();
                sum += weight * half * density.exp() * value(sine * sine);
            }
        }
        sum
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quantiles_are_those_of_forty_million_samples() {
        // fixtures/scripts/eval_reference.py, standard errors up to 6e-5.
        let cases = [
            (12, 5, 83, 0.025, -0.010_198, 0.151_780),
            (12, 5, 83, 0.05, 0.002_835, 0.137_556),
            (0, 0, 100, 0.025, -0.021_435, 0.021_435),
            (30, 0, 90, 0.025, 0.172_591, 0.328_379),
            (1, 7, 13, 0.025, -0.498_813, -0.033_665),
            (20, 0, 0, 0.025, 0.739_723, 0.998_254),
        ];
        for (wins, losses, ties, tail, low, high) in cases {
            let posterior = DifferencePosterior::new(wins, losses, ties);
            let found = [posterior.quantile(tail), posterior.quantile(1.0 - tail)];
            assert!(
                (found[0] - low).abs() < 2e-4 && (found[1] - high).abs() < 2e-4,
                "{wins} {losses}: {found:?}"
            );
        }
    }

    #[test]
    fn it_is_a_distribution_and_mirrors() {
        for (wins, losses, ties) in [(0, 0, 1), (3, 9, 40), (250, 3, 10), (140, 150, 9), (2000, 1900, 100)] {
            let posterior = DifferencePosterior::new(wins, losses, ties);
            let mirrored = DifferencePosterior::new(losses, wins, ties);
            let steps: Vec<f64> = (-20..=20).map(|step| posterior.at_most(f64::from(step) / 20.0)).collect();
            assert!(steps.windows(2).all(|pair| pair[0] <= pair[1] + 1e-9), "{steps:?}");
            assert_eq!((steps[0], steps[40]), (0.0, 1.0));
            assert!((posterior.quantile(0.1) + mirrored.quantile(0.9)).abs() < 1e-9);
            // Just beside 0 only the sign of 2s - 1 matters: the share of s below one half.
            let sign = beta_reg(posterior.wins, posterior.losses, 0.5);
            assert!(
                (posterior.at_most(0.0) - sign).abs() < 1e-9,
                "{} against {sign}",
                posterior.at_most(0.0)
            );
            assert!((posterior.at_most(1e-9) - sign).abs() < 1e-4);
        }
    }
}
