//! Two sides that answered the same items.
//!
//! The difference is always `second - first`; a win is an item that only the second side got right, a loss one that only the
//! first did. The interval of the difference is, for fewer than [`SMALL`] items, the Dirichlet posterior of wins, losses and
//! ties (Jeffreys' prior, equal tails), and Tango's score interval (Tango 1998) from there on. Both were checked for
//! coverage (tests below). Scores between 0 and 1 are paired by [`crate::graded`].

mod mcnemar;
mod pairing;

use serde::{Deserialize, Serialize};

use crate::interval::{Estimate, Method, SMALL, bisect, normal_cdf, normal_quantile};
use crate::posterior::DifferencePosterior;
pub use mcnemar::{mcnemar_exact, mcnemar_mid_p};
pub(crate) use pairing::scores;
pub use pairing::{Pairing, outcomes, pair};

/// Level of each of the two one-sided tests of equivalence: their interval has 90% confidence.
pub const EQUIVALENCE_ALPHA: f64 = 0.05;

/// How two sides did on the same items.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct PairedCounts {
    /// Items that both got right.
    pub both_right: u64,
    /// Items that only the second side got right.
    pub wins: u64,
    /// Items that only the first side got right.
    pub losses: u64,
    /// Items that both got wrong.
    pub both_wrong: u64,
}

impl PairedCounts {
    /// Counts `items` of (first is right, second is right).
    pub fn new(items: impl IntoIterator<Item = (bool, bool)>) -> Self {
        let mut counts = Self::default();
        items.into_iter().for_each(|(first, second)| counts.observe(first, second));
        counts
    }

    /// Counts one more item: whether the first and whether the second side got it right.
    pub fn observe(&mut self, first: bool, second: bool) {
        *match (first, second) {
            (true, true) => &mut self.both_right,
            (false, true) => &mut self.wins,
            (true, false) => &mut self.losses,
            (false, false) => &mut self.both_wrong,
        } += 1;
    }

    /// Items in all.
    pub fn items(&self) -> u64 {
        self.both_right + self.wins + self.losses + self.both_wrong
    }

    /// Accuracy of the second side less the first's; 0 without items.
    pub fn difference(&self) -> f64 {
        (self.wins as f64 - self.losses as f64) / self.items().max(1) as f64
    }

    /// Share of items on which one side was right and the other wrong, drawn a little towards one half,
    /// (wins + losses + 1/2) / (items + 1), so that a sample without any does not promise that there are none.
    pub fn discordant(&self) -> f64 {
        ((self.wins + self.losses) as f64 + 0.5) / (self.items() + 1) as f64
    }

    /// The difference with its interval at `confidence`: the posterior under [`SMALL`] items, Tango's score interval from
    /// there on.
    pub fn interval(&self, confidence: f64) -> Estimate {
        if self.items() < SMALL { self.posterior(confidence) } else { self.tango(confidence) }
    }

    /// The equal-tailed Dirichlet posterior of the difference.
    pub fn posterior(&self, confidence: f64) -> Estimate {
        let posterior = DifferencePosterior::new(self.wins, self.losses, self.both_right + self.both_wrong);
        let tail = (1.0 - confidence) / 2.0;
        Estimate {
            value: self.difference(),
            low: posterior.quantile(tail),
            high: posterior.quantile(1.0 - tail),
            interval: Method::DirichletPosterior,
        }
    }

    /// Tango's interval: the differences that a score test of the paired shares does not reject.
    pub fn tango(&self, confidence: f64) -> Estimate {
        let value = self.difference();
        if self.items() == 0 {
            return Estimate { value, low: -1.0, high: 1.0, interval: Method::TangoScore };
        }
        let z = normal_quantile(0.5 + confidence / 2.0);
        Estimate {
            value,
            low: bisect(-1.0, value, |difference| self.score(difference) > z),
            high: bisect(value, 1.0, |difference| self.score(difference) > -z),
            interval: Method::TangoScore,
        }
    }

    /// Tango's score statistic of the hypothesis that the true difference is `difference`.
    fn score(&self, difference: f64) -> f64 {
        let [items, wins, losses] = [self.items(), self.wins, self.losses].map(|count| count as f64);
        // The likeliest P(loss) under the hypothesis is the larger root of 2n q^2 + b q + c = 0.
        let b = (2.0 * items - wins + losses) * difference - wins - losses;
        let c = -losses * difference * (1.0 - difference);
        let loss = ((b * b - 8.0 * items * c).max(0.0).sqrt() - b) / (4.0 * items);
        let variance = items * (2.0 * loss + difference * (1.0 - difference));
        let distance = wins - losses - items * difference;
        if variance > 0.0 { distance / variance.sqrt() } else { distance * f64::INFINITY }
    }

    /// Whether the two sides differ by less than `margin`: two one-sided tests at level `alpha`, decided by whether the interval
    /// at confidence 1 - 2 `alpha` lies within the margin on both sides.
    pub fn equivalence(&self, margin: f64, alpha: f64) -> Equivalence {
        Equivalence::new(&self.interval(1.0 - 2.0 * alpha), margin)
    }

    /// The larger of the p-values of the two one-sided tests (Schuirmann 1987): at most alpha exactly where
    /// [`PairedCounts::equivalence`] holds at that alpha. Of fewer than [`SMALL`] items it is the posterior probability that
    /// the difference lies beyond the nearer margin, otherwise Tango's score test against that margin. 1 without items.
    pub fn equivalence_p(&self, margin: f64) -> f64 {
        if self.items() == 0 {
            return 1.0;
        }
        let beyond = if self.items() < SMALL {
            let posterior =
                DifferencePosterior::new(self.wins, self.losses, self.both_right + self.both_wrong);
            [posterior.at_most(-margin), 1.0 - posterior.at_most(margin)]
        } else {
            [normal_cdf(-self.score(-margin)), normal_cdf(self.score(margin))]
        };
        beyond[0].max(beyond[1]).min(1.0)
    }
}

/// The outcome of two one-sided tests.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Equivalence {
    /// What counts as no difference.
    pub margin: f64,
    /// Lower end of the interval at confidence 1 - 2 alpha.
    pub low: f64,
    /// Upper end of it.
    pub high: f64,
    /// Whether the interval lies within the margin.
    pub equivalent: bool,
}

impl Equivalence {
    /// Whether the interval of `difference` lies within `margin`.
    pub(crate) fn new(difference: &Estimate, margin: f64) -> Self {
        let Estimate { low, high, .. } = *difference;
        Self { margin, low, high, equivalent: low > -margin && high < margin }
    }
}

/// Counts of `items` items, the ties all right on both sides.
#[cfg(test)]
pub(crate) fn counts(wins: u64, losses: u64, items: u64) -> PairedCounts {
    PairedCounts { both_right: items - wins - losses, wins, losses, both_wrong: 0 }
}

#[cfg(test)]
mod tests {
    use statrs::function::gamma::ln_gamma;

    use super::*;

    #[test]
    fn tango_is_the_published_example_and_the_numerical_inversion() {
        // The first case is Bentur et al. again: -0.517 to -0.026 in Fagerland, Lydersen and Laake 2014.
        let cases = [
            (1, 7, 21, 0.95, -0.517_232_277_271_225, -0.026_003_033_585_139_57),
            (59, 86, 1600, 0.95, -0.031_915_087_483_171_46, -0.002_150_680_067_493_552_7),
            (40, 22, 500, 0.95, 0.005_282_523_740_833_375, 0.068_019_006_231_270_4),
            (40, 22, 500, 0.9, 0.010_307_844_514_551_53, 0.062_632_861_124_792_12),
            (0, 0, 400, 0.95, -0.009_512_294_334_296_51, 0.009_512_294_334_296_51),
            (0, 9, 350, 0.95, -0.048_140_488_328_108_92, -0.013_586_192_580_03),
        ];
        for (wins, losses, items, confidence, low, high) in cases {
            let found = counts(wins, losses, items).tango(confidence);
            assert!((found.low - low).abs() < 1e-7 && (found.high - high).abs() < 1e-7, "{found:?}");
        }
        // By hand: with wins alone the bound solves n (1 - d) / (1 + d) = z^2, so d = (n - z^2) / (n + z^2).
        let all = counts(350, 0, 350).tango(0.95);
        assert!((all.high - 1.0).abs() < 1e-9 && (all.low - 0.978_287_118).abs() < 1e-8, "{all:?}");
    }

    #[test]
    fn the_number_of_items_chooses() {
        assert_eq!(counts(9, 4, 299).interval(0.95).interval, Method::DirichletPosterior);
        assert_eq!(counts(9, 4, 300).interval(0.95).interval, Method::TangoScore);
        let nothing = PairedCounts::default().tango(0.95);
        assert_eq!((nothing.value, nothing.low, nothing.high), (0.0, -1.0, 1.0));
    }

    #[test]
    fn equivalence_is_the_ninety_percent_interval_within_the_margin() {
        let close = counts(4, 4, 1000).equivalence(0.02, EQUIVALENCE_ALPHA);
        assert!(close.equivalent, "{close:?}");
        let same = counts(40, 22, 500).equivalence(0.065, EQUIVALENCE_ALPHA);
        assert!(same.equivalent && (same.high - 0.062_632_861).abs() < 1e-7, "{same:?}");
        assert!(!counts(40, 22, 500).equivalence(0.06, EQUIVALENCE_ALPHA).equivalent);
    }

    #[test]
    fn the_p_of_equivalence_is_that_of_the_interval() {
        // fixtures/scripts/eval_statistics.py: Tango's score, the constrained maximum found numerically.
        for (wins, losses, items, margin, expected) in [
            (40, 22, 500, 0.065, 0.037_199_177_518),
            (20, 24, 800, 0.02, 0.040_800_381_210),
            (0, 0, 400, 0.01, 0.022_211_592_425),
        ] {
            let found = counts(wins, losses, items).equivalence_p(margin);
            assert!((found - expected).abs() < 1e-8, "{wins} {losses}: {found} against {expected}");
        }
        for (wins, losses, items) in [(40, 22, 500), (4, 4, 1000), (9, 4, 250), (3, 3, 120)] {
            let counts = counts(wins, losses, items);
            for margin in [0.01, 0.03, 0.05, 0.0625, 0.063, 0.1] {
                let equivalent = counts.equivalence(margin, EQUIVALENCE_ALPHA).equivalent;
                assert_eq!(
                    equivalent,
                    counts.equivalence_p(margin) < EQUIVALENCE_ALPHA,
                    "{counts:?} {margin}"
                );
            }
        }
        assert_eq!(PairedCounts::default().equivalence_p(0.05), 1.0);
    }

    #[test]
    fn sides_that_differ_by_the_margin_are_called_equivalent_at_most_at_the_level() {
        // By enumeration. Neither test is exact: the posterior's reaches 5.6% here, the score test's 4.6%; where little
        // disagrees both stay far below.
        for (items, win, loss) in [(150, 0.12, 0.06), (250, 0.08, 0.03), (350, 0.09, 0.05), (500, 0.06, 0.03)]
        {
            let level = coverage(items, win, loss, |counts| counts.equivalence_p(win - loss) <= 0.05);
            println!("level of the equivalence test {items}: {level}");
            assert!(level <= 0.058, "{items} items, {win} against {loss}: {level}");
        }
    }

    /// Exact coverage of a paired interval: the multinomial weight of the counts for which `covers` holds.
    fn coverage(items: u64, win: f64, loss: f64, covers: impl Fn(&PairedCounts) -> bool) -> f64 {
        let ln = |count: u64| ln_gamma(count as f64 + 1.0);
        let (mut covered, mut total) = (0.0, 0.0);
        for wins in 0..=items {
            for losses in 0..=items - wins {
                let ties = items - wins - losses;
                let weight = (ln(items) - ln(wins) - ln(losses) - ln(ties)
                    + wins as f64 * win.ln()
                    + losses as f64 * loss.ln()
                    + ties as f64 * (1.0 - win - loss).ln())
                .exp();
                if weight > 1e-5 {
                    total += weight;
                    covered += if covers(&counts(wins, losses, items)) { weight } else { 0.0 };
                }
            }
        }
        covered / total
    }

    #[test]
    fn the_posterior_covers_as_often_as_it_says() {
        for (items, win, loss) in [(60, 0.2, 0.05), (100, 0.06, 0.03), (150, 0.15, 0.15), (250, 0.05, 0.02)] {
            let share = coverage(items, win, loss, |counts| {
                let posterior = DifferencePosterior::new(counts.wins, counts.losses, counts.both_right);
                (0.025..=0.975).contains(&posterior.at_most(win - loss))
            });
            assert!((0.93..=0.97).contains(&share), "{items} items, {win} against {loss}: {share}");
        }
    }

    #[test]
    fn tangos_interval_covers_as_often_as_it_says() {
        let z = normal_quantile(0.975);
        for (items, win, loss) in [(300, 0.05, 0.02), (400, 0.1, 0.1), (600, 0.12, 0.08)] {
            let share = coverage(items, win, loss, |counts| counts.score(win - loss).abs() <= z);
            assert!((0.93..=0.97).contains(&share), "{items} items, {win} against {loss}: {share}");
        }
    }
}
