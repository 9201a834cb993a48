//! Other formats of the same prompt: separators, spacing, casing and names, drawn by seed (after FormatSpread, Sclar et al. 2024).

use rand::seq::SliceRandom;
use rand::{Rng, SeedableRng};
use rand_pcg::Pcg64;
use task::predictor::PredictError;
use task::prompt::PromptFormat;
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

/// Casing of names or labels.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Casing {
    AsIs,
    Lower,
    Title,
    Upper,
}

impl Casing {
    fn apply(self, text: &str) -> String {
        match self {
            Self::AsIs => text.to_owned(),
            Self::Lower => text.to_lowercase(),
            Self::Upper => text.to_uppercase(),
            Self::Title => {
                let mut start = true;
                text.chars()
                    .flat_map(|character| {
                        let first = std::mem::replace(&mut start, !character.is_alphanumeric());
                        if first { character.to_uppercase().collect() } else { vec![character] }
                    })
                    .collect()
            }
        }
    }
}

/// One format.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Layout {
    style: PromptStyle,
    names: [String; 2],
    /// Between a name and its content; in arrow style between input and label.
    separator: String,
    joint: String,
    gap: String,
    wrapper: String,
    labels: Casing,
}

impl Layout {
    /// `count` different formats in the style of `format`. Where answers are `written`, what surrounds them stays as it is.
    pub(super) fn draw(format: &PromptFormat, count: usize, written: bool) -> Vec<Self> {
        let mut random = Pcg64::seed_from_u64(SEED);
        let mut found: Vec<Self> = Vec::new();
        // Far more draws than formats: a style has at least 36.
        for _ in 0..100 * count {
            let layout = Self::one(format.style(), written, &mut random);
            if found.len() < count && !found.contains(&layout) && !layout.is_usual() {
                found.push(layout);
            }
        }
        found
    }

    fn one(style: PromptStyle, written: bool, random: &mut Pcg64) -> Self {
        let mut pick = |choices: &[&str]| choices[random.next_u32() as usize % choices.len()].to_owned();
        let separators: Vec<&str> = match style {
            PromptStyle::Arrow => ARROWS.to_vec(),
            _ => SEPARATORS.to_vec(),
        };
        let separators: Vec<&str> = separators
            .into_iter()
            .filter(|separator| !written || (separator.ends_with(' ') && !separator.trim().is_empty()))
            .collect();
        let (separator, joint, gap, wrapper) =
            (pick(&separators), pick(&JOINTS), pick(&GAPS), pick(&WRAPPERS));
        let mut names = NAMES.to_vec();
        names.shuffle(random);
        let mut casings = [Casing::AsIs, Casing::Lower, Casing::Title, Casing::Upper];
        casings.shuffle(random);
        Self {
            style,
            names: names[0].map(|name| casings[0].apply(name)),
            separator,
            joint,
            gap,
            wrapper,
            labels: if written { Casing::AsIs } else { casings[1] },
        }
        .without_what_the_style_lacks()
    }

    /// Formats that differ only in what their style does not show are the same.
    fn without_what_the_style_lacks(mut self) -> Self {
        if self.style != PromptStyle::Plain {
            (self.names, self.joint) = (Default::default(), String::new());
        }
        match self.style {
            PromptStyle::Chat => (self.separator, self.gap) = Default::default(),
            PromptStyle::Arrow => {
                self.wrapper = String::new();
                self.gap = if self.gap.trim().is_empty() { self.gap } else { "\n".to_owned() };
            }
            PromptStyle::Plain => self.wrapper = String::new(),
        }
        self
    }

    fn is_usual(&self) -> bool {
        let usual = match self.style {
            PromptStyle::Plain => {
                self.names == ["Input", "Output"]
                    && self.separator == ": "
                    && self.joint == "\n"
                    && self.gap == "\n\n"
            }
            PromptStyle::Arrow => self.separator == " -> " && self.gap == "\n",
            PromptStyle::Chat => self.wrapper == "{}",
        };
        usual && self.labels == Casing::AsIs
    }

    /// What tells this format from others.
    pub(super) fn detail(&self) -> String {
        let casing = format!("{:?}", self.labels).to_lowercase();
        match self.style {
            PromptStyle::Plain => {
                let [input, output] = &self.names;
                let (separator, joint, gap) = (&self.separator, &self.joint, &self.gap);
                format!("{input}{separator:?} {joint:?} {output}{separator:?}, gap {gap:?}, labels {casing}")
            }
            PromptStyle::Arrow => format!("{:?}, gap {:?}, labels {casing}", self.separator, self.gap),
            PromptStyle::Chat => format!("{:?}, labels {casing}", self.wrapper),
        }
    }

    /// The whole prompt for `input` after `demonstrations` (input, label).
    pub(super) fn prompt(
        &self,
        format: &PromptFormat,
        instruction: &str,
        demonstrations: &[(&str, &str)],
        input: &str,
    ) -> Result<String, PredictError> {
        if self.style == PromptStyle::Chat {
            let shown: Vec<(String, String)> = demonstrations
                .iter()
                .map(|(input, label)| (self.wrapper.replace("{}", input.trim()), self.labels.apply(label)))
                .collect();
            let shown: Vec<(&str, &str)> = shown.iter().map(|(i, l)| (i.as_str(), l.as_str())).collect();
            let query = self.wrapper.replace("{}", input.trim());
            let rendered = format.render(instruction, &shown, &[&query])?;
            return Ok(rendered.shared + &rendered.requests[0]);
        }
        let mut text = String::new();
        if self.style == PromptStyle::Plain && !instruction.trim().is_empty() {
            text += &format!("{}{}", instruction.trim(), self.gap);
        }
        for (input, label) in demonstrations {
            text += &self.request(input);
            text += self.answer(label).trim_end_matches('\n');
            text += &self.gap;
        }
        Ok(text + &self.request(input))
    }

    /// The request: ends where the answer begins, without white space.
    fn request(&self, input: &str) -> String {
        let separator = self.separator.trim_end();
        match self.style {
            PromptStyle::Arrow => format!("{}{separator}", input.trim().replace('\n', " ")),
            _ => {
                let [first, second] = &self.names;
                format!("{first}{}{}{}{second}{separator}", self.separator, input.trim(), self.joint)
            }
        }
    }

    /// An answer to score, with the white space before it and the line's end.
    fn answer(&self, label: &str) -> String {
        let lead = &self.separator[self.separator.trim_end().len()..];
        format!("{lead}{}\n", self.labels.apply(label.trim()))
    }

    /// The answers to score, one a label.
    pub(super) fn answers(
        &self,
        format: &PromptFormat,
        labels: &[String],
    ) -> Result<Vec<String>, PredictError> {
        if self.style == PromptStyle::Chat {
            let cased: Vec<String> = labels.iter().map(|label| self.labels.apply(label)).collect();
            return format.answers(&cased);
        }
        Ok(labels.iter().map(|label| self.answer(label)).collect())
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
                let drawn = Layout::draw(&format(style), wanted, written);
                assert_eq!(drawn.len(), wanted, "{style:?}");
                assert_eq!(drawn, Layout::draw(&format(style), wanted, written));
                for (at, layout) in drawn.iter().enumerate() {
                    assert!(!drawn[..at].contains(layout) && !layout.is_usual());
                }
            }
        }
    }

    #[test]
    fn a_plain_format_is_written_out() {
        let layout = Layout {
            style: PromptStyle::Plain,
            names: ["TEXT", "LABEL"].map(str::to_owned),
            separator: " - ".to_owned(),
            joint: " || ".to_owned(),
            gap: "\n---\n".to_owned(),
            wrapper: String::new(),
            labels: Casing::Title,
        };
        let format = format(PromptStyle::Plain);
        let prompt = layout.prompt(&format, "Do it.", &[("gone", "card lost")], "where?").unwrap();
        assert_eq!(prompt, "Do it.\n---\nTEXT - gone || LABEL - Card Lost\n---\nTEXT - where? || LABEL -");
        assert_eq!(layout.answers(&format, &["card lost".to_owned()]).unwrap(), [" Card Lost\n"]);
    }
}
