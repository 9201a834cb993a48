//! Nearest neighbour: the label of the training example whose words are most like the input's.

use serde::{Deserialize, Serialize};

use super::{Floor, FloorError, Inconsistent, Majority, TfIdf, best_label, log_probability, tagged_json};

/// Certainty stops here, so that no label gets probability zero.
const GREATEST_CONFIDENCE: f64 = 0.999;

/// The `k` training examples nearest by tf-idf cosine vote for their labels, each with its cosine as weight.
///
/// Equally near examples rank in training order, and equal votes go to the label that ranks first. An input
/// that shares no word with any example gets the majority class.
///
/// The score of a label is `ln(c * share + (1 - c) / labels)`: `share` is its share of the votes and `c` the
/// greatest cosine, at most 0.999. It says how alike the texts are and is not a calibrated probability.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(try_from = "Stored")]
pub struct NearestNeighbour {
    k: usize,
    majority: Majority,
    tf_idf: TfIdf,
    /// Label of each training example.
    targets: Vec<u32>,
    /// For each feature the examples that have it, ascending, with its weight there.
    postings: Vec<Vec<(u32, f32)>>,
}

impl NearestNeighbour {
    /// Keeps the training examples, to ask the single nearest one; all labels must be below `labels`.
    pub fn fit(train: &[(&str, usize)], labels: usize) -> Result<Self, FloorError> {
        Self::fit_with(train, labels, 1)
    }

    /// Keeps the training examples, to ask the `k` nearest; `k` must be at least 1.
    pub fn fit_with(train: &[(&str, usize)], labels: usize, k: usize) -> Result<Self, FloorError> {
        if k == 0 {
            return Err(FloorError::Setting { name: "k", range: "at least 1", value: k.to_string() });
        }
        let majority = Majority::fit(train, labels)?;
        let texts: Vec<&str> = train.iter().map(|&(text, _)| text).collect();
        let tf_idf = TfIdf::fit(&texts);
        let mut postings = vec![Vec::new(); tf_idf.vocabulary().len()];
        for (example, text) in (0_u32..).zip(&texts) {
            for (feature, weight) in tf_idf.row(text) {
                postings[feature as usize].push((example, weight as f32));
            }
        }
        let targets = train.iter().map(|&(_, label)| label as u32).collect();
        Ok(Self { k, majority, tf_idf, targets, postings })
    }

    /// The at most `k` nearest training examples with their cosines, nearest first, ties in training order. Only
    /// examples that share a feature with `input`.
    pub fn nearest(&self, input: &str, k: usize) -> Vec<(usize, f64)> {
        let mut cosines = vec![0.0; self.targets.len()];
        for (feature, weight) in self.tf_idf.row(input) {
            for &(example, own) in &self.postings[feature as usize] {
                cosines[example as usize] += weight * f64::from(own);
            }
        }
        let mut found: Vec<(usize, f64)> =
            cosines.into_iter().enumerate().filter(|hit| hit.1 > 0.0).collect();
        found.sort_by(|a, b| b.1.total_cmp(&a.1).then(a.0.cmp(&b.0)));
        found.truncate(k);
        found
    }
}

impl Floor for NearestNeighbour {
    fn name(&self) -> &'static str {
        "nearest_neighbour"
    }

    fn predict(&self, input: &str) -> Vec<f32> {
        let nearest = self.nearest(input, self.k);
        let Some(&(_, greatest)) = nearest.first() else {
            return self.majority.scores();
        };
        let labels = self.majority.labels();
        let mut votes = vec![0.0; labels];
        for &(example, cosine) in &nearest {
            votes[self.targets[example] as usize] += cosine;
        }
        let most = votes.iter().copied().fold(0.0, f64::max);
        let ranking = nearest.iter().map(|&(example, _)| self.targets[example] as usize);
        let winner = ranking.clone().find(|&label| votes[label] == most).unwrap_or_default();
        let total: f64 = votes.iter().sum();
        let confidence = greatest.min(GREATEST_CONFIDENCE);
        let score =
            |vote: f64| log_probability(confidence * vote / total + (1.0 - confidence) / labels as f64);
        let mut scores: Vec<f32> = votes.iter().map(|&vote| score(vote)).collect();
        // The decision must show in the scores also where another label has as many votes.
        for label in ranking {
            if label != winner && scores[label] >= scores[winner] {
                scores[label] = scores[winner].next_down();
            }
        }
        debug_assert_eq!(best_label(&scores), winner);
        scores
    }

    fn artefact(&self) -> Vec<u8> {
        tagged_json(self.name(), self)
    }
}

#[derive(Deserialize)]
struct Stored {
    k: usize,
    majority: Majority,
    tf_idf: TfIdf,
    targets: Vec<u32>,
    postings: Vec<Vec<(u32, f32)>>,
}

impl TryFrom<Stored> for NearestNeighbour {
    type Error = Inconsistent;

    fn try_from(stored: Stored) -> Result<Self, Inconsistent> {
        let Stored { k, majority, tf_idf, targets, postings } = stored;
        if k == 0 {
            return Err(Inconsistent("k is zero"));
        }
        if postings.len() != tf_idf.vocabulary().len() {
            return Err(Inconsistent("nearest neighbour needs one list of examples for each term"));
        }
        if postings.iter().flatten().any(|&(example, _)| example as usize >= targets.len()) {
            return Err(Inconsistent("a list of examples names one that does not exist"));
        }
        if postings.iter().flatten().any(|&(_, weight)| !(weight > 0.0 && weight <= 1.0)) {
            return Err(Inconsistent("a weight is not above 0 and at most 1"));
        }
        if majority.total() != targets.len() as u64
            || targets.iter().any(|&label| label as usize >= majority.labels())
        {
            return Err(Inconsistent("the targets contradict the label counts"));
        }
        Ok(Self { k, majority, tf_idf, targets, postings })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TRAIN: [(&str, usize); 4] =
        [("top up failed", 1), ("my card arrived", 0), ("card arrived", 2), ("arrived card", 1)];

    fn decide(floor: &NearestNeighbour, input: &str) -> usize {
        best_label(&floor.predict(input))
    }

    #[test]
    fn the_nearest_example_gives_its_label() {
        let floor = NearestNeighbour::fit(&TRAIN, 3).unwrap();
        assert_eq!(decide(&floor, "my card has arrived"), 0);
        assert_eq!(decide(&floor, "the card arrived"), 2);
        assert_eq!(floor.nearest("card arrived", 9).len(), 3);
        assert_eq!(floor.nearest("card arrived", 9)[0].0, 2);
        assert!((floor.nearest("card arrived", 1)[0].1 - 1.0).abs() < 1e-6);
    }

    #[test]
    fn ties_go_to_the_earlier_example() {
        let train = [("red apple", 2), ("red apple", 0), ("blue", 1)];
        let floor = NearestNeighbour::fit(&train, 3).unwrap();
        assert_eq!(decide(&floor, "apple red"), 2);
        // Two neighbours with equal votes: the label that ranks first, although its index is higher.
        let floor = NearestNeighbour::fit_with(&train, 3, 2).unwrap();
        let scores = floor.predict("apple red");
        assert_eq!(best_label(&scores), 2);
        assert_eq!(scores[0], scores[2].next_down());
    }

    #[test]
    fn an_input_without_a_shared_word_gets_the_majority_class() {
        let floor = NearestNeighbour::fit(&TRAIN, 3).unwrap();
        assert_eq!(decide(&floor, "weather tomorrow"), 1);
        assert_eq!(decide(&floor, ""), 1);
    }

    #[test]
    fn neighbours_vote_with_their_cosine() {
        let train = [("red apple", 0), ("red pear", 1), ("red plum", 1), ("dog", 2)];
        assert_eq!(decide(&NearestNeighbour::fit(&train, 3).unwrap(), "red apple"), 0);
        let three = NearestNeighbour::fit_with(&train, 3, 3).unwrap();
        let nearest = three.nearest("red", 3);
        assert_eq!(nearest.iter().map(|hit| hit.0).collect::<Vec<_>>(), [0, 1, 2]);
        assert_eq!(decide(&three, "red"), 1);
    }
}
