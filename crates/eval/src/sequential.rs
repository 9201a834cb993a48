//! Looking after every item, and stopping as soon as it is decided.
//!
//! McNemar's test and the intervals of [`crate::paired`] hold for a number of items fixed beforehand: looking after each
//! item and stopping at the first p below alpha rejects a true hypothesis far more often than alpha. The e-process here may
//! be looked at after every item.
//!
//! Of the items on which exactly one side is right (the discordant ones), each is a win of the second side with probability
//! 1/2 where the sides do not differ. Betting on wins with every stake at once, weighted by Jeffreys' Beta(1/2, 1/2),
//! multiplies a capital of 1 to
//!
//! E = 2^(w + l) B(w + 1/2, l + 1/2) / B(1/2, 1/2)
//!
//! after w wins and l losses: a martingale where the sides do not differ, so that it ever reaches 1 / alpha with probability
//! at most alpha (Ville 1939; the mixture is Robbins 1970 and Krichevsky and Trofimov 1981). The items must come in an order
//! that does not depend on the answers: see [`looking_order`].
//!
//! E is two-sided. At the stop the side with more wins is named; that it is the wrong one has probability at most alpha as
//! well, since the half of the mixture that bets on it then holds at least 1 / alpha.

use serde::{Deserialize, Serialize};
use statrs::function::beta::ln_beta;

use crate::Error;
use crate::calibration::log_sum_exp;
use crate::interval::{Estimate, Method, bisect};
use crate::paired::PairedCounts;
use crate::resample;

/// The natural logarithm of E after `wins` and `losses`.
pub fn log_e_value(wins: u64, losses: u64) -> f64 {
    log_e(wins as f64, losses as f64)
}

fn log_e(wins: f64, losses: f64) -> f64 {
    (wins + losses) * 2f64.ln() + ln_beta(wins + 0.5, losses + 0.5) - std::f64::consts::PI.ln()
}

/// A comparison that is looked at after every item.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct EProcess {
    alpha: f64,
    counts: PairedCounts,
    log_peak: f64,
    stop: Option<Stop>,
}

/// Where an e-process reached 1 / alpha for the first time.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Stop {
    /// Items seen until then, that one included: the stopping time.
    pub items: u64,
    /// How many of them only the second side got right.
    pub wins: u64,
    /// How many of them only the first side got right.
    pub losses: u64,
    /// E at that item, at least 1 / alpha.
    pub e_value: f64,
    /// Which side is better.
    pub better: Side,
}

/// One of two sides.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Side {
    /// The first.
    First,
    /// The second.
    Second,
}

impl EProcess {
    /// A process that stops at E >= 1 / `alpha`. Errors where `alpha` is not in (0, 1).
    pub fn new(alpha: f64) -> Result<Self, Error> {
        if alpha > 0.0 && alpha < 1.0 {
            return Ok(Self { alpha, counts: PairedCounts::default(), log_peak: 0.0, stop: None });
        }
        Err(Error::Input { quantity: "alpha", value: alpha, range: "in (0, 1)" })
    }

    /// Takes one more item: whether the first and whether the second side got it right. Returns the stop, once there is one;
    /// items after it are counted and do not move it.
    pub fn observe(&mut self, first: bool, second: bool) -> Option<Stop> {
        self.counts.observe(first, second);
        let PairedCounts { wins, losses, .. } = self.counts;
        let log_e = log_e_value(wins, losses);
        self.log_peak = self.log_peak.max(log_e);
        if self.stop.is_none() && log_e >= -self.alpha.ln() {
            let better = if wins > losses { Side::Second } else { Side::First };
            let items = self.counts.items();
            self.stop = Some(Stop { items, wins, losses, e_value: log_e.exp(), better });
        }
        self.stop
    }

    /// The stop, if E has reached 1 / alpha.
    pub fn stop(&self) -> Option<Stop> {
        self.stop
    }

    /// What was seen so far.
    pub fn counts(&self) -> PairedCounts {
        self.counts
    }

    /// E now; infinite beyond the range of numbers.
    pub fn e_value(&self) -> f64 {
        log_e_value(self.counts.wins, self.counts.losses).exp()
    }

    /// The anytime-valid p-value: 1 over the highest E so far.
    pub fn p_value(&self) -> f64 {
        (-self.log_peak).exp()
    }

    /// Whether E can still reach 1 / alpha within `remaining` more items: it does at the earliest where one side wins all of
    /// them. Where it cannot, going on is for the interval only.
    pub fn can_stop_within(&self, remaining: u64) -> bool {
        let PairedCounts { wins, losses, .. } = self.counts;
        let (more, fewer) = (wins.max(losses), wins.min(losses));
        // Where the trailing side is to win it must first pass through E's minimum, so the leading side is the nearer one.
        self.stop.is_some() || log_e_value(more.saturating_add(remaining), fewer) >= -self.alpha.ln()
    }
}

/// The process over `outcomes` (first right, second right) in the order given, which must be one in which answers play no
/// part: that of [`looking_order`]. It tells where a comparison that looks after every item would have stopped.
pub fn replay(outcomes: impl IntoIterator<Item = (bool, bool)>, alpha: f64) -> Result<EProcess, Error> {
    let mut process = EProcess::new(alpha)?;
    for (first, second) in outcomes {
        process.observe(first, second);
    }
    Ok(process)
}

/// Items, in all, at which E reaches 1 / `alpha` if wins and losses go on at the rates of `counts`; `None` where there are
/// as many wins as losses, or where it takes more than 10^12. The stop itself varies around it.
pub fn items_to_stop(counts: &PairedCounts, alpha: f64) -> Option<u64> {
    let seen = counts.items() as f64;
    if counts.wins == counts.losses || !(alpha > 0.0 && alpha < 1.0) {
        return None;
    }
    let [win, loss] = [counts.wins, counts.losses].map(|count| count as f64 / seen);
    let short = |items: f64| log_e(items * win, items * loss) < -alpha.ln();
    let mut high = 1.0;
    while short(high) {
        high *= 2.0;
        if high > 1e12 {
            return None;
        }
    }
    // Below one half of `high` it was short.
    Some(bisect(high / 2.0, high, short).ceil() as u64)
}

/// The places of `examples` in the order in which they are to be looked at: by a hash of each id that the split's identity
/// (`data_sha256`) seeds. Every set of examples has its own order whatever order it is stored in, and the first of many are
/// the same as those of the whole: a comparison that stopped early is looked at again as it was.
pub fn looking_order<S: AsRef<str>>(examples: &[S], data_sha256: &str) -> Vec<usize> {
    let mut order: Vec<usize> = (0..examples.len()).collect();
    let place = |index: &usize| {
        let id = examples[*index].as_ref();
        (mixed(resample::seed(data_sha256, id)), id)
    };
    order.sort_by(|left, right| place(left).cmp(&place(right)));
    order
}

/// The finaliser of SplitMix64 (Steele, Lea and Flood 2014): ids that differ in their last letter alone land far apart.
fn mixed(mut hash: u64) -> u64 {
    hash = (hash ^ (hash >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    hash = (hash ^ (hash >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    hash ^ (hash >> 31)
}

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
/// Jun 2024). At d = 0 the capital is E itself, so the interval leaves out 0 exactly where [`EProcess`] stands at 1 / alpha.
/// The capital is log-convex in d, so that what is kept is an interval. Nothing in this asks that x be one of three numbers: any
/// differences from -1 to 1, as of token F1, are bet on alike ([`Tally::confidence_sequence`]).
///
/// With it a comparison may also stop early for equivalence: once the interval lies within the margin.
pub fn confidence_sequence(counts: &PairedCounts, confidence: f64) -> Result<Estimate, Error> {
    Tally::from(counts).confidence_sequence(confidence)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::paired::mcnemar_mid_p;
    use crate::resample::Resampler;

    fn counts(wins: u64, losses: u64, items: u64) -> PairedCounts {
        PairedCounts { both_right: items - wins - losses, wins, losses, both_wrong: 0 }
    }

    #[test]
    fn evidence_is_by_hand_and_scipys() {
        // With wins alone E = C(2w, w) / 2^w: 184,756 / 1,024 after ten.
        assert!((log_e_value(10, 0).exp() - 184_756.0 / 1024.0).abs() < 1e-9);
        // One of each: 4 B(3/2, 3/2) / B(1/2, 1/2) = 4 (pi / 8) / pi.
        assert!((log_e_value(1, 1).exp() - 0.5).abs() < 1e-12);
        // scipy.special.betaln (fixtures/scripts/eval_statistics.py).
        for (wins, losses, expected) in [
            (7, 1, 1.209_426_655_008_399_6),
            (59, 86, -0.187_398_432_298_407_7),
            (400, 330, -0.161_331_504_199_764_28),
        ] {
            assert!((log_e_value(wins, losses) - expected).abs() < 1e-9, "{wins} {losses}");
            assert_eq!(log_e_value(wins, losses), log_e_value(losses, wins));
        }
    }

    #[test]
    fn evidence_is_a_martingale_where_the_sides_do_not_differ() {
        for (wins, losses) in [(0, 0), (3, 1), (40, 55)] {
            let next = (log_e_value(wins + 1, losses).exp() + log_e_value(wins, losses + 1).exp()) / 2.0;
            let now = log_e_value(wins, losses).exp();
            assert!((next - now).abs() < 1e-9 * now, "{wins} {losses}");
        }
    }

    #[test]
    fn it_stops_once_and_says_where() {
        let mut process = EProcess::new(0.05).expect("is a level");
        assert_eq!((process.p_value(), process.stop()), (1.0, None));
        let stops: Vec<_> =
            (0..9).map(|_| (process.observe(true, true), process.observe(false, true)).1).collect();
        // C(2w, w) / 2^w is 14.4 after six wins and 26.8 after seven: the fourteenth item.
        let stop = stops[6].expect("has stopped");
        assert_eq!(
            (stops[5], stop.items, stop.wins, stop.losses, stop.better),
            (None, 14, 7, 0, Side::Second)
        );
        assert!((stop.e_value - 3432.0 / 128.0).abs() < 1e-9);
        assert_eq!((process.stop(), process.counts().items()), (Some(stop), 18));
        assert!((process.p_value() - 512.0 / 48_620.0).abs() < 1e-12);
        assert!(EProcess::new(0.0).is_err() && EProcess::new(f64::NAN).is_err());
    }

    #[test]
    fn futility_and_the_way_to_go_are_computed() {
        let mut process = EProcess::new(0.05).expect("is a level");
        for _ in 0..3 {
            process.observe(true, false);
        }
        assert!(process.can_stop_within(4) && !process.can_stop_within(3), "seven in all are needed");
        assert_eq!(items_to_stop(&counts(10, 10, 50), 0.05), None);
        assert_eq!(items_to_stop(&PairedCounts::default(), 0.05), None);
        // Half of the items won and none lost: E reaches 20 between six wins (14.4) and seven (26.8).
        assert!(matches!(items_to_stop(&counts(10, 0, 20), 0.05), Some(13 | 14)));
        let needed = items_to_stop(&counts(60, 40, 1000), 0.05).expect("differs");
        let share = |share: f64| log_e(needed as f64 * 0.06 * share, needed as f64 * 0.04 * share);
        assert!(share(1.0) >= 20f64.ln() && share(0.995) < 20f64.ln(), "{needed}");
    }

    #[test]
    fn the_looking_order_of_a_part_is_the_beginning_of_the_whole() {
        let ids: Vec<String> = (0..400).map(|item| format!("row-{item:03}")).collect();
        let order = looking_order(&ids, "split");
        assert_ne!(order, looking_order(&ids, "another split"));
        let first: Vec<&String> = order[..150].iter().map(|&index| &ids[index]).collect();
        let mut stored = first.clone();
        stored.sort();
        let again: Vec<&String> =
            looking_order(&stored, "split").into_iter().map(|index| stored[index]).collect();
        assert_eq!(again, first);
        // 200 of 400 expected in the first half of the ids; the standard deviation of 150 drawn ones is 4.8.
        let low = order[..150].iter().filter(|&&index| index < 200).count();
        assert!((55..=95).contains(&low), "{low} of 150");
    }

    #[test]
    fn a_true_hypothesis_is_rejected_at_most_at_the_level_however_often_one_looks() {
        let (trials, items) = (3000, 600);
        let mut source = Resampler::new(71);
        let (mut stopped, mut fooled) = (0, 0);
        for _ in 0..trials {
            let mut process = EProcess::new(0.05).expect("is a level");
            let mut naive = false;
            for _ in 0..items {
                let draw = source.uniform();
                process.observe(draw < 0.1, (0.1..0.2).contains(&draw));
                let seen = process.counts();
                naive |= seen.wins + seen.losses >= 10
                    && draw < 0.2
                    && mcnemar_mid_p(seen.wins, seen.losses) < 0.05;
            }
            stopped += u32::from(process.stop().is_some());
            fooled += u32::from(naive);
        }
        let [stopped, fooled] = [stopped, fooled].map(|count| f64::from(count) / f64::from(trials));
        println!("sequential false positives {stopped}, naive {fooled}");
        assert!(stopped <= 0.05, "{stopped}");
        assert!(fooled > 0.15, "what looking at McNemar's p after every item does: {fooled}");
    }

    #[test]
    fn a_difference_is_found_early_and_its_side_is_named() {
        // 15% against 5% of the items: the fixed design needs 150 items for 80% power.
        let (trials, items) = (1000, 600u64);
        let mut source = Resampler::new(72);
        let (mut found, mut wrong, mut seen) = (0, 0, 0);
        for _ in 0..trials {
            let mut process = EProcess::new(0.05).expect("is a level");
            let stop = (0..items).find_map(|_| {
                let draw = source.uniform();
                process.observe((0.15..0.2).contains(&draw), draw < 0.15)
            });
            found += u32::from(stop.is_some());
            wrong += u32::from(stop.is_some_and(|stop| stop.better == Side::First));
            seen += stop.map_or(items, |stop| stop.items);
        }
        let mean = seen as f64 / f64::from(trials);
        println!("sequential power {found} of {trials}, wrong side {wrong}, mean items {mean}");
        assert!(found > 990 && wrong < 5, "{found} found, {wrong} of them wrong");
        assert!(mean < 250.0, "{mean} items");
    }

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
