//! `--name value` pairs.

use anyhow::{Context, Result, ensure};
use std::collections::BTreeMap;
use std::path::PathBuf;
use std::str::FromStr;

/// Options of one step; every one has a default, and what nobody asked for is an error.
pub(crate) struct Options(BTreeMap<String, String>);

impl Options {
    /// Reads pairs.
    pub(crate) fn parse(arguments: &[&str]) -> Result<Self> {
        let mut options = BTreeMap::new();
        for pair in arguments.chunks(2) {
            let name = pair[0].strip_prefix("--").with_context(|| format!("not an option: {}", pair[0]))?;
            let value = pair.get(1).with_context(|| format!("--{name} needs a value"))?;
            ensure!(options.insert(name.to_owned(), (*value).to_owned()).is_none(), "--{name} given twice");
        }
        Ok(Self(options))
    }

    /// The value of `name`, read as a number (or whatever parses).
    pub(crate) fn number<T: FromStr>(&mut self, name: &str, default: T) -> Result<T>
    where
        T::Err: std::error::Error + Send + Sync + 'static,
    {
        match self.0.remove(name) {
            Some(value) => value.parse().with_context(|| format!("--{name} {value}")),
            None => Ok(default),
        }
    }

    /// The value of `name` as a path.
    pub(crate) fn path(&mut self, name: &str, default: &str) -> Result<PathBuf> {
        Ok(PathBuf::from(self.0.remove(name).unwrap_or_else(|| default.to_owned())))
    }

    /// The value of `name` as text, if it was given.
    pub(crate) fn text(&mut self, name: &str) -> Option<String> {
        self.0.remove(name)
    }

    /// Whether nothing is left over.
    pub(crate) fn finish(&self) -> Result<()> {
        ensure!(self.0.is_empty(), "unknown option: --{}", self.0.keys().next().map_or("", String::as_str));
        Ok(())
    }
}
