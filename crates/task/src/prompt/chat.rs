//! The chat style. The template itself is the model's and is applied by whoever runs it; here it is a function.

use serde::{Deserialize, Serialize};

use super::Rendered;
use crate::predictor::PredictError;

/// Who says a message.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Role {
    /// The instruction.
    System,
    /// Who asks.
    User,
    /// The model.
    Assistant,
}

impl Role {
    /// The name that templates know: `system`, `user`, `assistant`.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::System => "system",
            Self::User => "user",
            Self::Assistant => "assistant",
        }
    }
}

/// A message of a conversation.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ChatMessage {
    /// Who says it.
    pub role: Role,
    /// What is said.
    pub content: String,
}

impl ChatMessage {
    /// A message.
    pub fn new(role: Role, content: impl Into<String>) -> Self {
        Self { role, content: content.into() }
    }
}

/// A model's chat template: messages to text. After a last user's message it opens the assistant's turn (the
/// "generation prompt"); after a last assistant's message it adds nothing.
pub type ChatTemplate = dyn Fn(&[ChatMessage]) -> Result<String, PredictError> + Send + Sync;

/// Renders each input after `messages`. What the prompts share ends where the input begins, as far as that can be seen
/// from outside the template; nothing is shared where a template's beginning depends on the input.
pub(super) fn render(
    template: &ChatTemplate,
    messages: &[ChatMessage],
    inputs: &[String],
) -> Result<Rendered, PredictError> {
    let ask = |input: &str| {
        let mut messages = messages.to_vec();
        messages.push(ChatMessage::new(Role::User, input));
        template(&messages)
    };
    // Two inputs that differ from their first character on: what is equal before them is what every prompt begins with.
    let (one, other) = (ask("0")?, ask("1")?);
    let mut prompts = inputs.iter().map(|input| ask(input)).collect::<Result<Vec<_>, _>>()?;
    let mut length = common_prefix(&one, &other);
    for prompt in &prompts {
        length = length.min(common_prefix(&one, prompt));
    }
    let shared = one[..length].to_owned();
    prompts.iter_mut().for_each(|prompt| *prompt = prompt.split_off(length));
    Ok(Rendered { shared, requests: prompts })
}

/// What the template adds for an assistant's turn that says `label`: the label and the end of the turn.
///
/// Where a template rewrites the beginning of a conversation when it is answered, only the label and a newline.
pub(super) fn answer(template: &ChatTemplate, label: &str) -> Result<String, PredictError> {
    let mut messages = vec![ChatMessage::new(Role::User, "0")];
    let asked = template(&messages)?;
    messages.push(ChatMessage::new(Role::Assistant, label));
    let answered = template(&messages)?;
    Ok(match answered.strip_prefix(&asked) {
        Some(answer) if answer.contains(label) => answer.to_owned(),
        _ => format!("{label}\n"),
    })
}

/// Bytes that two texts begin with in common, up to a character boundary.
fn common_prefix(one: &str, other: &str) -> usize {
    one.char_indices()
        .zip(other.chars())
        .find(|((_, a), b)| a != b)
        .map_or(one.len().min(other.len()), |((position, _), _)| position)
}
