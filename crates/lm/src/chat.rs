//! Chat templates: the Jinja that a model's makers ship, run as transformers runs it.

mod date;
mod python;

use std::io::Write;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use minijinja::syntax::SyntaxConfig;
use minijinja::{Environment, ErrorKind, Value};

use crate::Error;

/// The longest template, in bytes.
const LONGEST_TEMPLATE: usize = 1 << 20;
/// The longest rendered text, in bytes.
const LONGEST_OUTPUT: usize = 64 << 20;
/// Instructions that one rendering may take: thousands of messages, but no endless loop.
const FUEL: u64 = 10_000_000;
/// Depth of nested calls.
const DEPTH: usize = 100;

/// One message of a conversation.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct Message {
    /// `system`, `user` or `assistant`.
    pub role: String,
    /// The text.
    pub content: String,
}

impl Message {
    /// A message of `role`.
    pub fn new(role: impl Into<String>, content: impl Into<String>) -> Self {
        Self { role: role.into(), content: content.into() }
    }
}

/// A compiled chat template.
///
/// Templates come with models and are not trusted: they see the messages and nothing else, and their time, depth and
/// output are bounded.
#[derive(Clone)]
pub struct ChatTemplate {
    environment: Arc<Environment<'static>>,
    clock: Option<Duration>,
}

/// The name of the one template in its environment.
const NAME: &str = "chat_template";

impl ChatTemplate {
    /// Compiles a template.
    ///
    /// # Errors
    /// [`Error::Template`] with the line at fault.
    pub fn new(template: &str) -> Result<Self, Error> {
        if template.len() > LONGEST_TEMPLATE {
            return Err(Error::Template(format!("{} bytes, more than {LONGEST_TEMPLATE}", template.len())));
        }
        let mut environment = Environment::new();
        environment.set_syntax(
            SyntaxConfig::builder().trim_blocks(true).lstrip_blocks(true).build().map_err(failed)?,
        );
        environment.set_recursion_limit(DEPTH);
        environment.set_fuel(Some(FUEL));
        environment.set_auto_escape_callback(|_| minijinja::AutoEscape::None);
        environment.set_unknown_method_callback(python::method);
        environment.set_formatter(python::print);
        environment.add_filter("tojson", python::to_json);
        environment.add_function("raise_exception", |reason: String| -> Result<Value, minijinja::Error> {
            Err(minijinja::Error::new(ErrorKind::InvalidOperation, reason))
        });
        environment.add_template_owned(NAME, without_generation_marks(template)).map_err(failed)?;
        Ok(Self { environment: Arc::new(environment), clock: None })
    }

    /// The same template with `strftime_now` at a fixed time since 1970 (UTC), so that a prompt that states the date
    /// is the same tomorrow. Without it the time is the system's, in UTC.
    #[must_use]
    pub fn with_clock(mut self, since_1970: Duration) -> Self {
        self.clock = Some(since_1970);
        self
    }

    /// The text of a conversation; `add_generation_prompt` opens the assistant's turn. `bos` and `eos` are the texts of
    /// the tokens that begin and end a sequence.
    ///
    /// # Errors
    /// [`Error::Template`] where there is no message, with the reason that the template itself raises, or with the line
    /// at fault.
    pub fn render(
        &self,
        messages: &[Message],
        add_generation_prompt: bool,
        bos: Option<&str>,
        eos: Option<&str>,
    ) -> Result<String, Error> {
        if messages.is_empty() {
            return Err(Error::Template("a conversation without messages".to_owned()));
        }
        let clock = self.clock;
        let strftime_now = Value::from_function(move |format: String| date::format(&format, now(clock)));
        let message = |message: &Message| {
            Value::from_pairs([("role", message.role.as_str()), ("content", message.content.as_str())])
        };
        let context = Value::from_pairs([
            ("messages", messages.iter().map(message).collect::<Value>()),
            ("tools", Value::from(())),
            ("documents", Value::from(())),
            ("add_generation_prompt", Value::from(add_generation_prompt)),
            ("strftime_now", strftime_now),
            ("bos_token", bos.map_or(Value::UNDEFINED, Value::from)),
            ("eos_token", eos.map_or(Value::UNDEFINED, Value::from)),
        ]);
        let template = self.environment.get_template(NAME).map_err(failed)?;
        let mut output = Bounded(Vec::new());
        template.render_captured_to(context, &mut output).map_err(failed)?;
        String::from_utf8(output.0).map_err(|_| Error::Template("rendered text is not UTF-8".to_owned()))
    }
}

impl std::fmt::Debug for ChatTemplate {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.debug_struct("ChatTemplate").field("clock", &self.clock).finish_non_exhaustive()
    }
}

/// The time that a template sees.
fn now(clock: Option<Duration>) -> Duration {
    clock.unwrap_or_else(|| SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default())
}

/// An output that refuses to grow beyond its bound.
struct Bounded(Vec<u8>);

impl Write for Bounded {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        if self.0.len() + bytes.len() > LONGEST_OUTPUT {
            let reason = format!("rendered text is longer than {LONGEST_OUTPUT} bytes");
            return Err(std::io::Error::other(reason));
        }
        self.0.extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

/// The template with its `generation` tags (they mark the assistant's part for training masks in transformers) turned
/// into blocks that change nothing.
fn without_generation_marks(template: &str) -> String {
    let mut output = String::with_capacity(template.len());
    let mut rest = template;
    while let Some(start) = rest.find("{%") {
        let (before, tag) = rest.split_at(start);
        output.push_str(before);
        let end = tag.find("%}").map_or(tag.len(), |end| end + 2);
        let (tag, after) = tag.split_at(end);
        let word = tag.trim_start_matches("{%").trim_end_matches("%}").trim_matches(['-', '+']).trim();
        match word {
            "generation" => output.push_str(&tag.replacen("generation", "if true", 1)),
            "endgeneration" => output.push_str(&tag.replacen("endgeneration", "endif", 1)),
            _ => output.push_str(tag),
        }
        rest = after;
    }
    output + rest
}

/// The error of a template, with its cause.
fn failed(error: minijinja::Error) -> Error {
    let cause = std::error::Error::source(&error).map(|cause| format!(": {cause}")).unwrap_or_default();
    let reason = match error.kind() {
        ErrorKind::OutOfFuel => "it takes too long".to_owned(),
        _ => error.to_string(),
    };
    Error::Template(format!("{reason}{cause}"))
}
