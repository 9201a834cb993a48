//! Tasks of messages that the grammar writes.

use super::{Breadth, Families, Shape, Task, Text};
use crate::micro::dice::Dice;
use crate::micro::grammar::Template;
use crate::micro::lexicon::{Category, Domain, Intent};
use crate::micro::message::Style;

impl<'l> Families<'l> {
    pub(super) fn category(&self, shape: Shape, dice: &mut Dice) -> Task<'l> {
        let Shape { classes, breadth } = shape;
        let open = self.categories();
        let chosen: Vec<&Category> =
            dice.sample(open.len(), classes).into_iter().map(|index| open[index]).collect();
        let names = chosen.iter().map(|category| category.name.replace('_', " ")).collect();
        let words: Vec<Vec<String>> =
            chosen.iter().map(|category| some(&category.words, breadth.words, dice)).collect();
        let sentence = dice.chance(0.35);
        let most = dice.between(2, 5);
        let (writer, domains, acts) = (self.writer(), self.domains(), self.acts());
        let style = Style::draw(dice);
        let classes = chosen.len();
        let draw = move |class: usize, dice: &mut Dice| {
            let words = words[class].as_slice();
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

    pub(super) fn entity(&self, Shape { classes, .. }: Shape, dice: &mut Dice) -> Task<'l> {
        let (writer, domains, acts) = (self.writer(), self.domains(), self.acts());
        let domain = *dice.pick(&domains);
        let words: Vec<String> = if dice.chance(0.5) {
            domain.slots[0].1.clone()
        } else {
            dice.pick(&self.lexicon.categories).words.clone()
        };
        let chosen = some(&words, classes, dice);
        let style = Style::draw(dice);
        let classes = chosen.len();
        let draw = move |class: usize, dice: &mut Dice| {
            let template = mentioning_thing(&acts, dice);
            let core = writer.core(template, domain, &[("thing", chosen[class].as_str())], dice);
            Text::Message(writer.message(&core, None, None, style, dice))
        };
        Task { classes, names: None, language: true, draw: Box::new(draw) }
    }

    pub(super) fn act(&self, Shape { classes, breadth }: Shape, dice: &mut Dice) -> Task<'l> {
        let (writer, domains, acts) = (self.writer(), self.domains(), self.acts());
        let (classes, groups) = groups(acts.len(), classes, dice);
        let names = names(&groups, |index| acts[index].name.clone());
        let fixed = dice.chance(0.4).then(|| *dice.pick(&domains));
        let ways: Vec<Vec<&Template>> =
            groups.iter().map(|group| ways(group.iter().map(|&index| acts[index]), breadth, dice)).collect();
        let style = Style::draw(dice);
        let draw = move |class: usize, dice: &mut Dice| {
            let domain = fixed.unwrap_or_else(|| *dice.pick(&domains));
            let template = dice.pick::<&Template>(&ways[class]);
            let core = writer.core(template, domain, &[], dice);
            Text::Message(writer.message(&core, None, None, style, dice))
        };
        Task { classes, names, language: true, draw: Box::new(draw) }
    }

    pub(super) fn intent(&self, Shape { classes, breadth }: Shape, dice: &mut Dice) -> Task<'l> {
        let (writer, domains, acts) = (self.writer(), self.domains(), self.acts());
        let pairs = |domain: &'l Domain| domain.intents.iter().map(move |intent| (domain, intent));
        let mut pool: Vec<(&Domain, &Intent)> = if dice.chance(0.5) {
            let domain = *dice.pick(&domains);
            // The domain's own intents, and three acts in its words.
            let mut pool: Vec<_> = pairs(domain).collect();
            pool.extend(dice.sample(acts.len(), 3).into_iter().map(|index| (domain, acts[index])));
            pool
        } else {
            domains.iter().flat_map(|domain| pairs(domain)).collect()
        };
        dice.shuffle(&mut pool);
        let (classes, groups) = groups(pool.len(), classes, dice);
        let names = names(&groups, |index| pool[index].1.name.clone());
        let ways: Vec<Vec<(&Domain, Vec<&Template>)>> = groups
            .iter()
            .map(|group| {
                let share = Breadth { ways: breadth.ways.div_ceil(group.len()), ..breadth };
                group.iter().map(|&index| (pool[index].0, ways([pool[index].1], share, dice))).collect()
            })
            .collect();
        let style = Style::draw(dice);
        let draw = move |class: usize, dice: &mut Dice| {
            let (domain, templates) = dice.pick(&ways[class]);
            let template = dice.pick::<&Template>(templates);
            let core = writer.core(template, domain, &[], dice);
            Text::Message(writer.message(&core, None, None, style, dice))
        };
        Task { classes, names, language: true, draw: Box::new(draw) }
    }

    pub(super) fn topic(&self, Shape { classes, breadth }: Shape, dice: &mut Dice) -> Task<'l> {
        let (writer, domains, acts) = (self.writer(), self.domains(), self.acts());
        let (classes, groups) = groups(domains.len(), classes, dice);
        let names = names(&groups, |index| domains[index].name.clone());
        // The class's own domains, with as many of their words and intents as the breadth allows.
        let groups: Vec<Vec<Domain>> = groups
            .iter()
            .map(|group| group.iter().map(|&index| narrowed(domains[index], breadth, dice)).collect())
            .collect();
        let style = Style::draw(dice);
        let draw = move |class: usize, dice: &mut Dice| {
            let domain = dice.pick(&groups[class]);
            let core = match dice.below(4) {
                0 | 1 => writer.core(any_template(domain.intents.iter(), dice), domain, &[], dice),
                2 => dice.pick(&domain.slots[3].1).clone(),
                _ => writer.core(any_template(acts.iter().copied(), dice), domain, &[], dice),
            };
            Text::Message(writer.message(&core, None, None, style, dice))
        };
        Task { classes, names, language: true, draw: Box::new(draw) }
    }

    pub(super) fn aspect(&self, Shape { classes, breadth }: Shape, dice: &mut Dice) -> Task<'l> {
        let (writer, domains, acts) = (self.writer(), self.domains(), self.acts());
        let aspects = self.aspects();
        let aspect = *dice.pick(&aspects);
        let values = dice.sample(aspect.values.len(), classes);
        let names = values.iter().map(|&value| aspect.values[value].0.replace('_', " ")).collect();
        let phrases: Vec<Vec<Template>> =
            values.iter().map(|&value| some(&aspect.values[value].1, breadth.ways, dice)).collect();
        let alone = dice.chance(0.1);
        let fixed = dice.chance(0.4).then(|| *dice.pick(&domains));
        let style = Style::draw(dice);
        let classes = values.len();
        let draw = move |class: usize, dice: &mut Dice| {
            let clause = writer.clause(&phrases[class], dice);
            if alone {
                return Text::Message(clause.to_lowercase());
            }
            let domain = fixed.unwrap_or_else(|| *dice.pick(&domains));
            let core = writer.core(any_template(acts.iter().copied(), dice), domain, &[], dice);
            Text::Message(writer.message(&core, Some(&clause), Some(&aspect.name), style, dice))
        };
        Task { classes, names: Some(names), language: true, draw: Box::new(draw) }
    }

    pub(super) fn conjunction(&self, Shape { breadth, .. }: Shape, dice: &mut Dice) -> Task<'l> {
        let (writer, domains, acts) = (self.writer(), self.domains(), self.acts());
        let aspects = self.aspects();
        let aspect = *dice.pick(&aspects);
        let phrases: Vec<Vec<Template>> = dice
            .sample(aspect.values.len(), 2)
            .into_iter()
            .map(|value| some(&aspect.values[value].1, breadth.ways, dice))
            .collect();
        let pair: Vec<Vec<&Template>> =
            dice.sample(acts.len(), 2).into_iter().map(|index| ways([acts[index]], breadth, dice)).collect();
        let domain = *dice.pick(&domains);
        let style = Style::draw(dice);
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
            let clause = writer.clause(&phrases[second], dice);
            let template = dice.pick::<&Template>(&pair[first]);
            let core = writer.core(template, domain, &[], dice);
            Text::Message(writer.message(&core, Some(&clause), Some(&aspect.name), style, dice))
        };
        Task { classes: if exclusive { 2 } else { 4 }, names: None, language: true, draw: Box::new(draw) }
    }
}

/// At most `count` of `items`, drawn.
fn some<T: Clone>(items: &[T], count: usize, dice: &mut Dice) -> Vec<T> {
    dice.sample(items.len(), count).into_iter().map(|index| items[index].clone()).collect()
}

/// The templates of `intents` together, as many as the breadth allows.
fn ways<'l>(
    intents: impl IntoIterator<Item = &'l Intent>,
    breadth: Breadth,
    dice: &mut Dice,
) -> Vec<&'l Template> {
    let all: Vec<&Template> = intents.into_iter().flat_map(|intent| &intent.templates).collect();
    some(&all, breadth.ways, dice)
}

/// A domain with fewer words and templates.
fn narrowed(domain: &Domain, breadth: Breadth, dice: &mut Dice) -> Domain {
    let slots = domain.slots.iter().map(|(name, words)| (name.clone(), some(words, breadth.words, dice)));
    let slots = slots.collect();
    let mut intents = some(&domain.intents, breadth.ways, dice);
    for intent in &mut intents {
        intent.templates = some(&intent.templates, breadth.ways, dice);
    }
    Domain { name: domain.name.clone(), held: domain.held, slots, intents }
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
