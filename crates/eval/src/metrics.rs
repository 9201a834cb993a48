//! How good the answers of one experiment are.

use serde::{Deserialize, Serialize};
use task::record::{Answer, Prediction};

/// How often each true label (row) was answered with each label (column).
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Confusion {
    /// `[gold][predicted]` counts.
    pub counts: Vec<Vec<u64>>,
}

/// Precision, recall and F1 of one label. A ratio without a denominator is 0, as with scikit-learn's `zero_division=0`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct LabelScore {
    /// The label.
    pub label: String,
    /// Of the items that were given this label, the share that has it.
    pub precision: f64,
    /// Of the items that have this label, the share that was given it.
    pub recall: f64,
    /// Harmonic mean of the two.
    pub f1: f64,
    /// Items that have this label.
    pub support: u64,
    /// Items that were given it.
    pub predicted: u64,
}

impl Confusion {
    /// Counts `pairs` of (gold, predicted) over `labels` labels; pairs beyond them are left out.
    pub fn new(pairs: impl IntoIterator<Item = (usize, usize)>, labels: usize) -> Self {
        let mut counts = vec![vec![0; labels]; labels];
        for (gold, predicted) in pairs {
            if let Some(cell) = counts.get_mut(gold).and_then(|row: &mut Vec<u64>| row.get_mut(predicted)) {
                *cell += 1;
            }
        }
        Self { counts }
    }

    /// Items counted.
    pub fn items(&self) -> u64 {
        self.counts.iter().flatten().sum()
    }

    /// Items on the diagonal.
    pub fn right(&self) -> u64 {
        (0..self.counts.len()).map(|label| self.counts[label][label]).sum()
    }

    /// Share of right answers; 0 without items.
    pub fn accuracy(&self) -> f64 {
        ratio(self.right(), self.items())
    }

    /// Mean F1 over the labels that occur as gold or as predicted (what scikit-learn's
    /// `f1_score(average="macro", zero_division=0)` gives); 0 without items.
    pub fn macro_f1(&self) -> f64 {
        self.tally().macro_f1()
    }

    /// The counts that F1 needs of each label.
    pub(crate) fn tally(&self) -> Tally {
        let mut tally = Tally::new(self.counts.len());
        for (gold, row) in self.counts.iter().enumerate() {
            for (predicted, &count) in row.iter().enumerate() {
                tally.add((gold, predicted), count);
            }
        }
        tally
    }

    /// The scores of every label, in the order of `labels`.
    pub fn per_label(&self, labels: &[String]) -> Vec<LabelScore> {
        let tally = self.tally();
        labels
            .iter()
            .zip(tally.labels)
            .map(|(label, [right, support, predicted])| LabelScore {
                label: label.clone(),
                precision: ratio(right, predicted),
                recall: ratio(right, support),
                f1: ratio(2 * right, support + predicted),
                support,
                predicted,
            })
            .collect()
    }
}

/// Of each label: items right, items that have it, items that were given it.
#[derive(Clone, Debug)]
pub(crate) struct Tally {
    labels: Vec<[u64; 3]>,
}

impl Tally {
    /// No items yet.
    pub(crate) fn new(labels: usize) -> Self {
        Self { labels: vec![[0; 3]; labels] }
    }

    /// Forgets all items.
    pub(crate) fn clear(&mut self) {
        self.labels.fill([0; 3]);
    }

    /// Counts `times` items of (gold, predicted), both below the number of labels.
    pub(crate) fn add(&mut self, (gold, predicted): (usize, usize), times: u64) {
        self.labels[gold][0] += if gold == predicted { times } else { 0 };
        self.labels[gold][1] += times;
        self.labels[predicted][2] += times;
    }

    /// Takes one counted item away.
    pub(crate) fn remove(&mut self, (gold, predicted): (usize, usize)) {
        self.labels[gold][0] -= u64::from(gold == predicted);
        self.labels[gold][1] -= 1;
        self.labels[predicted][2] -= 1;
    }

    /// [`Confusion::macro_f1`] of these items.
    pub(crate) fn macro_f1(&self) -> f64 {
        let present = self.labels.iter().filter(|[_, support, predicted]| support + predicted > 0);
        let (sum, count) = present.fold((0.0, 0u32), |(sum, count), [right, support, predicted]| {
            (sum + ratio(2 * right, support + predicted), count + 1)
        });
        if count == 0 { 0.0 } else { sum / f64::from(count) }
    }
}

/// Share of right answers; 0 without answers.
pub fn accuracy(predictions: &[Prediction]) -> f64 {
    let right = predictions
        .iter()
        .filter(|answer| matches!(label_pair(answer), Some((gold, label)) if gold == label));
    ratio(right.count() as u64, predictions.len() as u64)
}

/// Macro-F1 over `labels` labels: [`Confusion::macro_f1`].
pub fn macro_f1(predictions: &[Prediction], labels: usize) -> f64 {
    confusion(predictions, labels).macro_f1()
}

/// (true label, predicted label); `None` for a text.
pub(crate) fn label_pair(prediction: &Prediction) -> Option<(usize, usize)> {
    match prediction.answer {
        Answer::Label { gold, predicted, .. } => Some((gold, predicted)),
        Answer::Text { .. } => None,
    }
}

/// The confusion counts of an experiment's labels; texts are left out.
pub fn confusion(predictions: &[Prediction], labels: usize) -> Confusion {
    Confusion::new(predictions.iter().filter_map(label_pair), labels)
}

fn ratio(part: u64, whole: u64) -> f64 {
    if whole == 0 { 0.0 } else { part as f64 / whole as f64 }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The answers of fixtures/scripts/eval_reference.py, scored there by scikit-learn 1.9.
    const GOLD: [usize; 12] = [0, 0, 0, 1, 1, 1, 2, 2, 2, 2, 4, 4];
    const PREDICTED: [usize; 12] = [0, 0, 1, 1, 1, 2, 2, 2, 2, 0, 3, 0];

    fn example() -> Confusion {
        Confusion::new(GOLD.into_iter().zip(PREDICTED), 6)
    }

    #[test]
    fn scores_are_scikit_learns() {
        let confusion = example();
        assert!((confusion.accuracy() - 0.583_333_333_333_333_4).abs() < 1e-12);
        // Label 3 is predicted only, label 4 is gold only, label 5 is neither: the mean is over labels 0 to 4.
        assert!((confusion.macro_f1() - 0.397_619_047_619_047_6).abs() < 1e-12);
        let labels: Vec<String> = (0..6).map(|label| label.to_string()).collect();
        let scores = confusion.per_label(&labels);
        let expected = [
            (0.5, 2.0 / 3.0, 0.571_428_571_428_571_4, 3),
            (2.0 / 3.0, 2.0 / 3.0, 2.0 / 3.0, 3),
            (0.75, 0.75, 0.75, 4),
            (0.0, 0.0, 0.0, 0),
            (0.0, 0.0, 0.0, 2),
            (0.0, 0.0, 0.0, 0),
        ];
        for (score, (precision, recall, f1, support)) in scores.iter().zip(expected) {
            assert!((score.precision - precision).abs() < 1e-12, "{score:?}");
            assert!((score.recall - recall).abs() < 1e-12, "{score:?}");
            assert!((score.f1 - f1).abs() < 1e-12, "{score:?}");
            assert_eq!(score.support, support);
        }
    }

    #[test]
    fn nothing_scores_nothing() {
        let empty = Confusion::new([], 3);
        assert_eq!((empty.accuracy(), empty.macro_f1()), (0.0, 0.0));
        assert_eq!(accuracy(&[]), 0.0);
        assert_eq!(Confusion::new([(7, 0)], 2).items(), 0);
    }
}
