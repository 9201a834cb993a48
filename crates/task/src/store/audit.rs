//! The audit log: what the run rests on and what it did, in entries that are only added and chained by their hashes.
//!
//! The hash of an entry is SHA-256 over the hash before it, its number, time, name and detail. Who changes, drops or moves an
//! entry breaks the chain; who changes the record (an experiment, a prediction, a fact) no longer agrees with its entry. What
//! the log cannot see by itself is that its last entries were cut off together with what they tell of: whoever noted the last
//! hash elsewhere can ([`Store::verify_audit`]).
//!
//! | entry | its detail |
//! |---|---|
//! | `session` | data, model weights and settings by their hashes, at the start of every session |
//! | `fact` | a fact's name and the hash of its value: the plan, what was measured, ... |
//! | `experiment` | its id, seed and artefact, the hash of all of it, the hashes of its requests' exact texts as one |
//! | `test_opened`, `test_stopped`, others | what the run said when it happened |
//! | `adopted` | the hashes of what an earlier version had stored without a log |

use std::collections::BTreeMap;

use rusqlite::{Connection, OptionalExtension, params};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use sha2::{Digest, Sha256};

use super::Store;
use crate::Error;
use crate::record::Experiment;
use crate::settings::hexadecimal;

pub(super) const TABLE: &str = "
    CREATE TABLE IF NOT EXISTS audit (
        sequence INTEGER PRIMARY KEY,
        time TEXT NOT NULL,
        name TEXT NOT NULL,
        detail TEXT NOT NULL,
        previous TEXT NOT NULL,
        hash TEXT NOT NULL
    );
    CREATE TRIGGER IF NOT EXISTS audit_is_kept BEFORE DELETE ON audit
        BEGIN SELECT RAISE(ABORT, 'the audit log is only added to'); END;
    CREATE TRIGGER IF NOT EXISTS audit_is_final BEFORE UPDATE ON audit
        BEGIN SELECT RAISE(ABORT, 'the audit log is only added to'); END;
";

/// What stands before the first entry.
const ORIGIN: &str = "weigh audit 1";

/// An entry of the audit log.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct AuditEntry {
    /// Its number, from 1.
    pub sequence: i64,
    /// When, in UTC.
    pub time: String,
    /// What.
    pub name: String,
    /// More about it, as JSON text: the very bytes that were hashed.
    pub detail: String,
    /// Hash of the entry before.
    pub previous: String,
    /// Its own hash.
    pub hash: String,
}

/// What a check of the audit log found.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct AuditReport {
    /// Entries.
    pub entries: usize,
    /// Experiments that agree with their entries.
    pub experiments: usize,
    /// Requests whose exact texts are in the log by their hashes.
    pub requests: usize,
    /// How many of the experiments an earlier version had stored without a log.
    pub adopted: usize,
    /// Hash of the last entry: to be noted elsewhere.
    pub head: String,
    /// What does not agree, in sentences; none where all is well.
    pub problems: Vec<String>,
}

fn digest(parts: &[&str]) -> String {
    let mut hash = Sha256::new();
    for part in parts {
        // Lengths keep parts apart whatever they hold.
        hash.update((part.len() as u64).to_le_bytes());
        hash.update(part.as_bytes());
    }
    hexadecimal(&hash.finalize())
}

impl AuditEntry {
    fn expected_hash(&self) -> String {
        let sequence = self.sequence.to_string();
        digest(&[&self.previous, &sequence, &self.time, &self.name, &self.detail])
    }
}

/// Adds an entry; to be called within the transaction of what it tells of.
pub(super) fn append(connection: &Connection, name: &str, detail: &Value) -> rusqlite::Result<()> {
    let last: Option<(i64, String)> = connection
        .query_row("SELECT sequence, hash FROM audit ORDER BY sequence DESC LIMIT 1", [], |row| {
            Ok((row.get(0)?, row.get(1)?))
        })
        .optional()?;
    let (before, previous) = last.unwrap_or_else(|| (0, digest(&[ORIGIN])));
    let time = connection.query_row("SELECT strftime('%Y-%m-%dT%H:%M:%fZ', 'now')", [], |row| row.get(0))?;
    let mut entry = AuditEntry {
        sequence: before + 1,
        time,
        name: name.to_owned(),
        detail: detail.to_string(),
        previous,
        hash: String::new(),
    };
    entry.hash = entry.expected_hash();
    connection.execute(
        "INSERT INTO audit (sequence, time, name, detail, previous, hash) VALUES (?1, ?2, ?3, ?4, ?5, ?6)",
        params![entry.sequence, entry.time, entry.name, entry.detail, entry.previous, entry.hash],
    )?;
    Ok(())
}

/// The hash of an experiment as it is stored.
pub(super) fn experiment_hash(body: &str, predictions: &[u8]) -> String {
    digest(&[body, &hexadecimal(&Sha256::digest(predictions))])
}

/// The detail of an experiment's entry.
pub(super) fn experiment_detail(experiment: &Experiment, body: &str, predictions: &[u8]) -> Value {
    let requests: Vec<&str> = experiment.calls.sha256.iter().map(String::as_str).collect();
    json!({
        "id": experiment.id,
        "sha256": experiment_hash(body, predictions),
        "part": experiment.part,
        "seed": experiment.seed,
        "artefact": experiment.artefact.as_ref().map(|artefact| &artefact.sha256),
        "requests": requests.len(),
        "requests_sha256": if requests.is_empty() { Value::Null } else { json!(digest(&requests)) },
    })
}

/// The detail of a fact's entry.
pub(super) fn fact_detail(name: &str, value: &str) -> Value {
    json!({ "name": name, "sha256": digest(&[value]) })
}

/// Takes what an earlier version stored into a log that is empty.
pub(super) fn adopt(connection: &Connection) -> rusqlite::Result<()> {
    let entries: i64 = connection.query_row("SELECT count(*) FROM audit", [], |row| row.get(0))?;
    let experiments = stored_experiments(connection)?;
    let facts = stored_facts(connection)?;
    if entries > 0 || (experiments.is_empty() && facts.is_empty()) {
        return Ok(());
    }
    let transaction = connection.unchecked_transaction()?;
    append(&transaction, "adopted", &json!({ "experiments": experiments, "facts": facts }))?;
    transaction.commit()
}

fn stored_experiments(connection: &Connection) -> rusqlite::Result<BTreeMap<String, String>> {
    let mut statement = connection.prepare("SELECT id, body, predictions FROM experiment")?;
    let rows = statement.query_map([], |row| {
        let (body, predictions): (String, Vec<u8>) = (row.get(1)?, row.get(2)?);
        Ok((row.get(0)?, experiment_hash(&body, &predictions)))
    })?;
    rows.collect()
}

fn stored_facts(connection: &Connection) -> rusqlite::Result<BTreeMap<String, String>> {
    let mut statement = connection.prepare("SELECT name, value FROM fact")?;
    let rows = statement.query_map([], |row| {
        let value: String = row.get(1)?;
        Ok((row.get(0)?, digest(&[value.as_str()])))
    })?;
    rows.collect()
}

impl Store {
    /// The audit log, oldest entry first; empty for a run of a version that kept none.
    ///
    /// # Errors
    /// [`Error::Store`] where it cannot be read.
    pub fn audit(&self) -> Result<Vec<AuditEntry>, Error> {
        let read = || -> rusqlite::Result<Vec<AuditEntry>> {
            let known = "SELECT 1 FROM sqlite_schema WHERE type = 'table' AND name = 'audit'";
            if !self.connection.prepare(known)?.exists([])? {
                return Ok(Vec::new());
            }
            let mut statement = self.connection.prepare(
                "SELECT sequence, time, name, detail, previous, hash FROM audit ORDER BY sequence",
            )?;
            let entry = |row: &rusqlite::Row<'_>| {
                Ok(AuditEntry {
                    sequence: row.get(0)?,
                    time: row.get(1)?,
                    name: row.get(2)?,
                    detail: row.get(3)?,
                    previous: row.get(4)?,
                    hash: row.get(5)?,
                })
            };
            statement.query_map([], entry)?.collect()
        };
        read().map_err(|error| self.failed(error))
    }

    /// Checks the chain of the audit log, and the record against it. `head`: the hash of an entry that was noted before,
    /// which must still be in the log.
    ///
    /// # Errors
    /// [`Error::Store`] where the store cannot be read, or has no audit log.
    pub fn verify_audit(&self, head: Option<&str>) -> Result<AuditReport, Error> {
        let entries = self.audit()?;
        if entries.is_empty() {
            return Err(self.failed("it has no audit log: an earlier version made it"));
        }
        let mut report = AuditReport {
            entries: entries.len(),
            head: entries.last().map(|entry| entry.hash.clone()).unwrap_or_default(),
            ..AuditReport::default()
        };
        check_chain(&entries, &mut report.problems);
        if let Some(head) = head.filter(|head| !entries.iter().any(|entry| entry.hash == **head)) {
            report.problems.push(format!("the entry with the hash {head} is gone"));
        }
        let told = Told::new(&entries, &mut report);
        let read = stored_experiments(&self.connection)
            .and_then(|experiments| Ok((experiments, stored_facts(&self.connection)?)));
        let (experiments, facts) = read.map_err(|error| self.failed(error))?;
        compare("experiment", &told.experiments, &experiments, &mut report.problems);
        compare("fact", &told.facts, &facts, &mut report.problems);
        let agrees = |(id, hash): &(&String, &String)| told.experiments.get(*id) == Some(*hash);
        report.experiments = experiments.iter().filter(agrees).count();
        Ok(report)
    }
}

fn check_chain(entries: &[AuditEntry], problems: &mut Vec<String>) {
    let mut previous = digest(&[ORIGIN]);
    for (place, entry) in entries.iter().enumerate() {
        let number = entry.sequence;
        if number != place as i64 + 1 {
            problems
                .push(format!("entry {} is missing or was moved: entry {number} stands there", place + 1));
            // One gap is one problem: go on from what is there.
            return;
        }
        if entry.previous != previous {
            problems.push(format!("entry {number} ({}) does not follow on the one before it", entry.name));
        }
        if entry.hash != entry.expected_hash() {
            problems.push(format!("entry {number} ({}) was changed", entry.name));
        }
        previous.clone_from(&entry.hash);
    }
}

/// What the entries tell of the record: the hash of each experiment, and the last of each fact.
#[derive(Default)]
struct Told {
    experiments: BTreeMap<String, String>,
    facts: BTreeMap<String, String>,
}

impl Told {
    fn new(entries: &[AuditEntry], report: &mut AuditReport) -> Self {
        let mut told = Self::default();
        for entry in entries {
            let Ok(detail) = serde_json::from_str::<Value>(&entry.detail) else {
                report.problems.push(format!("entry {} ({}) is not readable", entry.sequence, entry.name));
                continue;
            };
            let text = |key: &str| detail[key].as_str().unwrap_or_default().to_owned();
            match entry.name.as_str() {
                "experiment" => {
                    report.requests += detail["requests"].as_u64().unwrap_or(0) as usize;
                    told.experiments.insert(text("id"), text("sha256"));
                }
                "fact" => {
                    told.facts.insert(text("name"), text("sha256"));
                }
                "adopted" => {
                    let all = |key: &str| {
                        serde_json::from_value::<BTreeMap<String, String>>(detail[key].clone())
                            .unwrap_or_default()
                    };
                    told.experiments.extend(all("experiments"));
                    told.facts.extend(all("facts"));
                    report.adopted = told.experiments.len();
                }
                _ => {}
            }
        }
        told
    }
}

fn compare(
    what: &str,
    told: &BTreeMap<String, String>,
    stored: &BTreeMap<String, String>,
    problems: &mut Vec<String>,
) {
    for (name, hash) in stored {
        match told.get(name) {
            None => problems.push(format!("{what} `{name}` is in the record, but not in the log")),
            Some(known) if known != hash => {
                problems.push(format!("{what} `{name}` is not what the log says: it was changed"));
            }
            Some(_) => {}
        }
    }
    for name in told.keys().filter(|name| !stored.contains_key(*name)) {
        problems.push(format!("{what} `{name}` is in the log, but not in the record: it was dropped"));
    }
}
