//! Families of classification tasks: each draws classes, and then texts of a class.

use super::dice::Dice;
use super::grammar::Template;
use super::lexicon::{Aspect, Category, Domain, Intent, Lexicon};
use super::message::{Style, Writer};
use super::vocabulary::Vocabulary;

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
    /// A task of `family` with at most `classes` classes; `level` in 0 ..= 1 is its difficulty.
    pub(super) fn draw(&self, family: Family, classes: usize, level: f64, dice: &mut Dice) -> Task<'l> {
        match family {
            Family::Keyword => self.keyword(classes, level, dice),
            Family::Order => self.order(level, dice),
            Family::Category => self.category(classes, level, dice),
            Family::Entity => self.entity(classes, level, dice),
            Family::Act => self.act(classes, level, dice),
            Family::Intent => self.intent(classes, level, dice),
            Family::Topic => self.topic(classes, level, dice),
            Family::Aspect => self.aspect(classes, level, dice),
            Family::Conjunction => self.conjunction(level, dice),
        }
    }

    fn open(&self, held: bool) -> bool {
        held == (self.part == Part::Held)
    }

    fn writer(&self) -> Writer<'l> {
        Writer { lexicon: self.lexicon, held: self.part == Part::Held }
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

    fn keyword(&self, classes: usize, level: f64, dice: &mut Dice) -> Task<'l> {
        let each = if level > 0.4 { *dice.pick(&[1, 1, 1, 2, 3, 4]) } else { 1 };
        let keys = self.words(classes * each, dice);
        let most = match level {
            level if level < 0.02 => 0,
            level if level < 0.5 => (level * 20.0) as usize + 1,
            _ => 10,
        };
        let size = *dice.pick(&[60, 200, 600]);
        let noise = self.words(size, dice);
        let length = dice.between(0, most);
        let twice = most > 3 && dice.chance(0.3);
        let draw = move |class: usize, dice: &mut Dice| {
            let count = if length == 0 { 0 } else { (length + dice.below(3)).saturating_sub(1) };
            let mut text: Vec<u32> = (0..count).map(|_| *dice.pick(&noise)).collect();
            for _ in 0..if twice { 2 } else { 1 } {
                let at = dice.below(text.len() + 1);
                text.insert(at, *dice.pick(&keys[class * each..][..each]));
            }
            Text::Tokens(text)
        };
        Task { classes, names: None, language: false, draw: Box::new(draw) }
    }

    fn order(&self, level: f64, dice: &mut Dice) -> Task<'l> {
        let size = dice.between(4, 80);
        let (pair, noise) = (self.words(2, dice), self.words(size, dice));
        let most = 1 + (level * 7.0) as usize;
        let draw = move |class: usize, dice: &mut Dice| {
            let mut text: Vec<u32> = (0..dice.below(most + 1)).map(|_| *dice.pick(&noise)).collect();
            let second = dice.below(text.len() + 1);
            text.insert(second, pair[1 - class]);
            let first = dice.below(second + 1);
            text.insert(first, pair[class]);
            Text::Tokens(text)
        };
        Task { classes: 2, names: None, language: false, draw: Box::new(draw) }
    }

    fn category(&self, classes: usize, level: f64, dice: &mut Dice) -> Task<'l> {
        let open: Vec<&Category> =
            self.lexicon.categories.iter().filter(|category| self.open(category.held)).collect();
        let chosen: Vec<&Category> =
            dice.sample(open.len(), classes).into_iter().map(|index| open[index]).collect();
        let names = chosen.iter().map(|category| category.name.replace('_', " ")).collect();
        let sentence = dice.chance(0.35);
        let most = if level < 0.3 { 1 } else { dice.between(1, 5) };
        let (writer, domains, acts) = (self.writer(), self.domains(), self.acts());
        let style = Style::draw(level, dice);
        let classes = chosen.len();
        let draw = move |class: usize, dice: &mut Dice| {
            let words = chosen[class].words.as_slice();
            if sentence {
                let template = mentioning_thing(&acts, dice);
                let (domain, word) = (*dice.pick(&domains), dice.pick(words).as_str());
                let core = writer.core(template, domain, &[("thing", word)], dice);
                return Text::Message(writer.message(&core, None, None, style, dice));
            }
            let listed: Vec<&str> = (0..dice.between(1, most)).map(|_| dice.pick(words).as_str()).collect();
            Text::Message(listed.join(" "))
        };
        Task { classes, names: Some(names), language: true, draw: Box::new(draw) }
    }

    fn entity(&self, classes: usize, level: f64, dice: &mut Dice) -> Task<'l> {
        let (writer, domains, acts) = (self.writer(), self.domains(), self.acts());
        let domain = *dice.pick(&domains);
        let words: Vec<String> = if dice.chance(0.5) {
            domain.slots[0].1.clone()
        } else {
            dice.pick(&self.lexicon.categories).words.clone()
        };
        let chosen: Vec<String> =
            dice.sample(words.len(), classes).into_iter().map(|index| words[index].clone()).collect();
        let style = Style::draw(level, dice);
        let classes = chosen.len();
        let draw = move |class: usize, dice: &mut Dice| {
            let template = mentioning_thing(&acts, dice);
            let core = writer.core(template, domain, &[("thing", chosen[class].as_str())], dice);
            Text::Message(writer.message(&core, None, None, style, dice))
        };
        Task { classes, names: None, language: true, draw: Box::new(draw) }
    }

    fn act(&self, classes: usize, level: f64, dice: &mut Dice) -> Task<'l> {
        let (writer, domains, acts) = (self.writer(), self.domains(), self.acts());
        let (classes, groups) = groups(acts.len(), classes, dice);
        let names = names(&groups, |index| acts[index].name.clone());
        let fixed = dice.chance(0.4).then(|| *dice.pick(&domains));
        let style = Style::draw(level, dice);
        let draw = move |class: usize, dice: &mut Dice| {
            let act = acts[*dice.pick(&groups[class])];
            let domain = fixed.unwrap_or_else(|| *dice.pick(&domains));
            let core = writer.core(dice.pick(&act.templates), domain, &[], dice);
            Text::Message(writer.message(&core, None, None, style, dice))
        };
        Task { classes, names, language: true, draw: Box::new(draw) }
    }

    fn intent(&self, classes: usize, level: f64, dice: &mut Dice) -> Task<'l> {
        let (writer, domains, acts) = (self.writer(), self.domains(), self.acts());
        let pairs = |domain: &'l Domain| domain.intents.iter().map(move |intent| (domain, intent));
        let mut pool: Vec<(&Domain, &Intent)> = if dice.chance(0.5) {
            let domain = *dice.pick(&domains);
            // The domain's own intents, and two acts in its words.
            let mut pool: Vec<_> = pairs(domain).collect();
            pool.extend(dice.sample(acts.len(), 3).into_iter().map(|index| (domain, acts[index])));
            pool
        } else {
            domains.iter().flat_map(|domain| pairs(domain)).collect()
        };
        dice.shuffle(&mut pool);
        let (classes, groups) = groups(pool.len(), classes, dice);
        let names = names(&groups, |index| pool[index].1.name.clone());
        let style = Style::draw(level, dice);
        let draw = move |class: usize, dice: &mut Dice| {
            let (domain, intent) = pool[*dice.pick(&groups[class])];
            let core = writer.core(dice.pick(&intent.templates), domain, &[], dice);
            Text::Message(writer.message(&core, None, None, style, dice))
        };
        Task { classes, names, language: true, draw: Box::new(draw) }
    }

    fn topic(&self, classes: usize, level: f64, dice: &mut Dice) -> Task<'l> {
        let (writer, domains, acts) = (self.writer(), self.domains(), self.acts());
        let (classes, groups) = groups(domains.len(), classes, dice);
        let names = names(&groups, |index| domains[index].name.clone());
        let style = Style::draw(level, dice);
        let draw = move |class: usize, dice: &mut Dice| {
            let domain = domains[*dice.pick(&groups[class])];
            let core = match dice.below(4) {
                0 => writer.core(any_template(domain.intents.iter(), dice), domain, &[], dice),
                1 => dice.pick(&domain.slots[3].1).clone(),
                _ => writer.core(any_template(acts.iter().copied(), dice), domain, &[], dice),
            };
            Text::Message(writer.message(&core, None, None, style, dice))
        };
        Task { classes, names, language: true, draw: Box::new(draw) }
    }

    fn aspect(&self, classes: usize, level: f64, dice: &mut Dice) -> Task<'l> {
        let (writer, domains, acts) = (self.writer(), self.domains(), self.acts());
        let aspects = self.aspects();
        let aspect = *dice.pick(&aspects);
        let values = dice.sample(aspect.values.len(), classes);
        let names = values.iter().map(|&value| aspect.values[value].0.replace('_', " ")).collect();
        let alone = dice.chance(0.3 - 0.2 * level);
        let fixed = dice.chance(0.4).then(|| *dice.pick(&domains));
        let style = Style::draw(level, dice);
        let classes = values.len();
        let draw = move |class: usize, dice: &mut Dice| {
            let clause = writer.clause(aspect, values[class], dice);
            if alone {
                return Text::Message(clause.to_lowercase());
            }
            let domain = fixed.unwrap_or_else(|| *dice.pick(&domains));
            let core = writer.core(any_template(acts.iter().copied(), dice), domain, &[], dice);
            Text::Message(writer.message(&core, Some(&clause), Some(&aspect.name), style, dice))
        };
        Task { classes, names: Some(names), language: true, draw: Box::new(draw) }
    }

    fn conjunction(&self, level: f64, dice: &mut Dice) -> Task<'l> {
        let (writer, domains, acts) = (self.writer(), self.domains(), self.acts());
        let aspects = self.aspects();
        let aspect = *dice.pick(&aspects);
        let values = dice.sample(aspect.values.len(), 2);
        let pair = dice.sample(acts.len(), 2);
        let domain = *dice.pick(&domains);
        let style = Style::draw(level, dice);
        let exclusive = dice.chance(0.3);
        let draw = move |class: usize, dice: &mut Dice| {
            // Four classes: every pair. Two classes: equal or unequal, of which neither part tells anything alone.
            let (first, second) = match exclusive {
                false => (class / 2, class % 2),
                true => {
                    let first = dice.below(2);
                    (first, first ^ class)
                }
            };
            let clause = writer.clause(aspect, values[second], dice);
            let core = writer.core(dice.pick(&acts[pair[first]].templates), domain, &[], dice);
            Text::Message(writer.message(&core, Some(&clause), Some(&aspect.name), style, dice))
        };
        Task { classes: if exclusive { 2 } else { 4 }, names: None, language: true, draw: Box::new(draw) }
    }
}

/// A template of any of `intents`.
fn any_template<'l>(intents: impl ExactSizeIterator<Item = &'l Intent>, dice: &mut Dice) -> &'l Template {
    let mut intents = intents;
    let chosen = dice.below(intents.len());
    let intent = intents.nth(chosen).expect("below the length");
    dice.pick(&intent.templates)
}

/// A template of some act in which the thing is named.
fn mentioning_thing<'l>(acts: &[&'l Intent], dice: &mut Dice) -> &'l Template {
    loop {
        let template = any_template(acts.iter().copied(), dice);
        if template.slots().contains(&"thing") {
            return template;
        }
    }
}

/// Draws `classes` groups of indices below `bound`; sometimes two indices make one class.
fn groups(bound: usize, classes: usize, dice: &mut Dice) -> (usize, Vec<Vec<usize>>) {
    let mut drawn = dice.sample(bound, classes);
    if drawn.len() >= 4 && dice.chance(0.15) {
        let rest = drawn.split_off(drawn.len() / 2);
        let pairs: Vec<Vec<usize>> = drawn.into_iter().zip(rest).map(|(a, b)| vec![a, b]).collect();
        return (pairs.len(), pairs);
    }
    (drawn.len(), drawn.into_iter().map(|index| vec![index]).collect())
}

fn names(groups: &[Vec<usize>], name: impl Fn(usize) -> String) -> Option<Vec<String>> {
    let single = groups.iter().all(|group| group.len() == 1);
    single.then(|| groups.iter().map(|group| name(group[0]).replace('_', " ")).collect())
}
