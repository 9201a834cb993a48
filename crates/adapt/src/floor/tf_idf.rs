//! Texts as sparse vectors of word and word-pair weights (tf-idf).

use serde::{Deserialize, Serialize};

use super::Inconsistent;
use crate::text::{Vocabulary, feature_words, word_ngrams};

/// Longest run of words that is a feature of its own.
const LONGEST_NGRAM: usize = 2;

/// Turns texts into tf-idf vectors, entry for entry as scikit-learn's
/// `TfidfVectorizer(ngram_range=(1, 2), sublinear_tf=True)` does.
///
/// Features are the words of [`feature_words`] and their neighbouring pairs. A feature that occurs `f` times in a
/// text and in `d` of the `N` fitted texts weighs `(1 + ln f) * (1 + ln((1 + N) / (1 + d)))`; the vector is then
/// scaled to length 1. A text without any known feature is the zero vector.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "Stored")]
pub struct TfIdf {
    vocabulary: Vocabulary,
    /// For each feature, how many of the fitted texts have it; at least 1.
    document_frequency: Vec<u32>,
    documents: u32,
}

impl TfIdf {
    /// Learns features and their document frequencies.
    pub fn fit(texts: &[&str]) -> Self {
        let features: Vec<Vec<String>> = texts.iter().map(|text| features(text)).collect();
        let vocabulary = Vocabulary::new(features.iter().flatten().map(String::as_str));
        let mut document_frequency = vec![0; vocabulary.len()];
        for text in &features {
            for (feature, _) in vocabulary.count(text.iter().map(String::as_str)) {
                document_frequency[feature as usize] += 1;
            }
        }
        Self { vocabulary, document_frequency, documents: u32::try_from(texts.len()).unwrap_or(u32::MAX) }
    }

    /// The features, in the order of their numbers (that of their code points).
    pub fn vocabulary(&self) -> &Vocabulary {
        &self.vocabulary
    }

    /// The vector of one text: `(feature, weight)`, ascending by feature, only what is not zero.
    pub fn row(&self, text: &str) -> Vec<(u32, f64)> {
        let features = features(text);
        let mut row: Vec<(u32, f64)> = self
            .vocabulary
            .count(features.iter().map(String::as_str))
            .into_iter()
            .map(|(feature, count)| (feature, (1.0 + f64::from(count).ln()) * self.rarity(feature)))
            .collect();
        let length = row.iter().map(|(_, weight)| weight * weight).sum::<f64>().sqrt();
        row.iter_mut().for_each(|(_, weight)| *weight /= length);
        row
    }

    /// The vectors of many texts.
    pub(crate) fn rows<'a>(&self, texts: impl IntoIterator<Item = &'a str>) -> SparseRows {
        let mut rows = SparseRows::new();
        texts.into_iter().for_each(|text| rows.push(self.row(text)));
        rows
    }

    /// Smoothed inverse document frequency, as if one more text had every feature.
    fn rarity(&self, feature: u32) -> f64 {
        let with_feature = f64::from(self.document_frequency[feature as usize]);
        ((1.0 + f64::from(self.documents)) / (1.0 + with_feature)).ln() + 1.0
    }
}

fn features(text: &str) -> Vec<String> {
    word_ngrams(&feature_words(text), LONGEST_NGRAM)
}

/// A matrix whose rows are mostly zero: only the entries that are not are kept, row after row.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct SparseRows {
    /// Where each row's entries end.
    ends: Vec<usize>,
    entries: Vec<(u32, f64)>,
}

impl SparseRows {
    /// A matrix of no rows.
    pub(crate) fn new() -> Self {
        Self::default()
    }

    /// Appends a row, given as `(column, value)`.
    pub(crate) fn push(&mut self, row: impl IntoIterator<Item = (u32, f64)>) {
        self.entries.extend(row);
        self.ends.push(self.entries.len());
    }

    /// The rows in order, each as `(column, value)`.
    pub(crate) fn iter(&self) -> impl Iterator<Item = &[(u32, f64)]> {
        let starts = std::iter::once(0).chain(self.ends.iter().copied());
        starts.zip(&self.ends).map(|(start, &end)| &self.entries[start..end])
    }
}

#[derive(Deserialize)]
struct Stored {
    vocabulary: Vocabulary,
    document_frequency: Vec<u32>,
    documents: u32,
}

impl TryFrom<Stored> for TfIdf {
    type Error = Inconsistent;

    fn try_from(stored: Stored) -> Result<Self, Inconsistent> {
        let Stored { vocabulary, document_frequency, documents } = stored;
        if vocabulary.len() != document_frequency.len() {
            return Err(Inconsistent("tf-idf needs one document frequency for each term"));
        }
        if document_frequency.iter().any(|frequency| !(1..=documents).contains(frequency)) {
            return Err(Inconsistent("a document frequency is not between 1 and the number of documents"));
        }
        Ok(Self { vocabulary, document_frequency, documents })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_row_is_that_of_hand_arithmetic() {
        let model = TfIdf::fit(&["card card lost", "card found"]);
        let terms = model.vocabulary().terms();
        assert_eq!(terms, ["card", "card card", "card found", "card lost", "found", "lost"]);
        // In both texts: idf 1; in one of two: 1 + ln(3/2). "card" twice: 1 + ln 2.
        let (common, rare) = (1.0 + 2.0_f64.ln(), 1.0 + 1.5_f64.ln());
        let length = (common * common + rare * rare).sqrt();
        let row = model.row("card? LOST... card!");
        assert_eq!(row.iter().map(|entry| entry.0).collect::<Vec<_>>(), [0, 3, 5]);
        let length_of_three = (length * length + rare * rare).sqrt();
        assert!((row[0].1 - common / length_of_three).abs() < 1e-15);
        assert!((row[2].1 - rare / length_of_three).abs() < 1e-15);
    }

    #[test]
    fn unknown_words_give_the_zero_vector() {
        let model = TfIdf::fit(&["card lost"]);
        assert!(model.row("weather").is_empty());
        assert!(TfIdf::fit(&["", "a"]).row("a").is_empty());
    }

    #[test]
    fn sparse_rows_come_back_in_order() {
        let mut rows = SparseRows::new();
        rows.push([(3, 1.0), (5, 2.0)]);
        rows.push([]);
        rows.push([(0, 4.0)]);
        let back: Vec<&[(u32, f64)]> = rows.iter().collect();
        assert_eq!(back, [&[(3, 1.0), (5, 2.0)][..], &[], &[(0, 4.0)]]);
    }
}
