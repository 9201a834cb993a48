//! Floors: what can be had without any language model. A prompt or a fine-tuned model that does not beat them is
//! not worth its cost, so they stand in the same table.

use serde::{Deserialize, Serialize};

pub mod copied_answer;
pub mod logistic_regression;
pub mod majority;
pub mod nearest_neighbour;
mod newton;
pub mod tf_idf;

pub use copied_answer::{ConstantAnswer, NearestAnswer};
pub use logistic_regression::LogisticRegression;
pub use majority::Majority;
pub use nearest_neighbour::NearestNeighbour;
pub use tf_idf::TfIdf;

/// A classifier without a language model. Fitting and predicting are deterministic.
pub trait Floor {
    /// The method as records name it: `majority`, `nearest_neighbour`, `logistic_regression`.
    fn name(&self) -> &'static str;

    /// One finite natural-log probability for each label; the decision is [`best_label`] of them.
    fn predict(&self, input: &str) -> Vec<f32>;

    /// The fitted floor as JSON: what would be shipped, and what [`Fitted::from_artefact`] reads back.
    fn artefact(&self) -> Vec<u8>;
}

/// Any fitted floor, as it is stored: the JSON object has the method's name under `method`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "method", rename_all = "snake_case")]
pub enum Fitted {
    /// See [`Majority`].
    Majority(Majority),
    /// See [`NearestNeighbour`].
    NearestNeighbour(NearestNeighbour),
    /// See [`LogisticRegression`].
    LogisticRegression(LogisticRegression),
}

impl Fitted {
    /// Reads what [`Floor::artefact`] wrote; numbers that contradict each other are refused.
    pub fn from_artefact(json: &[u8]) -> Result<Self, FloorError> {
        serde_json::from_slice(json).map_err(FloorError::Stored)
    }

    fn floor(&self) -> &dyn Floor {
        match self {
            Self::Majority(floor) => floor,
            Self::NearestNeighbour(floor) => floor,
            Self::LogisticRegression(floor) => floor,
        }
    }
}

impl Floor for Fitted {
    fn name(&self) -> &'static str {
        self.floor().name()
    }

    fn predict(&self, input: &str) -> Vec<f32> {
        self.floor().predict(input)
    }

    fn artefact(&self) -> Vec<u8> {
        self.floor().artefact()
    }
}

/// What keeps a floor from being fitted or read.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum FloorError {
    /// There is no training example.
    #[error("a floor needs at least one training example")]
    NoExamples,
    /// A label's index is not below the number of labels.
    #[error("{part} example {example} has label {label}, but there are {labels} labels")]
    Label {
        /// `train` or `dev`.
        part: &'static str,
        /// The example's index.
        example: usize,
        /// Its label.
        label: usize,
        /// How many labels there are.
        labels: usize,
    },
    /// A setting is out of its range.
    #[error("{name} must be {range}, not {value}")]
    Setting {
        /// The setting.
        name: &'static str,
        /// What it may be.
        range: &'static str,
        /// What it was.
        value: String,
    },
    /// A stored floor cannot be read.
    #[error("stored floor: {0}")]
    Stored(#[source] serde_json::Error),
}

/// Stored parts that contradict each other; the text says which.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub struct Inconsistent(pub(crate) &'static str);

/// The index of the highest score, ties to the lower index; 0 for no scores.
pub fn best_label(scores: &[f32]) -> usize {
    let mut best = 0;
    for (label, score) in scores.iter().enumerate() {
        if *score > scores[best] {
            best = label;
        }
    }
    best
}

/// More labels than any floor may be fitted or stored with, so that a bad file cannot ask for all memory.
pub(crate) const MOST_LABELS: usize = 1 << 20;

/// The least probability that a score may stand for, so that every score is finite.
pub(crate) const LEAST_PROBABILITY: f64 = 1e-12;

/// Natural logarithm, not below that of [`LEAST_PROBABILITY`].
pub(crate) fn log_probability(probability: f64) -> f32 {
    probability.max(LEAST_PROBABILITY).ln() as f32
}

pub(crate) fn check_labels(
    part: &'static str,
    examples: &[(&str, usize)],
    labels: usize,
) -> Result<(), FloorError> {
    match examples.iter().position(|&(_, label)| label >= labels) {
        Some(example) => Err(FloorError::Label { part, example, label: examples[example].1, labels }),
        None => Ok(()),
    }
}

pub(crate) fn check_training(train: &[(&str, usize)], labels: usize) -> Result<(), FloorError> {
    if train.is_empty() {
        return Err(FloorError::NoExamples);
    }
    if labels > MOST_LABELS {
        return Err(FloorError::Setting { name: "labels", range: "at most 2^20", value: labels.to_string() });
    }
    check_labels("train", train, labels)
}

/// The JSON of a [`Fitted`] without a copy of its content: `floor` with the name of its method in front.
pub(crate) fn tagged_json<T: Serialize>(method: &'static str, floor: &T) -> Vec<u8> {
    #[derive(Serialize)]
    struct Tagged<'a, T> {
        method: &'static str,
        #[serde(flatten)]
        floor: &'a T,
    }
    serde_json::to_vec(&Tagged { method, floor })
        .expect("maps with text keys and finite numbers always serialise")
}

#[cfg(test)]
mod tests {
    use super::*;

    const TRAIN: [(&str, usize); 5] = [
        ("where is my new card", 2),
        ("my card has not arrived", 2),
        ("top up failed", 0),
        ("the top up was reverted", 0),
        ("where is my card", 2),
    ];

    fn fitted() -> Vec<Fitted> {
        vec![
            Fitted::Majority(Majority::fit(&TRAIN, 3).unwrap()),
            Fitted::NearestNeighbour(NearestNeighbour::fit(&TRAIN, 3).unwrap()),
            Fitted::LogisticRegression(LogisticRegression::fit(&TRAIN, 3, 10.0).unwrap()),
        ]
    }

    #[test]
    fn every_floor_scores_every_label_with_finite_log_probabilities() {
        for floor in fitted() {
            for input in ["where is my card", "zzz", "", "top up \u{0}\u{FFFD}"] {
                let scores = floor.predict(input);
                assert_eq!(scores.len(), 3, "{}", floor.name());
                assert!(scores.iter().all(|score| score.is_finite() && *score <= 0.0), "{scores:?}");
                let total: f64 = scores.iter().map(|score| f64::from(*score).exp()).sum();
                assert!((total - 1.0).abs() < 1e-5, "{} {total}", floor.name());
            }
        }
    }

    #[test]
    fn every_floor_comes_back_from_its_json() {
        for floor in fitted() {
            let json = floor.artefact();
            let again = Fitted::from_artefact(&json).unwrap();
            assert_eq!(again, floor);
            assert_eq!(again.artefact(), json);
            assert!(json.starts_with(format!(r#"{{"method":"{}","#, floor.name()).as_bytes()));
        }
    }

    #[test]
    fn contradictory_json_is_refused() {
        for floor in fitted() {
            let stored: serde_json::Value = serde_json::from_slice(&floor.artefact()).unwrap();
            for key in stored.as_object().unwrap().keys().filter(|key| stored[key.as_str()].is_array()) {
                let mut shorter = stored.clone();
                shorter[key].as_array_mut().unwrap().pop();
                if floor.name() == "majority" {
                    continue; // one count fewer is a task of one label fewer
                }
                assert!(
                    Fitted::from_artefact(shorter.to_string().as_bytes()).is_err(),
                    "{} {key}",
                    floor.name()
                );
            }
        }
        for json in
            ["", "{}", r#"{"method":"majority","counts":[]}"#, r#"{"method":"majority","counts":[0,0]}"#]
        {
            assert!(Fitted::from_artefact(json.as_bytes()).is_err(), "{json}");
        }
    }

    #[test]
    fn bad_training_data_is_refused_by_name() {
        assert!(matches!(Majority::fit(&[], 3), Err(FloorError::NoExamples)));
        let error = NearestNeighbour::fit(&TRAIN, 2).unwrap_err().to_string();
        assert_eq!(error, "train example 0 has label 2, but there are 2 labels");
        assert!(LogisticRegression::fit(&TRAIN, 3, 0.0).is_err());
        assert!(LogisticRegression::fit(&TRAIN, 3, f64::NAN).is_err());
        assert!(NearestNeighbour::fit_with(&TRAIN, 3, 0).is_err());
    }

    #[test]
    fn ties_go_to_the_lower_label() {
        assert_eq!(best_label(&[-1.0, -0.5, -0.5]), 1);
        assert_eq!(best_label(&[]), 0);
    }
}
