//! Checks a task file against the table of keys, with line numbers.

use std::path::Path;

use toml::Value;
use toml::de::{DeTable, DeValue};

use super::keys::{KEYS, Key, SECTIONS};
use crate::Error;

/// Finds the first unknown section or key, or value of a wrong kind.
pub(super) fn check(text: &str, path: &Path) -> Result<(), Error> {
    let parsed = DeTable::parse(text).map_err(|error| syntax_error(text, path, &error))?;
    let values: toml::Table = text.parse().map_err(|error| syntax_error(text, path, &error))?;
    // The parser's table is sorted by name; errors are better given in the order of the file.
    let mut sections: Vec<_> = parsed.get_ref().iter().collect();
    sections.sort_by_key(|(name, _)| name.span().start);
    for (name, content) in sections {
        let line = line_of(text, name.span().start);
        let section = name.get_ref().as_ref();
        let at = |reason: String| Error::TaskFileLine { path: path.to_path_buf(), line, reason };
        if !SECTIONS.iter().any(|known| known.name == section) {
            return Err(at(unknown_section(section, content.get_ref())));
        }
        let (DeValue::Table(keys), Some(Value::Table(values))) = (content.get_ref(), values.get(section))
        else {
            return Err(at(format!("`{section}` must be a section: write [{section}] on a line of its own")));
        };
        let mut keys: Vec<_> = keys.iter().collect();
        keys.sort_by_key(|(name, _)| name.span().start);
        for (name, _) in keys {
            let line = line_of(text, name.span().start);
            let value = values.get(name.get_ref().as_ref()).expect("both parses read the same text");
            check_key(section, name.get_ref(), value).map_err(|reason| Error::TaskFileLine {
                path: path.to_path_buf(),
                line,
                reason,
            })?;
        }
    }
    Ok(())
}

fn check_key(section: &str, name: &str, value: &Value) -> Result<(), String> {
    let Some(key) = KEYS.iter().find(|key| key.section == section && key.name == name) else {
        return Err(unknown_key(section, name));
    };
    if key.kind.accepts(value) {
        return Ok(());
    }
    let mut reason = format!("{section}.{name} must be {}, not {}", key.kind.describe(), shown(value));
    if let Some(word) = value.as_str().and_then(|text| nearest(text, key.kind.words().iter().copied())) {
        reason.push_str(&format!("; did you mean \"{word}\"?"));
    }
    Err(reason)
}

fn unknown_section(name: &str, content: &DeValue<'_>) -> String {
    if !content.is_table() {
        // A key above the first section header: the likely mistake is a forgotten header.
        let owners: Vec<&Key> = KEYS.iter().filter(|key| key.name == name).collect();
        return match owners.first() {
            Some(key) => format!("`{name}` stands outside a section: it belongs under [{}]", key.section),
            None => format!("`{name}` stands outside a section"),
        };
    }
    let known = SECTIONS.iter().map(|section| section.name);
    match nearest(name, known.clone()) {
        Some(near) => format!("unknown section [{name}]; did you mean [{near}]?"),
        None => format!("unknown section [{name}]; there are: {}", known.collect::<Vec<_>>().join(", ")),
    }
}

fn unknown_key(section: &str, name: &str) -> String {
    let here = KEYS.iter().filter(|key| key.section == section).map(|key| key.name);
    if let Some(near) = nearest(name, here.clone()) {
        return format!("unknown key `{name}` in [{section}]; did you mean `{near}`?");
    }
    if let Some(key) = KEYS.iter().find(|key| key.name == name) {
        return format!("unknown key `{name}` in [{section}]; it belongs under [{}]", key.section);
    }
    format!("unknown key `{name}` in [{section}]; there are: {}", here.collect::<Vec<_>>().join(", "))
}

/// The known name most like `name`, where one is like enough to be what was meant.
pub(crate) fn nearest<'a>(name: &str, known: impl Iterator<Item = &'a str>) -> Option<&'a str> {
    const LIKE_ENOUGH: f64 = 0.8;
    let name = name.to_lowercase();
    known
        .map(|candidate| (strsim::jaro_winkler(&name, &candidate.to_lowercase()), candidate))
        .filter(|(likeness, _)| *likeness >= LIKE_ENOUGH)
        .max_by(|a, b| a.0.total_cmp(&b.0))
        .map(|(_, candidate)| candidate)
}

/// A value as an error message shows it: its type, and the value itself where it is short.
fn shown(value: &Value) -> String {
    const LONGEST: usize = 60;
    let text = value.to_string();
    let short = text.chars().count() <= LONGEST;
    match value {
        Value::String(text) if text.trim().is_empty() => "an empty text".to_owned(),
        Value::Array(items) if items.is_empty() => "an empty list".to_owned(),
        Value::String(_) | Value::Integer(_) | Value::Float(_) | Value::Boolean(_) if short => text,
        Value::Array(_) if short => text,
        Value::String(_) => "this text".to_owned(),
        Value::Array(_) => "this list".to_owned(),
        Value::Table(_) => "a table".to_owned(),
        Value::Datetime(_) => "a date".to_owned(),
        other => format!("a {}", other.type_str()),
    }
}

/// An error of the TOML parser, with its line.
pub(super) fn syntax_error(text: &str, path: &Path, error: &toml::de::Error) -> Error {
    let reason = error.message().trim().replace('\n', "; ");
    match error.span() {
        Some(span) => {
            Error::TaskFileLine { path: path.to_path_buf(), line: line_of(text, span.start), reason }
        }
        None => Error::TaskFile { path: path.to_path_buf(), reason },
    }
}

/// Line of a byte offset, from 1.
fn line_of(text: &str, offset: usize) -> usize {
    1 + text.as_bytes()[..offset.min(text.len())].iter().filter(|byte| **byte == b'\n').count()
}
