//! Other formats of the same prompt: separators, spacing, casing and names, drawn by seed (after FormatSpread, Sclar et al. 2024).

use rand::seq::SliceRandom;
use rand::{Rng, SeedableRng};
use rand_pcg::Pcg64;
use task::prompt::{Casing, Layout, PromptFormat, Punctuation};
use task::settings::PromptStyle;

/// Seed of the formats of a run.
const SEED: u64 = 20_260;

const NAMES: [[&str; 2]; 6] = [
    ["Input", "Output"],
    ["Text", "Label"],
    ["Message", "Category"],
    ["Question", "Answer"],
    ["Query", "Result"],
    ["Sentence", "Class"],
];
const SEPARATORS: [&str; 8] = [": ", ":", " : ", " - ", " = ", ":: ", ":\n", "\t"];
const JOINTS: [&str; 6] = ["\n", " ", " || ", " ; ", "\n\n", ", "];
const GAPS: [&str; 5] = ["\n\n", "\n", "\n---\n", "\n\n\n", "\n###\n"];
const ARROWS: [&str; 10] = [" -> ", "->", " => ", ": ", " = ", " | ", "\t", " --> ", " - ", " :: "];
const WRAPPERS: [&str; 9] = [
    "{}",
    "Input: {}",
    "\"{}\"",
    "Text:\n{}",
    "Message = {}",
    "<input>{}</input>",
    "INPUT: {}",
    "- {}",
    "[{}]",
];

/// `count` different formats in the style of `format`. Where answers are `written`, what surrounds them stays as it is.
pub(crate) fn draw(format: &PromptFormat, count: usize, written: bool) -> Vec<Layout> {
    let mut random = Pcg64::seed_from_u64(SEED);
    let usual = format.layout();
    let mut found: Vec<Layout> = Vec::new();
    // Far more draws than formats: a style has at least 36.
    for _ in 0..100 * count {
        let layout = one(&usual, written, &mut random);
        if found.len() < count && !found.contains(&layout) && !is_usual(&layout) {
            found.push(layout);
        }
    }
    found
}

fn one(usual: &Layout, written: bool, random: &mut Pcg64) -> Layout {
    let mut pick = |choices: &[&str]| choices[random.next_u32() as usize % choices.len()].to_owned();
    let separators: Vec<&str> = match usual.style {
        PromptStyle::Arrow => ARROWS.to_vec(),
        _ => SEPARATORS.to_vec(),
    };
    let separators: Vec<&str> = separators
        .into_iter()
        .filter(|separator| !written || (separator.ends_with(' ') && !separator.trim().is_empty()))
        .collect();
    let (separator, joint, gap, wrapper) = (pick(&separators), pick(&JOINTS), pick(&GAPS), pick(&WRAPPERS));
    let mut names = NAMES.to_vec();
    names.shuffle(random);
    let mut casings = [Casing::AsIs, Casing::Lower, Casing::Title, Casing::Upper];
    casings.shuffle(random);
    let labels = if written { Casing::AsIs } else { casings[1] };
    let marks = Punctuation { separator, joint, gap, wrapper, labels };
    let mut layout = usual.clone();
    if usual.style == PromptStyle::Plain {
        [layout.input_name, layout.output_name] = names[0].map(|name| casings[0].apply(name));
    }
    layout.punctuation = Some(without_what_the_style_lacks(marks, usual.style));
    layout
}

/// Formats that differ only in what their style does not show are the same.
fn without_what_the_style_lacks(mut marks: Punctuation, style: PromptStyle) -> Punctuation {
    if style != PromptStyle::Plain {
        marks.joint.clear();
    }
    match style {
        PromptStyle::Chat => (marks.separator, marks.gap) = Default::default(),
        PromptStyle::Arrow => {
            marks.wrapper.clear();
            marks.gap = if marks.gap.trim().is_empty() { marks.gap } else { "\n".to_owned() };
        }
        PromptStyle::Plain => marks.wrapper.clear(),
    }
    marks
}

fn is_usual(layout: &Layout) -> bool {
    let Some(marks) = &layout.punctuation else { return true };
    let usual = match layout.style {
        PromptStyle::Plain => {
            [layout.input_name.as_str(), layout.output_name.as_str()] == ["Input", "Output"]
                && marks.separator == ": "
                && marks.joint == "\n"
                && marks.gap == "\n\n"
        }
        PromptStyle::Arrow => marks.separator == " -> " && marks.gap == "\n",
        PromptStyle::Chat => marks.wrapper == "{}",
    };
    usual && marks.labels == Casing::AsIs
}

/// What tells a format from others of its style.
pub(crate) fn detail(layout: &Layout) -> String {
    let Some(marks) = &layout.punctuation else { return "the usual marks".to_owned() };
    let Punctuation { separator, joint, gap, wrapper, labels } = marks;
    let casing = format!("{labels:?}").to_lowercase();
    match layout.style {
        PromptStyle::Plain => {
            let (input, output) = (&layout.input_name, &layout.output_name);
            format!("{input}{separator:?} {joint:?} {output}{separator:?}, gap {gap:?}, labels {casing}")
        }
        PromptStyle::Arrow => format!("{separator:?}, gap {gap:?}, labels {casing}"),
        PromptStyle::Chat => format!("{wrapper:?}, labels {casing}"),
    }
}

#[cfg(test)]
mod tests {
    use task::settings::PromptSettings;

    use super::*;

    fn format(style: PromptStyle) -> PromptFormat {
        let settings = PromptSettings { style, ..PromptSettings::default() };
        PromptFormat::from_parts(&settings, Some("Name the queue."), &["card lost".to_owned()])
    }

    #[test]
    fn formats_are_all_different_and_the_same_every_time() {
        for style in [PromptStyle::Plain, PromptStyle::Arrow, PromptStyle::Chat] {
            for written in [false, true] {
                let wanted = if written && style != PromptStyle::Plain { 5 } else { 20 };
                let drawn = draw(&format(style), wanted, written);
                assert_eq!(drawn.len(), wanted, "{style:?}");
                assert_eq!(drawn, draw(&format(style), wanted, written));
                for (at, layout) in drawn.iter().enumerate() {
                    assert!(!drawn[..at].contains(layout) && !is_usual(layout));
                }
            }
        }
    }

    #[test]
    fn a_plain_format_is_written_out() {
        let mut layout = format(PromptStyle::Plain).layout();
        [layout.input_name, layout.output_name] = ["TEXT", "LABEL"].map(str::to_owned);
        layout.punctuation = Some(Punctuation {
            separator: " - ".to_owned(),
            joint: " || ".to_owned(),
            gap: "\n---\n".to_owned(),
            wrapper: String::new(),
            labels: Casing::Title,
        });
        let format = PromptFormat::from_layout(&layout);
        let prompt = format.render("Do it.", &[("gone", "card lost")], &["where?"]).unwrap();
        let prompt = prompt.shared + &prompt.requests[0];
        assert_eq!(prompt, "Do it.\n---\nTEXT - gone || LABEL - Card Lost\n---\nTEXT - where? || LABEL -");
        assert_eq!(format.answers(&["card lost".to_owned()]).unwrap(), [" Card Lost\n"]);
    }
}
