//! JSONL: one object a line, with columns, or a chat, or an item of openai/evals; and objects of other formats.

use std::io::BufRead;
use std::path::PathBuf;

use serde_json::{Map, Value};

use super::columns::Columns;
use super::lines::{self, Line};
use super::read::{BadRows, RawRow, Table};
use crate::Error;
use crate::settings::DataSettings;

pub(super) fn read(
    reader: &mut dyn BufRead,
    path: PathBuf,
    settings: &DataSettings,
    bad: &mut BadRows,
) -> Result<Table, Error> {
    let mut table = Table { path, rows: Vec::new(), columns: None };
    let mut buffer = Vec::new();
    let mut number = 0;
    loop {
        let line = lines::read_line(reader, &mut buffer)
            .map_err(|source| Error::Io { path: table.path.clone(), source })?;
        number += 1;
        let parsed = match line {
            Line::End => return Ok(table),
            Line::TooLong(bytes) => Err(lines::too_long(bytes)),
            Line::Whole if buffer.iter().all(u8::is_ascii_whitespace) => continue,
            Line::Whole => object(&buffer),
        };
        match parsed {
            Ok(object) if !add(&mut table, number, &object, settings, bad) => return Ok(table),
            Ok(_) => {}
            Err(reason) => bad.add(&table.path, number, reason),
        }
    }
}

/// Rows of another format, which are numbered instead of lines.
pub(super) fn read_objects(
    objects: Vec<Map<String, Value>>,
    path: PathBuf,
    settings: &DataSettings,
    bad: &mut BadRows,
) -> Table {
    let mut table = Table { path, rows: Vec::new(), columns: None };
    for (index, object) in objects.iter().enumerate() {
        if !add(&mut table, index + 1, object, settings, bad) {
            break;
        }
    }
    table
}

/// Adds a row, or tells what is wrong with it. `false` where nothing below it can be read either.
fn add(
    table: &mut Table,
    number: usize,
    object: &Map<String, Value>,
    settings: &DataSettings,
    bad: &mut BadRows,
) -> bool {
    let is_chat = object.contains_key("messages") && settings.input.is_none();
    if !is_chat && table.columns.is_none() {
        let names: Vec<&str> = object.keys().map(String::as_str).collect();
        match Columns::find(&names, settings) {
            Ok(columns) => table.columns = Some(columns),
            Err(reason) => {
                // Without columns nothing below can be read either: the other rows are not counted as bad.
                bad.add(&table.path, number, reason);
                return false;
            }
        }
    }
    let row = match &table.columns {
        Some(columns) if !is_chat => columns_row(object, columns, settings.json_targets),
        _ => chat_row(object, settings),
    };
    match row {
        Ok(row) => table.rows.push(RawRow { line: number, ..row }),
        Err(reason) => bad.add(&table.path, number, reason),
    }
    true
}

fn object(bytes: &[u8]) -> Result<Map<String, Value>, String> {
    let text = std::str::from_utf8(bytes).map_err(lines::not_utf8)?;
    match serde_json::from_str(text) {
        Ok(Value::Object(object)) => Ok(object),
        Ok(other) => Err(format!("{}, not an object; write one object a line", kind(&other))),
        Err(_) if text.trim() == "[" || text.trim() == "{" => {
            Err("a JSON document over several lines; write one object a line".to_owned())
        }
        Err(error) => {
            let whole = error.to_string();
            let reason = whole.split(" at line ").next().unwrap_or(&whole);
            Err(format!("invalid JSON at column {}: {reason}", error.column()))
        }
    }
}

fn kind(value: &Value) -> &'static str {
    match value {
        Value::Null => "null",
        Value::Bool(_) => "true or false",
        Value::Number(_) => "a number",
        Value::String(_) => "a text",
        Value::Array(_) => "a list",
        Value::Object(_) => "an object",
    }
}

fn columns_row(object: &Map<String, Value>, columns: &Columns, json_targets: bool) -> Result<RawRow, String> {
    let messages = object.get(&columns.input).and_then(Value::as_array);
    let mut row = match messages {
        Some(messages) => conversation(messages, &columns.input)?,
        None => RawRow {
            line: 0,
            input: text(object, &columns.input)?,
            target: String::new(),
            id: None,
            cluster: None,
            subgroup: None,
            paraphrase: None,
            system: None,
            has_earlier_turns: false,
        },
    };
    row.target = match object.get(&columns.target) {
        Some(value) if json_targets && !value.is_string() => value.to_string(),
        _ => target(object, &columns.target)?,
    };
    row.id = columns.id.as_ref().map(|id| text(object, id)).transpose()?;
    row.cluster = cluster(object, columns.cluster.as_deref())?;
    row.subgroup = optional(object, columns.subgroup.as_deref());
    row.paraphrase = optional(object, columns.paraphrase.as_deref());
    Ok(row)
}

/// A field that some rows may lack.
fn optional(object: &Map<String, Value>, name: Option<&str>) -> Option<String> {
    name.and_then(|name| text(object, name).ok()).map(|text| text.trim().to_owned())
}

fn target(object: &Map<String, Value>, name: &str) -> Result<String, String> {
    match object.get(name) {
        // openai/evals: a list of accepted answers; a label is one of them.
        Some(Value::Array(items)) if items.len() == 1 && items[0].is_string() => {
            let single = Map::from_iter([(name.to_owned(), items[0].clone())]);
            text(&single, name)
        }
        Some(Value::Array(items)) => {
            Err(format!("`{name}` is a list of {}; a row has one label", items.len()))
        }
        _ => text(object, name),
    }
}

/// The source that a row shares with others; one without it shares it with none.
fn cluster(object: &Map<String, Value>, column: Option<&str>) -> Result<Option<String>, String> {
    match column {
        Some(name) if !matches!(object.get(name), None | Some(Value::Null)) => text(object, name).map(Some),
        _ => Ok(None),
    }
}

/// A field as text; numbers and booleans are taken as they are written.
fn text(object: &Map<String, Value>, name: &str) -> Result<String, String> {
    let text = match object.get(name) {
        None => return Err(format!("`{name}` is missing")),
        Some(Value::String(text)) => text.clone(),
        Some(value @ (Value::Number(_) | Value::Bool(_))) => value.to_string(),
        Some(other) => return Err(format!("`{name}` is {}, not a text", kind(other))),
    };
    if text.trim().is_empty() {
        return Err(format!("`{name}` is empty"));
    }
    Ok(text)
}

/// A chat: the last message, an assistant's, is the target; the last user's before it is the input.
fn chat_row(object: &Map<String, Value>, settings: &DataSettings) -> Result<RawRow, String> {
    let messages = match object.get("messages") {
        Some(Value::Array(messages)) => messages,
        Some(other) => return Err(format!("`messages` is {}, not a list", kind(other))),
        None => return Err("`messages` is missing".to_owned()),
    };
    let Some((last, before)) = messages.split_last() else {
        return Err("`messages` is empty".to_owned());
    };
    let (role, target) = message(last, "messages", messages.len())?;
    if role != "assistant" {
        return Err(format!("the last message is the {role}'s; it must be the assistant's, with the label"));
    }
    if target.trim().is_empty() {
        return Err("the assistant's last message is empty".to_owned());
    }
    let mut row = conversation(before, "messages")?;
    row.target = target;
    row.id = settings.id.as_ref().map(|id| text(object, id)).transpose()?;
    row.cluster = cluster(object, settings.cluster.as_deref())?;
    row.subgroup = optional(object, settings.subgroup.as_deref());
    row.paraphrase = optional(object, settings.paraphrase.as_deref());
    Ok(row)
}

/// The input and the system message of a conversation that waits for its answer.
fn conversation(messages: &[Value], name: &str) -> Result<RawRow, String> {
    let mut system = None;
    let mut input = None;
    let mut turns = 0;
    for (index, value) in messages.iter().enumerate() {
        let (role, content) = message(value, name, index + 1)?;
        match role {
            "system" | "developer" => system = Some(content.trim().to_owned()),
            "user" => {
                input = Some(content);
                turns += 1;
            }
            _ => turns += 1,
        }
    }
    let input = input.ok_or_else(|| format!("`{name}` has no user's message"))?;
    if input.trim().is_empty() {
        return Err("the user's last message is empty".to_owned());
    }
    Ok(RawRow {
        line: 0,
        input,
        target: String::new(),
        id: None,
        cluster: None,
        subgroup: None,
        paraphrase: None,
        system: system.filter(|text| !text.is_empty()),
        has_earlier_turns: turns > 1,
    })
}

fn message<'a>(value: &'a Value, name: &str, number: usize) -> Result<(&'a str, String), String> {
    let role = value.get("role").and_then(Value::as_str);
    let Some(role) = role else {
        return Err(format!("message {number} of `{name}` has no role"));
    };
    let content = match value.get("content") {
        Some(Value::String(text)) => text.clone(),
        Some(Value::Array(pieces)) => pieces
            .iter()
            .map(|piece| piece.get("text").and_then(Value::as_str))
            .collect::<Option<Vec<_>>>()
            .ok_or_else(|| format!("message {number} of `{name}` has content that is not text"))?
            .concat(),
        _ => return Err(format!("message {number} of `{name}` has no content")),
    };
    Ok((role, content))
}
