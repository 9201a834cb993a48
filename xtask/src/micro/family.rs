//! Families of classification tasks: each draws classes, and then texts of a class.

mod messages;
mod symbols;
mod written;

use super::dice::Dice;
use super::lexicon::{Aspect, Category, Domain, Intent, Lexicon};
use super::message::Writer;
use super::vocabulary::Vocabulary;
pub(super) use written::Written;

/// A text of a task.
pub(super) enum Text {
    /// Already tokens: random words.
    Tokens(Vec<u32>),
    /// To be encoded.
    Message(String),
}

/// Draws a text of a class.
type Draw<'l> = Box<dyn Fn(usize, &mut Dice) -> Text + 'l>;

/// A drawn task.
pub(super) struct Task<'l> {
    /// Number of classes.
    pub(super) classes: usize,
    /// What people would call the classes, where there is such a name.
    pub(super) names: Option<Vec<String>>,
    /// Whether the texts are language, on which a language model may be trained.
    pub(super) language: bool,
    /// Draws a text of a class.
    pub(super) draw: Draw<'l>,
}

/// The families of tasks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Family {
    /// One of a class's random words is among other random words.
    Keyword,
    /// Random words, some more frequent in a class than elsewhere: only several together decide.
    Mixture,
    /// Sentences of random words: a class has a few patterns, with choices and open places.
    Pattern,
    /// Which of two words comes first.
    Order,
    /// Words of a category, alone or in a sentence.
    Category,
    /// A certain name or thing is mentioned.
    Entity,
    /// What the writer wants, whatever it is about.
    Act,
    /// What the writer wants, in the terms of a domain.
    Intent,
    /// What domain it is about.
    Topic,
    /// A clause tells something of the writer.
    Aspect,
    /// Two things at once decide.
    Conjunction,
}

/// Which part of the lexicon a task may use.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Part {
    /// Seen in training.
    Training,
    /// Held out of training.
    Held,
}

/// In how many ways a class is said: how many demonstrations show most of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Breadth {
    /// Templates of a class at most (each still has its choices and slots).
    pub(super) ways: usize,
    /// Words at most that tell a class: members of a category, things of a domain.
    pub(super) words: usize,
}

impl Breadth {
    /// Everything that the lexicon has: often more than tens of demonstrations can show.
    pub(super) const ALL: Self = Self { ways: usize::MAX, words: usize::MAX };
    /// What some tens of demonstrations show.
    pub(super) const FEW: Self = Self { ways: 2, words: 3 };

    /// The breadth of a task of training.
    pub(super) fn draw(dice: &mut Dice) -> Self {
        match dice.below(6) {
            0 => Self::ALL,
            1 | 2 => Self::FEW,
            _ => Self { ways: dice.between(1, 4), words: dice.between(2, 8) },
        }
    }
}

/// What a task is drawn with.
#[derive(Clone, Copy, Debug)]
pub(super) struct Shape {
    /// Classes at most.
    pub(super) classes: usize,
    /// Ways in which a class is said.
    pub(super) breadth: Breadth,
}

/// Draws tasks.
#[derive(Clone, Copy)]
pub(super) struct Families<'l> {
    /// The words.
    pub(super) lexicon: &'l Lexicon,
    /// The tokens.
    pub(super) vocabulary: &'l Vocabulary,
    /// Which part.
    pub(super) part: Part,
}

impl<'l> Families<'l> {
    /// A task of `family`.
    pub(super) fn draw(&self, family: Family, shape: Shape, dice: &mut Dice) -> Task<'l> {
        match family {
            Family::Keyword => self.keyword(shape, dice),
            Family::Mixture => self.mixture(shape, dice),
            Family::Pattern => self.pattern(shape, dice),
            Family::Order => self.order(dice),
            Family::Category => self.category(shape, dice),
            Family::Entity => self.entity(shape, dice),
            Family::Act => self.act(shape, dice),
            Family::Intent => self.intent(shape, dice),
            Family::Topic => self.topic(shape, dice),
            Family::Aspect => self.aspect(shape, dice),
            Family::Conjunction => self.conjunction(shape, dice),
        }
    }

    fn open(&self, held: bool) -> bool {
        held == (self.part == Part::Held)
    }

    fn writer(&self) -> Writer<'l> {
        Writer { lexicon: self.lexicon, held: self.part == Part::Held }
    }

    fn categories(&self) -> Vec<&'l Category> {
        self.lexicon.categories.iter().filter(|category| self.open(category.held)).collect()
    }

    fn domains(&self) -> Vec<&'l Domain> {
        self.lexicon.domains.iter().filter(|domain| self.open(domain.held)).collect()
    }

    fn acts(&self) -> Vec<&'l Intent> {
        self.lexicon.acts.iter().filter(|act| self.open(act.held)).collect()
    }

    fn aspects(&self) -> Vec<&'l Aspect> {
        self.lexicon.aspects.iter().filter(|aspect| self.open(aspect.held)).collect()
    }

    fn words(&self, count: usize, dice: &mut Dice) -> Vec<u32> {
        let words = &self.vocabulary.words;
        dice.sample(words.len(), count).into_iter().map(|index| words[index]).collect()
    }
}
