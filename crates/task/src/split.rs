//! The locked split: a row's part follows from its own text.
//!
//! The SHA-256 of the normalised input gives each row a place in [0, 1): below `test` it is a test row, below
//! `test + dev` a dev row, else a training row. So a row keeps its part whatever the order of the files, on every machine, and
//! when rows are added later. Duplicates and near duplicates move together: a group has the lowest place of its members (a row
//! added later that is nearly the same as stored ones can therefore move that one group, and no other).
//!
//! Stratification is what such a split allows: every label is cut at the same places, so that its share in each part is right on
//! average, with the spread of independent draws (a label with 100 rows has 20 +- 4 in a test part of 20 %). One thing is
//! mended: a label that would have no training row at all gives train the group of its highest place.

use std::collections::{BTreeMap, BTreeSet};

use sha2::{Digest, Sha256};

use crate::record::Part;

/// A row to be placed.
#[derive(Clone, Copy, Debug)]
pub struct Item<'a> {
    /// [`content_hash`] of its normalised input.
    pub hash: &'a [u8; 32],
    /// Its group of near duplicates.
    pub group: usize,
    /// Its label.
    pub label: &'a str,
    /// The part that its file stands for; `None` for a row that may go anywhere.
    pub fixed: Option<Part>,
}

/// Shares to be carved from the rows that may go anywhere; the rest is train.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Shares {
    /// Share of dev, in [0, 1).
    pub dev: f64,
    /// Share of test, in [0, 1).
    pub test: f64,
}

/// SHA-256 of a normalised input, under a name of its own so that another use of the text's hash tells nothing of the split.
pub fn content_hash(normal: &str) -> [u8; 32] {
    let mut digest = Sha256::new();
    digest.update(b"weigh split 1\0");
    digest.update(normal.as_bytes());
    digest.finalize().into()
}

/// What examples are sorted by within a part: bytes of the hash that the split does not use.
pub fn order_key(hash: &[u8; 32]) -> &[u8] {
    &hash[8..]
}

/// The place of a hash in [0, 1), as the integer that is a fraction of 2^64.
fn place(hash: &[u8; 32]) -> u64 {
    let (head, _) = hash.split_first_chunk::<8>().expect("a hash has 32 bytes");
    u64::from_be_bytes(*head)
}

/// The part of every item, in their order.
pub fn split(items: &[Item<'_>], shares: Shares) -> Vec<Part> {
    let mut places: BTreeMap<usize, u64> = BTreeMap::new();
    for item in items.iter().filter(|item| item.fixed.is_none()) {
        let lowest = places.entry(item.group).or_insert(u64::MAX);
        *lowest = (*lowest).min(place(item.hash));
    }
    let mut parts: BTreeMap<usize, Part> =
        places.iter().map(|(group, place)| (*group, part_at(*place, shares))).collect();
    for group in groups_that_train_lacks(items, &places, &parts) {
        parts.insert(group, Part::Train);
    }
    items.iter().map(|item| item.fixed.unwrap_or_else(|| parts[&item.group])).collect()
}

fn part_at(place: u64, shares: Shares) -> Part {
    // 2^64 is exact in f64, and so is the division by it up to rounding that is the same everywhere.
    let place = place as f64 / 18_446_744_073_709_551_616.0;
    if place < shares.test {
        Part::Test
    } else if place < shares.test + shares.dev {
        Part::Dev
    } else {
        Part::Train
    }
}

/// For every label without a training row, its group of the highest place.
fn groups_that_train_lacks(
    items: &[Item<'_>],
    places: &BTreeMap<usize, u64>,
    parts: &BTreeMap<usize, Part>,
) -> BTreeSet<usize> {
    let mut trained = BTreeSet::new();
    let mut highest: BTreeMap<&str, (u64, usize)> = BTreeMap::new();
    for item in items.iter().filter(|item| item.fixed.is_none()) {
        if parts[&item.group] == Part::Train {
            trained.insert(item.label);
        }
        let candidate = (places[&item.group], item.group);
        let best = highest.entry(item.label).or_insert(candidate);
        *best = (*best).max(candidate);
    }
    highest.into_iter().filter(|(label, _)| !trained.contains(label)).map(|(_, (_, group))| group).collect()
}

#[cfg(test)]
mod tests;
