//! Reading values out of a JSON object with errors that name the key.

use serde_json::{Map, Value};

use crate::Error;

/// A JSON object and where it stands; null counts as absent everywhere.
pub(crate) struct Keys<'a> {
    place: String,
    object: &'a Map<String, Value>,
}

impl<'a> Keys<'a> {
    /// The object `value`, found at `place`.
    pub(crate) fn new(value: &'a Value, place: &str) -> Result<Self, Error> {
        let object = value
            .as_object()
            .ok_or_else(|| Error::format(place, format!("not an object: {}", brief(value))))?;
        Ok(Self { place: place.to_owned(), object })
    }

    /// The place of `key`, for errors.
    pub(crate) fn place(&self, key: &str) -> String {
        format!("{}: {key}", self.place)
    }

    /// Every key and value.
    pub(crate) fn entries(&self) -> impl Iterator<Item = (&'a String, &'a Value)> {
        self.object.iter()
    }

    /// Whether the key is there, even with null.
    pub(crate) fn has(&self, key: &str) -> bool {
        self.object.contains_key(key)
    }

    /// The value of `key` unless absent or null.
    pub(crate) fn value(&self, key: &str) -> Option<&'a Value> {
        self.object.get(key).filter(|value| !value.is_null())
    }

    /// A size from 1 to `limit`.
    pub(crate) fn size(&self, key: &str, limit: usize) -> Result<usize, Error> {
        self.optional_size(key, limit)?.ok_or_else(|| Error::format(self.place(key), "absent"))
    }

    /// A size from 1 to `limit`, unless absent.
    pub(crate) fn optional_size(&self, key: &str, limit: usize) -> Result<Option<usize>, Error> {
        let Some(value) = self.value(key) else { return Ok(None) };
        match value.as_u64().and_then(|size| usize::try_from(size).ok()) {
            Some(size) if (1..=limit).contains(&size) => Ok(Some(size)),
            _ => Err(self.wrong(key, &format!("a whole number from 1 to {limit}"), value)),
        }
    }

    /// A finite number, unless absent.
    pub(crate) fn number(&self, key: &str) -> Result<Option<f64>, Error> {
        let Some(value) = self.value(key) else { return Ok(None) };
        match value.as_f64() {
            Some(number) if number.is_finite() => Ok(Some(number)),
            _ => Err(self.wrong(key, "a number", value)),
        }
    }

    /// A finite number that must be there.
    pub(crate) fn required_number(&self, key: &str) -> Result<f64, Error> {
        self.number(key)?.ok_or_else(|| Error::format(self.place(key), "absent"))
    }

    /// A list of finite numbers that must be there.
    pub(crate) fn numbers(&self, key: &str) -> Result<Vec<f64>, Error> {
        let value = self.value(key).ok_or_else(|| Error::format(self.place(key), "absent"))?;
        let list = value.as_array().ok_or_else(|| self.wrong(key, "a list of numbers", value))?;
        let number = |item: &Value| {
            let number = item.as_f64().filter(|number| number.is_finite());
            number.ok_or_else(|| self.wrong(key, "a list of numbers", item))
        };
        list.iter().map(number).collect()
    }

    /// True or false, unless absent.
    pub(crate) fn boolean(&self, key: &str) -> Result<Option<bool>, Error> {
        let Some(value) = self.value(key) else { return Ok(None) };
        value.as_bool().map(Some).ok_or_else(|| self.wrong(key, "true or false", value))
    }

    /// A string, unless absent.
    pub(crate) fn text(&self, key: &str) -> Result<Option<&'a str>, Error> {
        let Some(value) = self.value(key) else { return Ok(None) };
        value.as_str().map(Some).ok_or_else(|| self.wrong(key, "a string", value))
    }

    /// A list of strings, unless absent.
    pub(crate) fn texts(&self, key: &str) -> Result<Option<Vec<&'a str>>, Error> {
        let Some(value) = self.value(key) else { return Ok(None) };
        let list = value.as_array().ok_or_else(|| self.wrong(key, "a list of strings", value))?;
        let text = |item: &'a Value| item.as_str().ok_or_else(|| self.wrong(key, "a list of strings", item));
        list.iter().map(text).collect::<Result<Vec<_>, _>>().map(Some)
    }

    /// Token ids, given as one number or a list; empty when absent.
    pub(crate) fn tokens(&self, key: &str) -> Result<Vec<u32>, Error> {
        let Some(value) = self.value(key) else { return Ok(Vec::new()) };
        let token = |item: &Value| {
            let id = item.as_u64().and_then(|id| u32::try_from(id).ok());
            id.ok_or_else(|| self.wrong(key, "a token id or a list of them", value))
        };
        match value {
            Value::Array(list) if list.len() <= 1024 => list.iter().map(token).collect(),
            other => Ok(vec![token(other)?]),
        }
    }

    /// The error for a value that is not `expected`.
    fn wrong(&self, key: &str, expected: &str, found: &Value) -> Error {
        Error::format(self.place(key), format!("expected {expected}, found {}", brief(found)))
    }
}

/// A value, shortened to fit a message.
fn brief(value: &Value) -> String {
    let text = value.to_string();
    match text.char_indices().nth(60) {
        Some((end, _)) => format!("{}...", &text[..end]),
        None => text,
    }
}
