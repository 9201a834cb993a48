//! A prompt as a file: all that is needed to write, for any input, the very prompt that was measured.

use std::borrow::Cow;
use std::path::Path;

use serde::{Deserialize, Serialize};
use task::predictor::PredictError;
use task::prompt::{ChatMessage, ChatTemplate, Layout, PromptFormat, Rendered};
use task::record::ModelIdentity;

use crate::demonstrations::{Pool, Rule};
use crate::embedding::{Code, Space, unembedded};
use crate::plan::Selection;

/// The number of the file's format.
const FORMAT: u32 = 2;
/// The oldest format that is read: it had one kind of retrieval, and the usual marks between the parts of a prompt.
const OLDEST: u32 = 1;
/// The largest file that is read, in bytes.
const LARGEST: u64 = 1 << 30;

/// A labelled example.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Demonstration {
    /// What is given.
    pub input: String,
    /// What is answered.
    pub output: String,
}

/// A prompt that can be sent: `prompt.json`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct PromptProgram {
    /// Number of this format.
    pub format: u32,
    /// The task's name.
    pub task: String,
    /// The model that it was measured on.
    pub model: ModelIdentity,
    /// The experiment on test that measured it.
    pub experiment: String,
    /// How prompts are laid out, with the instruction.
    pub layout: Layout,
    /// In prompt order; with [`PromptProgram::retrieval`], all that may be chosen from.
    pub demonstrations: Vec<Demonstration>,
    /// How demonstrations are chosen for a request; `None` where all stand in every prompt, in their order.
    pub retrieval: Option<Rule>,
    /// The demonstrations' inputs as places, where they are chosen by the model's hidden states.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub space: Option<Space>,
    /// The text that every prompt begins with; the rest is the request's. Empty where all demonstrations are retrieved.
    pub shared: String,
    /// The same as messages, for an endpoint that takes chats; without the request.
    pub messages: Vec<ChatMessage>,
    /// The labels; none where answers are written.
    pub labels: Vec<String>,
    /// The answers to score, one a label: text to continue the prompt with.
    pub answers: Vec<String>,
    /// What is taken from the labels' log-probabilities before the largest is chosen; `None`: nothing.
    pub log_prior: Option<Vec<f64>>,
    /// The JSON schema that answers follow.
    pub schema: Option<serde_json::Value>,
    /// SHA-256 of the prompt of each dev example: those that were measured, as the record has them.
    pub prompts_sha256: Vec<String>,
}

impl PromptProgram {
    /// The number of the format that is written.
    pub const FORMAT: u32 = FORMAT;

    /// Reads `prompt.json`.
    ///
    /// # Errors
    /// A sentence that names the file.
    pub fn read(path: &Path) -> Result<Self, PredictError> {
        let place = path.display();
        let length = std::fs::metadata(path).map_err(|error| format!("{place}: {error}"))?.len();
        if length > LARGEST {
            return Err(format!("{place}: {length} bytes are more than {LARGEST}").into());
        }
        let bytes = std::fs::read(path).map_err(|error| format!("{place}: {error}"))?;
        let program: Self = serde_json::from_slice(&bytes).map_err(|error| format!("{place}: {error}"))?;
        if !(OLDEST..=FORMAT).contains(&program.format) {
            return Err(format!(
                "{place}: format {} (this program reads {OLDEST} to {FORMAT})",
                program.format
            )
            .into());
        }
        Ok(program)
    }

    /// The prompts for `inputs`; `template` is the model's, for the chat style.
    ///
    /// # Errors
    /// Those of [`PromptFormat::render`]; and where demonstrations are chosen by the model's hidden states, for which there is
    /// [`PromptProgram::prompts_near`].
    pub fn prompts(
        &self,
        inputs: &[&str],
        template: Option<std::sync::Arc<ChatTemplate>>,
    ) -> Result<Rendered, PredictError> {
        self.prompts_near(inputs, template, &|_| Err(unembedded()))
    }

    /// As [`PromptProgram::prompts`]; `place` gives an input's place in [`PromptProgram::space`], where demonstrations are chosen by it:
    /// [`Space::code`] of what [`task::predictor::Predictor::embed`] makes of the input.
    ///
    /// # Errors
    /// Those of [`PromptFormat::render`] and of `place`.
    pub fn prompts_near(
        &self,
        inputs: &[&str],
        template: Option<std::sync::Arc<ChatTemplate>>,
        place: &dyn Fn(&str) -> Result<Code, PredictError>,
    ) -> Result<Rendered, PredictError> {
        let mut format = PromptFormat::from_layout(&self.layout);
        if let Some(template) = template {
            format = format.with_template(template);
        }
        let Some(rule) = self.retrieval else {
            let shown: Vec<usize> = (0..self.demonstrations.len()).collect();
            return format.render(&self.layout.instruction, &self.pairs(&shown), inputs);
        };
        let known: Vec<&str> = self.demonstrations.iter().map(|one| one.input.as_str()).collect();
        let pool = Pool::new(known, Cow::Owned(self.targets()), self.labels.len().max(1));
        let places = pool.places(&rule);
        let block = pool.block(&rule);
        let mut requests = Vec::with_capacity(inputs.len());
        for input in inputs {
            let code = match (rule.selection, &self.space) {
                (Selection::Embedding, Some(space)) => Some((space, place(input)?)),
                (Selection::Embedding, None) => return Err(unembedded()),
                _ => None,
            };
            let near = code.as_ref().map(|(space, code)| (*space, code));
            let mut chosen = block.clone();
            chosen.extend(pool.retrieved(&rule, &block, input, near, places.as_deref()));
            let one = format.render(&self.layout.instruction, &self.pairs(&chosen), &[input])?;
            requests.push(one.shared + &one.requests[0]);
        }
        Ok(Rendered { shared: String::new(), requests })
    }

    fn pairs(&self, chosen: &[usize]) -> Vec<(&str, &str)> {
        let shown = chosen.iter().map(|&index| &self.demonstrations[index]);
        shown.map(|one| (one.input.as_str(), one.output.as_str())).collect()
    }

    /// The label's index of each demonstration; 0 for texts.
    fn targets(&self) -> Vec<usize> {
        let place = |output: &str| self.labels.iter().position(|label| label == output).unwrap_or(0);
        self.demonstrations.iter().map(|one| place(&one.output)).collect()
    }
}
