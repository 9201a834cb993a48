//! From a file of rows to a first task file: what its columns are, what is asked, and how it is written down.
//!
//! Everything here is a guess that a person is to look at: each one comes with its reason, as a comment in the task file. Files that
//! a run can read stay where they are; others (promptfoo configurations, a JSON list, rows with a column that names their part, rows
//! without an input or a target, files without a header) are written anew as JSONL beside the task file.

mod dependence;
mod guess;
mod promptfoo;
mod rows;
mod task_text;

use std::path::{Path, PathBuf};

use serde_json::{Map, Value};

pub use guess::{Guess, Wanted, guess};
pub use rows::{Rows, SourceFormat};
pub use task_text::task_text;

use crate::record::Part;
use crate::{Error, atomic};

/// A row: its columns by name.
pub type Row = Map<String, Value>;

/// The data files that a task file names.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct DataFiles {
    /// Training rows.
    pub train: PathBuf,
    /// Dev rows, where the data have their own.
    pub dev: Option<PathBuf>,
    /// Test rows, where the data have their own.
    pub test: Option<PathBuf>,
    /// Files that were written because a run could not read the given one.
    pub written: Vec<PathBuf>,
}

/// Places the rows: where they are, or as JSONL in `folder`, one file a part.
///
/// # Errors
/// [`Error::Io`] where a file cannot be written.
pub fn place(rows: &Rows, guess: &Guess, data: &Path, folder: &Path) -> Result<DataFiles, Error> {
    let readable =
        matches!(rows.format, SourceFormat::Separated | SourceFormat::Jsonl | SourceFormat::Parquet);
    if readable && guess.split.is_none() && guess.incomplete == 0 {
        let (dev, test) = siblings(data);
        return Ok(DataFiles { train: data.to_path_buf(), dev, test, written: Vec::new() });
    }
    let stem = data.file_stem().map_or_else(|| "rows".to_owned(), |stem| stem.to_string_lossy().into_owned());
    let part_of = |row: &Row| guess.split.as_ref().map_or(Part::Train, |split| split_part(row.get(split)));
    let mut files = DataFiles::default();
    for (part, name) in [(Part::Train, "train"), (Part::Dev, "dev"), (Part::Test, "test")] {
        let mut text = String::new();
        for row in rows.rows.iter().filter(|row| guess.is_complete(row) && part_of(row) == part) {
            text += &serde_json::to_string(row).expect("rows are JSON");
            text.push('\n');
        }
        if text.is_empty() {
            continue;
        }
        let file = folder.join(format!("{stem}.{name}.jsonl"));
        atomic::write(&file, text.as_bytes())?;
        files.written.push(file.clone());
        match part {
            Part::Train => files.train = file,
            Part::Dev => files.dev = Some(file),
            Part::Test => files.test = Some(file),
        }
    }
    Ok(files)
}

/// The part that a value of a split column names; what is not known is train.
fn split_part(value: Option<&Value>) -> Part {
    match value.and_then(Value::as_str).map(|name| name.trim().to_lowercase()).as_deref() {
        Some("test" | "testing") => Part::Test,
        Some("dev" | "val" | "valid" | "validation" | "eval") => Part::Dev,
        _ => Part::Train,
    }
}

/// Dev and test files that lie beside `train.csv` under their usual names.
fn siblings(data: &Path) -> (Option<PathBuf>, Option<PathBuf>) {
    let name = |path: &Path| path.file_name().map(|name| name.to_string_lossy().into_owned());
    let Some(own) = name(data).filter(|own| own.contains("train")) else { return (None, None) };
    let find = |names: &[&str]| {
        names
            .iter()
            .map(|part| data.with_file_name(own.replacen("train", part, 1)))
            .find(|path| path.is_file())
    };
    (find(&["dev", "validation", "valid", "val"]), find(&["test"]))
}

#[cfg(test)]
mod tests;
