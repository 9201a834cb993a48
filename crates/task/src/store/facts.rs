//! Facts, seconds and events in the store.

use std::collections::BTreeMap;

use rusqlite::{Connection, OptionalExtension, params};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::{Store, audit};
use crate::Error;
use crate::record::{Family, Finalists, ModelIdentity, NoisyRun, TaskFacts, Terms, TestStop, Work};

pub(super) const FINGERPRINT: &str = "fingerprint";
const DESCRIPTION: &str = "description";
const FINALISTS: &str = "finalists";
const TERMS: &str = "terms";
/// Where the test set was left before its end.
pub(super) const TEST_STOP: &str = "test_stop";
/// The sources that test examples share.
pub(super) const CLUSTERS: &str = "clusters";
/// What the search of instructions and formats tried.
pub const PROMPT_SEARCH: &str = "prompt_search";
/// What each arm took to search.
pub const SEARCH_BUDGET: &str = "search_budget";
/// Begins the names of the finalists' runs with flipped labels.
const NOISE: &str = "label_noise/";
/// Begins the names of activities that count joules instead of seconds.
const JOULES: &str = "joules/";
/// Begin the names of activities that count tokens and operations.
const TOKENS: &str = "tokens/";
const FLOPS: &str = "flops/";
/// The activity that stands for whole sessions.
const WALL: &str = "wall";
const TEST_OPENED: &str = "test_opened";

/// An entry of the append-only log.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Event {
    /// When, in UTC: `2026-11-23T21:04:05.678Z`.
    pub time: String,
    /// What: `test_opened`, ...
    pub name: String,
    /// More about it.
    pub detail: Value,
}

/// What a run is about.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(super) struct Description {
    pub(super) task: TaskFacts,
    pub(super) model: ModelIdentity,
    pub(super) labels: Vec<String>,
}

impl Description {
    /// Which of the things that results depend on are other ones.
    fn changes_since(&self, before: &Self) -> Vec<String> {
        let sizes =
            |task: &TaskFacts| format!("{} + {} + {}", task.items.train, task.items.dev, task.items.test);
        let mut changes = Vec::new();
        if self.task.data_sha256 != before.task.data_sha256 {
            changes.push(format!(
                "the rows changed: {} before, {} now",
                sizes(&before.task),
                sizes(&self.task)
            ));
        }
        if self.labels != before.labels {
            changes.push(format!(
                "the labels changed: {} before, {} now",
                before.labels.len(),
                self.labels.len()
            ));
        }
        if self.model.sha256 != before.model.sha256 {
            changes.push(format!("the weights of {} changed", self.model.source));
        }
        changes
    }
}

pub(super) fn add_seconds(connection: &Connection, activity: &str, seconds: f64) -> rusqlite::Result<()> {
    if seconds == 0.0 {
        return Ok(());
    }
    connection.execute(
        "INSERT INTO seconds (activity, seconds) VALUES (?1, ?2)
         ON CONFLICT (activity) DO UPDATE SET seconds = seconds + excluded.seconds",
        params![activity, seconds],
    )?;
    Ok(())
}

impl Store {
    /// A fact by name: the plan, speeds, ... `None` where it was never set.
    ///
    /// # Errors
    /// [`Error::Store`] where it cannot be read as a `T`.
    pub fn fact<T: DeserializeOwned>(&self, name: &str) -> Result<Option<T>, Error> {
        let text: Option<String> = self
            .connection
            .query_row("SELECT value FROM fact WHERE name = ?1", [name], |row| row.get(0))
            .optional()
            .map_err(|error| self.failed(error))?;
        text.map(|text| serde_json::from_str(&text))
            .transpose()
            .map_err(|error| self.failed(format!("fact `{name}` cannot be read: {error}")))
    }

    /// Sets a fact, or replaces it.
    ///
    /// # Errors
    /// [`Error::Store`] where it cannot be written.
    pub fn set_fact<T: Serialize + ?Sized>(&self, name: &str, value: &T) -> Result<(), Error> {
        let text = serde_json::to_string(value)
            .map_err(|error| self.failed(format!("fact `{name}` cannot be written: {error}")))?;
        let run = || -> rusqlite::Result<()> {
            let transaction = self.connection.unchecked_transaction()?;
            transaction
                .execute("INSERT OR REPLACE INTO fact (name, value) VALUES (?1, ?2)", params![name, text])?;
            audit::append(&transaction, "fact", &audit::fact_detail(name, &text))?;
            transaction.commit()
        };
        run().map_err(|error| self.failed(error))
    }

    /// Says what the run is about; to be called at the start of every session.
    ///
    /// # Errors
    /// [`Error::Store`] where the data, the labels or the model's weights are not those of the sessions before, or where it
    /// cannot be written. A task or a file that has got another name is the same run.
    pub fn describe(&self, task: &TaskFacts, model: &ModelIdentity, labels: &[String]) -> Result<(), Error> {
        let now = Description { task: task.clone(), model: model.clone(), labels: labels.to_vec() };
        if let Some(before) = self.description()? {
            let changes = now.changes_since(&before);
            if !changes.is_empty() {
                return Err(self.other_run("data or weights", &changes));
            }
        }
        let fingerprint = self.fingerprint()?.map(|fingerprint| fingerprint.sha256());
        let session = json!({
            "data_sha256": task.data_sha256,
            "model": model.source,
            "model_sha256": model.sha256,
            "settings_sha256": fingerprint,
            "version": env!("CARGO_PKG_VERSION"),
        });
        audit::append(&self.connection, "session", &session).map_err(|error| self.failed(error))?;
        self.set_fact(DESCRIPTION, &now)
    }

    pub(super) fn description(&self) -> Result<Option<Description>, Error> {
        self.fact(DESCRIPTION)
    }

    /// Opens the test set: keeps the finalists and what they are to be judged by, and logs the moment, in one transaction. The same
    /// finalists again are not logged again, so that a run that was killed goes on, by the terms of the first time.
    ///
    /// # Errors
    /// [`Error::Store`] where other finalists have seen the test set, or the store cannot be written.
    pub fn open_test(&mut self, finalists: &Finalists, terms: &Terms) -> Result<(), Error> {
        match self.finalists()? {
            Some(before) if before == *finalists => return Ok(()),
            Some(before) => {
                return Err(self.failed(format!(
                    "the test set was opened for other finalists ({}; {}; {}) and is opened only once",
                    before.in_context, before.fine_tune, before.floor
                )));
            }
            None => {}
        }
        let detail = serde_json::to_string(finalists).expect("finalists are texts");
        let judged_by = serde_json::to_string(terms).expect("terms are numbers and texts");
        let run = |store: &mut Self| -> rusqlite::Result<()> {
            let transaction = store.connection.transaction()?;
            for (name, value) in [(FINALISTS, &detail), (TERMS, &judged_by)] {
                transaction
                    .execute("INSERT INTO fact (name, value) VALUES (?1, ?2)", params![name, value])?;
                audit::append(&transaction, "fact", &audit::fact_detail(name, value))?;
            }
            log(&transaction, TEST_OPENED, &detail)?;
            transaction.commit()
        };
        run(self).map_err(|error| self.failed(error))
    }

    /// The finalists, once the test set was opened.
    ///
    /// # Errors
    /// [`Error::Store`] where the store cannot be read.
    pub fn finalists(&self) -> Result<Option<Finalists>, Error> {
        self.fact(FINALISTS)
    }

    /// What the run was to be judged by when the test set was opened.
    ///
    /// # Errors
    /// [`Error::Store`] where the store cannot be read.
    pub fn terms(&self) -> Result<Option<Terms>, Error> {
        self.fact(TERMS)
    }

    /// Adds seconds that an arm spent without a stored experiment, such as a failed run.
    ///
    /// # Errors
    /// [`Error::Store`] where the store cannot be written.
    pub fn add_family_seconds(&self, family: Family, seconds: f64) -> Result<(), Error> {
        add_seconds(&self.connection, family.name(), seconds).map_err(|error| self.failed(error))
    }

    /// Adds seconds of a session as a whole; to be called often, since a killed session cannot.
    ///
    /// # Errors
    /// [`Error::Store`] where the store cannot be written.
    pub fn add_wall_seconds(&self, seconds: f64) -> Result<(), Error> {
        add_seconds(&self.connection, WALL, seconds).map_err(|error| self.failed(error))
    }

    /// Seconds of all sessions, and of each family (`in_context`, `fine_tune`, `floor`, `hybrid`) over all of them.
    ///
    /// # Errors
    /// [`Error::Store`] where the store cannot be read.
    pub fn seconds(&self) -> Result<(f64, BTreeMap<String, f64>), Error> {
        let read = || -> rusqlite::Result<BTreeMap<String, f64>> {
            let mut statement = self.connection.prepare("SELECT activity, seconds FROM seconds")?;
            statement.query_map([], |row| Ok((row.get(0)?, row.get(1)?)))?.collect()
        };
        let mut seconds = read().map_err(|error| self.failed(error))?;
        seconds.retain(|activity, _| ![JOULES, TOKENS, FLOPS].iter().any(|kind| activity.starts_with(kind)));
        let wall = seconds.remove(WALL).unwrap_or(0.0);
        Ok((wall, seconds))
    }

    /// Adds the energy that an arm took, where the machine tells.
    ///
    /// # Errors
    /// [`Error::Store`] where the store cannot be written.
    pub fn add_joules(&self, family: Family, joules: f64) -> Result<(), Error> {
        let activity = format!("{JOULES}{}", family.name());
        add_seconds(&self.connection, &activity, joules).map_err(|error| self.failed(error))
    }

    /// Adds what an arm computed.
    ///
    /// # Errors
    /// [`Error::Store`] where the store cannot be written.
    pub fn add_work(&self, family: Family, work: Work) -> Result<(), Error> {
        let add = |kind: &str, amount: f64| {
            add_seconds(&self.connection, &format!("{kind}{}", family.name()), amount)
                .map_err(|error| self.failed(error))
        };
        add(TOKENS, work.tokens as f64)?;
        add(FLOPS, work.flops)
    }

    /// What each family computed over all sessions.
    ///
    /// # Errors
    /// [`Error::Store`] where the store cannot be read.
    pub fn work(&self) -> Result<BTreeMap<String, Work>, Error> {
        let flops = self.amounts(FLOPS)?;
        let work = |(family, tokens): (String, f64)| {
            let flops = flops.get(&family).copied().unwrap_or(0.0);
            (family, Work { tokens: tokens as u64, flops })
        };
        Ok(self.amounts(TOKENS)?.into_iter().map(work).collect())
    }

    /// Energy of each family over all sessions, in joules; none where it was never told.
    pub(super) fn joules(&self) -> Result<BTreeMap<String, f64>, Error> {
        self.amounts(JOULES)
    }

    /// What each family has of a kind of amount.
    fn amounts(&self, kind: &str) -> Result<BTreeMap<String, f64>, Error> {
        let read = || -> rusqlite::Result<BTreeMap<String, f64>> {
            let mut statement = self.connection.prepare(
                "SELECT substr(activity, length(?1) + 1), seconds FROM seconds WHERE substr(activity, 1, length(?1)) = ?1",
            )?;
            statement.query_map([kind], |row| Ok((row.get(0)?, row.get(1)?)))?.collect()
        };
        read().map_err(|error| self.failed(error))
    }

    /// Says where the test set was left before its end, and logs it. The first answer stays.
    ///
    /// # Errors
    /// [`Error::Store`] where the store cannot be read or written.
    pub fn stop_test(&self, stop: &TestStop) -> Result<(), Error> {
        if self.fact::<TestStop>(TEST_STOP)?.is_none() {
            self.log("test_stopped", stop)?;
            self.set_fact(TEST_STOP, stop)?;
        }
        Ok(())
    }

    /// Where the test set was left before its end, if it was.
    ///
    /// # Errors
    /// [`Error::Store`] where the store cannot be read.
    pub fn test_stop(&self) -> Result<Option<TestStop>, Error> {
        self.fact(TEST_STOP)
    }

    /// Keeps the sources that test examples share.
    ///
    /// # Errors
    /// [`Error::Store`] where the store cannot be written.
    pub fn set_clusters(&self, clusters: &BTreeMap<String, String>) -> Result<(), Error> {
        self.set_fact(CLUSTERS, clusters)
    }

    /// Whether the finalist's run with flipped labels of that id is kept.
    ///
    /// # Errors
    /// [`Error::Store`] where the store cannot be read.
    pub fn has_noisy_run(&self, id: &str) -> Result<bool, Error> {
        Ok(self.fact::<Value>(&format!("{NOISE}{id}"))?.is_some())
    }

    /// Keeps a finalist's run with flipped labels.
    ///
    /// # Errors
    /// [`Error::Store`] where the store cannot be written.
    pub fn put_noisy_run(&self, run: &NoisyRun) -> Result<(), Error> {
        self.set_fact(&format!("{NOISE}{}", run.experiment.id), run)
    }

    pub(super) fn noisy_runs(&self) -> Result<Vec<NoisyRun>, Error> {
        let read = || -> rusqlite::Result<Vec<String>> {
            let mut statement = self
                .connection
                .prepare("SELECT value FROM fact WHERE substr(name, 1, length(?1)) = ?1 ORDER BY name")?;
            statement.query_map([NOISE], |row| row.get(0))?.collect()
        };
        let texts = read().map_err(|error| self.failed(error))?;
        let parsed = texts.iter().map(|text| serde_json::from_str(text));
        parsed
            .collect::<Result<_, _>>()
            .map_err(|error| self.failed(format!("a fact cannot be read: {error}")))
    }

    /// Adds an entry to the log, with the time. Entries cannot be changed or removed.
    ///
    /// # Errors
    /// [`Error::Store`] where it cannot be written.
    pub fn log<T: Serialize + ?Sized>(&self, name: &str, detail: &T) -> Result<(), Error> {
        let detail = serde_json::to_string(detail)
            .map_err(|error| self.failed(format!("event `{name}` cannot be written: {error}")))?;
        let run = || -> rusqlite::Result<()> {
            let transaction = self.connection.unchecked_transaction()?;
            log(&transaction, name, &detail)?;
            transaction.commit()
        };
        run().map_err(|error| self.failed(error))
    }

    /// The log, oldest entry first.
    ///
    /// # Errors
    /// [`Error::Store`] where it cannot be read.
    pub fn events(&self) -> Result<Vec<Event>, Error> {
        let read = || -> rusqlite::Result<Vec<(String, String, String)>> {
            let mut statement =
                self.connection.prepare("SELECT time, name, detail FROM event ORDER BY sequence")?;
            statement.query_map([], |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?)))?.collect()
        };
        let rows = read().map_err(|error| self.failed(error))?;
        rows.into_iter()
            .map(|(time, name, detail)| {
                let detail = serde_json::from_str(&detail)
                    .map_err(|error| self.failed(format!("event `{name}` cannot be read: {error}")))?;
                Ok(Event { time, name, detail })
            })
            .collect()
    }
}

fn log(connection: &Connection, name: &str, detail: &str) -> rusqlite::Result<()> {
    connection.execute(
        "INSERT INTO event (time, name, detail) VALUES (strftime('%Y-%m-%dT%H:%M:%fZ', 'now'), ?1, ?2)",
        params![name, detail],
    )?;
    audit::append(connection, name, &serde_json::from_str(detail).unwrap_or(Value::Null))
}
