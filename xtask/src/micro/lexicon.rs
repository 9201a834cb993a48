//! The word lists and templates, all written for this project, with what is held out of training.

use super::grammar::Template;
use anyhow::{Context, Result, bail, ensure};

/// Words that share a meaning.
pub(super) struct Category {
    /// Name, unique.
    pub(super) name: String,
    /// Never a class in training.
    pub(super) held: bool,
    /// The words.
    pub(super) words: Vec<String>,
}

/// A kind of message: what its writer wants.
#[derive(Clone)]
pub(super) struct Intent {
    /// Name, unique among acts or within a domain.
    pub(super) name: String,
    /// Never seen in training.
    pub(super) held: bool,
    /// Ways to say it.
    pub(super) templates: Vec<Template>,
}

/// A trade or place of life, with its words and its own intents.
pub(super) struct Domain {
    /// Name, unique.
    pub(super) name: String,
    /// Never seen in training.
    pub(super) held: bool,
    /// Words of the slots `thing`, `person`, `place` and `trouble`.
    pub(super) slots: Vec<(String, Vec<String>)>,
    /// What people write about here.
    pub(super) intents: Vec<Intent>,
}

/// A clause that can go with any message, in two or three values.
pub(super) struct Aspect {
    /// Name, unique.
    pub(super) name: String,
    /// Never seen in training.
    pub(super) held: bool,
    /// Values: name and phrases.
    pub(super) values: Vec<(String, Vec<Template>)>,
}

/// Everything the generator knows.
pub(super) struct Lexicon {
    /// Word categories.
    pub(super) categories: Vec<Category>,
    /// Acts: intents that fit every domain.
    pub(super) acts: Vec<Intent>,
    /// Aspects.
    pub(super) aspects: Vec<Aspect>,
    /// Domains.
    pub(super) domains: Vec<Domain>,
    /// Words and short phrases that training never uses as labels.
    pub(super) held_labels: Vec<String>,
}

impl Lexicon {
    /// Parses the built-in lists.
    pub(super) fn load() -> Result<Self> {
        let lexicon = Self {
            categories: categories(include_str!("words/categories.txt")).context("categories.txt")?,
            acts: intents(include_str!("words/acts.txt")).context("acts.txt")?,
            aspects: aspects(include_str!("words/aspects.txt")).context("aspects.txt")?,
            domains: domains(include_str!("words/domains.txt")).context("domains.txt")?,
            held_labels: lines(include_str!("words/labels_held.txt")).map(str::to_owned).collect(),
        };
        lexicon.check_slots()?;
        Ok(lexicon)
    }

    /// The words of the category `name`.
    pub(super) fn words(&self, name: &str) -> Option<&[String]> {
        self.categories
            .iter()
            .find(|category| category.name == name)
            .map(|category| category.words.as_slice())
    }

    fn check_slots(&self) -> Result<()> {
        let own = ["thing", "person", "place", "trouble"];
        let mut templates: Vec<&Template> = self.acts.iter().flat_map(|act| &act.templates).collect();
        templates.extend(self.aspects.iter().flat_map(|aspect| &aspect.values).flat_map(|value| &value.1));
        templates.extend(
            self.domains.iter().flat_map(|domain| &domain.intents).flat_map(|intent| &intent.templates),
        );
        for name in templates.iter().flat_map(|template| template.slots()) {
            ensure!(
                own.contains(&name) || name == "digit" || self.words(name).is_some(),
                "unknown slot <{name}>"
            );
        }
        for domain in &self.domains {
            for slot in own {
                let found = domain.slots.iter().find(|(name, _)| name == slot);
                ensure!(found.is_some_and(|(_, words)| words.len() > 2), "domain {}: {slot}", domain.name);
            }
        }
        Ok(())
    }
}

fn lines(text: &str) -> impl Iterator<Item = &str> {
    text.lines().map(str::trim).filter(|line| !line.is_empty())
}

fn held(name: &str) -> (String, bool) {
    name.strip_prefix('!').map_or_else(|| (name.to_owned(), false), |rest| (rest.to_owned(), true))
}

fn list(text: &str) -> Vec<String> {
    text.split(',').map(|word| word.trim().to_owned()).filter(|word| !word.is_empty()).collect()
}

fn heading(line: &str) -> Option<(String, bool)> {
    line.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')).map(held)
}

fn categories(text: &str) -> Result<Vec<Category>> {
    let mut found = Vec::new();
    for line in lines(text).filter(|line| !line.starts_with('#')) {
        let (name, words) = line.split_once(':').with_context(|| format!("no colon: {line}"))?;
        let (name, held) = held(name);
        found.push(Category { name, held, words: list(words) });
    }
    Ok(found)
}

/// Reads `[name]` headings with their templates.
pub(super) fn intents(text: &str) -> Result<Vec<Intent>> {
    let mut found: Vec<Intent> = Vec::new();
    for line in lines(text).filter(|line| !line.starts_with('#')) {
        if let Some((name, held)) = heading(line) {
            found.push(Intent { name, held, templates: Vec::new() });
        } else {
            let intent = found.last_mut().with_context(|| format!("template before a heading: {line}"))?;
            intent.templates.push(Template::parse(line)?);
        }
    }
    Ok(found)
}

fn aspects(text: &str) -> Result<Vec<Aspect>> {
    let mut found: Vec<Aspect> = Vec::new();
    for line in lines(text).filter(|line| !line.starts_with('#')) {
        if let Some((name, held)) = heading(line) {
            found.push(Aspect { name, held, values: Vec::new() });
            continue;
        }
        let (name, phrases) = line.split_once(':').with_context(|| format!("no colon: {line}"))?;
        let phrases =
            phrases.split('|').map(|phrase| Template::parse(phrase.trim())).collect::<Result<_>>()?;
        let aspect = found.last_mut().with_context(|| format!("value before a heading: {line}"))?;
        aspect.values.push((name.to_owned(), phrases));
    }
    Ok(found)
}

fn domains(text: &str) -> Result<Vec<Domain>> {
    let mut found: Vec<Domain> = Vec::new();
    for line in lines(text).skip(1) {
        if let Some(name) = line.strip_prefix("# ") {
            let (name, held) = held(name);
            found.push(Domain { name, held, slots: Vec::new(), intents: Vec::new() });
            continue;
        }
        let Some(domain) = found.last_mut() else { bail!("line before a domain: {line}") };
        if let Some((name, _)) = heading(line) {
            domain.intents.push(Intent { name, held: domain.held, templates: Vec::new() });
        } else if let Some(intent) = domain.intents.last_mut() {
            intent.templates.push(Template::parse(line)?);
        } else {
            let (name, words) = line.split_once(':').with_context(|| format!("no colon: {line}"))?;
            domain.slots.push((name.to_owned(), list(words)));
        }
    }
    Ok(found)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;

    #[test]
    fn names_are_unique_and_both_parts_are_rich() {
        let lexicon = Lexicon::load().unwrap();
        let unique = |names: Vec<&str>| {
            assert_eq!(names.iter().collect::<BTreeSet<_>>().len(), names.len(), "{names:?}");
        };
        unique(lexicon.categories.iter().map(|x| x.name.as_str()).collect());
        unique(lexicon.acts.iter().map(|x| x.name.as_str()).collect());
        unique(lexicon.domains.iter().map(|x| x.name.as_str()).collect());
        unique(lexicon.held_labels.iter().map(String::as_str).collect());
        assert!(lexicon.domains.iter().filter(|domain| domain.held).count() >= 5);
        assert!(lexicon.acts.iter().filter(|act| act.held).count() >= 8);
        assert!(lexicon.categories.iter().filter(|category| category.held).count() >= 10);
        for domain in &lexicon.domains {
            assert!(domain.intents.len() >= 4, "{}", domain.name);
            for intent in &domain.intents {
                let forms: usize = intent.templates.iter().map(Template::forms).sum();
                assert!(forms >= 6, "{}/{}: {forms}", domain.name, intent.name);
            }
        }
    }
}
