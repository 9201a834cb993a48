//! How much of a JSON answer is right, field by field.
//!
//! A field is a leaf: a text, number or truth value with the path of keys that leads to it. Items of a list share one path, so that
//! their order does not count. `null`, empty lists and empty objects have no fields: to leave a field out and to give null are the
//! same. Texts are compared as [`task::curation::normalise`] leaves them (compatibility forms, case, punctuation and spaces
//! unified), numbers by their value.

use std::collections::HashMap;

use serde_json::Value;
use task::curation::normalise;

/// The fields of an answer against those of its target.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct FieldCounts {
    /// Fields of the answer that the target has too; a repeated one counts as often as both have it.
    pub right: u32,
    /// Fields of the answer.
    pub answered: u32,
    /// Fields of the target.
    pub wanted: u32,
}

impl FieldCounts {
    /// Counts the fields of `answer` (`None`: it is not JSON, and has none) and `target`.
    pub fn new(answer: Option<&Value>, target: &Value) -> Self {
        let (mine, wanted) = (answer.map(fields).unwrap_or_default(), fields(target));
        let total = |fields: &HashMap<String, u32>| fields.values().sum();
        let right =
            mine.iter().map(|(field, count)| wanted.get(field).map_or(0, |own| *own.min(count))).sum();
        Self { right, answered: total(&mine), wanted: total(&wanted) }
    }

    /// F1 over the fields; 1 where neither side has any.
    pub fn f1(&self) -> f64 {
        match self.answered + self.wanted {
            0 => 1.0,
            both => f64::from(2 * self.right) / f64::from(both),
        }
    }

    /// Whether every field is right and none is missing: 1 or 0.
    pub fn exact_match(&self) -> f64 {
        f64::from(u8::from(self.right == self.answered && self.right == self.wanted))
    }
}

/// The leaves of a value, as path and normalised content, with how often each occurs.
fn fields(value: &Value) -> HashMap<String, u32> {
    let mut found = HashMap::new();
    collect(value, "", &mut found);
    found
}

fn collect(value: &Value, path: &str, found: &mut HashMap<String, u32>) {
    let content = match value {
        Value::Null => return,
        Value::Object(object) => {
            // A NUL cannot be mistaken for a part of a key that people write.
            return object.iter().for_each(|(key, item)| collect(item, &format!("{path}\0{key}"), found));
        }
        Value::Array(items) => {
            return items.iter().for_each(|item| collect(item, &format!("{path}\0[]"), found));
        }
        Value::Bool(truth) => format!("bool {truth}"),
        Value::Number(number) => match number.as_f64() {
            Some(value) => format!("number {}", value + 0.0),
            None => format!("number {number}"),
        },
        Value::String(text) => format!("text {}", normalise(text)),
    };
    *found.entry(format!("{path}\u{1}{content}")).or_default() += 1;
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn counts(answer: &Value, target: &Value) -> [u32; 3] {
        let FieldCounts { right, answered, wanted } = FieldCounts::new(Some(answer), target);
        [right, answered, wanted]
    }

    #[test]
    fn fields_are_leaves_with_their_paths() {
        let target = json!({"people": "9 people", "date": "August 23rd", "guest": {"first": "Ann"}});
        assert_eq!(counts(&target, &target), [3, 3, 3]);
        assert_eq!(counts(&json!({"people": "9 People ", "date": "August 24th"}), &target), [1, 2, 3]);
        // The same content under another key is another field.
        assert_eq!(counts(&json!({"first": "Ann"}), &target), [0, 1, 3]);
    }

    #[test]
    fn lists_are_compared_without_order_and_numbers_by_value() {
        let target = json!({"a": [1, 2, 2, true], "b": null, "c": []});
        assert_eq!(counts(&json!({"a": [2.0, true, 2, 2]}), &target), [3, 4, 4]);
        assert_eq!(counts(&json!({"a": ["1"]}), &target), [0, 1, 4]);
    }

    #[test]
    fn scores_by_hand() {
        let some = FieldCounts { right: 1, answered: 2, wanted: 3 };
        assert!((some.f1() - 0.4).abs() < 1e-12);
        assert_eq!((some.exact_match(), FieldCounts::default().f1()), (0.0, 1.0));
        let unreadable = FieldCounts::new(None, &json!({"a": 1}));
        assert_eq!((unreadable.f1(), unreadable.exact_match()), (0.0, 0.0));
        assert_eq!(FieldCounts::new(None, &json!({})).exact_match(), 1.0);
    }
}
