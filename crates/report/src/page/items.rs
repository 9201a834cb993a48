//! The items in the page, with every line of their prompts written once.

use std::collections::HashMap;

use eval::wording::count;
use serde::Serialize;

use crate::items::{Given, Item, Items};

/// Bytes of items and prompts that a page may hold; a page stays well under 2 MB.
const ITEM_BYTES: usize = 1_500_000;
/// Characters of an input or an answer beyond which it is cut in the page.
const LONGEST_TEXT: usize = 4_000;

/// What the page holds of the items.
pub(super) struct PageItems {
    pub(super) data: ItemData,
    /// What is not there, and why.
    pub(super) note: Option<String>,
}

#[derive(Default, Serialize)]
pub(super) struct ItemData {
    lines: Vec<String>,
    items: Vec<ItemRow>,
}

#[derive(Serialize)]
struct ItemRow {
    id: String,
    origin: Option<String>,
    input: Option<String>,
    target: Option<String>,
    answers: [Option<Given>; 3],
    /// Lines of the prompts of both arms.
    prompts: [Option<Vec<usize>>; 2],
    supervised: Option<String>,
}

/// The lines of all prompts; what many have in common is kept once.
#[derive(Default)]
struct Lines {
    known: HashMap<String, usize>,
    all: Vec<String>,
    bytes: usize,
}

impl Lines {
    fn add(&mut self, text: &str) -> Vec<usize> {
        let mut places = Vec::new();
        for line in text.split_inclusive('\n') {
            let next = self.all.len();
            let place = *self.known.entry(line.to_owned()).or_insert(next);
            if place == next {
                self.bytes += line.len() + 6;
                self.all.push(line.to_owned());
            }
            self.bytes += 6;
            places.push(place);
        }
        places
    }
}

pub(super) fn page_items(items: &Items) -> PageItems {
    let differing: Vec<&Item> = items.differing().collect();
    let longest = (ITEM_BYTES / 3 / differing.len().max(1)).min(LONGEST_TEXT);
    let short = |text: &String| shortened(text, longest);
    let mut data = ItemData::default();
    let (mut bytes, mut without) = (0, 0);
    let mut lines = Lines::default();
    for item in differing {
        let given = |given: &Option<Given>| {
            given.as_ref().map(|given| Given { answer: shortened(&given.answer, longest), ..given.clone() })
        };
        let mut row = ItemRow {
            id: item.id.clone(),
            origin: item.origin.clone(),
            input: item.input.as_ref().map(short),
            target: item.target.as_ref().map(short),
            answers: [given(&item.in_context), given(&item.fine_tune), given(&item.floor)],
            prompts: [None, None],
            supervised: item.supervised.as_ref().map(short),
        };
        bytes += 320 + row.input.as_ref().map_or(0, String::len);
        if bytes + lines.bytes < ITEM_BYTES {
            row.prompts =
                [&item.prompt, &item.tuned_prompt].map(|text| text.as_ref().map(|text| lines.add(text)));
        } else if item.prompt.is_some() {
            without += 1;
        }
        data.items.push(row);
    }
    data.lines = lines.all;
    let note = items.missing.clone().or_else(|| {
        (without > 0).then(|| {
            format!(
                "to keep this page small, {} stand without their prompts; `weigh report --format json` has all",
                count(without, "item")
            )
        })
    });
    PageItems { data, note }
}

fn shortened(text: &str, most: usize) -> String {
    match text.char_indices().nth(most) {
        Some((end, _)) => format!("{}…", &text[..end]),
        None => text.to_owned(),
    }
}
