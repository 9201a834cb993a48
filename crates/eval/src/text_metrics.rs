//! How near a written answer comes to its target: exact match, token F1, ROUGE-L and chrF, each in 0..=1.

use std::collections::HashMap;
use std::hash::Hash;

/// Whether answer and target are the same after [`squad_words`], as the SQuAD script's `exact_match` (Rajpurkar et al. 2016): 1 or 0.
pub fn exact_match(answer: &str, target: &str) -> f64 {
    f64::from(u8::from(squad_words(answer) == squad_words(target)))
}

/// F1 over the words of answer and target, repeated words counted as often as they occur, as the SQuAD 2.0 script's `f1`
/// (Rajpurkar et al. 2018). Where one side has no words: 1 if neither has, else 0.
pub fn token_f1(answer: &str, target: &str) -> f64 {
    let (answer, target) = (squad_words(answer), squad_words(target));
    if answer.is_empty() || target.is_empty() {
        return f64::from(u8::from(answer == target));
    }
    let common = overlap(&counts(&answer), &counts(&target));
    f_score(common as f64 / answer.len() as f64, common as f64 / target.len() as f64, 1.0)
}

/// The words that SQuAD compares: lower case, without ASCII punctuation and the articles a, an, the.
pub fn squad_words(text: &str) -> Vec<String> {
    let plain: String = text.to_lowercase().chars().filter(|c| !c.is_ascii_punctuation()).collect();
    // The script's `\b(a|an|the)\b` also finds articles beside a character that is neither word nor space (a dash of
    // typography), so words are cut there.
    let mut words = Vec::new();
    for word in plain.split_whitespace() {
        let kept: String = word
            .split_inclusive(|c: char| !is_word(c))
            .map(|piece| {
                let bare = piece.trim_end_matches(|c: char| !is_word(c));
                if matches!(bare, "a" | "an" | "the") {
                    format!(" {}", &piece[bare.len()..])
                } else {
                    piece.to_owned()
                }
            })
            .collect();
        words.extend(kept.split_whitespace().map(str::to_owned));
    }
    words
}

fn is_word(character: char) -> bool {
    character.is_alphanumeric() || character == '_'
}

/// ROUGE-L: F1 of the longest common subsequence of words (Lin 2004), as `rougeL` of Google's rouge-score without stemming.
///
/// Words are runs of letters and digits in lower case; rouge-score knows only those of ASCII, for which the two agree. 0 where one
/// side has no words.
pub fn rouge_l(answer: &str, target: &str) -> f64 {
    let (answer, target) = (rouge_words(answer), rouge_words(target));
    if answer.is_empty() || target.is_empty() {
        return 0.0;
    }
    let common = longest_common_subsequence(&answer, &target) as f64;
    f_score(common / answer.len() as f64, common / target.len() as f64, 1.0)
}

fn rouge_words(text: &str) -> Vec<String> {
    let lower = text.to_lowercase();
    lower.split(|c: char| !c.is_alphanumeric()).filter(|word| !word.is_empty()).map(str::to_owned).collect()
}

fn longest_common_subsequence(one: &[String], other: &[String]) -> usize {
    let mut row = vec![0; other.len() + 1];
    for word in one {
        let mut diagonal = 0;
        for (at, candidate) in other.iter().enumerate() {
            let above = row[at + 1];
            row[at + 1] = if word == candidate { diagonal + 1 } else { above.max(row[at]) };
            diagonal = above;
        }
    }
    row[other.len()]
}

/// Longest run of characters that chrF compares.
const CHRF_ORDER: usize = 6;
/// How much more recall counts than precision in chrF.
const CHRF_BETA: f64 = 2.0;

/// chrF: F2 of runs of 1 to 6 characters, without white space (Popović 2015), as sacreBLEU's `sentence_chrf` divided by 100:
/// precision and recall are averaged over the lengths of which both sides have runs.
pub fn chrf(answer: &str, target: &str) -> f64 {
    let characters = |text: &str| text.chars().filter(|c| !c.is_whitespace()).collect::<Vec<char>>();
    let (answer, target) = (characters(answer), characters(target));
    let (mut precision, mut recall, mut orders) = (0.0, 0.0, 0.0);
    for length in 1..=CHRF_ORDER.min(answer.len()).min(target.len()) {
        let [mine, wanted] = [&answer, &target].map(|text| counts(text.windows(length)));
        let common = overlap(&mine, &wanted) as f64;
        precision += common / (answer.len() + 1 - length) as f64;
        recall += common / (target.len() + 1 - length) as f64;
        orders += 1.0;
    }
    if orders == 0.0 { 0.0 } else { f_score(precision / orders, recall / orders, CHRF_BETA) }
}

/// The weighted harmonic mean of precision and recall; 0 where both are.
fn f_score(precision: f64, recall: f64, beta: f64) -> f64 {
    let weight = beta * beta;
    let whole = weight * precision + recall;
    if whole == 0.0 { 0.0 } else { ((1.0 + weight) * precision * recall / whole).min(1.0) }
}

fn counts<T: Hash + Eq>(items: impl IntoIterator<Item = T>) -> HashMap<T, usize> {
    let mut counts = HashMap::new();
    items.into_iter().for_each(|item| *counts.entry(item).or_default() += 1);
    counts
}

/// How many items two multisets have in common.
fn overlap<T: Hash + Eq>(one: &HashMap<T, usize>, other: &HashMap<T, usize>) -> usize {
    one.iter().map(|(item, count)| other.get(item).map_or(0, |own| *own.min(count))).sum()
}

#[cfg(test)]
mod tests {
    use super::*;

    type Metric = fn(&str, &str) -> f64;

    /// Values of fixtures/scripts/text_metrics_reference.py: rouge-score, sacreBLEU, and the functions of the SQuAD script.
    const REFERENCE: &str = include_str!("../tests/fixtures/text_metrics_reference.json");

    #[test]
    fn metrics_are_those_of_the_reference_implementations() {
        let rows: Vec<serde_json::Value> = serde_json::from_str(REFERENCE).expect("the fixture is JSON");
        assert!(rows.len() > 20);
        for row in rows {
            let (answer, target) =
                (row["answer"].as_str().expect("text"), row["target"].as_str().expect("text"));
            let metrics: [(&str, Metric); 4] =
                [("exact_match", exact_match), ("token_f1", token_f1), ("rouge_l", rouge_l), ("chrf", chrf)];
            for (name, metric) in metrics {
                let Some(expected) = row[name].as_f64() else { continue };
                let found = metric(answer, target);
                assert!(
                    (found - expected).abs() < 1e-9,
                    "{name} of {answer:?} to {target:?}: {found}, not {expected}"
                );
            }
        }
    }

    #[test]
    fn metrics_by_hand() {
        // "cat sat" against "cat sat on mat": precision 1, recall 1/2.
        assert!((token_f1("The cat sat.", "a cat sat on the mat") - 2.0 / 3.0).abs() < 1e-12);
        assert_eq!(exact_match("The  Cat!", "cat"), 1.0);
        // "the cat sat" is a subsequence: precision 3/4, recall 3/3.
        assert!((rouge_l("the big cat sat", "the cat sat") - 6.0 / 7.0).abs() < 1e-12);
        // "ab" against "ac": of single characters 1 of 2 on both sides, of pairs none: both shares 1/4, so F2 is 1/4.
        assert!((chrf("ab", "ac") - 0.25).abs() < 1e-12);
        assert_eq!([rouge_l("", ""), chrf("", "a"), token_f1("the", "")], [0.0, 0.0, 1.0]);
    }

    #[test]
    fn other_scripts_have_words_too() {
        assert_eq!(rouge_l("Привет, мир", "привет мир"), 1.0);
        assert_eq!(token_f1("日本", "日本"), 1.0);
    }
}
