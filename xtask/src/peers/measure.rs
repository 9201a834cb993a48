//! Alternating runs of two programs.

use std::time::Duration;

use anyhow::{Result, ensure};
use serde::{Deserialize, Serialize};

use super::child::{Child, cold_start};
use super::place::Place;
use super::row::{Peer, Row, Way};

/// Between two runs, so that threads of the one that wait awake go to sleep before the other begins.
const PAUSE: Duration = Duration::from_millis(150);

/// What was measured of one row against one mode of one stack.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) struct Measurement {
    pub(super) row: String,
    pub(super) title: String,
    pub(super) stack: String,
    pub(super) mode: String,
    pub(super) target: f64,
    pub(super) memory_target: Option<f64>,
    pub(super) date: String,
    pub(super) threads: usize,
    /// Why it was not measured.
    pub(super) skipped: Option<String>,
    /// Tokens of one run of ours.
    pub(super) tokens: Option<f64>,
    /// Floating-point operations of one run of ours.
    pub(super) flops: Option<f64>,
    /// Bytes of weights that a run of ours reads.
    pub(super) streamed_bytes: Option<f64>,
    /// Seconds of ours and of the peer, in the order of the runs; the peer's for the whole job, where a run is a part.
    pub(super) pairs: Vec<(f64, f64)>,
    /// How many of the peer's runs the whole job takes, where it was not run whole.
    pub(super) extrapolated: Option<f64>,
    pub(super) ours_peak_bytes: Option<f64>,
    pub(super) peer_peak_bytes: Option<f64>,
    /// Accuracy of ours and of the peer, where the work has one.
    pub(super) accuracy: Option<(f64, f64)>,
    /// What the peer found fastest.
    pub(super) settings: Option<String>,
}

impl Measurement {
    /// Measures, or says why not.
    pub(super) fn take(place: &Place, row: &Row, peer: &Peer, pairs: usize) -> Result<Self> {
        eprintln!("peers: {} against {} {}", row.name, peer.stack, peer.mode);
        let mut measurement = Self {
            row: row.name.to_owned(),
            title: row.title.to_owned(),
            stack: peer.stack.to_owned(),
            mode: peer.mode.to_owned(),
            target: peer.target,
            memory_target: peer.memory,
            date: task::date::today(),
            threads: place.threads,
            skipped: None,
            tokens: None,
            flops: None,
            streamed_bytes: None,
            pairs: Vec::new(),
            extrapolated: None,
            ours_peak_bytes: None,
            peer_peak_bytes: None,
            accuracy: None,
            settings: None,
        };
        let outcome = match row.way {
            Way::ColdStart => measurement.cold(place, row, peer, pairs)?,
            Way::Repeated(most) => measurement.repeated(place, row, peer, pairs.min(most))?,
        };
        measurement.skipped = outcome.err();
        Ok(measurement)
    }

    fn repeated(
        &mut self,
        place: &Place,
        row: &Row,
        peer: &Peer,
        pairs: usize,
    ) -> Result<Result<(), String>> {
        let (ours, command) = match (row.arguments(place), row.command(peer, place)) {
            (Ok(ours), Ok(command)) => (ours, command),
            (Err(missing), _) | (_, Err(missing)) => return Ok(Err(missing)),
        };
        let mut command = command;
        let mut theirs = match Child::start(&mut command, &place.work().join("peer.log"))? {
            Ok(child) => child,
            Err(reason) => return Ok(Err(reason)),
        };
        let mut ours =
            match Child::start(&mut place.speed(place.threads, &ours), &place.work().join("ours.log"))? {
                Ok(child) => child,
                Err(reason) => return Ok(Err(format!("ours: {reason}"))),
            };
        let number = |child: &Child, name: &str| child.facts[name].as_f64();
        (self.tokens, self.flops) = (number(&ours, "tokens"), number(&ours, "flops"));
        self.streamed_bytes = number(&ours, "streamed_bytes");
        self.settings = theirs.facts["settings"].as_str().map(str::to_owned);
        self.extrapolated = match (number(&theirs, "calls"), number(&theirs, "calls_of_a_run")) {
            (Some(calls), Some(own)) => Some(calls / own),
            _ => None,
        };
        if self.extrapolated.is_none() {
            let tokens = number(&theirs, "tokens");
            ensure!(self.tokens == tokens, "not the same work: {:?} and {tokens:?} tokens", self.tokens);
        }
        for _ in 0..pairs {
            std::thread::sleep(PAUSE);
            let own = ours.run()?;
            std::thread::sleep(PAUSE);
            let other = theirs.run()?;
            let (Some(a), Some(b)) = (own["seconds"].as_f64(), other["seconds"].as_f64()) else {
                return Ok(Err(format!("no time was told: {own} {other}")));
            };
            self.pairs.push((a, b * self.extrapolated.unwrap_or(1.0)));
            self.accuracy = own["accuracy"].as_f64().zip(other["accuracy"].as_f64());
        }
        (self.ours_peak_bytes, self.peer_peak_bytes) = (ours.peak_bytes(), theirs.peak_bytes());
        Ok(Ok(()))
    }

    fn cold(&mut self, place: &Place, row: &Row, peer: &Peer, pairs: usize) -> Result<Result<(), String>> {
        let log = place.work().join("peer.log");
        // The first of each is for the operating system's file cache.
        for pair in 0..=pairs {
            let (ours, mut theirs) = match (row.arguments(place), row.command(peer, place)) {
                (Ok(ours), Ok(theirs)) => (ours, theirs),
                (Err(missing), _) | (_, Err(missing)) => return Ok(Err(missing)),
            };
            let (own, other) =
                (cold_start(&mut place.speed(place.threads, &ours), &log)?, cold_start(&mut theirs, &log)?);
            match (own, other) {
                (Ok((own, own_bytes)), Ok((other, other_bytes))) if pair > 0 => {
                    self.pairs.push((own, other));
                    (self.ours_peak_bytes, self.peer_peak_bytes) = (own_bytes, other_bytes);
                }
                (Err(reason), _) | (_, Err(reason)) => return Ok(Err(reason)),
                _ => {}
            }
        }
        Ok(Ok(()))
    }

    /// Peer's time over ours of each pair.
    pub(super) fn ratios(&self) -> Vec<f64> {
        self.pairs.iter().map(|(ours, theirs)| theirs / ours).collect()
    }

    /// Whether the median ratio and the memory are what was asked for; `None` where it was not measured.
    pub(super) fn met(&self) -> Option<(bool, Option<bool>)> {
        let ratio = median(self.ratios())?;
        let memory = match (self.memory_target, self.ours_peak_bytes, self.peer_peak_bytes) {
            (Some(target), Some(ours), Some(theirs)) => Some(ours <= target * theirs),
            _ => None,
        };
        Some((ratio >= self.target, memory))
    }
}

/// The middle value, the mean of the two in the middle for an even number; `None` of nothing.
pub(super) fn median(mut values: Vec<f64>) -> Option<f64> {
    values.sort_by(f64::total_cmp);
    let middle = values.len() / 2;
    match values.len() {
        0 => None,
        length if length % 2 == 1 => Some(values[middle]),
        _ => Some((values[middle - 1] + values[middle]) / 2.0),
    }
}

#[cfg(test)]
mod tests {
    use super::median;

    #[test]
    fn medians_by_hand() {
        assert_eq!(median(vec![]), None);
        assert_eq!(median(vec![3.0, 1.0, 2.0]), Some(2.0));
        assert_eq!(median(vec![4.0, 1.0, 2.0, 3.0]), Some(2.5));
    }
}
