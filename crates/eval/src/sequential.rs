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

mod tally;

use serde::{Deserialize, Serialize};
use statrs::function::beta::ln_beta;

use crate::Error;
use crate::interval::bisect;
use crate::paired::PairedCounts;
use crate::resample;

pub use tally::{Tally, confidence_sequence};

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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::paired::{counts, mcnemar_mid_p};
    use crate::resample::Resampler;

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
}
