//! What the search tries: other instructions, and other formats.

use serde::{Deserialize, Serialize};
use task::dataset::Dataset;
use task::prompt::{Layout, Names, PromptFormat};
use task::settings::{PromptStyle, Settings, TaskKind};

use crate::formats;

/// What a candidate changes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Kind {
    /// The words of the instruction, the list of labels included.
    Instruction,
    /// The style, the names and the marks between the parts.
    Format,
    /// Both.
    Both,
}

/// One candidate.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Candidate {
    pub(crate) name: String,
    pub(crate) kind: Kind,
    /// What it changes, in words.
    pub(crate) text: String,
    pub(crate) layout: Layout,
}

/// Formats that are drawn.
const DRAWN: usize = 6;

const CLASSIFY: [&str; 5] = [
    "Give the label that fits the input.",
    "Read the text and choose the one label that describes it best.",
    "What is this text about? Answer with one of the labels and nothing else.",
    "Decide what the writer wants. Look at the whole text, not at single words, and name the label.",
    "Each text below has exactly one label. Go by the examples.",
];
const EXTRACT: [&str; 4] = [
    "Give what the input says as JSON.",
    "Read the text and fill in the fields. Copy values as they are written, and leave out what is not said.",
    "Turn the text into one JSON object with the keys of the examples.",
    "Find every detail that the fields ask for. A value stands in the text; nothing is made up.",
];
const GENERATE: [&str; 4] = [
    "Write the answer to the input.",
    "Answer as the examples do: in the same form, and no longer.",
    "Give the answer alone, without an explanation.",
    "Read the input with care and give the one best answer.",
];

/// Candidates around the task's own prompt, in order of interest: instructions and formats by turns. `written` are instructions that the
/// model wrote; `chat` says whether it has a chat template.
pub(crate) fn candidates(
    settings: &Settings,
    dataset: &Dataset,
    format: &PromptFormat,
    written: &[String],
    chat: bool,
) -> Vec<Candidate> {
    let usual = format.layout();
    let instructions = instructions(settings, dataset, &usual, written);
    let formats = other_formats(format, chat, settings.task.kind != TaskKind::Classify);
    let mut all: Vec<Candidate> = Vec::new();
    let (mut one, mut other) = (instructions.into_iter(), formats.into_iter());
    loop {
        let turn = [one.next(), other.next()];
        if turn.iter().all(Option::is_none) {
            break;
        }
        for candidate in turn.into_iter().flatten() {
            if candidate.layout != usual && all.iter().all(|known| known.layout != candidate.layout) {
                all.push(candidate);
            }
        }
    }
    all
}

fn instructions(
    settings: &Settings,
    dataset: &Dataset,
    usual: &Layout,
    written: &[String],
) -> Vec<Candidate> {
    // An arrow has no place for words.
    if usual.style == PromptStyle::Arrow {
        return Vec::new();
    }
    let names = Names::new(settings, dataset);
    let own = PromptFormat::own_instruction(settings, dataset);
    let templates: &[&str] = match settings.task.kind {
        TaskKind::Classify => &CLASSIFY,
        TaskKind::Extract => &EXTRACT,
        TaskKind::Generate => &GENERATE,
    };
    let shown = |text: &str| match settings.prompt.list_labels {
        true => names.listed(text),
        false => text.to_owned(),
    };
    let mut texts: Vec<(String, String)> = Vec::new();
    let numbered = |kind: &str, all: &mut Vec<(String, String)>, more: Vec<String>| {
        all.extend(more.into_iter().enumerate().map(|(at, text)| (format!("{kind} {}", at + 1), text)));
    };
    numbered(
        "own",
        &mut texts,
        settings.in_context.instructions.iter().map(|text| shown(text.trim())).collect(),
    );
    let listed = names.listed(&own);
    let toggled = if settings.prompt.list_labels { own.clone() } else { listed };
    texts.push(("list".to_owned(), toggled));
    texts.push(("no instruction".to_owned(), String::new()));
    numbered("written", &mut texts, written.iter().map(|text| shown(text)).collect());
    numbered("template", &mut texts, templates.iter().map(|text| shown(text)).collect());
    let candidate = |(name, text): (String, String)| Candidate {
        name,
        kind: Kind::Instruction,
        layout: Layout { instruction: text.clone(), ..usual.clone() },
        text,
    };
    texts.into_iter().map(candidate).collect()
}

fn other_formats(format: &PromptFormat, chat: bool, written: bool) -> Vec<Candidate> {
    let usual = format.layout();
    let mut all = Vec::new();
    for style in [PromptStyle::Chat, PromptStyle::Arrow, PromptStyle::Plain] {
        let possible = match style {
            PromptStyle::Chat => chat,
            PromptStyle::Arrow => !usual.several_lines,
            PromptStyle::Plain => true,
        };
        if possible && style != usual.style {
            let name = format!("{style:?}").to_lowercase();
            let layout = Layout { style, punctuation: None, ..usual.clone() };
            all.push(Candidate { text: format!("style {name}"), name, kind: Kind::Format, layout });
        }
    }
    for (at, layout) in formats::draw(format, DRAWN, written).into_iter().enumerate() {
        // Where answers have several lines, an empty line ends them.
        let ends = layout.punctuation.as_ref().is_none_or(|marks| marks.gap.starts_with("\n\n"));
        if !usual.several_lines || usual.style == PromptStyle::Chat || ends {
            let (name, text) = (format!("format {}", at + 1), formats::detail(&layout));
            all.push(Candidate { name, kind: Kind::Format, text, layout });
        }
    }
    all
}

/// The instruction of one candidate in the format of another; `None` where that has no place for it.
pub(crate) fn together(instruction: &Candidate, format: &Candidate) -> Option<Candidate> {
    (format.layout.style != PromptStyle::Arrow).then(|| Candidate {
        name: format!("{} + {}", instruction.name, format.name),
        kind: Kind::Both,
        text: format!("{} | {}", instruction.text, format.text),
        layout: Layout { instruction: instruction.layout.instruction.clone(), ..format.layout.clone() },
    })
}
