//! What ends is stored with the time that it took; when the session's own time is over.

use task::record::Experiment;

use super::Session;
use crate::Error;

impl Session<'_> {
    pub(super) fn put(&mut self, experiment: Experiment, planned: f64) -> Result<(), Error> {
        self.put_all(vec![experiment], planned)
    }

    pub(super) fn put_all(&mut self, experiments: Vec<Experiment>, planned: f64) -> Result<(), Error> {
        self.done_seconds += planned;
        let share = self.share();
        let mut seconds = self.lap();
        self.ended(seconds)?;
        let spending = self.spending();
        if let Some(experiment) = experiments.first() {
            self.put_spending(experiment.family, spending)?;
        }
        for experiment in &experiments {
            self.run.store.put_timed(experiment, seconds)?;
            self.run.store.add_wall_seconds(seconds)?;
            seconds = 0.0;
        }
        for experiment in &experiments {
            self.run.observer.stored(experiment, share);
        }
        self.stop_if_over()
    }

    /// Ends the session where its time is over (`stop_after`).
    pub(super) fn stop_if_over(&self) -> Result<(), Error> {
        match self.run.stop_after {
            Some(limit) if self.began.elapsed().as_secs_f64() >= limit => Err(Error::Stopped { limit }),
            _ => Ok(()),
        }
    }

    /// Share of the planned seconds that is behind us.
    pub(super) fn share(&self) -> f64 {
        let mut total: f64 = self.plan.seconds().iter().sum();
        if !self.plan.reserve.is_empty() {
            // What is not planned is spent on the reserve.
            total = total.max(self.run.settings.budget.seconds * (1.0 - self.run.settings.probes.share));
        }
        (self.done_seconds / total.max(1e-9)).min(1.0)
    }

    /// Seconds since the last call.
    pub(super) fn lap(&mut self) -> f64 {
        let now = self.now();
        let seconds = (now - self.lapped).max(0.0);
        self.lapped = now;
        seconds
    }

    /// Seconds on the clock that counts: the engine's own, where it has one, else those of this session.
    pub(super) fn now(&self) -> f64 {
        self.run.engine.clock().unwrap_or_else(|| self.began.elapsed().as_secs_f64())
    }
}
