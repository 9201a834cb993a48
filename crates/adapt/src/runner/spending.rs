//! What units of work took beside time: energy, tokens and operations, by arm.

use task::record::{Family, Work};

use super::Session;
use crate::Error;

/// What was spent since someone last asked.
#[derive(Clone, Copy, Default)]
pub(super) struct Spending {
    /// Energy of the processor; `None` where the machine does not tell.
    joules: Option<f64>,
    work: Work,
}

impl Spending {
    /// Adds what was spent later.
    pub(super) fn add(&mut self, later: Self) {
        self.joules = later.joules.map(|joules| joules + self.joules.unwrap_or(0.0)).or(self.joules);
        self.work = self.work.plus(later.work);
    }
}

impl Session<'_> {
    /// What was spent since the last call.
    pub(super) fn spending(&mut self) -> Spending {
        let now = self.run.engine.work();
        let work = now.less(self.worked);
        self.worked = now;
        Spending { joules: self.meter.joules(), work }
    }

    /// Counts the time and the work since the last unit of work as the arm's, where they end in no stored experiment.
    /// Returns the seconds.
    pub(super) fn spent(&mut self, family: Family) -> Result<f64, Error> {
        let seconds = self.lap();
        self.ended(seconds)?;
        let spending = self.spending();
        self.put_spending(family, spending)?;
        self.run.store.add_family_seconds(family, seconds)?;
        self.run.store.add_wall_seconds(seconds)?;
        Ok(seconds)
    }

    /// Adds to what an arm has spent.
    pub(super) fn put_spending(&self, family: Family, spending: Spending) -> Result<(), Error> {
        if let Some(joules) = spending.joules {
            self.run.store.add_joules(family, joules)?;
        }
        Ok(self.run.store.add_work(family, spending.work)?)
    }
}
