//! The data of the demo task: messages to a bike rental, sorted by the desk that should answer.

use super::dice::Dice;
use super::grammar::{Template, fix_articles};
use super::lexicon::{Intent, Lexicon, intents};
use super::message::{Style, Writer};
use anyhow::{Context, Result, ensure};
use std::collections::BTreeSet;

/// Rows of train, dev and test.
pub(super) const SIZES: [(&str, usize); 3] = [("train", 600), ("dev", 100), ("test", 300)];

/// Templates of each class that are used: few enough that some tens of demonstrations show most of the ways in which a thing is
/// said, which is about what a model of this size can learn from a prompt.
const TEMPLATES: usize = 5;

/// Share of the messages that name two matters, of which one is settled.
const TWO_MATTERS: f64 = 0.4;

/// A row: text and label.
pub(super) type Row = (String, String);

/// The words of the demo's own slots, and its classes.
struct Source {
    classes: Vec<Intent>,
    frames: Vec<Template>,
    words: Vec<(String, Vec<String>)>,
}

fn source() -> Result<Source> {
    let (text, words) = include_str!("words/demo.txt").split_once("\n[words]\n").context("no words")?;
    let (classes, frames) = text.split_once("\n[frames]\n").context("no frames")?;
    let frames =
        frames.lines().filter(|line| !line.is_empty()).map(Template::parse).collect::<Result<_>>()?;
    let words = words.lines().filter_map(|line| line.split_once(':'));
    let words = words
        .map(|(name, list)| (name.to_owned(), list.split(',').map(|word| word.trim().to_owned()).collect()))
        .collect();
    let mut classes = intents(classes)?;
    classes.iter_mut().for_each(|class| class.templates.truncate(TEMPLATES));
    Ok(Source { classes, frames, words })
}

/// The three parts, in the order of [`SIZES`]; classes are balanced, and no two texts are of the same words.
pub(super) fn parts(lexicon: &Lexicon, seed: u64) -> Result<Vec<Vec<Row>>> {
    let source = source()?;
    let mut dice = Dice::new(seed, 31);
    let mut seen = BTreeSet::new();
    let mut kept: BTreeSet<BTreeSet<String>> = BTreeSet::new();
    let mut parts = Vec::new();
    for (_, size) in SIZES {
        let mut rows = Vec::new();
        let mut tries = 0;
        while rows.len() < size {
            tries += 1;
            ensure!(tries < 200 * size, "the demo's templates do not give {size} different texts");
            let class = rows.len() % source.classes.len();
            let (core, text) = source.write(class, lexicon, &mut dice);
            let words: BTreeSet<String> = core.to_lowercase().split_whitespace().map(str::to_owned).collect();
            if kept.contains(&words) || !seen.insert(text.to_lowercase()) {
                continue;
            }
            kept.insert(words);
            rows.push((text, source.classes[class].name.clone()));
        }
        dice.shuffle(&mut rows);
        parts.push(rows);
    }
    Ok(parts)
}

impl Source {
    /// The core of a message to the desk `class`, and the message.
    fn write(&self, class: usize, lexicon: &Lexicon, dice: &mut Dice) -> (String, String) {
        let writer = Writer { lexicon, held: true };
        let open = self.matter(class, writer, dice);
        let core = if dice.chance(TWO_MATTERS) {
            let other = (class + dice.between(1, self.classes.len() - 1)) % self.classes.len();
            let settled = self.matter(other, writer, dice);
            let frame: &Template = dice.pick(&self.frames);
            frame.expand(dice, &mut |slot, _| if slot == "open" { open.clone() } else { settled.clone() })
        } else {
            open
        };
        let style = Style { frills: 0.12, clauses: 0.1, plain: dice.chance(0.4) };
        let text = writer.message(&core, None, None, style, dice);
        (core, fix_articles(&text))
    }

    fn matter(&self, class: usize, writer: Writer<'_>, dice: &mut Dice) -> String {
        let template = dice.pick(&self.classes[class].templates);
        template.expand(dice, &mut |slot, dice| {
            if let Some((_, words)) = self.words.iter().find(|(name, _)| name == slot) {
                return dice.pick(words).clone();
            }
            writer.word(slot, dice)
        })
    }
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
