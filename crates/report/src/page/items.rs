//! The items in the page, packed: every text is written once, whether it is a line of prompts, a label or a file's name.

use std::collections::HashMap;

use eval::wording::count;
use serde::Serialize;
use serde_json::{Value, json};

use crate::items::{Given, Item, Items};

/// Bytes of items and prompts that a page may hold; a page stays well under 2 MB.
const ITEM_BYTES: usize = 1_500_000;
/// Characters beyond which an input or an answer is cut in the page: the first of these with which all inputs take no more than half of
/// the bytes.
const LONGEST_TEXTS: [usize; 6] = [4_000, 2_000, 1_000, 500, 250, 120];
/// Stands for the item's own input within the lines of its prompts.
const INPUT: i64 = -1;

/// What the page holds of the items.
pub(super) struct PageItems {
    pub(super) data: ItemData,
    /// What is not there, and why.
    pub(super) note: Option<String>,
}

/// The items as the page's script reads them.
#[derive(Default, Serialize)]
pub(super) struct ItemData {
    /// Lines of prompts, labels, answers, files.
    texts: Vec<String>,
    /// Each a list: id, file and line, input, target, three answers (text, score, percent of confidence), the prompts of both arms
    /// (texts, -1 for the input), what is supervised. Texts are places in `texts`, the id and the input themselves.
    items: Vec<Value>,
}

/// Texts that are kept once.
#[derive(Default)]
struct Texts {
    known: HashMap<String, usize>,
    all: Vec<String>,
    bytes: usize,
}

impl Texts {
    fn place(&mut self, text: &str) -> usize {
        let next = self.all.len();
        let place = *self.known.entry(text.to_owned()).or_insert(next);
        if place == next {
            self.bytes += written(text);
            self.all.push(text.to_owned());
        }
        self.bytes += 6;
        place
    }

    /// The lines of a prompt; in the one that ends with the request, the `input` stands for itself.
    fn lines(&mut self, prompt: &str, input: Option<&str>) -> Vec<i64> {
        let own = input
            .filter(|input| !input.is_empty())
            .and_then(|input| Some((prompt.rfind(input)?, input.len())));
        let Some((start, length)) = own else {
            return prompt.split_inclusive('\n').map(|line| self.place(line) as i64).collect();
        };
        let (before, rest) = prompt.split_at(start);
        let mut places = self.lines(before, None);
        places.push(INPUT);
        places.extend(self.lines(&rest[length..], None));
        places
    }
}

/// Bytes of a text as it stands in the page.
fn written(text: &str) -> usize {
    text.len()
        + 3
        + text
            .bytes()
            .map(|byte| match byte {
                b'<' => 5,
                b'"' | b'\\' | b'\n' => 1,
                _ => 0,
            })
            .sum::<usize>()
}

pub(super) fn page_items(items: &Items) -> PageItems {
    let differing: Vec<&Item> = items.differing().collect();
    let longest = longest_text(&differing);
    let mut data = ItemData::default();
    let (mut bytes, mut without) = (0, 0);
    let mut texts = Texts::default();
    for item in differing {
        let input = item.input.as_ref().map(|input| shortened(input, longest));
        // What is cut cannot stand for what the model was shown.
        let whole = input.as_deref().filter(|input| Some(*input) == item.input.as_deref());
        bytes += 60 + item.id.len() + input.as_deref().map_or(0, written);
        let prompts = if bytes + texts.bytes < ITEM_BYTES {
            [&item.prompt, &item.tuned_prompt].map(|text| text.as_ref().map(|text| texts.lines(text, whole)))
        } else {
            without += usize::from(item.prompt.is_some());
            [None, None]
        };
        let mut place = |text: &str| texts.place(&shortened(text, longest));
        let origin = item.origin.as_deref().map(|origin| {
            let (file, line) = origin.rsplit_once(':').unwrap_or((origin, ""));
            (place(file), line.parse::<usize>().ok())
        });
        let answers = [&item.in_context, &item.fine_tune, &item.floor].map(|given| {
            given.as_ref().map(|Given { answer, score, confidence }| {
                let percent = confidence.map(|confidence| (100.0 * confidence).round() as u8);
                (place(answer), (1000.0 * score).round() / 1000.0, percent)
            })
        });
        let target = item.target.as_deref().map(&mut place);
        let supervised = item.supervised.as_deref().map(&mut place);
        data.items.push(json!([item.id, origin, input, target, answers, prompts, supervised]));
    }
    data.texts = texts.all;
    let note = items.missing.clone().or_else(|| {
        (without > 0).then(|| {
            format!(
                "to keep this page small, {} stand without their prompts; `weigh report --format json` has all",
                count(without as u64, "item")
            )
        })
    });
    PageItems { data, note }
}

/// Characters of an input that are kept.
fn longest_text(items: &[&Item]) -> usize {
    let bytes_of = |most: usize| -> usize {
        items.iter().filter_map(|item| item.input.as_ref()).map(|input| input.len().min(most)).sum()
    };
    let fits = LONGEST_TEXTS.into_iter().find(|&most| bytes_of(most) <= ITEM_BYTES / 2);
    fits.unwrap_or_else(|| (ITEM_BYTES / 2 / items.len().max(1)).min(LONGEST_TEXTS[5]))
}

fn shortened(text: &str, most: usize) -> String {
    match text.char_indices().nth(most) {
        Some((end, _)) => format!("{}…", &text[..end]),
        None => text.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_prompt_is_its_lines_with_the_input_in_its_place() {
        let mut texts = Texts::default();
        let places = texts.lines("Sort.\nhi -> a\nhi -> b\nhi ->", Some("hi"));
        let shown: String = places
            .iter()
            .map(|place| usize::try_from(*place).map_or("hi", |place| texts.all[place].as_str()))
            .collect();
        assert_eq!(shown, "Sort.\nhi -> a\nhi -> b\nhi ->");
        assert_eq!(places.iter().filter(|place| **place == INPUT).count(), 1, "the last one alone");
        assert_eq!(texts.lines("hi ->", None), [i64::try_from(texts.all.len()).expect("few") - 1]);
    }
}
