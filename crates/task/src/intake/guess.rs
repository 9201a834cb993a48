//! What the columns of some rows are.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Value, json};

use super::dependence::told_by_words;
use super::rows::UNNAMED;
use super::{Row, Rows, promptfoo};
use crate::Error;
use crate::dataset::{INPUT_NAMES, TARGET_NAMES};
use crate::profile::count_of;
use crate::settings::TaskKind;

/// Rows that are looked at.
const LOOKED_AT: usize = 20_000;
/// Characters that a label has at most, on average.
const LABEL_CHARACTERS: f64 = 60.0;
/// Names of a column that says which part a row belongs to.
const SPLIT_NAMES: [&str; 5] = ["split", "set", "partition", "subset", "fold"];
/// Names of a column with a text to be written, where no column has labels.
const ANSWER_NAMES: [&str; 7] =
    ["answer", "response", "reply", "completion", "summary", "translation", "result"];
/// Share of the rows in which a target stands; the others are left out.
const FILLED: f64 = 0.75;
/// What the words of the input tell of a label at least (see [`told_by_words`]), where there are several candidates.
const TOLD: f64 = 0.1;
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

/// A column with what its values look like.
struct Column<'a> {
    name: &'a str,
    filled: usize,
    distinct: usize,
    characters: f64,
    numbers: usize,
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

fn columns<'a>(rows: &[&'a Row]) -> Vec<Column<'a>> {
    let mut names: Vec<&str> = Vec::new();
    let mut seen = BTreeSet::new();
    for row in rows {
        names.extend(row.keys().map(String::as_str).filter(|name| seen.insert(*name)));
    }
    let column = |name: &'a str| {
        let values: Vec<String> = rows
            .iter()
            .filter_map(|row| row.get(name))
            .map(|value| plain(value).trim().to_owned())
            .filter(|text| !text.is_empty())
            .collect();
        Column {
            name,
            filled: values.len(),
            distinct: values.iter().collect::<BTreeSet<_>>().len(),
            characters: values.iter().map(|text| text.chars().count()).sum::<usize>() as f64
                / values.len().max(1) as f64,
            numbers: values.iter().filter(|text| text.trim().parse::<f64>().is_ok()).count(),
        }
    };
    names.into_iter().map(column).collect()
}

/// A value as text.
fn plain(value: &Value) -> String {
    match value {
        Value::String(text) => text.clone(),
        Value::Null => String::new(),
        other => other.to_string(),
    }
}

fn alias<'a, 'b>(columns: &'b [Column<'a>], names: &[&str]) -> Option<&'b Column<'a>> {
    names.iter().find_map(|name| columns.iter().find(|column| column.name.trim().eq_ignore_ascii_case(name)))
}

fn given(columns: &[Column<'_>], name: &str) -> Result<String, Error> {
    if columns.iter().any(|column| column.name == name) {
        return Ok(name.to_owned());
    }
    let names: Vec<&str> = columns.iter().map(|column| column.name).collect();
    Err(Error::Data(format!("no column `{name}`; there are: {}", names.join(", "))))
}

fn find_target(
    columns: &[Column<'_>],
    looked: &[&Row],
    source: &Rows,
    input: Option<&str>,
    reasons: &mut Vec<String>,
) -> Result<String, Error> {
    let rows = looked.len();
    if source.format == super::SourceFormat::Promptfoo {
        return Ok(promptfoo::TARGET.to_owned());
    }
    let filled = |column: &Column<'_>| column.filled as f64 >= FILLED * rows as f64;
    if let Some(column) = alias(columns, &TARGET_NAMES).filter(|column| filled(column)) {
        reasons.push(format!("`{}` is the target by its name", column.name));
        return Ok(column.name.to_owned());
    }
    let longest = columns.iter().max_by(|left, right| left.characters.total_cmp(&right.characters));
    let few = |column: &&Column<'_>| {
        filled(column)
            && Some(column.name) != input
            && (2..=(rows / 4).max(2)).contains(&column.distinct)
            && column.characters <= LABEL_CHARACTERS
            && longest.is_none_or(|longest| longest.name != column.name)
            && !SPLIT_NAMES.iter().any(|name| column.name.eq_ignore_ascii_case(name))
    };
    let mut candidates: Vec<&Column<'_>> = columns.iter().filter(few).collect();
    let text = input.or_else(|| text_column(columns, None).map(|column| column.name));
    let unrelated = told_apart(&mut candidates, looked, text);
    // Words before numbers, then the fewest different values.
    candidates.sort_by_key(|column| (column.numbers == column.filled, column.distinct));
    let Some((first, others)) = candidates.split_first() else {
        if let Some(column) = written_answer(columns, text).filter(|column| filled(column)) {
            reasons
                .push(format!("`{}` is taken for the target: a text of its own in every row", column.name));
            return Ok(column.name.to_owned());
        }
        let names: Vec<&str> = columns.iter().map(|column| column.name).collect();
        return Err(Error::Data(format!(
            "no column looks like a target (few different values in nearly every row); name one with --target. There are: {}",
            names.join(", ")
        )));
    };
    reasons.push(format!("`{}` is taken for the target: {} different values", first.name, first.distinct));
    if !others.is_empty() {
        let names: Vec<String> = others.iter().take(4).map(|column| format!("`{}`", column.name)).collect();
        reasons.push(format!("it could also be {}", names.join(", ")));
    }
    if !unrelated.is_empty() {
        let names: Vec<String> = unrelated.iter().take(4).map(|name| format!("`{name}`")).collect();
        reasons.push(format!("the words of `{}` do not tell {}", text.unwrap_or_default(), names.join(", ")));
    }
    Ok(first.name.to_owned())
}

/// Takes those candidates out that the words of the column `text` do not tell, unless they tell none; gives their names.
fn told_apart<'a>(candidates: &mut Vec<&Column<'a>>, looked: &[&Row], text: Option<&str>) -> Vec<&'a str> {
    let Some(text) = text.filter(|_| candidates.len() > 1) else { return Vec::new() };
    let told = |column: &&Column<'_>| {
        let pairs: Vec<(String, String)> = looked
            .iter()
            .filter(|row| is_filled(row, text) && is_filled(row, column.name))
            .map(|row| (plain(&row[text]), plain(&row[column.name])))
            .collect();
        let pairs: Vec<(&str, &str)> =
            pairs.iter().map(|(text, value)| (text.as_str(), value.as_str())).collect();
        told_by_words(&pairs) >= TOLD
    };
    let (kept, out): (Vec<_>, Vec<_>) = candidates.iter().copied().partition(told);
    if kept.is_empty() {
        return Vec::new();
    }
    *candidates = kept;
    out.into_iter().map(|column| column.name).collect()
}

/// Where no column has labels: the one that is named like an answer, or the only other text.
fn written_answer<'a, 'b>(columns: &'b [Column<'a>], text: Option<&str>) -> Option<&'b Column<'a>> {
    if let Some(named) = alias(columns, &ANSWER_NAMES).filter(|column| Some(column.name) != text) {
        return Some(named);
    }
    let is_text = |column: &&Column<'_>| {
        Some(column.name) != text
            && column.numbers < column.filled
            && ![&SPLIT_NAMES[..], &ID_NAMES[..]]
                .concat()
                .iter()
                .any(|name| column.name.eq_ignore_ascii_case(name))
    };
    let others: Vec<&Column<'_>> = columns.iter().filter(is_text).collect();
    if let [one] = others.as_slice() { Some(*one) } else { None }
}

/// The column that is named like an input, else that with the longest texts; not `except`.
fn text_column<'a, 'b>(columns: &'b [Column<'a>], except: Option<&str>) -> Option<&'b Column<'a>> {
    let free = || columns.iter().filter(|column| Some(column.name) != except);
    let named = INPUT_NAMES
        .iter()
        .find_map(|name| free().find(|column| column.name.trim().eq_ignore_ascii_case(name)));
    named.or_else(|| free().max_by(|left, right| left.characters.total_cmp(&right.characters)))
}

fn find_input(columns: &[Column<'_>], target: &str, reasons: &mut Vec<String>) -> Result<String, Error> {
    let Some(column) = text_column(columns, Some(target)) else {
        return Err(Error::Data("one column alone: an input and its target are needed".to_owned()));
    };
    reasons.push(if INPUT_NAMES.iter().any(|name| column.name.trim().eq_ignore_ascii_case(name)) {
        format!("`{}` is the input by its name", column.name)
    } else {
        format!(
            "`{}` is taken for the input: the longest texts, {:.0} characters on average",
            column.name, column.characters
        )
    });
    Ok(column.name.to_owned())
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

/// The narrowest schema of flat types that every object meets.
fn schema(targets: &[Value]) -> Value {
    let objects: Vec<Row> = targets.iter().filter_map(object).collect();
    object_schema(&objects.iter().collect::<Vec<_>>())
}

fn object_schema(objects: &[&Row]) -> Value {
    let mut properties = Row::new();
    let mut counts: BTreeMap<&str, usize> = BTreeMap::new();
    for object in objects {
        for (key, value) in *object {
            if !value.is_null() {
                *counts.entry(key).or_default() += 1;
            }
            if !properties.contains_key(key) {
                let values: Vec<&Value> = objects.iter().filter_map(|object| object.get(key)).collect();
                properties.insert(key.clone(), value_schema(&values));
            }
        }
    }
    let required: Vec<&String> =
        properties.keys().filter(|key| counts.get(key.as_str()) == Some(&objects.len())).collect();
    json!({ "type": "object", "properties": properties, "required": required, "additionalProperties": false })
}

fn value_schema(values: &[&Value]) -> Value {
    let mut types: BTreeSet<&str> = BTreeSet::new();
    for value in values {
        types.insert(match value {
            Value::Null => "null",
            Value::Bool(_) => "boolean",
            Value::Number(number) if number.is_f64() => "number",
            Value::Number(_) => "integer",
            Value::String(_) => "string",
            Value::Array(_) => "array",
            Value::Object(_) => "object",
        });
    }
    if types.contains("number") {
        types.remove("integer");
    }
    let only = types.iter().copied().filter(|name| *name != "null").collect::<Vec<_>>();
    if types.len() == 1 && only == ["object"] {
        return object_schema(&values.iter().filter_map(|value| value.as_object()).collect::<Vec<_>>());
    }
    if types.len() == 1 && only == ["array"] {
        let items: Vec<&Value> = values.iter().filter_map(|value| value.as_array()).flatten().collect();
        let items = if items.is_empty() { json!({}) } else { value_schema(&items) };
        return json!({ "type": "array", "items": items });
    }
    match types.iter().collect::<Vec<_>>().as_slice() {
        [one] => json!({ "type": one }),
        _ => json!({ "type": types }),
    }
}
