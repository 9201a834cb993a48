//! Inputs written otherwise: with typos, in other words by rule, and with words exchanged.

use rand::seq::SliceRandom;
use rand::{Rng, SeedableRng};
use rand_pcg::Pcg64;

/// Keys beside each other on the usual keyboard, row by row.
const KEYS: [&str; 3] = ["qwertyuiop", "asdfghjkl", "zxcvbnm"];

/// `text` with a share of `rate` of its letters mistyped, at least one: exchanged with the next letter, left out, doubled, or
/// replaced by a neighbour on the keyboard, each as likely. `seed` decides which.
pub(super) fn typos(text: &str, rate: f64, seed: u64) -> String {
    let mut random = Pcg64::seed_from_u64(seed);
    let mut letters: Vec<char> = text.chars().collect();
    let mut places: Vec<usize> = (0..letters.len()).filter(|&at| letters[at].is_alphabetic()).collect();
    if places.is_empty() {
        return text.to_owned();
    }
    let edits = ((rate * places.len() as f64).round() as usize).clamp(1, places.len());
    places.shuffle(&mut random);
    places.truncate(edits);
    // From the end, so that the places before stay where they are.
    places.sort_unstable_by(|one, other| other.cmp(one));
    for at in places {
        match random.next_u32() % 4 {
            0 if letters.get(at + 1).is_some_and(|next| next.is_alphabetic() && *next != letters[at]) => {
                letters.swap(at, at + 1);
            }
            1 => {
                letters.remove(at);
            }
            2 => letters.insert(at, letters[at]),
            _ => letters[at] = neighbour(letters[at], &mut random),
        }
    }
    letters.into_iter().collect()
}

/// A key beside `letter`; letters that are on no key are doubled by nobody and stay.
fn neighbour(letter: char, random: &mut impl Rng) -> char {
    let lower = letter.to_ascii_lowercase();
    for row in KEYS {
        if let Some(at) = row.find(lower) {
            let left = random.next_u32().is_multiple_of(2);
            let beside = if (left && at > 0) || at + 1 == row.len() { at - 1 } else { at + 1 };
            let found = row.as_bytes()[beside] as char;
            return if letter.is_uppercase() { found.to_ascii_uppercase() } else { found };
        }
    }
    letter
}

/// Names of the rules of [`rephrased`].
pub(super) const RULES: [&str; 3] = ["in courtesy", "words for contractions", "lower case, no full stop"];

/// Contractions and other words of the same meaning.
const SAME: [(&str, &str); 22] = [
    ("can't", "cannot"),
    ("don't", "do not"),
    ("doesn't", "does not"),
    ("didn't", "did not"),
    ("won't", "will not"),
    ("isn't", "is not"),
    ("wasn't", "was not"),
    ("haven't", "have not"),
    ("couldn't", "could not"),
    ("i'm", "i am"),
    ("i've", "i have"),
    ("i'd", "i would"),
    ("it's", "it is"),
    ("what's", "what is"),
    ("there's", "there is"),
    ("that's", "that is"),
    ("want to", "would like to"),
    ("need to", "have to"),
    ("how come", "why is it that"),
    ("maybe", "perhaps"),
    ("get", "receive"),
    ("buy", "purchase"),
];

/// `text` in other words by the rule of that number, with the same meaning.
pub(super) fn rephrased(text: &str, rule: usize) -> String {
    match rule {
        0 => format!("Hello, I have a message for you: {text} Thank you and best regards."),
        1 => SAME.iter().fold(text.to_owned(), |text, (from, to)| replace_words(&text, from, to)),
        _ => text.to_lowercase().trim_end_matches(['.', '!']).to_owned(),
    }
}

/// `text` with every word of each pair exchanged for the other; `None` where it has none of them.
pub(super) fn swapped(text: &str, pairs: &[[String; 2]]) -> Option<String> {
    let mut marked = text.to_owned();
    // Each word becomes a mark first, so that what was exchanged is not exchanged back.
    let marks: Vec<(String, &str)> = pairs
        .iter()
        .flat_map(|[one, other]| [(one, other), (other, one)])
        .enumerate()
        .map(|(at, (from, to))| {
            let mark = format!("\u{1}{at}\u{2}");
            marked = replace_words(&marked, from, &mark);
            (mark, to.as_str())
        })
        .collect();
    let mut result = marked.clone();
    for (mark, to) in marks {
        result = result.replace(&capital(&mark), &capital(to)).replace(&mark, to);
    }
    (result != text && marked != text).then_some(result)
}

/// Replaces whole words, in any case; a capital at the beginning stays one.
fn replace_words(text: &str, from: &str, to: &str) -> String {
    let (lower, wanted) = (text.to_lowercase(), from.to_lowercase());
    if lower.len() != text.len() || wanted.is_empty() {
        // Lower case has another length: places would not fit.
        return text.to_owned();
    }
    let mut result = String::with_capacity(text.len());
    let mut done = 0;
    for (at, found) in lower.match_indices(&wanted) {
        let end = at + found.len();
        let inside = |character: Option<char>| character.is_some_and(|c| c.is_alphanumeric() || c == '\'');
        if at < done || inside(lower[..at].chars().next_back()) || inside(lower[end..].chars().next()) {
            continue;
        }
        result.push_str(&text[done..at]);
        let capitalised = text[at..].chars().next().is_some_and(char::is_uppercase);
        result.push_str(&if capitalised { capital(to) } else { to.to_owned() });
        done = end;
    }
    result.push_str(&text[done..]);
    result
}

/// The text with a capital at its beginning; a mark is left as it is.
fn capital(text: &str) -> String {
    let mut characters = text.chars();
    match characters.next() {
        Some('\u{1}') => format!("\u{1}C{}", characters.as_str()),
        Some(first) => first.to_uppercase().chain(characters).collect(),
        None => String::new(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn typos_change_the_share_that_they_are_told_and_nothing_else() {
        let text = "my card was swallowed by the machine at the station, what now?";
        let letters = text.chars().filter(|c| c.is_alphabetic()).count() as f64;
        for seed in 0..50 {
            let typed = typos(text, 0.1, seed);
            assert_ne!(typed, text);
            let difference = typed.chars().count().abs_diff(text.chars().count()) as f64;
            assert!(difference <= (0.1 * letters).round(), "{typed}");
            assert!(typed.ends_with("?") && typed.contains(','), "{typed}");
        }
        assert_eq!(typos(text, 0.1, 7), typos(text, 0.1, 7));
        assert_ne!(typos(text, 0.1, 7), typos(text, 0.1, 8));
        assert_eq!(typos("12, 34", 0.5, 1), "12, 34");
    }

    #[test]
    fn words_are_exchanged_both_ways_and_only_whole() {
        let pairs = [["he", "she"], ["Anna", "Mehmet"]].map(|pair| pair.map(str::to_owned));
        assert_eq!(
            swapped("He says the other man is Anna.", &pairs).as_deref(),
            Some("She says the other man is Mehmet.")
        );
        assert_eq!(swapped("she and he", &pairs).as_deref(), Some("he and she"));
        assert_eq!(swapped("the theme is here", &pairs), None);
    }

    #[test]
    fn rules_keep_the_words_that_matter() {
        assert_eq!(rephrased("I can't pay. What's wrong?", 1), "I cannot pay. What is wrong?");
        assert_eq!(rephrased("Where Is It.", 2), "where is it");
        assert!(rephrased("Where is it?", 0).contains("Where is it?"));
    }
}
