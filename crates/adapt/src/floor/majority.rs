//! The majority class: always the most frequent label of the training set.

use serde::{Deserialize, Serialize};

use super::{Floor, FloorError, Inconsistent, check_training, log_probability, tagged_json};

/// Answers with the most frequent training label, ties to the lower label index.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "Stored")]
pub struct Majority {
    /// How often each label occurs in the training set; not all zero.
    counts: Vec<u64>,
}

impl Majority {
    /// Counts the labels of `train`; all of them must be below `labels`.
    pub fn fit(train: &[(&str, usize)], labels: usize) -> Result<Self, FloorError> {
        check_training(train, labels)?;
        let mut counts = vec![0; labels];
        for &(_, label) in train {
            counts[label] += 1;
        }
        Ok(Self { counts })
    }

    /// How many labels are known.
    pub(crate) fn labels(&self) -> usize {
        self.counts.len()
    }

    /// How many training examples were counted; saturates, so that stored counts cannot overflow.
    pub(crate) fn total(&self) -> u64 {
        self.counts.iter().fold(0, |total, &count| total.saturating_add(count))
    }

    /// Natural-log share of each label, with one added to each count (Laplace) so that a label that was not seen is
    /// unlikely rather than impossible.
    pub fn scores(&self) -> Vec<f32> {
        let total: f64 = self.counts.iter().map(|&count| count as f64 + 1.0).sum();
        self.counts.iter().map(|&count| log_probability((count as f64 + 1.0) / total)).collect()
    }
}

impl Floor for Majority {
    fn name(&self) -> &'static str {
        "majority"
    }

    fn predict(&self, _input: &str) -> Vec<f32> {
        self.scores()
    }

    fn artefact(&self) -> Vec<u8> {
        tagged_json(self.name(), self)
    }
}

#[derive(Deserialize)]
struct Stored {
    counts: Vec<u64>,
}

impl TryFrom<Stored> for Majority {
    type Error = Inconsistent;

    fn try_from(stored: Stored) -> Result<Self, Inconsistent> {
        if stored.counts.iter().all(|&count| count == 0) {
            return Err(Inconsistent("the counts of a majority floor are all zero"));
        }
        Ok(Self { counts: stored.counts })
    }
}

#[cfg(test)]
mod tests {
    use super::super::best_label;
    use super::*;

    #[test]
    fn the_most_frequent_label_wins_and_ties_go_to_the_lower_index() {
        let floor = Majority::fit(&[("a", 2), ("b", 1), ("c", 2), ("d", 1)], 4).unwrap();
        let scores = floor.predict("anything");
        assert_eq!(best_label(&scores), 1);
        // (2 + 1) / (4 + 4) and (0 + 1) / (4 + 4), by hand.
        assert!((scores[1] - 0.375_f32.ln()).abs() < 1e-6 && (scores[0] - 0.125_f32.ln()).abs() < 1e-6);
    }
}
