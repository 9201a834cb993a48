//! Tests of a promptfoo configuration as rows: its variables, and what its assertions expect.

use std::path::Path;

use serde_json::Value;

use super::{Row, Rows, SourceFormat};

/// The column that holds what is expected.
pub(super) const TARGET: &str = "target";

/// Assertions whose value is the answer itself.
const EQUALITIES: [&str; 6] = ["equals", "contains", "icontains", "starts-with", "is-equal", "exact-match"];

/// Reads the tests of the configuration `text` that lies at `path`; tests in a CSV, JSON or YAML file of their own are followed.
pub(super) fn read(text: &str, path: &Path) -> Result<Rows, String> {
    let config: Value = serde_yaml_ng::from_str(text).map_err(|error| error.to_string())?;
    let tests =
        config.get("tests").ok_or("no `tests` in it: only promptfoo configurations are read from YAML")?;
    let mut rows = Rows::of(SourceFormat::Promptfoo, Vec::new());
    let mut without = 0;
    for test in all_tests(tests, path)? {
        match row(&test) {
            Some(row) => rows.rows.push(row),
            None => without += 1,
        }
    }
    if without > 0 {
        rows.notes.push(format!(
            "{without} tests left out: they have no assertion with an answer ({})",
            EQUALITIES.join(", ")
        ));
    }
    rows.instruction = instruction(&config);
    Ok(rows)
}

fn all_tests(tests: &Value, path: &Path) -> Result<Vec<Value>, String> {
    match tests {
        Value::Array(items) => {
            let mut all = Vec::new();
            for item in items {
                match item {
                    Value::String(file) => all.extend(from_file(file, path)?),
                    test => all.push(test.clone()),
                }
            }
            Ok(all)
        }
        Value::String(file) => from_file(file, path),
        _ => Err("`tests` is neither a list nor a file".to_owned()),
    }
}

/// Tests in a file: in CSV the column `__expected` is the assertion and the others are variables.
fn from_file(name: &str, config: &Path) -> Result<Vec<Value>, String> {
    let name = name.strip_prefix("file://").unwrap_or(name);
    let path = config.parent().unwrap_or(Path::new("")).join(name);
    if path.extension().is_some_and(|extension| extension == "yaml" || extension == "yml") {
        let text = std::fs::read_to_string(&path).map_err(|error| format!("{}: {error}", path.display()))?;
        return serde_yaml_ng::from_str(&text).map_err(|error| format!("{}: {error}", path.display()));
    }
    let rows = Rows::read(&path).map_err(|error| error.to_string())?;
    let test = |mut row: Row| match row.remove("__expected") {
        Some(Value::String(expected)) => {
            serde_json::json!({ "vars": row, "assert": [expected_assertion(&expected)] })
        }
        _ if row.contains_key("vars") => Value::Object(row),
        _ => serde_json::json!({ "vars": row }),
    };
    Ok(rows.rows.into_iter().map(test).collect())
}

/// promptfoo's short form: `icontains:Paris`, or the answer alone.
fn expected_assertion(text: &str) -> Value {
    match text.split_once(':') {
        Some((kind, value)) if EQUALITIES.contains(&kind.trim()) => {
            serde_json::json!({ "type": kind.trim(), "value": value.trim() })
        }
        _ => serde_json::json!({ "type": "equals", "value": text.trim() }),
    }
}

fn row(test: &Value) -> Option<Row> {
    let mut row = test.get("vars")?.as_object()?.clone();
    let asserts = test.get("assert")?.as_array()?;
    let expected = asserts.iter().find_map(|assert| {
        let kind = assert.get("type")?.as_str()?;
        assert.get("value").filter(|value| EQUALITIES.contains(&kind) && !value.is_null())
    })?;
    row.insert(TARGET.to_owned(), expected.clone());
    Some(row)
}

/// The first prompt, without the places where variables stand.
fn instruction(config: &Value) -> Option<String> {
    let prompt = config.get("prompts")?.as_array()?.first()?;
    let text = prompt.as_str().or_else(|| prompt.get("raw")?.as_str())?;
    if text.starts_with("file://") {
        return None;
    }
    let mut out = String::new();
    let mut rest = text;
    while let Some((before, tail)) = rest.split_once("{{") {
        out += before;
        rest = tail.split_once("}}")?.1;
    }
    out += rest;
    let lines = out.lines().map(str::trim_end).filter(|line| !line.trim().is_empty());
    // A line that only introduced a variable (`Text:`) introduces nothing any more.
    let kept: Vec<&str> =
        lines.filter(|line| !(line.ends_with(':') && line.split(' ').count() <= 3)).collect();
    (!kept.is_empty()).then(|| kept.join("\n"))
}
