//! What the columns of some rows are.

mod columns;
mod schema;

use std::collections::BTreeSet;

use serde_json::Value;

use super::rows::UNNAMED;
use super::{Row, Rows};
use crate::Error;
use crate::profile::count_of;
use crate::settings::TaskKind;
use columns::{Column, columns, find_input, find_target, given};
use schema::schema;

/// Rows that are looked at.
const LOOKED_AT: usize = 20_000;
/// Characters that a label has at most, on average.
const LABEL_CHARACTERS: f64 = 60.0;
/// Names of a column that says which part a row belongs to.
const SPLIT_NAMES: [&str; 5] = ["split", "set", "partition", "subset", "fold"];
/// Names of a column that names rows.
const ID_NAMES: [&str; 5] = ["id", "uid", "uuid", "guid", "key"];

/// What was found out about some rows.
#[derive(Clone, Debug, PartialEq)]
pub struct Guess {
    /// What is asked.
    pub kind: TaskKind,
    /// Column of the input; `None` for chats.
    pub input: Option<String>,
    /// Column of the target; `None` for chats.
    pub target: Option<String>,
    /// Column with names that occur once each.
    pub id: Option<String>,
    /// Column that names the part of the split.
    pub split: Option<String>,
    /// Different targets.
    pub targets: usize,
    /// Rows without an input or a target, which are left out.
    pub incomplete: usize,
    /// What the model is told.
    pub instruction: Option<String>,
    /// For `extract`: a schema that all targets meet.
    pub schema: Option<Value>,
    /// Why, and what else it could be.
    pub reasons: Vec<String>,
}

impl Guess {
    /// Whether `row` has an input and a target. Chats are looked at when they are read.
    pub fn is_complete(&self, row: &Row) -> bool {
        are_filled(row, [&self.input, &self.target])
    }
}

/// Whether those of the columns that there are have a value.
fn are_filled(row: &Row, names: [&Option<String>; 2]) -> bool {
    names.into_iter().flatten().all(|name| is_filled(row, name))
}

fn is_filled(row: &Row, name: &str) -> bool {
    row.get(name).is_some_and(|value| !plain(value).trim().is_empty())
}

/// What a person said that the guess need not find out.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Wanted {
    /// Column of the input.
    pub input: Option<String>,
    /// Column of the target.
    pub target: Option<String>,
}

/// Looks at `rows`; what is `wanted` stands.
///
/// # Errors
/// [`Error::Data`] where a wanted column is not there, or no two columns can be an input and its target, with the columns there are.
pub fn guess(rows: &Rows, wanted: &Wanted) -> Result<Guess, Error> {
    let looked: Vec<&Row> = rows.rows.iter().take(LOOKED_AT).collect();
    let columns = columns(&looked);
    let mut reasons = rows.notes.clone();
    let is_chat = looked.iter().all(|row| row.get("messages").is_some_and(Value::is_array));
    let (input, target) = if is_chat {
        reasons.push(
            "chats: the last user’s message is the input, the assistant’s last one the target".to_owned(),
        );
        (None, None)
    } else {
        let target = match &wanted.target {
            Some(target) => given(&columns, target)?,
            None => find_target(&columns, &looked, rows, wanted.input.as_deref(), &mut reasons)?,
        };
        let input = match &wanted.input {
            Some(input) => given(&columns, input)?,
            None => find_input(&columns, &target, &mut reasons)?,
        };
        (Some(input), Some(target))
    };
    let targets: Vec<Value> = looked.iter().filter_map(|row| target_of(row, target.as_deref())).collect();
    let kind = kind(&targets, &mut reasons);
    let named = |names: &[&str]| {
        let free = |column: &&Column<'_>| {
            Some(column.name) != input.as_deref() && Some(column.name) != target.as_deref()
        };
        columns
            .iter()
            .filter(free)
            .find(|column| names.iter().any(|name| column.name.eq_ignore_ascii_case(name)))
    };
    let id = named(&ID_NAMES).filter(|column| column.distinct == looked.len());
    let split = named(&SPLIT_NAMES).filter(|column| column.distinct <= 4 && is_split(&looked, column.name));
    if let Some(split) = split {
        reasons.push(format!("`{}` names the part of the split that each row belongs to", split.name));
    }
    let distinct: BTreeSet<String> = targets.iter().map(plain).filter(|text| !text.is_empty()).collect();
    let incomplete = rows.rows.iter().filter(|row| !are_filled(row, [&input, &target])).count();
    if incomplete > 0 {
        let rows = count_of(incomplete, "row");
        reasons.push(format!("{rows} without an input or a target left out"));
    }
    Ok(Guess {
        incomplete,
        kind,
        id: id.map(|column| column.name.to_owned()),
        split: split.map(|column| column.name.to_owned()),
        targets: distinct.len(),
        instruction: rows
            .instruction
            .clone()
            .or_else(|| instruction(kind, input.as_deref()?, target.as_deref()?)),
        schema: (kind == TaskKind::Extract).then(|| schema(&targets)),
        input,
        target,
        reasons,
    })
}

/// A value as text.
fn plain(value: &Value) -> String {
    match value {
        Value::String(text) => text.clone(),
        Value::Null => String::new(),
        other => other.to_string(),
    }
}

/// The target of a row, of a chat the last message.
fn target_of(row: &Row, target: Option<&str>) -> Option<Value> {
    let value = match target {
        Some(target) => row.get(target)?,
        None => row.get("messages")?.as_array()?.last()?.get("content")?,
    };
    match value {
        // openai/evals: a list with the one accepted answer.
        Value::Array(items) if items.len() == 1 => items.first().cloned(),
        other => Some(other.clone()),
    }
}

fn kind(targets: &[Value], reasons: &mut Vec<String>) -> TaskKind {
    let objects = targets.iter().filter(|target| object(target).is_some()).count();
    if !targets.is_empty() && objects == targets.len() {
        reasons.push("every target is a JSON object: extract".to_owned());
        return TaskKind::Extract;
    }
    let texts: Vec<String> = targets
        .iter()
        .map(|target| plain(target).trim().to_owned())
        .filter(|text| !text.is_empty())
        .collect();
    let distinct = texts.iter().collect::<BTreeSet<_>>().len();
    let characters =
        texts.iter().map(|text| text.chars().count()).sum::<usize>() as f64 / texts.len().max(1) as f64;
    if distinct <= (texts.len() / 3).max(2) && characters <= LABEL_CHARACTERS {
        reasons.push(format!("{distinct} different short targets in {} rows: classify", texts.len()));
        TaskKind::Classify
    } else {
        reasons.push(format!("{distinct} different targets in {} rows: generate", texts.len()));
        TaskKind::Generate
    }
}

fn object(target: &Value) -> Option<Row> {
    match target {
        Value::Object(row) => Some(row.clone()),
        Value::String(text) if text.trim_start().starts_with('{') => serde_json::from_str(text).ok(),
        _ => None,
    }
}

fn is_split(rows: &[&Row], name: &str) -> bool {
    let known = ["train", "training", "test", "testing", "dev", "val", "valid", "validation", "eval"];
    rows.iter().all(|row| {
        row.get(name)
            .and_then(Value::as_str)
            .is_some_and(|value| known.contains(&value.trim().to_lowercase().as_str()))
    })
}

fn instruction(kind: TaskKind, input: &str, target: &str) -> Option<String> {
    if [input, target].iter().any(|name| name.starts_with(UNNAMED)) {
        return None;
    }
    let words = |name: &str| name.replace(['_', '-'], " ").trim().to_lowercase();
    Some(match kind {
        TaskKind::Classify => format!("Give the {} of the {}.", words(target), words(input)),
        TaskKind::Extract => format!("Give the {} of the {} as JSON.", words(target), words(input)),
        TaskKind::Generate => format!("Write the {} for the {}.", words(target), words(input)),
    })
}
