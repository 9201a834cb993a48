//! Words of a text, word n-grams, and the vocabulary that numbers them.

use std::collections::BTreeSet;

use serde::{Deserialize, Serialize};
use unicode_normalization::char::is_combining_mark;
use unicode_segmentation::UnicodeSegmentation;

/// The lower-cased words that scikit-learn's default token pattern `(?u)\b\w\w+\b` finds, in order.
///
/// A word is a longest run of at least two word characters: letters, numbers (Unicode categories L and N) and
/// the underscore. Single characters are dropped and marks separate, as they do there, because the tf-idf floor
/// is to be the same floor that people know.
pub fn feature_words(text: &str) -> Vec<String> {
    let lower = text.to_lowercase();
    lower
        .split(|character| !is_word_character(character))
        .filter(|word| word.chars().nth(1).is_some())
        .map(str::to_owned)
        .collect()
}

/// The lower-cased words of any length, digits included, in order: what retrieval searches by.
///
/// Boundaries are those of Unicode Standard Annex 29, so that `don't` and `3.5` stay whole, marks stay with
/// their letters, and scripts written without spaces (Han, Thai) give single characters rather than one word
/// for a whole sentence.
pub fn search_words(text: &str) -> Vec<String> {
    text.to_lowercase().unicode_words().map(str::to_owned).collect()
}

/// All runs of 1 to `longest` neighbouring words, joined by a space: first the single words, then the pairs, ...
pub fn word_ngrams(words: &[String], longest: usize) -> Vec<String> {
    (1..=longest).flat_map(|length| words.windows(length).map(|run| run.join(" "))).collect()
}

/// Python's `\w`. [`char::is_alphanumeric`] is wider: it also holds for vowel signs (marks) and circled letters.
fn is_word_character(character: char) -> bool {
    if character.is_ascii() {
        return character.is_ascii_alphanumeric() || character == '_';
    }
    character.is_alphanumeric() && !is_combining_mark(character) && !is_circled_letter(character)
}

/// Letters in circles and squares: symbols (category So) that Unicode nevertheless calls alphabetic.
fn is_circled_letter(character: char) -> bool {
    matches!(character, '\u{24B6}'..='\u{24E9}' | '\u{1F130}'..='\u{1F149}' | '\u{1F150}'..='\u{1F169}' | '\u{1F170}'..='\u{1F189}')
}

/// Distinct terms in the order of their code points; a term's number is its place.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "Vec<String>", into = "Vec<String>")]
pub struct Vocabulary {
    terms: Vec<String>,
}

/// Terms that are not in strictly ascending order, so that they cannot be a stored vocabulary.
#[derive(Debug, thiserror::Error)]
#[error("vocabulary is not in ascending order at term {position} ({term:?})")]
pub struct UnorderedVocabulary {
    position: usize,
    term: String,
}

impl Vocabulary {
    /// The vocabulary of the given terms, repeated ones counted once.
    ///
    /// Numbers are 32 bits wide: at most 2^32 terms, which is beyond what a corpus in memory can have.
    pub fn new<'a>(terms: impl IntoIterator<Item = &'a str>) -> Self {
        let distinct: BTreeSet<&str> = terms.into_iter().collect();
        Self { terms: distinct.into_iter().map(str::to_owned).collect() }
    }

    /// How many terms there are.
    pub fn len(&self) -> usize {
        self.terms.len()
    }

    /// Whether there is no term at all.
    pub fn is_empty(&self) -> bool {
        self.terms.is_empty()
    }

    /// All terms, in order of their numbers.
    pub fn terms(&self) -> &[String] {
        &self.terms
    }

    /// The number of `term`, or `None` for an unknown one.
    pub fn number(&self, term: &str) -> Option<u32> {
        let place = self.terms.binary_search_by(|known| known.as_str().cmp(term)).ok()?;
        u32::try_from(place).ok()
    }

    /// The known terms with how often each occurs, ascending by number.
    pub fn count<'a>(&self, terms: impl IntoIterator<Item = &'a str>) -> Vec<(u32, u32)> {
        let mut numbers: Vec<u32> = terms.into_iter().filter_map(|term| self.number(term)).collect();
        numbers.sort_unstable();
        let mut counts: Vec<(u32, u32)> = Vec::with_capacity(numbers.len());
        for number in numbers {
            match counts.last_mut() {
                Some((last, count)) if *last == number => *count += 1,
                _ => counts.push((number, 1)),
            }
        }
        counts
    }
}

impl TryFrom<Vec<String>> for Vocabulary {
    type Error = UnorderedVocabulary;

    fn try_from(terms: Vec<String>) -> Result<Self, UnorderedVocabulary> {
        match terms.windows(2).position(|pair| pair[0] >= pair[1]) {
            Some(place) => Err(UnorderedVocabulary { position: place + 1, term: terms[place + 1].clone() }),
            None => Ok(Self { terms }),
        }
    }
}

impl From<Vocabulary> for Vec<String> {
    fn from(vocabulary: Vocabulary) -> Self {
        vocabulary.terms
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    // Expected values: Python's re.findall(r"(?u)\b\w\w+\b", text.lower()).
    #[test]
    fn feature_words_follow_the_default_pattern_of_scikit_learn() {
        assert_eq!(feature_words("My card's PIN is 1 of 22!"), ["my", "card", "pin", "is", "of", "22"]);
        assert_eq!(feature_words("a_b __ _ x"), ["a_b", "__"]);
        assert_eq!(feature_words("Straße ÉTÉ №12 ½½ x²"), ["straße", "été", "12", "½½", "x²"]);
        assert_eq!(feature_words("हिन्दी ⓐⓑ 日本語"), ["日本語"]);
        assert_eq!(feature_words(""), Vec::<String>::new());
    }

    #[test]
    fn search_words_keep_single_characters_and_marks() {
        assert_eq!(search_words("Don't pay 3.5% to A-1"), ["don't", "pay", "3.5", "to", "a", "1"]);
        assert_eq!(search_words("हिन्दी 日本"), ["हिन्दी", "日", "本"]);
    }

    #[test]
    fn ngrams_are_words_then_pairs() {
        let words = feature_words("lost my card");
        assert_eq!(word_ngrams(&words, 2), ["lost", "my", "card", "lost my", "my card"]);
        assert_eq!(word_ngrams(&words[..1], 2), ["lost"]);
    }

    #[test]
    fn vocabulary_numbers_terms_in_order_and_counts_them() {
        let vocabulary = Vocabulary::new(["b", "a", "b", "a b"]);
        assert_eq!(vocabulary.terms(), ["a", "a b", "b"]);
        assert_eq!(vocabulary.number("b"), Some(2));
        assert_eq!(vocabulary.number("c"), None);
        assert_eq!(vocabulary.count(["b", "c", "a", "b"]), [(0, 1), (2, 2)]);
    }

    #[test]
    fn stored_vocabulary_must_be_ordered() {
        let stored = serde_json::to_string(&Vocabulary::new(["b", "a"])).unwrap();
        assert_eq!(stored, r#"["a","b"]"#);
        let error = serde_json::from_str::<Vocabulary>(r#"["b","a"]"#).unwrap_err().to_string();
        assert!(error.contains("term 1 (\"a\")"), "{error}");
        assert!(serde_json::from_str::<Vocabulary>(r#"["a","a"]"#).is_err());
    }
}
