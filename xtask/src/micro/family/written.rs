//! Tasks whose answer is written instead of chosen: fields of a message as JSON, words of a category, changed strings, and
//! short instructions.

use super::Families;
use crate::micro::dice::Dice;
use crate::micro::lexicon::Category;
use crate::micro::message::{Style, capital};

/// What is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::micro) enum Written {
    /// Some fields of a message, as a JSON object; `null` where the message lacks one.
    Fields,
    /// The words of a category in a list of words, in their order, or `none`.
    Tags,
    /// One change of a string, the same in every line.
    Change,
    /// A change that every line names.
    Instruction,
}

impl Written {
    /// All of them.
    pub(in crate::micro) const ALL: [Self; 4] = [Self::Fields, Self::Tags, Self::Change, Self::Instruction];

    /// What the tables call it.
    pub(in crate::micro) fn name(self) -> &'static str {
        match self {
            Self::Fields => "fields as JSON",
            Self::Tags => "words of a category",
            Self::Change => "a changed string",
            Self::Instruction => "a named change",
        }
    }
}

/// Draws an input and its output.
pub(in crate::micro) type Write<'l> = Box<dyn Fn(&mut Dice) -> (String, String) + 'l>;

/// A field that a message may have: its key, the category of its values, how it is said, whether training lacks it.
struct Field {
    key: &'static str,
    category: &'static str,
    phrases: &'static [&'static str],
    held: bool,
}

const FIELDS: [Field; 9] = [
    Field {
        key: "name",
        category: "first_name",
        phrases: &["for *", "my name is *", "this is *"],
        held: false,
    },
    Field { key: "city", category: "city", phrases: &["in *", "I live in *", "from *"], held: false },
    Field { key: "day", category: "day", phrases: &["on *", "until *", "* suits me"], held: false },
    Field { key: "colour", category: "color", phrases: &["in *", "the * one", "* if possible"], held: false },
    Field { key: "count", category: "digit", phrases: &["* of them", "* pieces", "we are *"], held: false },
    Field { key: "drink", category: "drink", phrases: &["with *", "and *", "some * too"], held: false },
    Field { key: "month", category: "month", phrases: &["in *", "by *", "not before *"], held: true },
    Field { key: "country", category: "country", phrases: &["to *", "sent from *"], held: true },
    Field { key: "animal", category: "animal", phrases: &["with my *", "I have a *"], held: true },
];

/// A change of a list of words, and whether training lacks it.
type Change = (&'static str, fn(&[String]) -> String, bool);

const CHANGES: [Change; 9] = [
    ("first word", |words| words[0].clone(), false),
    ("last word", |words| words[words.len() - 1].clone(), false),
    ("backwards", |words| words.iter().rev().cloned().collect::<Vec<_>>().join(" "), false),
    ("again", |words| words.join(" "), false),
    ("without the first", |words| words[1..].join(" "), false),
    ("with commas", |words| words.join(", "), false),
    ("how many", |words| words.len().to_string(), false),
    ("second word", |words| words[1].clone(), true),
    ("without the last", |words| words[..words.len() - 1].join(" "), true),
];

impl<'l> Families<'l> {
    /// A task whose answers are written.
    pub(in crate::micro) fn written(&self, kind: Written, dice: &mut Dice) -> Write<'l> {
        match kind {
            Written::Fields => self.fields(dice),
            Written::Tags => self.tags(dice),
            Written::Change => self.change(dice),
            Written::Instruction => self.instruction(dice),
        }
    }

    fn fields(&self, dice: &mut Dice) -> Write<'l> {
        let (writer, domains, acts) = (self.writer(), self.domains(), self.acts());
        let open: Vec<&Field> = FIELDS.iter().filter(|field| self.open(field.held)).collect();
        let count = dice.between(1, 3);
        let asked: Vec<&Field> =
            dice.sample(open.len(), count).into_iter().map(|index| open[index]).collect();
        let absent = dice.unit() * 0.4;
        let style = Style { frills: 0.0, clauses: 0.0, plain: dice.chance(0.5) };
        let fixed = *dice.pick(&domains);
        Box::new(move |dice| {
            let act = *dice.pick(&acts);
            let core = writer.core(dice.pick(&act.templates), fixed, &[], dice);
            let mut parts = vec![core];
            let mut found = Vec::new();
            for field in &asked {
                let value = writer.word(field.category, dice);
                let value = if style.plain { value.to_lowercase() } else { value };
                if dice.chance(absent) {
                    found.push(format!("\"{}\": null", field.key));
                    continue;
                }
                parts.push(dice.pick(field.phrases).replace('*', &value));
                found.push(format!("\"{}\": \"{value}\"", field.key));
            }
            let tail = &mut parts[1..];
            dice.shuffle(tail);
            let text = parts.join(*dice.pick(&[", ", " ", ", "]));
            let text = if style.plain { text.to_lowercase() } else { capital(&text) };
            (text, format!("{{{}}}", found.join(", ")))
        })
    }

    fn tags(&self, dice: &mut Dice) -> Write<'l> {
        let categories = self.categories();
        let wanted: &'l Category = dice.pick::<&Category>(&categories);
        let longest = dice.between(3, 7);
        Box::new(move |dice| {
            let (mut words, mut found) = (Vec::new(), Vec::new());
            for _ in 0..dice.between(2, longest) {
                let category = if dice.chance(0.35) { wanted } else { dice.pick::<&Category>(&categories) };
                let word = dice.pick(&category.words).clone();
                if wanted.words.contains(&word) {
                    found.push(word.clone());
                }
                words.push(word);
            }
            let answer = if found.is_empty() { "none".to_owned() } else { found.join(", ") };
            (words.join(" "), answer)
        })
    }

    fn change(&self, dice: &mut Dice) -> Write<'l> {
        let open: Vec<&Change> = CHANGES.iter().filter(|change| self.open(change.2)).collect();
        let (_, change, _) = **dice.pick(&open);
        let categories = self.categories();
        Box::new(move |dice| {
            let words = some_words(&categories, dice);
            (words.join(" "), change(&words))
        })
    }

    fn instruction(&self, dice: &mut Dice) -> Write<'l> {
        let open: Vec<&Change> = CHANGES.iter().filter(|change| self.open(change.2)).collect();
        let categories = self.categories();
        let count = dice.between(2, open.len());
        let used: Vec<Change> =
            dice.sample(open.len(), count).into_iter().map(|index| *open[index]).collect();
        Box::new(move |dice| {
            let words = some_words(&categories, dice);
            let (name, change, _) = dice.pick(&used);
            (format!("{name}: {}", words.join(" ")), change(&words))
        })
    }
}

/// Two to five words of any categories.
fn some_words(categories: &[&Category], dice: &mut Dice) -> Vec<String> {
    let count = dice.between(2, 5);
    let word = |_| {
        let category = *dice.pick::<&Category>(categories);
        dice.pick(&category.words).clone()
    };
    (0..count).map(word).collect()
}

#[cfg(test)]
mod tests {
    use super::super::Part;
    use super::*;
    use crate::micro::lexicon::Lexicon;
    use crate::micro::tokenizer;
    use crate::micro::vocabulary::Vocabulary;
    use serde_json::Value;
    use std::collections::BTreeSet;
    use std::path::Path;

    fn drawn(kind: Written, part: Part) -> Vec<(String, String)> {
        let lexicon = Lexicon::load().unwrap();
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../models/micro");
        let common = tokenizer::texts(&lexicon, Part::Training, 200, 1);
        let vocabulary = Vocabulary::open(&folder.join("tokenizer.json"), &lexicon, &common).unwrap();
        let families = Families { lexicon: &lexicon, vocabulary: &vocabulary, part };
        let mut dice = Dice::new(4, 1);
        let tasks = 30;
        (0..tasks)
            .flat_map(|_| {
                let draw = families.written(kind, &mut dice);
                (0..10).map(|_| draw(&mut dice)).collect::<Vec<_>>()
            })
            .collect()
    }

    #[test]
    fn fields_are_json_of_what_the_message_says() {
        let mut keys = [BTreeSet::new(), BTreeSet::new()];
        for (own, part) in keys.iter_mut().zip([Part::Training, Part::Held]) {
            for (text, answer) in drawn(Written::Fields, part) {
                let Value::Object(fields) = serde_json::from_str(&answer).unwrap() else {
                    panic!("{answer}")
                };
                for (key, value) in fields {
                    assert!(value.as_str().is_none_or(|value| text.contains(value)), "{text} {answer}");
                    own.insert(key);
                }
            }
        }
        assert!(keys[0].is_disjoint(&keys[1]) && keys[1].len() == 3, "{keys:?}");
    }

    #[test]
    fn tags_are_words_of_the_text_in_their_order() {
        for (text, answer) in drawn(Written::Tags, Part::Training) {
            let mut words = text.split(' ');
            let found = answer.split(", ").flat_map(|answer| answer.split(' '));
            assert!(
                answer == "none" || found.clone().all(|own| words.any(|word| word == own)),
                "{text} {answer}"
            );
        }
    }

    #[test]
    fn changes_are_what_their_names_say() {
        let words: Vec<String> = ["red", "fox", "pear"].map(str::to_owned).to_vec();
        let expected = [
            "red",
            "pear",
            "pear fox red",
            "red fox pear",
            "fox pear",
            "red, fox, pear",
            "3",
            "fox",
            "red fox",
        ];
        for ((name, change, _), expected) in CHANGES.iter().zip(expected) {
            assert_eq!(change(&words), expected, "{name}");
        }
        for (text, _) in drawn(Written::Instruction, Part::Held) {
            assert!(text.starts_with("second word: ") || text.starts_with("without the last: "), "{text}");
        }
    }
}
