//! The task file: what a user wrote, before defaults that depend on other things are resolved.
//!
//! TOML with ten sections. [`KEYS`] is the one table of what may be in it: names, types, defaults and meanings. It
//! checks a file with line numbers ([`parse`]) and makes the reference ([`reference()`], `docs/task-file.md`).

mod check;
mod choices;
mod json_schema;
mod keys;
mod kind;
mod reference;
mod sections;
mod shots;

use std::path::Path;

use serde::{Deserialize, Serialize};

pub(crate) use check::nearest;
pub use choices::{
    Calibration, FineTuneMethod, HybridMethod, Metric, Order, Precision, PromptStyle, Selection, TaskKind,
    Underscores,
};
pub use json_schema::json_schema;
pub use keys::{KEYS, Key, SECTIONS, Section};
pub use kind::{Kind, parse_duration};
pub use reference::reference;
pub use sections::{
    BudgetSection, DataSection, FineTuneSection, InContextSection, ModelSection, Paths, ProbesSection,
    PromptSection, TaskSection,
};
pub use shots::Shots;

use crate::Error;
use crate::record::{Decision, Economics};

/// A parsed task file. Every key has a default, so that an empty file is a valid (if useless) one.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct TaskFile {
    /// `[task]`: what is asked.
    pub task: TaskSection,
    /// `[data]`: the labelled rows.
    pub data: DataSection,
    /// `[model]`: the model that both arms adapt.
    pub model: ModelSection,
    /// `[prompt]`: how an input becomes text.
    pub prompt: PromptSection,
    /// `[in_context]`: what the prompting arm tries.
    pub in_context: InContextSection,
    /// `[fine_tune]`: what the fine-tuning arm tries.
    pub fine_tune: FineTuneSection,
    /// `[budget]`: how long a run may take.
    pub budget: BudgetSection,
    /// `[probes]`: what the finalists are asked beside the test set.
    pub probes: ProbesSection,
    /// `[decision]`: when a difference counts.
    pub decision: Decision,
    /// `[economics]`: volume and prices.
    pub economics: Economics,
}

/// Parses the text of a task file; `path` is only named in errors.
///
/// # Errors
/// [`Error::TaskFileLine`] with line and key for bad TOML, unknown sections and keys (with the nearest known name),
/// wrong types and values out of range; [`Error::TaskFile`] where no line is to blame.
pub fn parse(text: &str, path: &Path) -> Result<TaskFile, Error> {
    check::check(text, path)?;
    toml::from_str(text).map_err(|error| check::syntax_error(text, path, &error))
}
