//! Two experiments, paired by the ids of their examples.

use std::collections::BTreeMap;

use task::record::{Experiment, Prediction};

use super::{Equivalence, PairedCounts};
use crate::Error;
use crate::graded::{PairedScores, is_binary};
use crate::interval::Estimate;
use crate::metrics::label_pair;
use crate::resample;

/// Two sides on the same items: counted where every score is 0 or 1, else as differences of scores.
#[derive(Clone, Debug, PartialEq)]
pub enum Pairing {
    /// Right and wrong answers.
    Counts(PairedCounts),
    /// Scores between 0 and 1.
    Scores(PairedScores),
}

impl Pairing {
    /// Items in all.
    pub fn items(&self) -> u64 {
        match self {
            Self::Counts(counts) => counts.items(),
            Self::Scores(scores) => scores.items(),
        }
    }

    /// Mean score of the second side less the first's.
    pub fn difference(&self) -> f64 {
        match self {
            Self::Counts(counts) => counts.difference(),
            Self::Scores(scores) => scores.difference(),
        }
    }

    /// The difference with its interval at `confidence`.
    pub fn interval(&self, confidence: f64) -> Estimate {
        match self {
            Self::Counts(counts) => counts.interval(confidence),
            Self::Scores(scores) => scores.interval(confidence),
        }
    }

    /// As [`PairedCounts::equivalence`].
    pub fn equivalence(&self, margin: f64, alpha: f64) -> Equivalence {
        Equivalence::new(&self.interval(1.0 - 2.0 * alpha), margin)
    }
}

/// Pairs two experiments by the ids of their examples, never by their order. `data_sha256` (the identity of the split) and the ids
/// decide random draws.
pub fn pair(first: &Experiment, second: &Experiment, data_sha256: &str) -> Result<Pairing, Error> {
    let scores = scores(first, second)?;
    if scores.iter().all(|pair| is_binary(pair)) {
        return Ok(Pairing::Counts(PairedCounts::new(scores.into_iter().map(right))));
    }
    let differences = scores.iter().map(|[first, second]| second - first).collect();
    let seed = resample::seed(data_sha256, &format!("{} and {}", first.id, second.id));
    Ok(Pairing::Scores(PairedScores::new(differences, seed)))
}

/// Whether the first and whether the second experiment got each example wholly right, in the order of the examples' ids. Errors
/// where one experiment lacks an example of the other or they disagree about its true label.
pub fn outcomes(first: &Experiment, second: &Experiment) -> Result<Vec<(bool, bool)>, Error> {
    Ok(scores(first, second)?.into_iter().map(right).collect())
}

fn right([first, second]: [f64; 2]) -> (bool, bool) {
    (first == 1.0, second == 1.0)
}

/// The scores of both on each example, in the order of the examples' ids.
pub(crate) fn scores(first: &Experiment, second: &Experiment) -> Result<Vec<[f64; 2]>, Error> {
    let [one, other] = [first, second].map(|experiment| {
        let answers = experiment.predictions.iter().map(|answer| (answer.example.as_str(), answer));
        answers.collect::<BTreeMap<&str, &Prediction>>()
    });
    let unequal = |present: &Experiment, missing: &Experiment, example: &str| Error::UnequalExamples {
        present: present.id.clone(),
        missing: missing.id.clone(),
        example: example.to_owned(),
    };
    if let Some(example) = other.keys().find(|example| !one.contains_key(*example)) {
        return Err(unequal(second, first, example));
    }
    let both = |(example, left): (&&str, &&Prediction)| {
        let right = other.get(example).ok_or_else(|| unequal(first, second, example))?;
        if label_pair(left).map(|pair| pair.0) != label_pair(right).map(|pair| pair.0) {
            let [left, right] = [first, second].map(|experiment| experiment.id.clone());
            return Err(Error::GoldDiffers { left, right, example: (*example).to_owned() });
        }
        Ok([left.score(), right.score()])
    };
    one.iter().map(both).collect()
}
