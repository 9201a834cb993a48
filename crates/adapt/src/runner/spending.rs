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

    /// Adds to what an arm has spent.
    pub(super) fn put_spending(&self, family: Family, spending: Spending) -> Result<(), Error> {
        if let Some(joules) = spending.joules {
            self.run.store.add_joules(family, joules)?;
        }
        Ok(self.run.store.add_work(family, spending.work)?)
    }
}
