//! Rows of any file that can be looked at.

use std::borrow::Cow;
use std::path::Path;

use serde_json::Value;

use super::{Row, promptfoo};
use crate::Error;
use crate::dataset::{columnar, guess_delimiter};

/// What columns without names are called, with their place.
pub(super) const UNNAMED: &str = "column_";

/// What a file turned out to be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SourceFormat {
    /// CSV or TSV with a header.
    Separated,
    /// One object a line.
    Jsonl,
    /// Apache Parquet.
    Parquet,
    /// A list of objects in one JSON document.
    JsonList,
    /// A configuration of promptfoo, with its tests.
    Promptfoo,
    /// Rows that another reader made.
    Other,
}

/// The rows of a file.
#[derive(Clone, Debug)]
pub struct Rows {
    /// What the file is.
    pub format: SourceFormat,
    /// All rows that could be read.
    pub rows: Vec<Row>,
    /// What the file itself says is to be done: promptfoo's prompt.
    pub instruction: Option<String>,
    /// What was left out, and why.
    pub notes: Vec<String>,
}

impl Rows {
    /// Reads `path`; its extension tells the format, with any other one its first character does.
    ///
    /// # Errors
    /// [`Error::Io`] where it cannot be read, [`Error::Data`] where it holds no rows or not the format that its name says.
    pub fn read(path: &Path) -> Result<Self, Error> {
        let bytes = std::fs::read(path).map_err(|source| Error::Io { path: path.to_path_buf(), source })?;
        let wrong = |reason: String| Error::Data(format!("{}: {reason}", path.display()));
        if bytes.starts_with(columnar::MAGIC) {
            let rows = columnar::rows(bytes).map_err(wrong)?;
            return Ok(Self::of(SourceFormat::Parquet, rows));
        }
        let (decoded, note) = decoded(&bytes);
        let text = decoded.as_ref();
        let text = text.strip_prefix('\u{feff}').unwrap_or(text);
        let extension = path.extension().map(|extension| extension.to_string_lossy().to_lowercase());
        let first = text.trim_start().chars().next();
        let rows = match (extension.as_deref(), first) {
            (Some("yaml" | "yml"), _) => promptfoo::read(text, path),
            (Some("csv" | "tsv"), _) => separated(text, extension.as_deref() == Some("tsv")),
            (_, Some('[')) => list(text),
            (_, Some('{')) => jsonl(text),
            _ => separated(text, false),
        };
        let mut rows = rows.map_err(wrong)?;
        if let Some(note) = note {
            // A run reads UTF-8 alone, so the rows are written anew.
            rows.format = SourceFormat::Other;
            rows.notes.push(note);
        }
        if rows.rows.is_empty() {
            return Err(Error::Data(format!("{}: there are no rows in it", path.display())));
        }
        Ok(rows)
    }

    /// Rows of another reader.
    pub fn other(rows: Vec<Row>) -> Self {
        Self::of(SourceFormat::Other, rows)
    }

    pub(super) fn of(format: SourceFormat, rows: Vec<Row>) -> Self {
        Self { format, rows, instruction: None, notes: Vec::new() }
    }
}

/// The text of a file: UTF-8, or else what Windows programs in the west write, with a note about the first byte that told.
fn decoded(bytes: &[u8]) -> (Cow<'_, str>, Option<String>) {
    match std::str::from_utf8(bytes) {
        Ok(text) => (text.into(), None),
        Err(error) => {
            let (text, ..) = encoding_rs::WINDOWS_1252.decode(bytes);
            let note =
                format!("not UTF-8 at byte {}: read as Windows-1252, and written anew", error.valid_up_to());
            (text, Some(note))
        }
    }
}

fn separated(text: &str, tabs: bool) -> Result<Rows, String> {
    let delimiter = if tabs { b'\t' } else { guess_delimiter(text.as_bytes()) };
    let mut reader = csv::ReaderBuilder::new()
        .delimiter(delimiter)
        .flexible(true)
        .has_headers(false)
        .from_reader(text.as_bytes());
    let records: Vec<csv::StringRecord> =
        reader.records().collect::<Result<_, _>>().map_err(|error| error.to_string())?;
    let Some((first, others)) = records.split_first() else {
        return Ok(Rows::of(SourceFormat::Separated, Vec::new()));
    };
    let mut found = Rows::of(SourceFormat::Separated, Vec::new());
    let (names, values) = if is_header(first, others) {
        (first.iter().map(|name| name.trim().to_owned()).collect(), others)
    } else {
        // A run wants a header, so the rows are written anew.
        found.format = SourceFormat::Other;
        let names: Vec<String> = (1..=first.len()).map(|place| format!("{UNNAMED}{place}")).collect();
        found.notes.push(format!(
            "its first line is a row, not a header: the columns are called {}",
            names.join(", ")
        ));
        (names, records.as_slice())
    };
    let ragged = values.iter().filter(|record| record.len() != names.len()).count();
    if ragged > 0 {
        found.format = SourceFormat::Other;
        let rows = if ragged == 1 { "1 row has".to_owned() } else { format!("{ragged} rows have") };
        found.notes.push(format!("{rows} more or fewer fields than the {} columns", names.len()));
    }
    found.rows = values
        .iter()
        .map(|record| {
            names.iter().zip(record).map(|(name, field)| (name.clone(), Value::from(field))).collect()
        })
        .collect();
    Ok(found)
}

/// Whether the first record names columns: it does not where one of its fields is a value that comes again and again below it.
fn is_header(first: &csv::StringRecord, others: &[csv::StringRecord]) -> bool {
    let again = |(place, name): (usize, &str)| {
        let same =
            others.iter().filter(|record| record.get(place).is_some_and(|field| field.trim() == name.trim()));
        !name.trim().is_empty() && same.count() >= 2
    };
    !first.iter().enumerate().any(again)
}

fn jsonl(text: &str) -> Result<Rows, String> {
    let mut rows = Vec::new();
    for (index, line) in text.lines().enumerate().filter(|(_, line)| !line.trim().is_empty()) {
        match serde_json::from_str(line) {
            Ok(Value::Object(row)) => rows.push(row),
            Ok(_) => return Err(format!("line {} is not an object", index + 1)),
            // The whole may be one document.
            Err(_) if index == 0 && serde_json::from_str::<Value>(text).is_ok() => {
                return Err("one JSON object, not one a line; give the list of rows".to_owned());
            }
            Err(error) => return Err(format!("line {}: {error}", index + 1)),
        }
    }
    Ok(Rows::of(SourceFormat::Jsonl, rows))
}

fn list(text: &str) -> Result<Rows, String> {
    let rows: Vec<Value> = serde_json::from_str(text).map_err(|error| error.to_string())?;
    let objects = rows.into_iter().enumerate().map(|(index, row)| match row {
        Value::Object(row) => Ok(row),
        _ => Err(format!("item {} of the list is not an object", index + 1)),
    });
    Ok(Rows::of(SourceFormat::JsonList, objects.collect::<Result<_, _>>()?))
}
