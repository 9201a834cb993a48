//! Where both arms' search stands.

use eval::budget::EVEN;
use task::record::{Experiment, Family, Part};

use super::super::Session;
use super::ARMS;
use crate::Error;
use crate::choice;
use crate::plan::{Measured, describe, forward_tokens, test_seconds};

/// By so much of it the budget may be exceeded where that makes uneven arms even.
const CATCH_UP: f64 = 0.05;

/// Where the search stands.
pub(super) struct Standing {
    pub(super) measured: Measured,
    /// What both arms may take together, test included.
    pub(super) budget: f64,
    /// Seconds of each arm until now.
    pub(super) searched: [f64; 2],
    /// Seconds that each arm's answers to test will take, by what has run.
    pub(super) test: [f64; 2],
    /// The same for what is planned and has not run.
    pub(super) pending: [f64; 2],
    pub(super) dev: Vec<Experiment>,
}

impl Standing {
    /// Seconds that either arm may search.
    pub(super) fn share(&self) -> f64 {
        ((self.budget - self.test.iter().chain(&self.pending).sum::<f64>()) / 2.0).max(0.0)
    }

    /// Seconds that nobody has used.
    pub(super) fn left(&self) -> f64 {
        self.budget - self.searched.iter().chain(&self.test).chain(&self.pending).sum::<f64>()
    }

    /// Seconds that an arm may still take, test included: what is left, and a little more where it is too far behind.
    pub(super) fn room(&self, arm: usize) -> f64 {
        let behind = self.searched[arm] < (1.0 - EVEN) * self.searched[1 - arm];
        self.left() + if behind { CATCH_UP * self.budget } else { 0.0 }
    }

    /// Seconds that an arm may take before the other one falls too far behind: half of the tolerance, the rest is for estimates.
    pub(super) fn even(&self, arm: usize) -> f64 {
        self.searched[1 - arm] / (1.0 - EVEN / 2.0) - self.searched[arm]
    }

    /// Whether an arm of so many seconds is not too far behind one of others, by the same half of the tolerance.
    pub(super) fn is_even(behind: f64, ahead: f64) -> bool {
        behind >= (1.0 - EVEN / 2.0) * ahead
    }
}

impl Session<'_> {
    /// Estimated time of an experiment's request of test over that of dev.
    fn test_over_dev(&self, experiment: &Experiment, measured: &Measured) -> f64 {
        self.plan.prompt_of(experiment).map_or(1.0, |trial| {
            let [dev, test] = forward_tokens(&self.wishes, measured, trial.selection, trial.shots);
            test / dev
        })
    }

    /// Where the search stands; `None` for runs of versions that kept no measurements.
    pub(super) fn standing(&self) -> Result<Option<Standing>, Error> {
        let Some(measured) = self.measured else { return Ok(None) };
        let (_, seconds) = self.run.store.seconds()?;
        let searched = ARMS.map(|family| seconds.get(family.name()).copied().unwrap_or(0.0));
        let dev: Vec<Experiment> =
            self.run.store.experiments()?.into_iter().filter(|one| one.part == Part::Dev).collect();
        let items = self.run.dataset.test.len() as f64;
        let chosen = choice::semifinalists(&dev);
        let test = ARMS.map(|family| {
            chosen
                .iter()
                .filter(|one| one.family == family)
                .map(|one| one.seconds_per_request * items * self.test_over_dev(one, &measured))
                .sum::<f64>()
        });
        // What is planned and has not run will be answered on test as well.
        let pace = self.pace()?;
        let prompts = self.plan.prompts.iter().filter(|trial| !trial.unlisted && !pace.has(&trial.name()));
        let prompts = prompts.map(|trial| trial.test_seconds * pace.rate(Family::InContext, trial.method()));
        let tunes = self.plan.tunes.iter().filter(|trial| !pace.has(&describe(trial))).map(|trial| {
            test_seconds(&self.wishes, &measured) * pace.rate(Family::FineTune, trial.method_name())
        });
        let pending = [prompts.sum::<f64>(), tunes.sum::<f64>()];
        let hybrids: f64 = self.plan.hybrids.iter().map(|trial| trial.seconds).sum();
        let budget = (self.wishes.budget - hybrids).max(0.0);
        Ok(Some(Standing { measured, budget, searched, test, pending, dev }))
    }
}
