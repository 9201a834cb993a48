//! Probes in the store: a fact each, which a probe of the same name and side replaces.

use super::Store;
use crate::Error;
use crate::probe::{Probe, ProbePlan, Probes, Side};

const PLAN: &str = "probe_plan";

/// The fact of a probe.
fn name(probe: &str, side: Side) -> String {
    format!("probe/{probe}/{}", side.name())
}

impl Store {
    /// Keeps a probe.
    ///
    /// # Errors
    /// [`Error::Store`] where it cannot be written.
    pub fn put_probe(&self, probe: &Probe) -> Result<(), Error> {
        self.set_fact(&name(&probe.name, probe.side), probe)
    }

    /// The probe of that name and side.
    ///
    /// # Errors
    /// [`Error::Store`] where the store cannot be read.
    pub fn probe(&self, probe: &str, side: Side) -> Result<Option<Probe>, Error> {
        self.fact(&name(probe, side))
    }

    /// Keeps the plan of the probes.
    ///
    /// # Errors
    /// [`Error::Store`] where it cannot be written.
    pub fn plan_probes(&self, plan: &ProbePlan) -> Result<(), Error> {
        self.set_fact(PLAN, plan)
    }

    /// All probes, by name and side; `None` where none were planned.
    ///
    /// # Errors
    /// [`Error::Store`] where the store cannot be read.
    pub fn probes(&self) -> Result<Option<Probes>, Error> {
        let Some(plan) = self.fact::<ProbePlan>(PLAN)? else { return Ok(None) };
        let read = || -> rusqlite::Result<Vec<(String, String)>> {
            let mut statement = self
                .connection
                .prepare("SELECT name, value FROM fact WHERE name GLOB 'probe/*' ORDER BY name")?;
            statement.query_map([], |row| Ok((row.get(0)?, row.get(1)?)))?.collect()
        };
        let rows = read().map_err(|error| self.failed(error))?;
        let parsed = rows.into_iter().map(|(name, text)| {
            serde_json::from_str(&text)
                .map_err(|error| self.failed(format!("fact `{name}` cannot be read: {error}")))
        });
        Ok(Some(Probes { plan, done: parsed.collect::<Result<_, _>>()? }))
    }
}
