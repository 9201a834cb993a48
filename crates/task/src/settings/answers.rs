//! How written answers are scored and bounded: `task.schema`, `task.metric` and the keys beside them, resolved.

use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::{LONGEST_TASK_FILE, resolve_path};
use crate::schema::Schema;
use crate::task_file::{Metric, TaskKind, TaskSection, parse_duration};

/// What is asked of answers that are not labels.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct AnswerSettings {
    /// The JSON schema; for [`TaskKind::Extract`] alone.
    pub schema: Option<Value>,
    /// The metrics, the main one first.
    pub metrics: Vec<Metric>,
    /// The program behind [`Metric::Command`].
    pub command: Option<MetricCommand>,
    /// Most tokens of an answer; `None`: half as many again as the longest target.
    pub tokens: Option<usize>,
}

/// A user's program as a metric.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct MetricCommand {
    /// The program and its arguments; never empty.
    pub words: Vec<String>,
    /// The folder that it runs in: the task file's.
    pub folder: PathBuf,
    /// Seconds for one run.
    pub timeout: f64,
}

/// What the keys of `[task]` say, for a task file in `folder`; `None` for labels. Errors are sentences that name the key.
pub(super) fn resolve(section: &TaskSection, folder: &Path) -> Result<Option<AnswerSettings>, String> {
    let kind = match section.kind {
        TaskKind::Classify => return only_for_texts(section).map(|()| None),
        TaskKind::Extract => "extract",
        TaskKind::Generate => "generate",
    };
    let schema = match (&section.schema, section.kind) {
        (Some(_), TaskKind::Generate) => return Err("task.schema is for kind \"extract\"".to_owned()),
        (None, TaskKind::Extract) => {
            return Err("kind \"extract\" needs task.schema: the JSON schema of the answers".to_owned());
        }
        (written, _) => written.as_ref().map(|written| read_schema(written, folder)).transpose()?,
    };
    let mut metrics = match section.kind {
        TaskKind::Extract => vec![Metric::FieldF1, Metric::ExactMatch, Metric::Valid],
        _ => vec![Metric::TokenF1, Metric::ExactMatch, Metric::RougeL, Metric::Chrf],
    };
    if section.metric_command.is_some() {
        metrics.insert(0, Metric::Command);
    }
    if let Some(main) = section.metric {
        let place = metrics.iter().position(|metric| *metric == main).ok_or_else(|| match main {
            Metric::Command => "task.metric is \"command\", but there is no task.metric_command".to_owned(),
            other => format!("task.metric = \"{}\" is not for kind \"{kind}\"", other.name()),
        })?;
        let main = metrics.remove(place);
        metrics.insert(0, main);
    }
    let timeout = parse_duration(&section.metric_timeout).expect("checked against the table of keys");
    let command = section.metric_command.clone();
    let command = command.map(|words| MetricCommand { words, folder: folder.to_path_buf(), timeout });
    Ok(Some(AnswerSettings { schema, metrics, command, tokens: section.answer_tokens }))
}

fn only_for_texts(section: &TaskSection) -> Result<(), String> {
    let given = [
        ("schema", section.schema.is_some()),
        ("metric", section.metric.is_some()),
        ("metric_command", section.metric_command.is_some()),
        ("answer_tokens", section.answer_tokens.is_some()),
    ];
    match given.into_iter().find(|(_, given)| *given) {
        Some((key, _)) => {
            Err(format!("task.{key} is for kinds \"extract\" and \"generate\"; labels are right or wrong"))
        }
        None => Ok(()),
    }
}

/// The schema as written: a table, JSON text, or the name of a file.
fn read_schema(written: &Value, folder: &Path) -> Result<Value, String> {
    let value = match written {
        Value::String(text) if text.trim_start().starts_with('{') => {
            serde_json::from_str(text).map_err(|error| format!("task.schema: {error}"))?
        }
        Value::String(name) => read_schema_file(&resolve_path(Path::new(name), folder))?,
        table => table.clone(),
    };
    Schema::new(value).map(|schema| schema.value().clone()).map_err(|error| format!("task.schema: {error}"))
}

fn read_schema_file(path: &Path) -> Result<Value, String> {
    let failed = |error: &dyn std::fmt::Display| format!("task.schema: {}: {error}", path.display());
    let size = std::fs::metadata(path).map_err(|error| failed(&error))?.len();
    if size > LONGEST_TASK_FILE {
        return Err(failed(&format!("{size} bytes are too many for a schema (limit {LONGEST_TASK_FILE})")));
    }
    let bytes = std::fs::read(path).map_err(|error| failed(&error))?;
    serde_json::from_slice(&bytes).map_err(|error| failed(&error))
}
