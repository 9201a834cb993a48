//! Retrieval of the examples that share the rarest words with a query: BM25 over an inverted index.

use crate::text::{Vocabulary, search_words};
use std::sync::OnceLock;

/// How soon repeating a word stops to add to the score.
const SATURATION: f64 = 1.2;
/// How much a long document is held back: 0 not at all, 1 in proportion to its length.
const LENGTH_WEIGHT: f64 = 0.75;

/// An index of documents, searched by BM25.
///
/// The score of a document is the sum over the query's words (a repeated word counts each time) of
/// `idf * f * (k1 + 1) / (f + k1 * (1 - b + b * length / mean length))` with `f` the word's count in the
/// document, k1 = 1.2 and b = 0.75 (Robertson and Zaragoza 2009, "The Probabilistic Relevance Framework"), and
/// `idf = ln(1 + (N - n + 0.5) / (n + 0.5))` for a word in `n` of `N` documents: the form that Lucene made usual,
/// because it is never negative. Words are those of [`search_words`].
#[derive(Clone, Debug)]
pub struct Bm25 {
    vocabulary: Vocabulary,
    /// For each word the documents that have it, ascending, with what one occurrence in a query is worth there.
    postings: Vec<Vec<(usize, f64)>>,
    documents: usize,
    /// What each document's words are worth in it, ascending by word, at unit length; made when someone asks for a likeness.
    vectors: OnceLock<Vec<Vec<(usize, f64)>>>,
}

impl Bm25 {
    /// Indexes the documents; a document's index in `documents` is its name from here on.
    pub fn new(documents: &[&str]) -> Self {
        let words: Vec<Vec<String>> = documents.iter().map(|document| search_words(document)).collect();
        let vocabulary = Vocabulary::new(words.iter().flatten().map(String::as_str));
        let total: usize = words.iter().map(Vec::len).sum();
        let mean_length = total as f64 / documents.len().max(1) as f64;
        let mut postings: Vec<Vec<(usize, f64)>> = vec![Vec::new(); vocabulary.len()];
        for (document, words) in words.iter().enumerate() {
            let held_back = 1.0 - LENGTH_WEIGHT + LENGTH_WEIGHT * words.len() as f64 / mean_length;
            for (word, count) in vocabulary.count(words.iter().map(String::as_str)) {
                let count = f64::from(count);
                let worth = count * (SATURATION + 1.0) / (count + SATURATION * held_back);
                postings[word as usize].push((document, worth));
            }
        }
        for posting in &mut postings {
            let rarity = inverse_document_frequency(documents.len(), posting.len());
            posting.iter_mut().for_each(|(_, worth)| *worth *= rarity);
        }
        Self { vocabulary, postings, documents: documents.len(), vectors: OnceLock::new() }
    }

    /// How alike two documents are: the cosine of what their words are worth in them, from 0 (no word in common) to 1.
    pub fn likeness(&self, one: usize, other: usize) -> f64 {
        let vectors = self.vectors.get_or_init(|| unit_vectors(&self.postings, self.documents));
        let (mut left, mut right) = (vectors[one].as_slice(), vectors[other].as_slice());
        let mut sum = 0.0;
        while let (Some(&(a, x)), Some(&(b, y))) = (left.first(), right.first()) {
            if a == b {
                sum += x * y;
            }
            left = if a <= b { &left[1..] } else { left };
            right = if b <= a { &right[1..] } else { right };
        }
        sum
    }

    /// How many documents are indexed.
    pub fn len(&self) -> usize {
        self.documents
    }

    /// Whether no document is indexed.
    pub fn is_empty(&self) -> bool {
        self.documents == 0
    }

    /// The at most `k` best documents with their scores, best first, ties by index; never `exclude` (the query
    /// itself, where it is one of the documents). Documents that share no word with the query are not returned.
    pub fn search(&self, query: &str, k: usize, exclude: Option<usize>) -> Vec<(usize, f64)> {
        let mut scores = vec![0.0; self.documents];
        let words = search_words(query);
        // Ascending by word, so that documents with the same words get bit-equal sums whatever their order.
        for (word, count) in self.vocabulary.count(words.iter().map(String::as_str)) {
            for &(document, worth) in &self.postings[word as usize] {
                scores[document] += f64::from(count) * worth;
            }
        }
        let mut found: Vec<(usize, f64)> = scores
            .into_iter()
            .enumerate()
            .filter(|&(document, score)| score > 0.0 && Some(document) != exclude)
            .collect();
        found.sort_by(|a, b| b.1.total_cmp(&a.1).then(a.0.cmp(&b.0)));
        found.truncate(k);
        found
    }
}

/// The postings by document, each scaled to length 1.
fn unit_vectors(postings: &[Vec<(usize, f64)>], documents: usize) -> Vec<Vec<(usize, f64)>> {
    let mut vectors: Vec<Vec<(usize, f64)>> = vec![Vec::new(); documents];
    for (word, posting) in postings.iter().enumerate() {
        posting.iter().for_each(|&(document, worth)| vectors[document].push((word, worth)));
    }
    for vector in &mut vectors {
        let length = vector.iter().map(|(_, worth)| worth * worth).sum::<f64>().sqrt();
        vector.iter_mut().for_each(|(_, worth)| *worth /= length.max(f64::MIN_POSITIVE));
    }
    vectors
}

fn inverse_document_frequency(documents: usize, with_word: usize) -> f64 {
    let (documents, with_word) = (documents as f64, with_word as f64);
    (1.0 + (documents - with_word + 0.5) / (with_word + 0.5)).ln()
}

#[cfg(test)]
mod tests {
    use super::*;

    const DOCUMENTS: [&str; 3] = ["Lost card", "lost lost my card today", "The PIN is 7"];

    fn assert_hits(found: &[(usize, f64)], expected: &[(usize, f64)]) {
        assert_eq!(found.len(), expected.len(), "{found:?}");
        for (hit, want) in found.iter().zip(expected) {
            assert_eq!(hit.0, want.0, "{found:?}");
            assert!((hit.1 - want.1).abs() < 1e-6, "{found:?}");
        }
    }

    // By hand: lengths 2, 5, 4, mean 11/3. "lost" and "card" are in 2 of 3 documents: idf = ln(1 + 1.5/2.5) =
    // ln 1.6 = 0.4700036. Held back: document 0: 0.25 + 0.75*2/(11/3) = 0.6590909; document 1: 0.25 + 0.75*5/(11/3)
    // = 1.2727273. One occurrence in document 0 is worth 2.2/(1 + 1.2*0.6590909) = 2.2/1.7909091 = 1.2284264; in
    // document 1 2.2/(1 + 1.5272727) = 0.8705036; two occurrences in document 1 4.4/(2 + 1.5272727) = 1.2474227.
    #[test]
    fn scores_are_those_of_hand_arithmetic() {
        let index = Bm25::new(&DOCUMENTS);
        let idf = 0.470_003_629_245_735_6;
        let (first, second) =
            (2.0 * 1.228_426_395_939_086 * idf, (0.870_503_597_122_302 + 1.247_422_680_412_371) * idf);
        assert_hits(&index.search("card LOST?", 5, None), &[(0, first), (1, second)]);
        assert_hits(&index.search("lost lost", 1, None), &[(1, 2.0 * 1.247_422_680_412_371 * idf)]);
        // "7" is in one of three: idf = ln(1 + 2.5/1.5) = ln(8/3); held back 0.25 + 0.75*4/(11/3) = 1.0681818.
        assert_hits(
            &index.search("7", 5, None),
            &[(2, (8.0_f64 / 3.0).ln() * 2.2 / (1.0 + 1.2 * 1.068_181_818_181_818))],
        );
    }

    #[test]
    fn excluded_and_unrelated_documents_are_not_found() {
        let index = Bm25::new(&DOCUMENTS);
        let found: Vec<usize> = index.search("lost card", 5, Some(0)).into_iter().map(|hit| hit.0).collect();
        assert_eq!(found, [1]);
        assert!(index.search("weather", 5, None).is_empty());
        assert!(index.search("", 5, None).is_empty());
        assert!(index.search("lost", 0, None).is_empty());
    }

    #[test]
    fn ties_go_to_the_earlier_document() {
        let index = Bm25::new(&["b a c", "x y z", "c b a", "a b c"]);
        let found: Vec<usize> = index.search("c a b", 5, None).into_iter().map(|hit| hit.0).collect();
        assert_eq!(found, [0, 2, 3]);
    }

    #[test]
    fn empty_collections_find_nothing() {
        assert!(Bm25::new(&[]).is_empty());
        assert!(Bm25::new(&[]).search("card", 3, None).is_empty());
        assert_eq!(Bm25::new(&["", "!"]).len(), 2);
        assert!(Bm25::new(&["", "!"]).search("card", 3, None).is_empty());
    }
}
