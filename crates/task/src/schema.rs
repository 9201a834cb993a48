//! The JSON schema of a task's answers: what is valid, and the one way in which a value is written.

use jsonschema::Validator;
use serde_json::{Map, Value};

/// A JSON schema (draft 2020-12 unless it names another one).
#[derive(Debug)]
pub struct Schema {
    value: Value,
    validator: Validator,
}

/// Deepest chain of references that is followed.
const DEEPEST: usize = 32;

impl Schema {
    /// Compiles a schema.
    ///
    /// # Errors
    /// What is wrong with it, in a sentence.
    pub fn new(value: Value) -> Result<Self, String> {
        if !value.is_object() {
            return Err("a JSON schema is an object".to_owned());
        }
        let validator = jsonschema::validator_for(&value).map_err(|error| error.to_string())?;
        Ok(Self { value, validator })
    }

    /// The schema itself.
    pub fn value(&self) -> &Value {
        &self.value
    }

    /// Whether `text` is JSON by the schema.
    pub fn accepts(&self, text: &str) -> bool {
        serde_json::from_str(text).is_ok_and(|value| self.validator.is_valid(&value))
    }

    /// A JSON text as this task writes it: without spaces, keys in the schema's order, others after them.
    ///
    /// # Errors
    /// Why it is not JSON, or where it does not fit the schema.
    pub fn canonical(&self, text: &str) -> Result<String, String> {
        let value: Value =
            serde_json::from_str(text).map_err(|error| format!("the target is not JSON: {error}"))?;
        if let Err(error) = self.validator.validate(&value) {
            let place = error.instance_path.to_string();
            let place = if place.is_empty() { String::new() } else { format!(" at {place}") };
            return Err(format!("the target does not fit the schema{place}: {error}"));
        }
        Ok(self.ordered(&value, &self.value, 0).to_string())
    }

    /// The keys that the schema names, with those above them: `people`, `guest.name`.
    pub fn keys(&self) -> Vec<String> {
        let mut keys = Vec::new();
        self.collect_keys(&self.value, "", 0, &mut keys);
        keys
    }

    fn collect_keys(&self, schema: &Value, above: &str, depth: usize, keys: &mut Vec<String>) {
        let schema = self.resolved(schema);
        if depth > DEEPEST {
            return;
        }
        if let Some(items) = schema.get("items") {
            self.collect_keys(items, above, depth + 1, keys);
        }
        for (key, inner) in schema.get("properties").and_then(Value::as_object).into_iter().flatten() {
            let path = if above.is_empty() { key.clone() } else { format!("{above}.{key}") };
            let before = keys.len();
            self.collect_keys(inner, &path, depth + 1, keys);
            if keys.len() == before {
                keys.push(path);
            }
        }
    }

    /// `value` with the keys of every object in the order in which its schema lists them.
    fn ordered(&self, value: &Value, schema: &Value, depth: usize) -> Value {
        let schema = self.resolved(schema);
        match value {
            Value::Object(object) if depth <= DEEPEST => {
                let known = schema.get("properties").and_then(Value::as_object);
                let known: Vec<(&String, &Value)> = known.into_iter().flatten().collect();
                let mut written = Map::new();
                for (key, inner) in &known {
                    if let Some(item) = object.get(*key) {
                        written.insert((*key).clone(), self.ordered(item, inner, depth + 1));
                    }
                }
                for (key, item) in object {
                    if !written.contains_key(key) {
                        written.insert(key.clone(), item.clone());
                    }
                }
                Value::Object(written)
            }
            Value::Array(items) if depth <= DEEPEST => {
                let inner = schema.get("items").unwrap_or(&Value::Null);
                items.iter().map(|item| self.ordered(item, inner, depth + 1)).collect()
            }
            other => other.clone(),
        }
    }

    /// What a schema refers to within the same document; itself where it refers to nothing.
    fn resolved<'a>(&'a self, mut schema: &'a Value) -> &'a Value {
        for _ in 0..DEEPEST {
            let target = schema.get("$ref").and_then(Value::as_str).and_then(|at| at.strip_prefix('#'));
            match target.and_then(|at| self.value.pointer(at)) {
                Some(target) => schema = target,
                None => break,
            }
        }
        schema
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn booking() -> Schema {
        Schema::new(json!({
            "type": "object",
            "properties": {
                "time": {"type": "string"},
                "guests": {"type": "array", "items": {"$ref": "#/$defs/guest"}},
                "count": {"type": "integer"}
            },
            "additionalProperties": false,
            "$defs": {"guest": {"type": "object", "properties": {"name": {"type": "string"}, "age": {"type": "number"}}}}
        }))
        .unwrap()
    }

    #[test]
    fn a_value_is_written_without_spaces_in_the_order_of_the_schema() {
        let text = r#" {"count": 2, "guests": [{"age": 3, "name": "Zoë"}], "time": "9 pm"} "#;
        let written = booking().canonical(text).unwrap();
        assert_eq!(written, r#"{"time":"9 pm","guests":[{"name":"Zoë","age":3}],"count":2}"#);
        assert_eq!(booking().canonical(&written).unwrap(), written);
        assert_eq!(booking().keys(), ["time", "guests.name", "guests.age", "count"]);
    }

    #[test]
    fn what_does_not_fit_is_refused_with_its_place() {
        let error = booking().canonical(r#"{"count": "two"}"#).unwrap_err();
        assert!(error.starts_with("the target does not fit the schema at /count: "), "{error}");
        assert!(booking().canonical("{").unwrap_err().starts_with("the target is not JSON: "));
        assert!(!booking().accepts(r#"{"other": 1}"#) && booking().accepts("{}"));
        assert!(Schema::new(json!(3)).is_err() && Schema::new(json!({"type": "thing"})).is_err());
        // A schema that refers to itself ends.
        let loops =
            Schema::new(json!({"$defs": {"a": {"$ref": "#/$defs/a"}}, "properties": {"x": {"$ref": "#"}}}));
        assert!(loops.is_err() || !loops.unwrap().keys().is_empty());
    }
}
