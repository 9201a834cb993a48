//! The interval of a difference that holds however often one looks.

use crate::Error;
use crate::calibration::log_sum_exp;
use crate::interval::{Estimate, Method, bisect};
use crate::paired::PairedCounts;

/// How often each difference of the two sides' scores (second less first, from -1 to 1) was seen.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Tally {
    /// Differences with the number of their items.
    seen: Vec<(f64, f64)>,
    items: f64,
}

impl From<&PairedCounts> for Tally {
    fn from(counts: &PairedCounts) -> Self {
        let ties = counts.both_right + counts.both_wrong;
        let seen = [(1.0, counts.wins), (-1.0, counts.losses), (0.0, ties)];
        let seen = seen.into_iter().filter(|(_, items)| *items > 0);
        Self {
            seen: seen.map(|(value, items)| (value, items as f64)).collect(),
            items: counts.items() as f64,
        }
    }
}

impl Tally {
    /// Counts `differences`, each from -1 to 1, in whatever order.
    pub fn new(differences: impl IntoIterator<Item = f64>) -> Self {
        let mut sorted: Vec<f64> = differences.into_iter().map(|value| value.clamp(-1.0, 1.0)).collect();
        sorted.sort_by(f64::total_cmp);
        let items = sorted.len() as f64;
        let mut seen: Vec<(f64, f64)> = Vec::new();
        for value in sorted {
            match seen.last_mut() {
                Some((last, count)) if *last == value => *count += 1.0,
                _ => seen.push((value, 1.0)),
            }
        }
        Self { seen, items }
    }

    /// The mean difference; 0 without items.
    pub fn difference(&self) -> f64 {
        self.seen.iter().map(|(value, items)| value * items).sum::<f64>() / self.items.max(1.0)
    }

    /// [`confidence_sequence`] of graded scores.
    ///
    /// # Errors
    /// [`Error::Input`] where `confidence` is not in (0, 1).
    pub fn confidence_sequence(&self, confidence: f64) -> Result<Estimate, Error> {
        crate::mean::check_confidence(confidence)?;
        let value = self.difference();
        let threshold = -(1.0 - confidence).ln();
        let excluded = |difference: f64| self.log_capital(difference) >= threshold;
        Ok(Estimate {
            value,
            low: bisect(-1.0, value, excluded),
            high: bisect(value, 1.0, |difference| !excluded(difference)),
            interval: Method::AnytimeValid,
        })
    }

    /// Whether [`Tally::confidence_sequence`] at `confidence` leaves out `difference`, without looking for its ends.
    pub(crate) fn excludes(&self, difference: f64, confidence: f64) -> bool {
        self.log_capital(difference) >= -(1.0 - confidence).ln()
    }

    /// Log of the capital of the bettor against `difference`: the mean over p ~ Beta(1/2, 1/2) of a product over all items. An item of
    /// difference x has the factor `(1 + x) p / (1 + d) + (1 - x) (1 - p) / (1 - d)`, where p stands for the stake's place between
    /// the two that can go broke.
    fn log_capital(&self, difference: f64) -> f64 {
        // With p = sin^2(angle) the prior is even in the angle and the integrand periodic: equal steps converge exponentially
        // once they are smaller than the peak, whose width is about 1 / sqrt(items).
        let points = 64 + (16.0 * self.items.sqrt()).min(1e6) as usize;
        // A side that no item calls for may be infinite.
        let side = |share: f64, factor: f64| if share > 0.0 { share * factor } else { 0.0 };
        let logs: Vec<f64> = (0..points)
            .map(|point| {
                let angle = (point as f64 + 0.5) / points as f64 * std::f64::consts::FRAC_PI_2;
                let (up, down) =
                    (angle.sin().powi(2) / (1.0 + difference), angle.cos().powi(2) / (1.0 - difference));
                let factor = |value: f64| side(1.0 + value, up) + side(1.0 - value, down);
                self.seen.iter().map(|(value, items)| items * factor(*value).ln()).sum()
            })
            .collect();
        log_sum_exp(logs.iter().copied()) - (points as f64).ln()
    }
}

/// The difference of the two sides' accuracies (second less first) with an interval that holds at every number of items at
/// once: the chance that it ever leaves out the true difference, however often one looks, is at most 1 - `confidence`.
///
/// It keeps the differences d against which a bettor has not multiplied the capital by 1 / (1 - confidence). With every
/// item's score x (1 for a win, -1 for a loss, 0 for a tie) a stake s multiplies the capital by 1 + s (x - d); the stakes
/// that can never go broke are mixed by Jeffreys' prior (betting: Waudby-Smith and Ramdas 2024; this mixture: Orabona and
/// Jun 2024). At d = 0 the capital is E itself, so the interval leaves out 0 exactly where [`super::EProcess`] stands at 1 / alpha.
/// The capital is log-convex in d, so that what is kept is an interval. Nothing in this asks that x be one of three numbers: any
/// differences from -1 to 1, as of token F1, are bet on alike ([`Tally::confidence_sequence`]).
///
/// With it a comparison may also stop early for equivalence: once the interval lies within the margin.
pub fn confidence_sequence(counts: &PairedCounts, confidence: f64) -> Result<Estimate, Error> {
    Tally::from(counts).confidence_sequence(confidence)
}

#[cfg(test)]
mod tests {
    use super::super::log_e_value;
    use super::*;
    use crate::paired::counts;
    use crate::resample::Resampler;

    #[test]
    fn the_confidence_sequence_holds_at_all_times() {
        let (trials, items) = (300, 200);
        let mut source = Resampler::new(73);
        let mut left = 0;
        for _ in 0..trials {
            let mut seen = PairedCounts::default();
            // Wrong as soon as the true difference, 0.1, is left out once.
            left += u32::from((0..items).any(|_| {
                let draw = source.uniform();
                seen.observe((0.2..0.3).contains(&draw), draw < 0.2);
                Tally::from(&seen).log_capital(0.1) >= 20f64.ln()
            }));
        }
        let share = f64::from(left) / f64::from(trials);
        println!("confidence sequence ever wrong {share}");
        assert!(share <= 0.05, "{share}");
    }

    #[test]
    fn the_confidence_sequence_is_the_inverted_capital() {
        // fixtures/scripts/eval_statistics.py: the capital by SciPy's adaptive quadrature over the stakes.
        for (wins, losses, items, low, high) in [
            (12, 5, 100, -0.060_816_160_568_900_84, 0.211_214_708_608_920_58),
            (40, 22, 500, -0.015_492_164_596_207_83, 0.090_387_674_711_880_17),
            (0, 9, 350, -0.061_703_032_045_209_02, -0.005_045_918_251_755_186),
            (150, 90, 1000, 0.006_864_824_689_600_038, 0.113_928_181_917_213_26),
        ] {
            let found = confidence_sequence(&counts(wins, losses, items), 0.95).expect("is a confidence");
            assert!((found.low - low).abs() < 1e-6 && (found.high - high).abs() < 1e-6, "{found:?}");
            let fixed = counts(wins, losses, items).interval(0.95);
            assert!(found.low < fixed.low && found.high > fixed.high, "looking often has its price");
        }
        let nothing = confidence_sequence(&PairedCounts::default(), 0.95).expect("is a confidence");
        assert!((nothing.low + 1.0).abs() < 1e-9 && (nothing.high - 1.0).abs() < 1e-9, "{nothing:?}");
        assert!(confidence_sequence(&PairedCounts::default(), 1.0).is_err());
    }

    #[test]
    fn the_confidence_sequence_agrees_with_the_evidence_at_no_difference() {
        for (wins, losses, items) in [(7, 0, 7), (12, 5, 100), (400, 330, 3000), (3000, 3100, 20_000)] {
            let capital = Tally::from(&counts(wins, losses, items)).log_capital(0.0);
            assert!((capital - log_e_value(wins, losses)).abs() < 1e-8, "{wins} {losses}: {capital}");
        }
    }

    #[test]
    fn graded_differences_are_bet_on_as_wins_and_losses_are() {
        let three = counts(40, 22, 500);
        let listed = [1.0; 40].into_iter().chain([-1.0; 22]).chain([0.0; 438]);
        let (listed, counted) = (Tally::new(listed), Tally::from(&three));
        assert!((listed.log_capital(0.03) - counted.log_capital(0.03)).abs() < 1e-9);
        // One item of 1/2 against 0: the mean of (3/2) p + (1/2) (1 - p) over a p of mean 1/2 is 1. Two of them: the mean of
        // (1/2 + p)^2 = 1/4 + 1/2 + E p^2, which is 3/8 under Beta(1/2, 1/2).
        assert!(Tally::new([0.5]).log_capital(0.0).abs() < 1e-12);
        assert!((Tally::new([0.5, 0.5]).log_capital(0.0).exp() - 9.0 / 8.0).abs() < 1e-12);
        // Halved differences leave a narrower interval than wins and losses of the same mean.
        let halves = Tally::new([0.5; 120].into_iter().chain([-0.5; 40]).chain([0.0; 240]));
        let whole = Tally::new([1.0; 60].into_iter().chain([-1.0; 20]).chain([0.0; 320]));
        assert!((halves.difference() - whole.difference()).abs() < 1e-12);
        let [halves, whole] =
            [halves, whole].map(|tally| tally.confidence_sequence(0.95).expect("is a confidence"));
        assert!(halves.low > whole.low && halves.high < whole.high, "{halves:?} {whole:?}");
        assert!(halves.low > 0.0, "{halves:?}");
    }

    #[test]
    fn graded_differences_that_are_none_are_seldom_called_one_however_often_one_looks() {
        // Token F1 of two sides alike: ties, small differences, and now and then all or nothing; looked at every 20 of 600 items.
        let (trials, items) = (400, 600);
        let mut source = Resampler::new(74);
        let (mut wrong, mut naive) = (0, 0);
        for _ in 0..trials {
            let mut differences: Vec<f64> = Vec::new();
            let (mut left, mut fooled) = (false, false);
            for item in 1..=items {
                let size = [0.0, 0.0, 0.2, 0.5, 1.0][(source.uniform() * 5.0) as usize];
                differences.push(if source.uniform() < 0.5 { size } else { -size });
                if item % 20 == 0 && item >= 100 {
                    left |= Tally::new(differences.iter().copied()).excludes(0.0, 0.95);
                    let mean = differences.iter().sum::<f64>() / f64::from(item);
                    let variance =
                        differences.iter().map(|x| (x - mean).powi(2)).sum::<f64>() / f64::from(item);
                    fooled |= mean.abs() > 1.96 * (variance / f64::from(item)).sqrt();
                }
            }
            wrong += u32::from(left);
            naive += u32::from(fooled);
        }
        // 5% of 400; a test of a fixed number of items is fooled several times as often.
        assert!(wrong <= 20, "{wrong}");
        assert!(naive > 60, "{naive}");
    }
}
