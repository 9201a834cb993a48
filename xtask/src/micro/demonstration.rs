//! The data of the demo task: messages to a bike rental, sorted by the desk that should answer.

use super::dice::Dice;
use super::grammar::{Template, fix_articles};
use super::lexicon::{Intent, Lexicon, intents};
use super::message::{Style, Writer};
use anyhow::{Context, Result, ensure};
use std::collections::BTreeSet;

/// Rows of train, dev and test.
pub(super) const SIZES: [(&str, usize); 3] = [("train", 600), ("dev", 100), ("test", 300)];

/// A row: text and label.
pub(super) type Row = (String, String);

/// The words of the demo's own slots, and its classes.
struct Source {
    classes: Vec<Intent>,
    words: Vec<(String, Vec<String>)>,
}

fn source() -> Result<Source> {
    let (classes, words) = include_str!("words/demo.txt").split_once("[words]").context("no words")?;
    let words = words.lines().filter_map(|line| line.split_once(':'));
    let words = words
        .map(|(name, list)| (name.to_owned(), list.split(',').map(|word| word.trim().to_owned()).collect()))
        .collect();
    Ok(Source { classes: intents(classes)?, words })
}

/// The three parts, in the order of [`SIZES`]; classes are balanced, no two texts are the same, and no two share both
/// their template and most of their words.
pub(super) fn parts(lexicon: &Lexicon, seed: u64) -> Result<Vec<Vec<Row>>> {
    let source = source()?;
    let mut dice = Dice::new(seed, 31);
    let mut seen = BTreeSet::new();
    let mut kept: Vec<BTreeSet<String>> = Vec::new();
    let mut parts = Vec::new();
    for (_, size) in SIZES {
        let mut rows = Vec::new();
        let mut tries = 0;
        while rows.len() < size {
            tries += 1;
            ensure!(tries < 200 * size, "the demo's templates do not give {size} different texts");
            let class = &source.classes[rows.len() % source.classes.len()];
            let (core, text) = write(&source, dice.pick(&class.templates), lexicon, &mut dice);
            let words: BTreeSet<String> = core.to_lowercase().split_whitespace().map(str::to_owned).collect();
            let near = |other: &BTreeSet<String>| {
                let common = words.intersection(other).count();
                20 * common >= 17 * words.len().max(other.len())
            };
            if kept.iter().any(near) || !seen.insert(text.to_lowercase()) {
                continue;
            }
            kept.push(words);
            rows.push((text, class.name.clone()));
        }
        dice.shuffle(&mut rows);
        parts.push(rows);
    }
    Ok(parts)
}

/// The core of a message, and the message.
fn write(source: &Source, template: &Template, lexicon: &Lexicon, dice: &mut Dice) -> (String, String) {
    let writer = Writer { lexicon, held: true };
    let core = template.expand(dice, &mut |slot, dice| {
        if let Some((_, words)) = source.words.iter().find(|(name, _)| name == slot) {
            return dice.pick(words).clone();
        }
        writer.word(slot, dice)
    });
    let style = Style { frills: 0.12, clauses: 0.2, plain: dice.chance(0.4) };
    let text = writer.message(&core, None, None, style, dice);
    (core, fix_articles(&text))
}

/// A row as a line of JSONL.
pub(super) fn line((text, label): &Row) -> String {
    format!("{}\n", serde_json::json!({"text": text, "label": label}))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn balanced_distinct_and_repeatable() {
        let lexicon = Lexicon::load().unwrap();
        let parts = super::parts(&lexicon, 1).unwrap();
        assert_eq!(parts, super::parts(&lexicon, 1).unwrap());
        let mut seen = BTreeSet::new();
        for (rows, (_, size)) in parts.iter().zip(SIZES) {
            assert_eq!(rows.len(), size);
            for class in ["billing", "repair", "access", "route", "safety"] {
                assert_eq!(rows.iter().filter(|(_, label)| label == class).count(), size / 5);
            }
            for (text, label) in rows {
                assert!(seen.insert(text.to_lowercase()), "{text}");
                assert!(lexicon.held_labels.contains(label), "{label}");
            }
        }
    }
}
