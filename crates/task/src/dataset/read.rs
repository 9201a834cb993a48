//! From a source to rows, whatever its format.

use std::path::{Path, PathBuf};

use super::columns::Columns;
use super::{Source, columnar, csv, jsonl};
use crate::Error;
use crate::settings::DataSettings;

/// A row as it was read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct RawRow {
    /// Line on which it begins, from 1.
    pub(crate) line: usize,
    pub(crate) input: String,
    pub(crate) target: String,
    pub(crate) id: Option<String>,
    /// The source that it shares with others.
    pub(crate) cluster: Option<String>,
    pub(crate) subgroup: Option<String>,
    pub(crate) paraphrase: Option<String>,
    /// The system message of a chat.
    pub(crate) system: Option<String>,
    /// Whether a chat has turns between the system message and the last user's that go unused.
    pub(crate) has_earlier_turns: bool,
}

/// The rows of a source.
pub(crate) struct Table {
    pub(crate) path: PathBuf,
    pub(crate) rows: Vec<RawRow>,
    /// The columns that were read; `None` for chats.
    pub(crate) columns: Option<Columns>,
}

/// Bad rows over all sources: the first one, and how many more.
#[derive(Default)]
pub(crate) struct BadRows {
    first: Option<(PathBuf, usize, String)>,
    others: usize,
}

impl BadRows {
    pub(crate) fn add(&mut self, path: &Path, line: usize, reason: String) {
        if self.first.is_some() {
            self.others += 1;
        } else {
            self.first = Some((path.to_path_buf(), line, reason));
        }
    }

    fn count(&self) -> usize {
        self.others + usize::from(self.first.is_some())
    }

    pub(crate) fn into_result(self) -> Result<(), Error> {
        match self.first {
            None => Ok(()),
            Some((path, line, reason)) => Err(Error::Row { path, line, reason, others: self.others }),
        }
    }
}

enum Format {
    Jsonl,
    Parquet,
    Separated(Option<u8>),
}

/// Reads all rows; bad ones go to `bad`.
///
/// The extension tells the format (`jsonl`, `ndjson`, `json`; `csv`, `tsv`; `parquet`); with any other one the first character does.
pub(crate) fn read(
    mut source: Source<'_>,
    settings: &DataSettings,
    bad: &mut BadRows,
) -> Result<Table, Error> {
    let path = source.name.clone();
    let io = |error| Error::Io { path: path.clone(), source: error };
    let reader = &mut *source.reader;
    if reader.fill_buf().map_err(io)?.starts_with(b"\xef\xbb\xbf") {
        reader.consume(3);
    }
    let beginning = reader.fill_buf().map_err(io)?;
    if beginning.is_empty() {
        return Err(Error::Data(format!("{}: the file is empty", path.display())));
    }
    let bad_before = bad.count();
    let table = match format_of(&path, beginning)? {
        Format::Jsonl => jsonl::read(reader, path, settings, bad)?,
        Format::Parquet => columnar::read(reader, path, settings, bad)?,
        Format::Separated(delimiter) => csv::read(reader, path, settings, delimiter, bad)?,
    };
    if table.rows.is_empty() && bad.count() == bad_before {
        return Err(Error::Data(format!("{}: the file has no rows", table.path.display())));
    }
    Ok(table)
}

fn format_of(path: &Path, beginning: &[u8]) -> Result<Format, Error> {
    let extension = path.extension().map(|extension| extension.to_string_lossy().to_lowercase());
    let unsupported = |what: &str, hint: &str| {
        Err(Error::Data(format!("{}: {what} cannot be read; {hint}", path.display())))
    };
    let first = beginning.iter().find(|byte| !byte.is_ascii_whitespace());
    match extension.as_deref() {
        Some("jsonl" | "ndjson" | "json") => Ok(Format::Jsonl),
        Some("csv") => Ok(Format::Separated(None)),
        Some("tsv") => Ok(Format::Separated(Some(b'\t'))),
        Some("parquet") => Ok(Format::Parquet),
        Some("xlsx" | "xls" | "ods") => unsupported("a spreadsheet", "save it as CSV"),
        Some("gz" | "zip" | "zst" | "bz2" | "xz") => unsupported("a compressed file", "unpack it first"),
        _ if matches!(first, Some(b'{' | b'[')) => Ok(Format::Jsonl),
        _ if beginning.starts_with(columnar::MAGIC) => Ok(Format::Parquet),
        _ => Ok(Format::Separated(None)),
    }
}
