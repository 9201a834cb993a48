//! What a run's results depend on, so that a run store can tell whether it belongs to these settings.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use sha2::{Digest, Sha256};

use super::{FineTuneSettings, InContextSettings, Settings, fine_tune_settings};
use crate::task_file::FineTuneSection;

/// Named facts that results depend on.
///
/// From the settings: everything in `[task]` but the name, and all of `[data]`, `[model]`, `[prompt]`, `[in_context]`
/// and `[fine_tune]`, with paths as the task file writes them. Not in it: `[decision]` and `[economics]` (the verdict
/// can be taken again with other ones), `[budget]` (more time continues the same run), the task's name, and where the
/// task file lies. What the files hold is checked apart, by [`crate::store::Store::describe`]; other
/// facts can be added with [`Fingerprint::with`].
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Fingerprint {
    facts: BTreeMap<String, Value>,
}

impl Fingerprint {
    /// Adds a fact, or replaces it: `fingerprint.with("engine", "2")`.
    #[must_use]
    pub fn with(mut self, name: &str, value: &str) -> Self {
        self.facts.insert(name.to_owned(), Value::String(value.to_owned()));
        self
    }

    /// SHA-256, hexadecimal, of the facts as JSON with sorted names and without spaces.
    pub fn sha256(&self) -> String {
        let json = serde_json::to_vec(self).expect("a map of JSON values is JSON");
        hexadecimal(&Sha256::digest(&json))
    }

    /// What differs from `stored`, a line for each fact: `in_context.seeds was 3, is 5`.
    pub fn changes_since(&self, stored: &Self) -> Vec<String> {
        let names: std::collections::BTreeSet<_> = self.facts.keys().chain(stored.facts.keys()).collect();
        names
            .into_iter()
            .filter_map(|name| {
                let (before, now) = (stored.facts.get(name), self.facts.get(name));
                (before != now).then(|| format!("{name} was {}, is {}", shown(before), shown(now)))
            })
            .collect()
    }
}

fn shown(value: Option<&Value>) -> String {
    const LONGEST: usize = 80;
    let text = match value {
        None | Some(Value::Null) => return "not set".to_owned(),
        Some(value) => value.to_string(),
    };
    match text.char_indices().nth(LONGEST) {
        Some((end, _)) => format!("{}...", &text[..end]),
        None => text,
    }
}

impl Settings {
    /// The facts of these settings that results depend on; see [`Fingerprint`] for what is in it.
    pub fn fingerprint(&self) -> Fingerprint {
        let mut fingerprint = Fingerprint::default();
        let mut add = |section: &str, value: Value| {
            let Value::Object(fields) = value else { unreachable!("every section is a struct") };
            for (name, value) in fields {
                fingerprint.facts.insert(format!("{section}.{name}"), value);
            }
        };
        add("task", json!({ "kind": self.task.kind, "instruction": self.task.instruction }));
        if let Some(answers) = &self.task.answers {
            // The command's folder is where the task file lies, and its time limit changes no figure.
            let words = answers.command.as_ref().map(|command| &command.words);
            add(
                "task",
                json!({
                    "schema": answers.schema,
                    "metrics": answers.metrics,
                    "metric_command": words,
                    "answer_tokens": answers.tokens,
                }),
            );
        }
        let mut data = json!(self.data);
        data["train"] = json!(self.written.train);
        data["dev"] = json!(self.written.dev);
        data["test"] = json!(self.written.test);
        add("data", data);
        let mut model = json!(self.model);
        model["source"] = json!(self.written.model);
        add("model", model);
        add("prompt", json!(self.prompt));
        // Where they are as usual, these are no part of it: runs of before there was a search did not have them.
        let mut in_context = json!(self.in_context);
        let usual = json!(InContextSettings::default());
        for name in ["search", "search_share", "instructions"] {
            if let Some(fields) = in_context.as_object_mut().filter(|fields| fields[name] == usual[name]) {
                fields.remove(name);
            }
        }
        add("in_context", in_context);
        add("fine_tune", fine_tune(&self.fine_tune));
        fingerprint
    }
}

/// The section's facts. What a version before did not know is left out where it is as by default, so that its runs go on.
fn fine_tune(settings: &FineTuneSettings) -> Value {
    let mut facts = json!(settings);
    let default = fine_tune_settings(&FineTuneSection { rank: settings.rank, ..FineTuneSection::default() });
    let default = json!(default);
    if let Some(facts) = facts.as_object_mut() {
        let adapters = ["variants", "targets", "ranks", "search_share", "hybrids"];
        let steps = ["pass_rows", "schedule", "warmup_share", "weight_decay", "clip_norm", "dropout"];
        for name in adapters.into_iter().chain(steps) {
            if facts.get(name) == default.get(name) {
                facts.remove(name);
            }
        }
    }
    facts
}

/// Lower-case hexadecimal digits.
pub(crate) fn hexadecimal(bytes: &[u8]) -> String {
    use std::fmt::Write as _;
    bytes.iter().fold(String::with_capacity(2 * bytes.len()), |mut text, byte| {
        let _ = write!(text, "{byte:02x}");
        text
    })
}
