//! What a finalist gives away of the rows it was made from: planted secrets, whole passages, personal data.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};
use task::probe::{Canary, Finding, Generation, SensitiveText};
use task::record::Part;

use crate::probes::Look;
use crate::stability::Rate;

/// Exposure of canaries planted alike (Carlini et al. 2019): log2 of the candidates less log2 of the secret's rank, in bits.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Exposure {
    /// `answer` or `input`.
    pub place: String,
    /// In how many rows each stood.
    pub repetitions: usize,
    /// Canaries.
    pub canaries: usize,
    /// Mean exposure, in bits.
    pub mean: f64,
    /// Highest exposure.
    pub highest: f64,
    /// Mean exposure in the untouched model: what guessing gives.
    pub before: f64,
    /// Exposure of a secret that ranks first.
    pub most: f64,
    /// Canaries that rank first, and could be read out by asking.
    pub extracted: Rate,
}

/// Verbatim text in generations.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Overlap {
    /// Words of a run that counts.
    pub shortest: usize,
    /// Longest run of words that was copied.
    pub longest: usize,
    /// Generations from the beginning of a row that the artefact holds, with such a run.
    pub verbatim: Rate,
    /// The same from rows that it does not hold: what the language of the task alone gives.
    pub control: Rate,
}

/// Secrets and personal data.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Sensitive {
    /// Rows with at least one finding.
    pub rows: Rate,
    /// Findings by kind.
    pub kinds: BTreeMap<String, usize>,
    /// The findings, hidden.
    pub findings: Vec<SensitiveText>,
}

/// Exposure of a secret of that rank among `candidates`, in bits.
pub fn exposure(candidates: u64, rank: f64) -> f64 {
    (candidates as f64).log2() - rank.max(1.0).log2()
}

pub(super) fn canaries(look: &Look<'_>) -> Vec<Exposure> {
    let Some(Finding::Canaries { canaries, .. }) = look.finding("canaries") else { return Vec::new() };
    let kinds: BTreeSet<(&str, usize)> =
        canaries.iter().map(|canary| (canary.place.as_str(), canary.repetitions)).collect();
    kinds
        .into_iter()
        .map(|(place, repetitions)| {
            let group: Vec<&Canary> = canaries
                .iter()
                .filter(|canary| canary.place == place && canary.repetitions == repetitions)
                .collect();
            let mean = |rank: fn(&Canary) -> f64| {
                group.iter().map(|canary| exposure(canary.candidates, rank(canary))).sum::<f64>()
                    / group.len() as f64
            };
            let highest = |most: f64, canary: &&Canary| most.max(exposure(canary.candidates, canary.rank));
            let first = group.iter().filter(|canary| canary.rank < 1.5).count();
            Exposure {
                place: place.to_owned(),
                repetitions,
                canaries: group.len(),
                mean: mean(|canary| canary.rank),
                highest: group.iter().fold(0.0, highest),
                before: mean(|canary| canary.rank_before),
                most: exposure(group[0].candidates, 1.0),
                extracted: Rate::new(first, group.len(), look.confidence()),
            }
        })
        .collect()
}

pub(super) fn overlap(look: &Look<'_>) -> Option<Overlap> {
    let Some(Finding::Overlap { shortest, generations }) = look.finding("overlap") else { return None };
    let rate = |part: Part| {
        let of_part: Vec<&Generation> = generations.iter().filter(|text| text.part == part).collect();
        let copied = of_part.iter().filter(|text| text.longest >= *shortest).count();
        Rate::new(copied, of_part.len(), look.confidence())
    };
    Some(Overlap {
        shortest: *shortest,
        longest: generations.iter().map(|text| text.longest).max().unwrap_or(0),
        verbatim: rate(Part::Train),
        control: rate(Part::Dev),
    })
}

pub(super) fn sensitive(look: &Look<'_>) -> Option<Sensitive> {
    let Some(Finding::Sensitive { rows, findings }) = look.finding("sensitive") else { return None };
    let with: BTreeSet<&str> = findings.iter().map(|found| found.example.as_str()).collect();
    let mut kinds = BTreeMap::new();
    for found in findings {
        *kinds.entry(found.kind.clone()).or_default() += 1;
    }
    Some(Sensitive {
        rows: Rate::new(with.len(), *rows, look.confidence()),
        kinds,
        findings: findings.clone(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn exposure_is_that_of_carlini() {
        // Carlini et al. 2019, section 4.3: the most likely of 10^9 candidates has an exposure of about 30 bits; the
        // least likely one has none. A mean rank gives one bit.
        assert!((exposure(1_000_000_000, 1.0) - 29.897_352_853_986_26).abs() < 1e-12);
        assert_eq!(exposure(1024, 1024.0), 0.0);
        assert_eq!(exposure(1024, 512.0), 1.0);
    }
}
