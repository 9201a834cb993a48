//! The JSON Schema of the task file, made from the table of keys: editors complete and check a task file with it.

use serde_json::{Map, Value, json};

use super::keys::{KEYS, Key, SECTIONS};
use super::kind::Kind;

/// The schema: the content of `docs/weigh.schema.json`. What a task file may not hold by it, the program refuses too; ranges that
/// depend on other keys only the program checks.
pub fn json_schema() -> Value {
    let mut sections = Map::new();
    for section in SECTIONS {
        let keys = KEYS.iter().filter(|key| key.section == section.name);
        let properties: Map<String, Value> = keys.map(|key| (key.name.to_owned(), key_schema(key))).collect();
        sections.insert(
            section.name.to_owned(),
            json!({
                "type": "object",
                "description": section.meaning,
                "properties": properties,
                "additionalProperties": false
            }),
        );
    }
    json!({
        "$schema": "http://json-schema.org/draft-07/schema#",
        "title": "A task file of weigh",
        "description": "Made from crates/task/src/task_file/keys.rs by `cargo xtask generate`.",
        "type": "object",
        "properties": sections,
        "additionalProperties": false
    })
}

fn key_schema(key: &Key) -> Value {
    let mut schema = kind_schema(&key.kind);
    schema["description"] = json!(key.meaning);
    if let Some(default) = default(key) {
        schema["default"] = default;
    }
    schema
}

/// The default as JSON; `None` where the key is absent by default.
fn default(key: &Key) -> Option<Value> {
    if key.default.is_empty() {
        return None;
    }
    let table: toml::Table = format!("value = {}", key.default).parse().expect("defaults are TOML");
    Some(serde_json::to_value(&table["value"]).expect("TOML without dates is JSON"))
}

fn kind_schema(kind: &Kind) -> Value {
    let text = || json!({"type": "string", "minLength": 1});
    let list = |item: Value| json!({"type": "array", "items": item});
    match kind {
        Kind::Text | Kind::Path => text(),
        Kind::Paths => json!({"anyOf": [text(), list(text())]}),
        Kind::Schema => json!({"anyOf": [text(), {"type": "object", "minProperties": 1}]}),
        Kind::Texts => list(text()),
        Kind::Flag => json!({"type": "boolean"}),
        Kind::Count(least) => json!({"type": "integer", "minimum": least}),
        Kind::Counts(least) => list(json!({"type": "integer", "minimum": least})),
        Kind::CountsOr(least, word) => {
            list(json!({"anyOf": [{"type": "integer", "minimum": least}, {"enum": [word]}]}))
        }
        Kind::Amount => json!({"type": "number", "minimum": 0}),
        Kind::Positive => json!({"type": "number", "exclusiveMinimum": 0}),
        Kind::Positives => list(json!({"type": "number", "exclusiveMinimum": 0})),
        Kind::Shares => list(json!({"type": "number", "exclusiveMinimum": 0, "exclusiveMaximum": 1})),
        Kind::Between { low, high, open } => {
            let from = if *open { "exclusiveMinimum" } else { "minimum" };
            json!({"type": "number", from: low, "exclusiveMaximum": high})
        }
        Kind::Duration => json!({"type": "string", "pattern": "^([0-9.]+ *(h|m|s) *)+$"}),
        Kind::Choice(words) => json!({"enum": words}),
        Kind::Choices(words) => list(json!({"enum": words})),
    }
}
