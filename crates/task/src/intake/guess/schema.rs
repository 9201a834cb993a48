//! A JSON Schema that all targets meet.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Value, json};

use super::object;
use crate::intake::Row;

/// The narrowest schema of flat types that every object meets.
pub(super) fn schema(targets: &[Value]) -> Value {
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
