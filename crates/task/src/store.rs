//! The run store: everything that a run has found, kept at once and for good.
//!
//! A run has one folder beside its task file (`tickets.toml` has `tickets.weigh/`):
//!
//! | in it | what it is |
//! |---|---|
//! | `run.sqlite` | the store: experiments with every prediction, facts, seconds, the log of events, the audit log |
//! | `run.lock` | held by the process that runs; the system lets go of it when that process ends, however it ends |
//! | `artefacts/` | what would be shipped: adapters, models, prompts |
//! | `.gitignore` | keeps the folder out of version control |
//!
//! Every change is one transaction with a write-ahead log that is flushed to the disk, so that a process killed at any
//! moment, or a loss of power, loses nothing that was committed. A folder belongs to one [`Fingerprint`]: settings under
//! which the stored results would be other ones are refused, with what changed; [`archive`] makes room for a new run.

mod archive;
mod audit;
mod experiments;
mod facts;
mod predictions;
mod probes;
mod schema;

use std::fs::{File, TryLockError};
use std::path::{Path, PathBuf};
use std::time::Duration;

use rusqlite::{Connection, OpenFlags};

pub use archive::archive;
pub use audit::{AuditEntry, AuditReport};
pub use facts::{Event, PROMPT_SEARCH, SEARCH_BUDGET};

use crate::Error;
use crate::settings::Fingerprint;

const DATABASE: &str = "run.sqlite";
const LOCK: &str = "run.lock";
const ARTEFACTS: &str = "artefacts";

/// An open run folder.
#[derive(Debug)]
pub struct Store {
    connection: Connection,
    folder: PathBuf,
    /// Held as long as the store; `None` for one that only reads.
    _lock: Option<File>,
}

impl Store {
    /// Opens the run in `folder` for writing, or begins one there.
    ///
    /// # Errors
    /// [`Error::Store`] where another process runs it, where it belongs to other settings (with what changed and how to
    /// begin anew), where a newer version of this program wrote it, or where SQLite cannot read it; [`Error::Io`] where
    /// the folder cannot be made.
    pub fn open(folder: &Path, fingerprint: &Fingerprint) -> Result<Self, Error> {
        make_folder(folder)?;
        let lock = lock(folder)?;
        let database = folder.join(DATABASE);
        let connection = Connection::open(&database).map_err(|error| at(&database, error))?;
        schema::prepare(&connection, &database)?;
        let store = Self { connection, folder: folder.to_path_buf(), _lock: Some(lock) };
        store.claim(fingerprint)?;
        Ok(store)
    }

    /// Opens the run in `folder` for reading only, whoever is writing it.
    ///
    /// # Errors
    /// [`Error::Store`] where there is no run, or it cannot be read.
    pub fn read(folder: &Path) -> Result<Self, Error> {
        let database = folder.join(DATABASE);
        if !database.is_file() {
            return Err(Error::Store { path: database, reason: "there is no run yet".to_owned() });
        }
        // Not "read only" for SQLite: after a kill the reader may have to recover the write-ahead log.
        let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
        let connection =
            Connection::open_with_flags(&database, flags).map_err(|error| at(&database, error))?;
        schema::check(&connection, &database)?;
        connection.pragma_update(None, "query_only", true).map_err(|error| at(&database, error))?;
        Ok(Self { connection, folder: folder.to_path_buf(), _lock: None })
    }

    /// The run folder.
    pub fn folder(&self) -> &Path {
        &self.folder
    }

    /// The folder for artefacts; made when it is first asked for.
    ///
    /// # Errors
    /// [`Error::Io`] where it cannot be made.
    pub fn artefacts(&self) -> Result<PathBuf, Error> {
        let folder = self.folder.join(ARTEFACTS);
        std::fs::create_dir_all(&folder).map_err(|source| Error::Io { path: folder.clone(), source })?;
        Ok(folder)
    }

    /// What the stored results depend on.
    ///
    /// # Errors
    /// [`Error::Store`] where the store cannot be read.
    pub fn fingerprint(&self) -> Result<Option<Fingerprint>, Error> {
        self.fact(facts::FINGERPRINT)
    }

    /// Makes a new store belong to `fingerprint`, and refuses a store that belongs to another.
    fn claim(&self, fingerprint: &Fingerprint) -> Result<(), Error> {
        let Some(stored) = self.fingerprint()? else {
            return self.set_fact(facts::FINGERPRINT, fingerprint);
        };
        if stored == *fingerprint {
            return Ok(());
        }
        Err(self.other_run("settings", &fingerprint.changes_since(&stored)))
    }

    /// The error for a store that holds a run of other `things`.
    fn other_run(&self, things: &str, changes: &[String]) -> Error {
        self.failed(format!(
            "it holds a run under other {things} ({}). Put them back to go on with it, or move the folder {} away to \
             begin anew (`weigh run --fresh` does)",
            changes.join("; "),
            self.folder.display()
        ))
    }

    fn failed(&self, reason: impl std::fmt::Display) -> Error {
        Error::Store { path: self.folder.join(DATABASE), reason: reason.to_string() }
    }
}

fn at(database: &Path, error: rusqlite::Error) -> Error {
    let reason = match error.sqlite_error_code() {
        Some(rusqlite::ErrorCode::NotADatabase) => "it is not a run store (SQLite cannot read it)".to_owned(),
        _ => error.to_string(),
    };
    Error::Store { path: database.to_path_buf(), reason }
}

fn make_folder(folder: &Path) -> Result<(), Error> {
    std::fs::create_dir_all(folder).map_err(|source| Error::Io { path: folder.to_path_buf(), source })?;
    let ignore = folder.join(".gitignore");
    if !ignore.exists() {
        crate::atomic::write(&ignore, b"*\n")?;
    }
    Ok(())
}

/// Takes the folder's lock. It is the system's lock on an open file: a killed process cannot leave it behind.
fn lock(folder: &Path) -> Result<File, Error> {
    let path = folder.join(LOCK);
    let io = |source| Error::Io { path: path.clone(), source };
    let file = File::options().create(true).truncate(false).write(true).open(&path).map_err(io)?;
    // The holder may be on its way out, as after a kill: wait for a moment before refusing.
    for attempt in 0.. {
        match file.try_lock() {
            Ok(()) => break,
            Err(TryLockError::WouldBlock) if attempt < 10 => std::thread::sleep(Duration::from_millis(50)),
            Err(TryLockError::WouldBlock) => {
                return Err(Error::Store {
                    path: folder.join(DATABASE),
                    reason: "another process is running this task; wait for it, or end it".to_owned(),
                });
            }
            Err(TryLockError::Error(source)) => return Err(io(source)),
        }
    }
    Ok(file)
}

#[cfg(test)]
mod tests;
