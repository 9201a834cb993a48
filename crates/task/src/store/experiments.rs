//! Experiments in the store, and the record that is read back from it.

use rusqlite::{OptionalExtension, Row, params};

use super::{Store, audit, facts, predictions};
use crate::Error;
use crate::record::{Decision, Economics, Experiment, RunRecord};

impl Store {
    /// Keeps an experiment, in one transaction. The first result under an id stays: `false` where there is one already.
    ///
    /// # Errors
    /// [`Error::Store`] where it cannot be written, or holds a number that is not finite (a prediction's scores may).
    pub fn put(&mut self, experiment: &Experiment) -> Result<bool, Error> {
        self.put_timed(experiment, 0.0)
    }

    /// As [`Store::put`], and in the same transaction adds the `seconds` that it took to its family's, so that no time is
    /// counted twice or lost when the process is killed.
    ///
    /// # Errors
    /// As [`Store::put`].
    pub fn put_timed(&mut self, experiment: &Experiment, seconds: f64) -> Result<bool, Error> {
        let (body, packed) = self.pack(experiment)?;
        let entry = audit::experiment_detail(experiment, &body, &packed);
        let run = |store: &mut Self| -> rusqlite::Result<bool> {
            let transaction = store.connection.transaction()?;
            let added = transaction.execute(
                "INSERT OR IGNORE INTO experiment (id, body, predictions, ended)
                 VALUES (?1, ?2, ?3, strftime('%Y-%m-%dT%H:%M:%fZ', 'now'))",
                params![experiment.id, body, packed],
            )? == 1;
            if added {
                audit::append(&transaction, "experiment", &entry)?;
                facts::add_seconds(&transaction, experiment.family.name(), seconds)?;
            }
            transaction.commit()?;
            Ok(added)
        };
        run(self).map_err(|error| self.failed(error))
    }

    /// The experiment with this id.
    ///
    /// # Errors
    /// [`Error::Store`] where the store cannot be read.
    pub fn get(&self, id: &str) -> Result<Option<Experiment>, Error> {
        self.connection
            .prepare_cached("SELECT id, body, predictions FROM experiment WHERE id = ?1")
            .and_then(|mut statement| statement.query_row([id], stored).optional())
            .map_err(|error| self.failed(error))?
            .map(|stored| self.unpack(stored))
            .transpose()
    }

    /// Whether there is an experiment with this id.
    ///
    /// # Errors
    /// [`Error::Store`] where the store cannot be read.
    pub fn contains(&self, id: &str) -> Result<bool, Error> {
        self.connection
            .prepare_cached("SELECT 1 FROM experiment WHERE id = ?1")
            .and_then(|mut statement| statement.exists([id]))
            .map_err(|error| self.failed(error))
    }

    /// All experiments, in the order in which they ended.
    ///
    /// # Errors
    /// [`Error::Store`] where the store cannot be read.
    pub fn experiments(&self) -> Result<Vec<Experiment>, Error> {
        let read = || -> rusqlite::Result<Vec<Stored>> {
            let mut statement =
                self.connection.prepare("SELECT id, body, predictions FROM experiment ORDER BY sequence")?;
            statement.query_map([], stored)?.collect()
        };
        let rows = read().map_err(|error| self.failed(error))?;
        rows.into_iter().map(|row| self.unpack(row)).collect()
    }

    /// The whole record, for the verdict. Decision and economics come from the settings at hand: the verdict can be taken
    /// again under other ones.
    ///
    /// # Errors
    /// [`Error::Store`] where the store cannot be read, or [`Store::describe`] was never called.
    pub fn record(&self, decision: &Decision, economics: &Economics) -> Result<RunRecord, Error> {
        let Some(description) = self.description()? else {
            return Err(self.failed("the run ended before it began: run the task again"));
        };
        let (wall_seconds, seconds_by_family) = self.seconds()?;
        Ok(RunRecord {
            task: description.task,
            model: description.model,
            labels: description.labels,
            experiments: self.experiments()?,
            finalists: self.finalists()?,
            terms: self.terms()?,
            decision: decision.clone(),
            economics: economics.clone(),
            wall_seconds,
            seconds_by_family,
            work_by_family: self.work()?,
            joules_by_family: self.joules()?,
            decided_on: None,
            prices: None,
            test_stop: self.fact(facts::TEST_STOP)?,
            clusters: self.fact(facts::CLUSTERS)?.unwrap_or_default(),
            label_noise: self.noisy_runs()?,
            probes: self.probes()?,
            prompt_search: self.fact(facts::PROMPT_SEARCH)?,
            search_budget: self.fact(facts::SEARCH_BUDGET)?,
        })
    }

    fn pack(&self, experiment: &Experiment) -> Result<(String, Vec<u8>), Error> {
        let failed = |reason: String| self.failed(format!("experiment {}: {reason}", experiment.id));
        let packed = predictions::pack(&experiment.predictions).map_err(failed)?;
        let bare = Experiment { predictions: Vec::new(), ..experiment.clone() };
        let body = serde_json::to_string(&bare).map_err(|error| failed(error.to_string()))?;
        // JSON has no infinity and no NaN: they would be written as null and be unreadable later.
        match serde_json::from_str::<Experiment>(&body) {
            Ok(read) if read == bare => Ok((body, packed)),
            _ => Err(failed("it holds a number that is not finite".to_owned())),
        }
    }

    fn unpack(&self, (id, body, packed): Stored) -> Result<Experiment, Error> {
        let mut experiment: Experiment = serde_json::from_str(&body)
            .map_err(|error| self.failed(format!("experiment {id} cannot be read: {error}")))?;
        experiment.predictions = predictions::unpack(&packed)
            .ok_or_else(|| self.failed(format!("the predictions of experiment {id} cannot be read")))?;
        Ok(experiment)
    }
}

type Stored = (String, String, Vec<u8>);

fn stored(row: &Row<'_>) -> rusqlite::Result<Stored> {
    Ok((row.get(0)?, row.get(1)?, row.get(2)?))
}
