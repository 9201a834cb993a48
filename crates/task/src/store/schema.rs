//! The database's tables and their version.

use std::path::Path;
use std::time::Duration;

use rusqlite::Connection;

use super::{at, audit};
use crate::Error;

/// Version of the tables below. A store with a higher one was written by a newer program and is refused.
const VERSION: i64 = 1;
/// Marks the file as ours: "weig" in ASCII.
const APPLICATION: i64 = 0x7765_6967;

const TABLES: &str = "
    CREATE TABLE experiment (
        sequence INTEGER PRIMARY KEY AUTOINCREMENT,
        id TEXT NOT NULL UNIQUE,
        body TEXT NOT NULL,
        predictions BLOB NOT NULL,
        ended TEXT NOT NULL
    );
    CREATE TABLE fact (name TEXT PRIMARY KEY, value TEXT NOT NULL) WITHOUT ROWID;
    CREATE TABLE seconds (activity TEXT PRIMARY KEY, seconds REAL NOT NULL) WITHOUT ROWID;
    CREATE TABLE event (
        sequence INTEGER PRIMARY KEY AUTOINCREMENT,
        time TEXT NOT NULL,
        name TEXT NOT NULL,
        detail TEXT NOT NULL
    );
    CREATE TRIGGER event_is_kept BEFORE DELETE ON event
        BEGIN SELECT RAISE(ABORT, 'events are only added'); END;
    CREATE TRIGGER event_is_final BEFORE UPDATE ON event
        BEGIN SELECT RAISE(ABORT, 'events are only added'); END;
";

/// Makes a connection durable, and the tables where the file is new.
pub(super) fn prepare(connection: &Connection, database: &Path) -> Result<(), Error> {
    let run = || -> rusqlite::Result<()> {
        connection.busy_timeout(Duration::from_secs(10))?;
        connection.pragma_update(None, "journal_mode", "WAL")?;
        connection.pragma_update(None, "synchronous", "FULL")
    };
    run().map_err(|error| at(database, error))?;
    let empty: i64 = connection
        .query_row("SELECT count(*) FROM sqlite_schema", [], |row| row.get(0))
        .map_err(|error| at(database, error))?;
    if empty == 0 {
        let script = format!(
            "BEGIN IMMEDIATE; {TABLES} PRAGMA application_id = {APPLICATION}; PRAGMA user_version = {VERSION}; COMMIT;"
        );
        connection.execute_batch(&script).map_err(|error| at(database, error))?;
    }
    check(connection, database)?;
    // Stores of earlier versions have no audit log: it begins with what they hold.
    connection
        .execute_batch(audit::TABLE)
        .and_then(|()| audit::adopt(connection))
        .map_err(|error| at(database, error))
}

/// Refuses a file that is not ours, and one of a newer version.
pub(super) fn check(connection: &Connection, database: &Path) -> Result<(), Error> {
    connection.busy_timeout(Duration::from_secs(10)).map_err(|error| at(database, error))?;
    let pragma = |name: &str| -> Result<i64, Error> {
        connection.pragma_query_value(None, name, |row| row.get(0)).map_err(|error| at(database, error))
    };
    let failed = |reason: String| Error::Store { path: database.to_path_buf(), reason };
    if pragma("application_id")? != APPLICATION {
        return Err(failed("it is a database, but not a run store".to_owned()));
    }
    match pragma("user_version")? {
        VERSION => Ok(()),
        newer if newer > VERSION => Err(failed(format!(
            "a newer version of weigh wrote it (format {newer}; this one knows up to {VERSION})"
        ))),
        other => Err(failed(format!("its format {other} is unknown"))),
    }
}
