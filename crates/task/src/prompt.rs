//! Prompts: how an instruction, demonstrations and an input become the text that a model is given.
//!
//! | style | shared text | request | answer |
//! |---|---|---|---|
//! | plain | `{instruction}\n\n`, then per demonstration `{input_name}: {input}\n{output_name}: {label}\n\n` | `{input_name}: {input}\n{output_name}:` | ` {label}\n`; ` {text}\n\n` where texts have several lines |
//! | arrow | per demonstration `{input} -> {label}\n` | `{input} ->` | ` {label}\n` |
//! | chat | the model's template over system (instruction), user and assistant turns (demonstrations), up to the last user's words | the rest | the assistant's turn |
//!
//! Where a format has a [`Punctuation`] of its own, its marks stand in place of these.
//!
//! Inputs are trimmed and carriage returns become newlines; the arrow style, where a newline ends an example, turns
//! newlines into spaces.

mod chat;
mod punctuation;

use std::sync::Arc;

pub use chat::{ChatMessage, ChatTemplate, Role};
pub use punctuation::{Casing, Punctuation};
use serde::{Deserialize, Serialize};

use crate::dataset::Dataset;
use crate::predictor::{PredictError, TrainingRow};
use crate::schema::Schema;
use crate::settings::{PromptSettings, PromptStyle, Settings};

/// What the model is told where neither the task file nor the data has an instruction.
const GENERAL_INSTRUCTION: &str = "Give the label that fits the input.";
/// The same, where the answer is a text.
const GENERAL_TEXT_INSTRUCTION: &str = "Write the answer to the input.";
/// The same, where the answer is JSON.
const GENERAL_JSON_INSTRUCTION: &str = "Give what the input says as JSON.";

/// What ends an answer of one line, and one of several.
const ONE_LINE: &str = "\n";
const SEVERAL_LINES: &str = "\n\n";

/// The layout of a task's prompts.
#[derive(Clone)]
pub struct PromptFormat {
    style: PromptStyle,
    input_name: String,
    output_name: String,
    instruction: String,
    /// What ends an answer of the text styles.
    end: &'static str,
    punctuation: Option<Punctuation>,
    template: Option<Arc<ChatTemplate>>,
}

/// What of a [`PromptFormat`] goes into a file, so that the same prompts can be written again without the task file.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Layout {
    /// Plain, arrow or chat.
    pub style: PromptStyle,
    /// What the plain style calls an input.
    pub input_name: String,
    /// What it calls an output.
    pub output_name: String,
    /// The instruction, its line of labels included; empty where there is none.
    pub instruction: String,
    /// Whether an empty line ends an answer, because answers may have several lines.
    pub several_lines: bool,
    /// The marks between the parts; `None`: the style's usual ones.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub punctuation: Option<Punctuation>,
}

/// The names that an instruction should tell: the labels, or the keys of a schema.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Names {
    heading: &'static str,
    names: Vec<String>,
}

impl Names {
    /// The labels of `dataset`, or the keys of the task's schema; none for free text.
    pub fn new(settings: &Settings, dataset: &Dataset) -> Self {
        let Some(answers) = &settings.task.answers else {
            return Self { heading: "Labels", names: dataset.labels.clone() };
        };
        let schema = answers.schema.clone().and_then(|schema| Schema::new(schema).ok());
        Self { heading: "Keys", names: schema.map_or_else(Vec::new, |schema| schema.keys()) }
    }

    /// `instruction`, and a line with all names where it does not tell them.
    pub fn listed(&self, instruction: &str) -> String {
        match names_all(instruction, &self.names) {
            true => instruction.to_owned(),
            false => format!("{instruction}\n{}: {}", self.heading, self.names.join(", ")),
        }
    }
}

/// What stands around an answer that a model writes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Frame {
    /// What it begins with, after the prompt: a space, or nothing.
    pub lead: String,
    /// What ends it.
    pub end: String,
}

/// Prompts that begin with the same text: prompt `i` is `shared + requests[i]`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rendered {
    /// What all prompts begin with.
    pub shared: String,
    /// The rest of each.
    pub requests: Vec<String>,
}

impl PromptFormat {
    /// The format of `settings`, with the instruction of the task file, else of the data's system message, else a
    /// general sentence; and a line with all labels where that does not name them and the settings want it.
    pub fn new(settings: &Settings, dataset: &Dataset) -> Self {
        let mut instruction = Self::own_instruction(settings, dataset);
        if settings.task.answers.is_none() {
            return Self::from_parts(&settings.prompt, Some(&instruction), &dataset.labels);
        }
        if settings.prompt.list_labels {
            instruction = Names::new(settings, dataset).listed(&instruction);
        }
        let mut format = Self::from_parts(&settings.prompt, Some(&instruction), &[]);
        if dataset.train.iter().chain(&dataset.dev).any(|example| example.target.contains('\n')) {
            format.end = SEVERAL_LINES;
        }
        format
    }

    /// The instruction without a line of labels or keys: the task file's, else the data's system message, else a general sentence.
    pub fn own_instruction(settings: &Settings, dataset: &Dataset) -> String {
        let general = match &settings.task.answers {
            None => GENERAL_INSTRUCTION,
            Some(answers) if answers.schema.is_some() => GENERAL_JSON_INSTRUCTION,
            Some(_) => GENERAL_TEXT_INSTRUCTION,
        };
        let own = settings.task.instruction.as_deref().or(dataset.system.as_deref());
        own.unwrap_or(general).trim().to_owned()
    }

    /// As [`PromptFormat::new`], from its parts.
    pub fn from_parts(prompt: &PromptSettings, instruction: Option<&str>, labels: &[String]) -> Self {
        let mut instruction = instruction.unwrap_or(GENERAL_INSTRUCTION).trim().to_owned();
        if prompt.list_labels {
            instruction = Names { heading: "Labels", names: labels.to_vec() }.listed(&instruction);
        }
        Self {
            style: prompt.style,
            input_name: prompt.input_name.trim().to_owned(),
            output_name: prompt.output_name.trim().to_owned(),
            instruction,
            end: ONE_LINE,
            punctuation: None,
            template: None,
        }
    }

    /// The format that `layout` describes.
    pub fn from_layout(layout: &Layout) -> Self {
        Self {
            style: layout.style,
            input_name: layout.input_name.clone(),
            output_name: layout.output_name.clone(),
            instruction: layout.instruction.clone(),
            end: if layout.several_lines { SEVERAL_LINES } else { ONE_LINE },
            punctuation: layout.punctuation.clone(),
            template: None,
        }
    }

    /// The format that `layout` describes, with this format's chat template.
    #[must_use]
    pub fn with_layout(&self, layout: &Layout) -> Self {
        Self { template: self.template.clone(), ..Self::from_layout(layout) }
    }

    /// This format but for the chat template, which is the model's.
    pub fn layout(&self) -> Layout {
        Layout {
            style: self.style,
            input_name: self.input_name.clone(),
            output_name: self.output_name.clone(),
            instruction: self.instruction.clone(),
            several_lines: self.end == SEVERAL_LINES,
            punctuation: self.punctuation.clone(),
        }
    }

    /// Gives the model's chat template, which the chat style needs and the other styles do not use.
    #[must_use]
    pub fn with_template(mut self, template: Arc<ChatTemplate>) -> Self {
        self.template = Some(template);
        self
    }

    /// The layout.
    pub fn style(&self) -> PromptStyle {
        self.style
    }

    /// The resolved instruction, the line of labels included: what to pass as `instruction` unless a variant is tried.
    /// The arrow style has no place for it.
    pub fn instruction(&self) -> &str {
        &self.instruction
    }

    /// Prompts for `inputs` after `demonstrations` (input, label). An empty `instruction` is left out. In all styles.
    ///
    /// # Errors
    /// Only in chat style: no template was given, or it failed.
    pub fn render(
        &self,
        instruction: &str,
        demonstrations: &[(&str, &str)],
        inputs: &[&str],
    ) -> Result<Rendered, PredictError> {
        if self.style == PromptStyle::Chat {
            let inputs: Vec<String> = inputs.iter().map(|input| self.turn(input)).collect();
            return chat::render(self.template()?, &self.messages(instruction, demonstrations), &inputs);
        }
        Ok(Rendered {
            shared: self.render_shared(instruction, demonstrations),
            requests: inputs.iter().map(|input| self.render_query(input)).collect(),
        })
    }

    /// The answers to score, one for each of `labels`: leading space where the style has one, label, terminator.
    ///
    /// # Errors
    /// As [`PromptFormat::render`].
    pub fn answers(&self, labels: &[String]) -> Result<Vec<String>, PredictError> {
        if self.style == PromptStyle::Chat {
            return labels.iter().map(|label| chat::answer(self.template()?, &self.cased(label))).collect();
        }
        Ok(labels.iter().map(|label| self.answer(label)).collect())
    }

    /// What stands around a written answer: what [`PromptFormat::training_row`] puts before and after the target.
    ///
    /// # Errors
    /// As [`PromptFormat::render`].
    pub fn frame(&self) -> Result<Frame, PredictError> {
        if self.style != PromptStyle::Chat {
            return Ok(Frame { lead: self.lead().to_owned(), end: self.end.to_owned() });
        }
        // A text that no template has of its own.
        const ANSWER: &str = "0answer0";
        let turn = chat::answer(self.template()?, ANSWER)?;
        let (lead, end) = turn.split_once(ANSWER).unwrap_or(("", "\n"));
        // White space after the token that ends a turn is never written by a model.
        let end = if end.trim().is_empty() { end } else { end.trim_end() };
        Ok(Frame { lead: lead.to_owned(), end: end.to_owned() })
    }

    /// A supervised row: the prompt is exactly what [`PromptFormat::render`] makes of `input` without demonstrations.
    /// With an empty `instruction`, which is how a tuned model is trained and asked, it is the request block alone.
    ///
    /// # Errors
    /// As [`PromptFormat::render`].
    pub fn training_row(
        &self,
        instruction: &str,
        input: &str,
        label: &str,
    ) -> Result<TrainingRow, PredictError> {
        if self.style == PromptStyle::Chat {
            let rendered = self.render(instruction, &[], &[input])?;
            let completion = chat::answer(self.template()?, &self.cased(label))?;
            return Ok(TrainingRow { prompt: rendered.shared + &rendered.requests[0], completion });
        }
        let prompt = self.render_shared(instruction, &[]) + &self.render_query(input);
        Ok(TrainingRow { prompt, completion: self.answer(label) })
    }

    /// The shared text of the text styles; a chat prompt is shown in the plain layout (it is scored by
    /// [`PromptFormat::render`], which goes through the template).
    pub fn render_shared(&self, instruction: &str, demonstrations: &[(&str, &str)]) -> String {
        let mut text = String::new();
        let instruction = instruction.trim();
        if self.style != PromptStyle::Arrow && !instruction.is_empty() {
            text.push_str(&with_newlines(instruction));
            text.push_str(self.gap());
        }
        for (input, label) in demonstrations {
            text.push_str(&self.render_query(input));
            text.push_str(self.lead());
            text.push_str(&self.cased(label));
            text.push_str(self.gap());
        }
        text
    }

    /// The request of the text styles: ends right before the answer, without a trailing space. As for chat, see
    /// [`PromptFormat::render_shared`].
    pub fn render_query(&self, input: &str) -> String {
        match self.style {
            PromptStyle::Arrow => format!("{}{}", on_one_line(input), self.separator().trim_end()),
            PromptStyle::Plain | PromptStyle::Chat => {
                let (separator, input) = (self.separator(), clean(input));
                let joint = self.marks().map_or("\n", |marks| &marks.joint);
                let asked = separator.trim_end();
                format!("{}{separator}{input}{joint}{}{asked}", self.input_name, self.output_name)
            }
        }
    }

    /// The answer of the text styles: ` {label}\n` (texts of several lines: ` {text}\n\n`). As for chat, see [`PromptFormat::answers`].
    pub fn answer(&self, label: &str) -> String {
        format!("{}{}{}", self.lead(), self.cased(label), self.end)
    }

    /// The marks that are not the usual ones. A chat prompt that is shown in the plain layout has the usual ones.
    fn marks(&self) -> Option<&Punctuation> {
        self.punctuation.as_ref().filter(|_| self.style != PromptStyle::Chat)
    }

    fn separator(&self) -> &str {
        let usual = if self.style == PromptStyle::Arrow { " -> " } else { ": " };
        self.marks().map_or(usual, |marks| &marks.separator)
    }

    fn lead(&self) -> &str {
        Punctuation::lead(self.separator())
    }

    /// What follows an instruction and a demonstration. An answer's end is the gap's beginning.
    fn gap(&self) -> &str {
        let usual = if self.style == PromptStyle::Arrow { self.end } else { "\n\n" };
        self.marks().map_or(usual, |marks| &marks.gap)
    }

    /// A label as this format writes it.
    fn cased(&self, label: &str) -> String {
        self.punctuation.as_ref().map_or(Casing::AsIs, |marks| marks.labels).apply(label.trim())
    }

    /// A user's turn of the chat style.
    fn turn(&self, input: &str) -> String {
        let input = clean(input);
        self.punctuation.as_ref().map_or_else(|| input.clone(), |marks| marks.wrapper.replace("{}", &input))
    }

    /// The prompt as messages, without the request: system (the instruction), then a user's and an assistant's turn for
    /// each demonstration.
    pub fn messages(&self, instruction: &str, demonstrations: &[(&str, &str)]) -> Vec<ChatMessage> {
        let mut messages = Vec::with_capacity(1 + 2 * demonstrations.len());
        let instruction = instruction.trim();
        if !instruction.is_empty() {
            messages.push(ChatMessage::new(Role::System, with_newlines(instruction)));
        }
        for (input, label) in demonstrations {
            messages.push(ChatMessage::new(Role::User, self.turn(input)));
            messages.push(ChatMessage::new(Role::Assistant, self.cased(label)));
        }
        messages
    }

    fn template(&self) -> Result<&ChatTemplate, PredictError> {
        self.template.as_deref().ok_or_else(|| {
            "prompt.style is \"chat\" but the model has no chat template; set it to \"plain\"".into()
        })
    }
}

impl std::fmt::Debug for PromptFormat {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter
            .debug_struct("PromptFormat")
            .field("style", &self.style)
            .field("input_name", &self.input_name)
            .field("output_name", &self.output_name)
            .field("instruction", &self.instruction)
            .field("punctuation", &self.punctuation)
            .field("has_template", &self.template.is_some())
            .finish()
    }
}

fn names_all(instruction: &str, labels: &[String]) -> bool {
    let instruction = instruction.to_lowercase();
    labels.iter().all(|label| instruction.contains(&label.to_lowercase()))
}

fn with_newlines(text: &str) -> String {
    text.replace("\r\n", "\n").replace('\r', "\n")
}

/// An input as prompts show it: trimmed, newlines kept.
fn clean(input: &str) -> String {
    with_newlines(input.trim())
}

/// An input on one line: each newline is a space.
fn on_one_line(input: &str) -> String {
    clean(input).replace('\n', " ")
}

#[cfg(test)]
mod tests;
