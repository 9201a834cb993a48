//! Labelled texts of generated tasks, for whole runs of the product on them (`cargo xtask verdicts embedded`).

use super::dice::Dice;
use super::family::{Breadth, Families, Family, Part, Shape, Task, Text};
use super::lexicon::Lexicon;
use super::open_vocabulary;
use super::vocabulary::Vocabulary;
use anyhow::{Result, bail};
use std::collections::BTreeSet;
use std::path::Path;

/// A text and its label.
pub(crate) type Row = (String, String);

/// What a world is made of.
pub(crate) struct Design {
    family: Family,
    /// Whether messages may name a second matter.
    matters: bool,
    /// Labels at most: some families have fewer.
    classes: usize,
    breadth: Breadth,
    /// Whether the labels are what people would call the classes, where there is such a name; else held-out words, which mean nothing.
    named: bool,
    /// Training rows.
    pub(crate) train: usize,
    /// Share of the rows, in every part, that a labeller has given another label.
    pub(crate) noise: f64,
}

/// The families in turn, and whether their messages may name a second matter that is settled: which of the two is open the words
/// alone do not tell, so that no floor is right. Neither do they tell the order of two words; of mixtures they tell all.
const FAMILIES: [(Family, bool); 8] = [
    (Family::Order, false),
    (Family::Intent, true),
    (Family::Pattern, false),
    (Family::Act, false),
    (Family::Topic, true),
    (Family::Mixture, false),
    (Family::Act, true),
    (Family::Aspect, false),
];

/// Share of the messages with a second matter, where there are such.
const TWO_MATTERS: f64 = 0.5;

/// An open matter beside a settled one, in either order.
const FRAMES: [&str; 8] = [
    "this was answered: <settled> - what is left: <open>",
    "\"<settled>\" is settled, but not this: <open>",
    "never mind \"<settled>\", I write because of this: <open>",
    "last week it was \"<settled>\", today it is this: <open>",
    "<open> - it is not about \"<settled>\", that is done",
    "<open> (the other thing, \"<settled>\", was answered)",
    "please look at this: <open>. That is settled: <settled>",
    "<open>. Do not mind the old message \"<settled>\"",
];

/// Tasks without enough different texts that are drawn before one gives up.
const TRIES: u64 = 60;

impl Design {
    /// The design of world `number`: lists of different lengths in turn, so that everything meets everything.
    pub(crate) fn new(number: usize) -> Self {
        let (family, matters) = FAMILIES[number % FAMILIES.len()];
        Self {
            family,
            matters,
            classes: [4, 3, 6, 4, 8, 2, 5][number % 7],
            breadth: if (number / 8).is_multiple_of(2) { Breadth::ALL } else { Breadth::FEW },
            named: number % 5 < 2,
            train: [256, 24, 96][number % 3],
            noise: [0.0, 0.0, 0.1, 0.0, 0.2][number / 2 % 5],
        }
    }

    /// The family and how many ways of saying a thing it has, in words.
    pub(crate) fn name(&self) -> String {
        let ways = if self.breadth == Breadth::ALL { "all ways" } else { "few ways" };
        let matters = if self.matters { ", two matters" } else { "" };
        format!("{:?}{matters}, {ways}", self.family).to_lowercase()
    }
}

/// Draws the texts of tasks.
pub(crate) struct Tasks {
    lexicon: Lexicon,
    vocabulary: Vocabulary,
}

impl Tasks {
    /// Reads the words, and the tokenizer in the folder `model`.
    pub(crate) fn open(model: &Path) -> Result<Self> {
        let lexicon = Lexicon::load()?;
        let vocabulary = open_vocabulary(model, &lexicon)?;
        Ok(Self { lexicon, vocabulary })
    }

    /// Rows of one task of held-out words, concepts and labels: `wanted` different texts, at least `fewest`, in random order.
    pub(crate) fn rows(&self, design: &Design, seed: u64, [fewest, wanted]: [usize; 2]) -> Result<Vec<Row>> {
        let families = Families { lexicon: &self.lexicon, vocabulary: &self.vocabulary, part: Part::Held };
        for attempt in 0..TRIES {
            let mut dice = Dice::new(seed, 100 + attempt);
            let shape = Shape { classes: design.classes, breadth: design.breadth };
            let task = families.draw(design.family, shape, &mut dice);
            let names = self.names(&task, design.named, &mut dice);
            if task.classes < 2 {
                continue;
            }
            let mut rows = self.texts((&task, design.matters), &names, wanted, &mut dice)?;
            if rows.len() < fewest {
                continue;
            }
            dice.shuffle(&mut rows);
            for (_, label) in &mut rows {
                if dice.chance(design.noise) {
                    let others: Vec<&String> = names.iter().filter(|name| *name != label).collect();
                    let other = (*dice.pick(&others)).clone();
                    *label = other;
                }
            }
            return Ok(rows);
        }
        bail!("no task of {} has {fewest} different texts", design.name())
    }

    /// What the classes are called: by their names, or by held-out words.
    fn names(&self, task: &Task<'_>, named: bool, dice: &mut Dice) -> Vec<String> {
        if let Some(names) = task.names.as_ref().filter(|_| named) {
            return names.clone();
        }
        // The list's own comment is no label.
        let held: Vec<&String> =
            self.lexicon.held_labels.iter().filter(|word| !word.starts_with('#')).collect();
        dice.sample(held.len(), task.classes).into_iter().map(|index| held[index].clone()).collect()
    }

    fn text(&self, task: &Task<'_>, class: usize, dice: &mut Dice) -> Result<String> {
        Ok(match (task.draw)(class, dice) {
            Text::Tokens(tokens) => self.vocabulary.decode(&tokens)?.trim().to_owned(),
            Text::Message(message) => message,
        })
    }

    /// Texts of all classes alike, no two of which have the same words; fewer than wanted where a class has no more.
    fn texts(
        &self,
        (task, matters): (&Task<'_>, bool),
        names: &[String],
        wanted: usize,
        dice: &mut Dice,
    ) -> Result<Vec<Row>> {
        let each = wanted / task.classes.max(1);
        let mut seen = BTreeSet::new();
        let mut classes = Vec::new();
        for class in 0..task.classes {
            let mut own = Vec::new();
            for _ in 0..6 * each {
                if own.len() == each {
                    break;
                }
                let mut text = self.text(task, class, dice)?;
                if matters && dice.chance(TWO_MATTERS) {
                    let other = (class + dice.between(1, task.classes - 1)) % task.classes;
                    let settled = self.text(task, other, dice)?;
                    text = dice.pick(&FRAMES).replace("<open>", &text).replace("<settled>", &settled);
                }
                if !text.is_empty() && seen.insert(words(&text)) {
                    own.push(text);
                }
            }
            classes.push(own);
        }
        // As many of each: a class with few texts is not to be told by its rarity.
        let fewest = classes.iter().map(Vec::len).min().unwrap_or(0);
        let labelled = |(texts, name): (Vec<String>, &String)| {
            texts.into_iter().take(fewest).map(|text| (text, name.clone())).collect::<Vec<Row>>()
        };
        Ok(classes.into_iter().zip(names).flat_map(labelled).collect())
    }
}

/// A text without case and punctuation.
fn words(text: &str) -> String {
    let plain: String = text.chars().map(|c| if c.is_alphanumeric() { c } else { ' ' }).collect();
    plain.to_lowercase().split_whitespace().collect::<Vec<_>>().join(" ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_world_repeats_is_balanced_and_errs_as_often_as_it_says() {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../models/micro");
        let tasks = Tasks::open(&folder).unwrap();
        let (clean, noisy) = (Design::new(1), Design { noise: 0.2, ..Design::new(1) });
        let draw = |design: &Design| tasks.rows(design, 5, [300, 600]).unwrap();
        let (right, wrong) = (draw(&clean), draw(&noisy));
        assert_eq!(right, draw(&clean));
        let names: BTreeSet<&str> = right.iter().map(|(_, label)| label.as_str()).collect();
        for name in &names {
            assert_eq!(right.iter().filter(|(_, label)| label == name).count(), right.len() / names.len());
        }
        let texts: BTreeSet<String> = right.iter().map(|(text, _)| words(text)).collect();
        assert_eq!(texts.len(), right.len());
        let flipped = right.iter().zip(&wrong).filter(|(a, b)| a.0 == b.0 && a.1 != b.1).count();
        // 20% of at least 300 with a standard error of 2.3 points.
        let share = flipped as f64 / right.len() as f64;
        assert!((0.12..0.28).contains(&share), "{share}");
    }
}
