//! What can go wrong with a task.

use std::path::PathBuf;

/// An error of this crate; it names the file and line, the key, or the example at fault.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// A file could not be read or written.
    #[error("{}: {source}", path.display())]
    Io {
        /// The file.
        path: PathBuf,
        /// The system's reason.
        source: std::io::Error,
    },
    /// The task file is not what it should be.
    #[error("{}: {reason}", path.display())]
    TaskFile {
        /// The task file.
        path: PathBuf,
        /// What is wrong, with line and key where known.
        reason: String,
    },
    /// A line of the task file is not what it should be.
    #[error("{}:{line}: {reason}", path.display())]
    TaskFileLine {
        /// The task file.
        path: PathBuf,
        /// The line, from 1.
        line: usize,
        /// What is wrong, with section and key.
        reason: String,
    },
    /// Rows of a data file are bad. All of them are counted, the first ones named.
    #[error("{}:{line}: {reason}{}", path.display(), more(*others))]
    Row {
        /// The data file.
        path: PathBuf,
        /// Line of the first bad row, from 1.
        line: usize,
        /// What is wrong with it.
        reason: String,
        /// How many further rows are bad.
        others: usize,
    },
    /// The data as a whole cannot make a task (no rows, one class, ...).
    #[error("{0}")]
    Data(String),
    /// The run store failed or belongs to another run.
    #[error("run store {}: {reason}", path.display())]
    Store {
        /// The database file.
        path: PathBuf,
        /// What happened.
        reason: String,
    },
}

fn more(others: usize) -> String {
    if others == 0 { String::new() } else { format!(" (and {others} more bad rows)") }
}
