//! Messages: a core sentence in a domain, clauses around it, and the habits of a writer.

use super::dice::Dice;
use super::grammar::{Template, fix_articles};
use super::lexicon::{Aspect, Domain, Lexicon};

/// Words before a message that say nothing.
const OPENERS: [&str; 22] = [
    "hello",
    "hi there",
    "good morning",
    "good evening",
    "hi",
    "excuse me",
    "quick question",
    "listen",
    "well",
    "so",
    "by the way",
    "dear team",
    "hello again",
    "one thing",
    "just so you know",
    "tell me",
    "um",
    "okay so",
    "right",
    "hey",
    "good day",
    "to be honest",
];
/// Words after a message that say nothing.
const CLOSERS: [&str; 20] = [
    "please",
    "thanks",
    "thank you",
    "many thanks",
    "best wishes",
    "bye",
    "if possible",
    "you see",
    "as I said",
    "by the way",
    "please let me know",
    "what now",
    "any idea",
    "greetings",
    "and that is all",
    "see you",
    "thanks in advance",
    "please answer",
    "right",
    "okay",
];
/// Categories whose words are written with a capital.
const PROPER: [&str; 6] = ["day", "month", "city", "country", "first_name", "language"];

/// How much a writer adds to the core, and how it is written.
#[derive(Clone, Copy, Debug)]
pub(super) struct Style {
    /// Chance of an opener, and of a closer.
    pub(super) frills: f64,
    /// Chance of a clause of some aspect that does not matter.
    pub(super) clauses: f64,
    /// Everything in lower case, without a final mark.
    pub(super) plain: bool,
}

impl Style {
    /// A random writer.
    pub(super) fn draw(dice: &mut Dice) -> Self {
        Self { frills: 0.35 * dice.unit(), clauses: 0.6 * dice.unit().powi(2), plain: dice.chance(0.5) }
    }
}

/// Writes messages with the words of a lexicon.
#[derive(Clone, Copy)]
pub(super) struct Writer<'l> {
    /// The words.
    pub(super) lexicon: &'l Lexicon,
    /// Whether clauses that do not matter may be of held-out aspects.
    pub(super) held: bool,
}

impl<'l> Writer<'l> {
    /// A core sentence: `template` with the words of `domain`. `fixed` overrides slots.
    pub(super) fn core(
        &self,
        template: &Template,
        domain: &Domain,
        fixed: &[(&str, &str)],
        dice: &mut Dice,
    ) -> String {
        template.expand(dice, &mut |slot, dice| match fixed.iter().find(|(name, _)| *name == slot) {
            Some((_, word)) => (*word).to_owned(),
            None => self.fill(slot, domain, dice),
        })
    }

    fn fill(&self, slot: &str, domain: &Domain, dice: &mut Dice) -> String {
        match domain.slots.iter().find(|(name, _)| name == slot) {
            Some((_, words)) => dice.pick(words).clone(),
            None => self.word(slot, dice),
        }
    }

    /// A word of a category, or a digit.
    pub(super) fn word(&self, slot: &str, dice: &mut Dice) -> String {
        if slot == "digit" {
            return dice.between(1, 9).to_string();
        }
        match self.lexicon.words(slot) {
            Some(words) if PROPER.contains(&slot) => {
                let word: &String = dice.pick(words);
                capital(word)
            }
            Some(words) => dice.pick(words).clone(),
            None => String::new(),
        }
    }

    /// One of the phrases that say a value of an aspect.
    pub(super) fn clause(&self, phrases: &[Template], dice: &mut Dice) -> String {
        let template = dice.pick(phrases).clone();
        let domain = &self.lexicon.domains[0];
        template.expand(dice, &mut |slot, dice| self.fill(slot, domain, dice))
    }

    /// A whole message around `core`. `clause` must be in it; `avoid` names an aspect that must not be.
    pub(super) fn message(
        &self,
        core: &str,
        clause: Option<&str>,
        avoid: Option<&str>,
        style: Style,
        dice: &mut Dice,
    ) -> String {
        let mut parts = vec![core.to_owned()];
        let add = |parts: &mut Vec<String>, text: String, dice: &mut Dice| {
            let at = if dice.chance(0.5) { 0 } else { parts.len() };
            parts.insert(at, text);
        };
        if let Some(text) = clause {
            add(&mut parts, text.to_owned(), dice);
        }
        if dice.chance(style.clauses) {
            let usable =
                |aspect: &&Aspect| (self.held || !aspect.held) && Some(aspect.name.as_str()) != avoid;
            let aspects: Vec<&Aspect> = self.lexicon.aspects.iter().filter(usable).collect();
            let aspect = *dice.pick(&aspects);
            let value = dice.pick(&aspect.values);
            let text = self.clause(&value.1, dice);
            add(&mut parts, text, dice);
        }
        if dice.chance(style.frills) {
            parts.insert(0, (*dice.pick(&OPENERS)).to_owned());
        }
        if dice.chance(style.frills) {
            parts.push((*dice.pick(&CLOSERS)).to_owned());
        }
        finish(&parts, style.plain, dice)
    }
}

/// Joins the parts with commas, stops or words, and gives them the case of the writer.
fn finish(parts: &[String], plain: bool, dice: &mut Dice) -> String {
    let mut text = String::new();
    for part in parts {
        if !text.is_empty() {
            let glue = *dice.pick(&[", ", ", ", ". ", " and ", " - "]);
            text.push_str(glue);
        }
        text.push_str(part);
    }
    let text = fix_articles(&text);
    if plain {
        return text.to_lowercase();
    }
    let mut text = sentence_case(&text);
    if dice.chance(0.8) {
        let mark = if question(&text) { "?" } else { *dice.pick(&[".", ".", ".", "!", "..."]) };
        text.push_str(mark);
    }
    text
}

fn question(text: &str) -> bool {
    const WORDS: [&str; 24] = [
        "how", "what", "when", "where", "which", "who", "why", "is", "are", "can", "could", "do", "does",
        "did", "will", "would", "may", "should", "has", "have", "was", "until", "any", "at",
    ];
    let last = text.rsplit(". ").next().unwrap_or(text);
    last.split(' ').next().is_some_and(|word| WORDS.contains(&word.to_lowercase().as_str()))
}

fn sentence_case(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for (index, part) in text.split(". ").enumerate() {
        if index > 0 {
            out.push_str(". ");
        }
        out.push_str(&capital(part));
    }
    out
}

/// The word with a capital first letter.
pub(super) fn capital(word: &str) -> String {
    let mut characters = word.chars();
    characters.next().map_or_else(String::new, |first| first.to_uppercase().chain(characters).collect())
}
