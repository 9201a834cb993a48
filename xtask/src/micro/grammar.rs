//! Templates: text with choices `{one|another|}` (which nest) and slots `<name>`.

use super::dice::Dice;
use anyhow::{Result, bail, ensure};

/// A parsed template.
#[derive(Clone, Debug)]
pub(super) struct Template(Vec<Piece>);

#[derive(Clone, Debug)]
enum Piece {
    Text(String),
    Slot(String),
    Choice(Vec<Template>),
}

impl Template {
    /// Parses one line; an error quotes it.
    pub(super) fn parse(line: &str) -> Result<Self> {
        let characters: Vec<char> = line.chars().collect();
        let mut at = 0;
        let template = sequence(&characters, &mut at, false)
            .and_then(|found| {
                ensure!(at == characters.len(), "a brace too many");
                Ok(found)
            })
            .map_err(|error| error.context(format!("template {line:?}")))?;
        Ok(template)
    }

    /// One text of the template; `fill` gives the words of a slot.
    pub(super) fn expand(&self, dice: &mut Dice, fill: &mut dyn FnMut(&str, &mut Dice) -> String) -> String {
        let mut text = String::new();
        self.write(dice, fill, &mut text);
        text.split_whitespace().collect::<Vec<_>>().join(" ").replace(" ,", ",")
    }

    fn write(&self, dice: &mut Dice, fill: &mut dyn FnMut(&str, &mut Dice) -> String, text: &mut String) {
        for piece in &self.0 {
            match piece {
                Piece::Text(part) => text.push_str(part),
                Piece::Slot(name) => text.push_str(&fill(name, dice)),
                Piece::Choice(options) => dice.pick(options).write(dice, fill, text),
            }
        }
    }

    /// The names of all slots.
    pub(super) fn slots(&self) -> Vec<&str> {
        let mut names = Vec::new();
        for piece in &self.0 {
            match piece {
                Piece::Text(_) => {}
                Piece::Slot(name) => names.push(name.as_str()),
                Piece::Choice(options) => names.extend(options.iter().flat_map(Self::slots)),
            }
        }
        names
    }

    /// In how many ways the choices can be made, slots not counted.
    #[cfg(test)]
    pub(super) fn forms(&self) -> usize {
        let ways = |piece: &Piece| match piece {
            Piece::Choice(options) => options.iter().map(Self::forms).sum(),
            _ => 1,
        };
        self.0.iter().map(ways).product()
    }
}

fn sequence(characters: &[char], at: &mut usize, inside: bool) -> Result<Template> {
    let mut pieces = Vec::new();
    let mut text = String::new();
    while *at < characters.len() {
        match characters[*at] {
            '|' | '}' if inside => break,
            '}' => bail!("a brace too many"),
            '{' => {
                pieces.push(Piece::Text(std::mem::take(&mut text)));
                pieces.push(choice(characters, at)?);
            }
            '<' => {
                pieces.push(Piece::Text(std::mem::take(&mut text)));
                pieces.push(slot(characters, at)?);
            }
            character => {
                text.push(character);
                *at += 1;
            }
        }
    }
    pieces.push(Piece::Text(text));
    Ok(Template(pieces))
}

fn choice(characters: &[char], at: &mut usize) -> Result<Piece> {
    let mut options = Vec::new();
    loop {
        *at += 1; // over `{` or `|`
        options.push(sequence(characters, at, true)?);
        match characters.get(*at) {
            Some('|') => {}
            Some('}') => {
                *at += 1;
                return Ok(Piece::Choice(options));
            }
            _ => bail!("a choice that does not end"),
        }
    }
}

fn slot(characters: &[char], at: &mut usize) -> Result<Piece> {
    let rest = &characters[*at + 1..];
    let Some(length) = rest.iter().position(|&character| character == '>') else {
        bail!("a slot that does not end")
    };
    *at += length + 2;
    Ok(Piece::Slot(rest[..length].iter().collect()))
}

/// `a` becomes `an` before a vowel.
pub(super) fn fix_articles(text: &str) -> String {
    let words: Vec<&str> = text.split(' ').collect();
    let mut fixed = String::with_capacity(text.len() + 4);
    for (index, word) in words.iter().enumerate() {
        if index > 0 {
            fixed.push(' ');
        }
        fixed.push_str(word);
        let vowel = words
            .get(index + 1)
            .is_some_and(|next| next.starts_with(['a', 'e', 'i', 'o', 'A', 'E', 'I', 'O']));
        if vowel && matches!(*word, "a" | "A") {
            fixed.push('n');
        }
    }
    fixed
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn expands_choices_and_slots() {
        let template = Template::parse("{I|we {all|both}} see <thing>, {now|}").unwrap();
        assert_eq!(template.forms(), 6); // (1 + 2) * 2
        assert_eq!(template.slots(), ["thing"]);
        let mut dice = Dice::new(3, 0);
        for _ in 0..50 {
            let text = template.expand(&mut dice, &mut |name, _| name.to_uppercase());
            assert!(text.contains("see THING"), "{text}");
            assert!(!text.contains("  ") && !text.contains(['{', '|']), "{text}");
        }
    }

    #[test]
    fn refuses_open_braces() {
        for line in ["{a|b", "a}", "<thing", "{a|{b}"] {
            assert!(Template::parse(line).is_err(), "{line}");
        }
    }

    #[test]
    fn articles() {
        assert_eq!(fix_articles("a owl saw a cat and a ice cream"), "an owl saw a cat and an ice cream");
    }
}
