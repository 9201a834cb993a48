//! Training sequences: demonstrations of one task in a row, every label after the first of its class a prediction
//! that only the context allows.

use super::dice::Dice;
use super::family::{Breadth, Families, Family, Shape, Task, Text, Written};
use super::vocabulary::Vocabulary;
use anyhow::Result;
use std::collections::BTreeSet;

/// A token to be predicted where a label is.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Choice {
    /// The row whose logits predict it: the one before the token.
    pub(super) row: usize,
    /// The token.
    pub(super) target: u32,
    /// Tokens that could follow under some label of the task; empty where only one can.
    pub(super) candidates: Vec<u32>,
    /// Weight in the loss over the whole vocabulary.
    pub(super) weight: f32,
    /// Whether it counts for the restricted loss and accuracy.
    pub(super) restricted: bool,
}

/// A sequence to be trained on.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Sequence {
    /// The tokens, beginning with the boundary.
    pub(super) tokens: Vec<u32>,
    /// What is predicted of labels.
    pub(super) choices: Vec<Choice>,
    /// Rows on which a language model may be trained: they predict a token of a text.
    pub(super) language: Vec<usize>,
}

/// Weight of a token of a written answer, beside 1 of a label's.
const WRITTEN: f32 = 2.0;

/// Share of the sequences of messages whose words have other names: there a word is what the sequence makes of it, as it is
/// where a word was never seen.
const RENAMED: f64 = 0.45;

const VOWELS: &[u8] = b"aeiou";
const CONSONANTS: &[u8] = b"bcdfghjklmnprstvwz";
const ENDINGS: &[u8] = b"bdgklmnprstz";

/// Makes the sequences of a curriculum.
pub(super) struct Generator<'l> {
    /// Where tasks come from.
    pub(super) families: Families<'l>,
}

impl<'l> Generator<'l> {
    /// A sequence of exactly `length` tokens.
    pub(super) fn sequence(&self, length: usize, dice: &mut Dice) -> Result<Sequence> {
        let family = draw_family(dice);
        let classes = *dice.pick(&[2, 2, 3, 3, 4, 4, 4, 5, 6, 8, 8, 10, 12, 16]);
        let shape = Shape { classes, breadth: Breadth::draw(dice) };
        let task = self.families.draw(family, shape, dice);
        let natural = self.natural_labels(&task, dice)?;
        let named = natural.is_some();
        let labels = match natural {
            Some(labels) => labels,
            None => self.labels(task.classes, dice)?,
        };
        let rename = task.language && !named && dice.chance(RENAMED);
        let renaming = rename.then(|| self.families.vocabulary.renaming(dice));
        let mut builder = Builder::new(&labels, self.families.vocabulary, named);
        let mut habits = Habits::draw(task.classes, dice);
        while builder.tokens.len() < length {
            let (class, text) = match habits.repeat(dice) {
                Some(earlier) => earlier,
                None => {
                    let class = habits.class(dice);
                    let text = match (task.draw)(class, dice) {
                        Text::Tokens(tokens) => tokens,
                        Text::Message(message) => self.families.vocabulary.encode(&message)?,
                    };
                    (class, self.worn(text, habits.drop, renaming.as_deref(), dice))
                }
            };
            let language = task.language && renaming.is_none();
            builder.demonstrate(class, &text, language);
            habits.seen.push((class, text));
        }
        Ok(builder.finish(length))
    }

    /// As [`Generator::sequence`], of a task whose answers are written.
    pub(super) fn written(&self, length: usize, dice: &mut Dice) -> Result<Sequence> {
        let draw = self.families.written(*dice.pick(&Written::ALL), dice);
        let mut builder = Builder::new(&[], self.families.vocabulary, false);
        while builder.tokens.len() < length {
            let (input, output) = draw(dice);
            let input = self.families.vocabulary.encode(&input)?;
            builder.write(&input, &self.families.vocabulary.label(&output)?);
        }
        Ok(builder.finish(length))
    }

    /// Drops tokens and renames them.
    fn worn(&self, text: Vec<u32>, drop: f64, renaming: Option<&[Vec<u32>]>, dice: &mut Dice) -> Vec<u32> {
        let mut kept: Vec<u32> = text.iter().copied().filter(|_| drop == 0.0 || !dice.chance(drop)).collect();
        if kept.is_empty() {
            kept = text;
        }
        match renaming {
            Some(table) => kept.iter().flat_map(|&token| table[token as usize].iter().copied()).collect(),
            None => kept,
        }
    }

    /// The classes' own names, now and then: they teach what texts are about.
    fn natural_labels(&self, task: &Task<'_>, dice: &mut Dice) -> Result<Option<Vec<Vec<u32>>>> {
        let Some(names) = task.names.as_ref().filter(|_| dice.chance(0.15)) else { return Ok(None) };
        let labels: Vec<Vec<u32>> =
            names.iter().map(|name| self.families.vocabulary.label(name)).collect::<Result<_>>()?;
        let distinct = labels.iter().collect::<BTreeSet<_>>().len() == labels.len();
        let open = labels.iter().all(|label| !self.families.vocabulary.begins_held(label));
        Ok((distinct && open).then_some(labels))
    }

    /// Random labels: words, or (now and then) invented words and pairs of words.
    pub(super) fn labels(&self, count: usize, dice: &mut Dice) -> Result<Vec<Vec<u32>>> {
        let vocabulary = self.families.vocabulary;
        let invented = dice.chance(0.35);
        let pairs = invented && dice.chance(0.4);
        let mut labels: Vec<Vec<u32>> = Vec::new();
        while labels.len() < count {
            let label = match (invented, pairs) {
                (false, _) => vec![*dice.pick(&vocabulary.labels)],
                (true, false) => vocabulary.label(&invented_word(dice))?,
                (true, true) => vec![*dice.pick(&vocabulary.labels), *dice.pick(&vocabulary.labels)],
            };
            // No label is the beginning of another: the answer is then decided before the line ends.
            let clash = |other: &Vec<u32>| other.starts_with(&label) || label.starts_with(other);
            if !vocabulary.begins_held(&label) && !labels.iter().any(clash) {
                labels.push(label);
            }
        }
        Ok(labels)
    }
}

/// Mostly messages.
fn draw_family(dice: &mut Dice) -> Family {
    let symbols = 0.2;
    let weighted = [
        (Family::Keyword, symbols * 0.25),
        (Family::Mixture, symbols * 0.3),
        (Family::Pattern, symbols * 0.4),
        (Family::Order, symbols * 0.05),
        (Family::Category, (1.0 - symbols) * 0.14),
        (Family::Entity, (1.0 - symbols) * 0.12),
        (Family::Act, (1.0 - symbols) * 0.22),
        (Family::Intent, (1.0 - symbols) * 0.28),
        (Family::Topic, (1.0 - symbols) * 0.08),
        (Family::Aspect, (1.0 - symbols) * 0.1),
        (Family::Conjunction, (1.0 - symbols) * 0.06),
    ];
    weighted[dice.weighted(&weighted.map(|(_, weight)| weight))].0
}

/// One or two syllables and a final consonant, sometimes with a capital.
pub(super) fn invented_word(dice: &mut Dice) -> String {
    let mut word = String::new();
    for _ in 0..dice.between(1, 2) {
        word.push(char::from(*dice.pick(CONSONANTS)));
        word.push(char::from(*dice.pick(VOWELS)));
    }
    word.push(char::from(*dice.pick(ENDINGS)));
    if dice.chance(0.3) { super::message::capital(&word) } else { word }
}

/// How the classes of one sequence follow each other.
struct Habits {
    classes: usize,
    /// Chance that an earlier text comes again.
    again: f64,
    /// Chance that a token is dropped.
    drop: f64,
    weights: Option<Vec<f64>>,
    balanced: bool,
    order: Vec<usize>,
    seen: Vec<(usize, Vec<u32>)>,
}

impl Habits {
    fn draw(classes: usize, dice: &mut Dice) -> Self {
        let weights = dice.chance(0.3).then(|| {
            let mut weights: Vec<f64> = (1..=classes).map(|rank| 1.0 / rank as f64).collect();
            dice.shuffle(&mut weights);
            weights
        });
        Self {
            classes,
            again: dice.unit() * 0.05,
            drop: *dice.pick(&[0.0, 0.0, 0.0, 0.1]),
            weights,
            balanced: dice.chance(0.5),
            order: Vec::new(),
            seen: Vec::new(),
        }
    }

    fn repeat(&self, dice: &mut Dice) -> Option<(usize, Vec<u32>)> {
        (!self.seen.is_empty() && dice.chance(self.again)).then(|| dice.pick(&self.seen).clone())
    }

    fn class(&mut self, dice: &mut Dice) -> usize {
        if let Some(weights) = &self.weights {
            return dice.weighted(weights);
        }
        if !self.balanced {
            return dice.below(self.classes);
        }
        if self.order.is_empty() {
            self.order = dice.sample(self.classes, self.classes);
        }
        self.order.pop().expect("just filled")
    }
}

/// A sequence that is being written.
struct Builder<'a> {
    labels: &'a [Vec<u32>],
    arrow: u32,
    line_feed: u32,
    /// The labels are the classes' names: known without an earlier demonstration.
    named: bool,
    shown: Vec<bool>,
    tokens: Vec<u32>,
    choices: Vec<Choice>,
    language: Vec<usize>,
}

impl<'a> Builder<'a> {
    fn new(labels: &'a [Vec<u32>], vocabulary: &Vocabulary, named: bool) -> Self {
        Self {
            labels,
            arrow: vocabulary.arrow,
            line_feed: vocabulary.line_feed,
            named,
            shown: vec![false; labels.len()],
            tokens: vec![vocabulary.boundary],
            choices: Vec::new(),
            language: Vec::new(),
        }
    }

    fn demonstrate(&mut self, class: usize, text: &[u32], language: bool) {
        if language {
            self.language.extend(self.tokens.len() - 1..self.tokens.len() - 1 + text.len());
        }
        self.tokens.extend_from_slice(text);
        self.tokens.push(self.arrow);
        let label = &self.labels[class];
        let known = self.named || self.shown[class];
        for (depth, &target) in label.iter().enumerate() {
            let candidates = followers(self.labels, &label[..depth]);
            let restricted = known && candidates.len() > 1;
            let candidates = if restricted { candidates } else { Vec::new() };
            let weight = if known { 1.0 } else { 0.0 };
            self.choices.push(Choice { row: self.tokens.len() - 1, target, candidates, weight, restricted });
            self.tokens.push(target);
        }
        let row = self.tokens.len() - 1;
        let end =
            Choice { row, target: self.line_feed, candidates: Vec::new(), weight: 0.1, restricted: false };
        self.choices.push(end);
        self.tokens.push(self.line_feed);
        self.shown[class] = true;
    }

    /// A text and its answer, of which every token is predicted.
    fn write(&mut self, text: &[u32], answer: &[u32]) {
        self.tokens.extend_from_slice(text);
        self.tokens.push(self.arrow);
        for &target in answer.iter().chain([&self.line_feed]) {
            let row = self.tokens.len() - 1;
            let candidates = Vec::new();
            self.choices.push(Choice { row, target, candidates, weight: WRITTEN, restricted: false });
            self.tokens.push(target);
        }
    }

    fn finish(mut self, length: usize) -> Sequence {
        self.tokens.truncate(length);
        self.choices.retain(|choice| choice.row + 1 < length && choice.weight > 0.0);
        self.language.retain(|row| row + 1 < length);
        Sequence { tokens: self.tokens, choices: self.choices, language: self.language }
    }
}

/// The different tokens that follow `beginning` in some label.
pub(super) fn followers(labels: &[Vec<u32>], beginning: &[u32]) -> Vec<u32> {
    let next = |label: &Vec<u32>| label.strip_prefix(beginning).and_then(|rest| rest.first().copied());
    labels.iter().filter_map(next).collect::<BTreeSet<u32>>().into_iter().collect()
}

#[cfg(test)]
mod tests {
    use super::super::family::Part;
    use super::super::lexicon::Lexicon;
    use super::super::tokenizer;
    use super::*;
    use std::path::Path;

    fn with_generator(part: Part, check: impl Fn(&Generator<'_>, &Vocabulary)) {
        let lexicon = Lexicon::load().unwrap();
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../models/micro");
        let common = tokenizer::texts(&lexicon, Part::Training, 2000, 1);
        let vocabulary = Vocabulary::open(&folder.join("tokenizer.json"), &lexicon, &common).unwrap();
        let families = Families { lexicon: &lexicon, vocabulary: &vocabulary, part };
        check(&Generator { families }, &vocabulary);
    }

    #[test]
    fn a_seed_gives_one_corpus() {
        with_generator(Part::Training, |generator, _| {
            let draw = |seed| {
                let mut dice = Dice::new(seed, 1);
                (0..5).map(|_| generator.sequence(256, &mut dice).unwrap()).collect::<Vec<_>>()
            };
            assert_eq!(draw(3), draw(3));
            assert_ne!(draw(3), draw(4));
        });
    }

    #[test]
    fn choices_predict_the_token_after_their_row() {
        with_generator(Part::Training, |generator, vocabulary| {
            for seed in 1..=6 {
                let sequence = generator.sequence(512, &mut Dice::new(seed, 1)).unwrap();
                assert_eq!((sequence.tokens.len(), sequence.tokens[0]), (512, vocabulary.boundary));
                assert!(sequence.choices.iter().any(|choice| choice.restricted));
                for choice in &sequence.choices {
                    assert_eq!(sequence.tokens[choice.row + 1], choice.target);
                    assert_eq!(choice.restricted, choice.candidates.contains(&choice.target));
                }
            }
        });
    }

    #[test]
    fn training_never_uses_a_held_label() {
        with_generator(Part::Training, |generator, vocabulary| {
            let mut dice = Dice::new(9, 1);
            for _ in 0..300 {
                for label in generator.labels(4, &mut dice).unwrap() {
                    assert!(!vocabulary.begins_held(&label), "{label:?}");
                }
            }
        });
    }

    /// The messages of the two parts have no text in common: they have neither domain nor intent in common.
    #[test]
    fn held_out_texts_are_not_in_the_training_part() {
        let lexicon = Lexicon::load().unwrap();
        let texts = |part| tokenizer::texts(&lexicon, part, 5000, 1).into_iter().collect::<BTreeSet<_>>();
        assert_eq!(texts(Part::Training).intersection(&texts(Part::Held)).count(), 0);
    }

    #[test]
    fn the_tokenizer_is_the_one_of_seed_one() {
        let trained = tokenizer::train(&Lexicon::load().unwrap(), 1).unwrap();
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../models/micro/tokenizer.json");
        assert_eq!(trained.to_string(true).unwrap().trim(), std::fs::read_to_string(path).unwrap().trim());
    }
}
