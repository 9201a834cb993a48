//! The metadata: values by their keys, and what type each must have.

use std::collections::BTreeMap;

use crate::Error;

/// A value of the metadata.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Value {
    /// Any whole number.
    Integer(i128),
    /// Either float.
    Float(f64),
    /// True or false.
    Boolean(bool),
    /// A string.
    Text(String),
    /// A list of equal type.
    Array(Array),
}

/// A list in the metadata.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Array {
    /// Whole numbers; those beyond i64 are clamped.
    Integers(Vec<i64>),
    /// Floats.
    Floats(Vec<f32>),
    /// Booleans.
    Booleans(Vec<bool>),
    /// Strings.
    Texts(Vec<String>),
}

/// The metadata and the file's name for errors.
pub(crate) struct Metadata {
    pub(super) place: String,
    pub(super) values: BTreeMap<String, Value>,
}

impl Metadata {
    /// The place of `key`, for errors.
    pub(crate) fn place(&self, key: &str) -> String {
        format!("{}: {key}", self.place)
    }

    /// A value of any type.
    pub(crate) fn value(&self, key: &str) -> Option<&Value> {
        self.values.get(key)
    }

    /// The error for a value that is not `expected`.
    fn wrong(&self, key: &str, expected: &str) -> Error {
        Error::format(self.place(key), format!("expected {expected}"))
    }

    /// A size from 1 to `limit`, unless absent. A list of one size per layer counts where all are equal.
    pub(crate) fn size(&self, key: &str, limit: usize) -> Result<Option<usize>, Error> {
        let number = match self.value(key) {
            None => return Ok(None),
            Some(Value::Integer(number)) => *number,
            Some(Value::Array(Array::Integers(list))) if !list.is_empty() => {
                if list.iter().any(|number| *number != list[0]) {
                    return Err(Error::unsupported(self.place(key), "another size for each layer"));
                }
                list[0].into()
            }
            Some(_) => return Err(self.wrong(key, "a whole number")),
        };
        match usize::try_from(number) {
            Ok(size) if (1..=limit).contains(&size) => Ok(Some(size)),
            _ => Err(Error::format(self.place(key), format!("expected 1 to {limit}, found {number}"))),
        }
    }

    /// A size that must be there.
    pub(crate) fn required_size(&self, key: &str, limit: usize) -> Result<usize, Error> {
        self.size(key, limit)?.ok_or_else(|| Error::format(self.place(key), "absent"))
    }

    /// A finite number, unless absent.
    pub(crate) fn number(&self, key: &str) -> Result<Option<f64>, Error> {
        match self.value(key) {
            None => Ok(None),
            Some(Value::Float(number)) if number.is_finite() => Ok(Some(*number)),
            Some(Value::Integer(number)) => Ok(Some(*number as f64)),
            Some(_) => Err(self.wrong(key, "a number")),
        }
    }

    /// True or false, unless absent.
    pub(crate) fn boolean(&self, key: &str) -> Result<Option<bool>, Error> {
        match self.value(key) {
            None => Ok(None),
            Some(Value::Boolean(value)) => Ok(Some(*value)),
            Some(_) => Err(self.wrong(key, "true or false")),
        }
    }

    /// A string, unless absent.
    pub(crate) fn text(&self, key: &str) -> Result<Option<&str>, Error> {
        match self.value(key) {
            None => Ok(None),
            Some(Value::Text(text)) => Ok(Some(text)),
            Some(_) => Err(self.wrong(key, "a string")),
        }
    }

    /// A token id below `limit`, unless absent.
    pub(crate) fn token(&self, key: &str, limit: usize) -> Result<Option<u32>, Error> {
        match self.value(key) {
            None => Ok(None),
            Some(Value::Integer(id)) if (0..limit as i128).contains(id) => Ok(u32::try_from(*id).ok()),
            Some(_) => Err(Error::format(self.place(key), format!("not a token id below {limit}"))),
        }
    }

    /// A list of strings, unless absent.
    pub(crate) fn texts(&self, key: &str) -> Result<Option<&[String]>, Error> {
        match self.value(key) {
            None => Ok(None),
            Some(Value::Array(Array::Texts(list))) => Ok(Some(list)),
            Some(_) => Err(self.wrong(key, "a list of strings")),
        }
    }

    /// A list of whole numbers, unless absent.
    pub(crate) fn integers(&self, key: &str) -> Result<Option<&[i64]>, Error> {
        match self.value(key) {
            None => Ok(None),
            Some(Value::Array(Array::Integers(list))) => Ok(Some(list)),
            Some(_) => Err(self.wrong(key, "a list of whole numbers")),
        }
    }

    /// A list of floats, unless absent.
    pub(crate) fn floats(&self, key: &str) -> Result<Option<&[f32]>, Error> {
        match self.value(key) {
            None => Ok(None),
            Some(Value::Array(Array::Floats(list))) => Ok(Some(list)),
            Some(_) => Err(self.wrong(key, "a list of numbers")),
        }
    }
}
