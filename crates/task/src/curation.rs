//! Duplicates: which rows say the same.
//!
//! Two texts are near duplicates if they are equal once normalised ([`normalise`]), or if the sets of their runs of four
//! characters (with a space at either end) overlap by at least 0.9 (Jaccard index). A group is everything that is connected
//! by such pairs. The search is an inverted index over rare runs (prefix filtering: Chaudhuri et al. 2006, Bayardo et al.
//! 2007), which finds the pairs without comparing all with all.

mod shingles;

use std::collections::HashMap;

use unicode_normalization::UnicodeNormalization;

/// The groups of some texts.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Grouping {
    /// The group of each text: `0..count`, numbered by first appearance.
    pub of: Vec<usize>,
    /// Number of groups.
    pub count: usize,
}

impl Grouping {
    /// Groups of more than one text, and how many texts they hold.
    pub fn repeated(&self) -> (usize, usize) {
        let mut sizes = vec![0usize; self.count];
        self.of.iter().for_each(|group| sizes[*group] += 1);
        let repeated = sizes.iter().filter(|size| **size > 1);
        (repeated.clone().count(), repeated.sum())
    }
}

/// A text for comparison: compatibility forms unified (NFKC), lower case, each run of white space and punctuation one space.
///
/// Symbols (`+`, `$`, emoji) stay, since they carry meaning. A text of nothing but punctuation stays as it is.
pub fn normalise(text: &str) -> String {
    let mut normal = String::with_capacity(text.len());
    let mut gap = false;
    for character in text.nfkc().flat_map(char::to_lowercase) {
        if character.is_whitespace() || character.is_control() || is_punctuation(character) {
            gap = true;
            continue;
        }
        if gap && !normal.is_empty() {
            normal.push(' ');
        }
        gap = false;
        normal.push(character);
    }
    if normal.is_empty() { text.nfkc().collect::<String>().trim().to_owned() } else { normal }
}

/// ASCII punctuation but not symbols, and the punctuation of the general, CJK and Latin-1 blocks.
fn is_punctuation(character: char) -> bool {
    matches!(character,
        '!' | '"' | '\'' | '(' | ')' | ',' | '-' | '.' | '/' | ':' | ';' | '?' | '[' | '\\' | ']' | '_' | '`' | '{' | '}'
        | '¡' | '§' | '«' | '¶' | '·' | '»' | '¿' | '´'
        | '\u{2010}'..='\u{2027}' | '\u{2030}'..='\u{205e}' | '\u{3001}'..='\u{3003}' | '\u{3008}'..='\u{301f}'
        | '\u{0589}' | '\u{05be}' | '\u{060c}' | '\u{061b}' | '\u{061f}' | '\u{06d4}' | '\u{0964}' | '\u{0965}')
}

/// Groups normalised texts: equal ones always, similar ones where `near`.
///
/// The result does not depend on the order of the texts, but for the numbering. Of texts over 2,000 characters the first and
/// last 1,000 are compared. Where a run of characters is the rarest of more than 200 texts, each of them is compared with
/// the 200 most like it in size only.
pub fn group(normals: &[&str], near: bool) -> Grouping {
    let mut distinct: Vec<&str> = Vec::new();
    let mut index: HashMap<&str, usize> = HashMap::with_capacity(normals.len());
    let of: Vec<usize> = normals
        .iter()
        .map(|normal| {
            *index.entry(normal).or_insert_with(|| {
                distinct.push(normal);
                distinct.len() - 1
            })
        })
        .collect();
    let mut union = Union::new(distinct.len());
    if near {
        shingles::join_similar(&distinct, &mut union);
    }
    let mut numbers: HashMap<usize, usize> = HashMap::new();
    let of: Vec<usize> = of
        .into_iter()
        .map(|text| {
            let next = numbers.len();
            *numbers.entry(union.root(text)).or_insert(next)
        })
        .collect();
    Grouping { of, count: numbers.len() }
}

/// Disjoint sets with path halving.
pub(crate) struct Union {
    parent: Vec<usize>,
}

impl Union {
    fn new(count: usize) -> Self {
        Self { parent: (0..count).collect() }
    }

    pub(crate) fn root(&mut self, mut item: usize) -> usize {
        while self.parent[item] != item {
            self.parent[item] = self.parent[self.parent[item]];
            item = self.parent[item];
        }
        item
    }

    pub(crate) fn join(&mut self, a: usize, b: usize) {
        let (a, b) = (self.root(a), self.root(b));
        self.parent[a.max(b)] = a.min(b);
    }
}

#[cfg(test)]
mod tests;
