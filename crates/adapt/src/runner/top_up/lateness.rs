//! Planned trials that come too late are put off to the reserve.

use task::record::Family;
use task::search_budget::SearchBudget;
use task::store::SEARCH_BUDGET;

use super::super::Session;
use crate::Error;
use crate::plan::{Extra, PromptTrial, TuneTrial, describe};

/// By so much of it an arm's planned trials may go beyond its share. Where one arm takes 1.05 shares, 0.95 are left for the other one,
/// which is a tenth less: half of the tolerance, the rest is for trials that come in whole pieces.
const LATE: f64 = 0.05;

impl Session<'_> {
    /// Whether a planned trial, of estimated seconds of search and of test, would take its arm too far beyond its share. What the arm
    /// has planned after it does not count: it may be put off in its turn.
    fn is_late(&self, family: Family, kind: &str, estimate: [f64; 2]) -> Result<bool, Error> {
        let Some(mut standing) = self.standing()? else { return Ok(false) };
        let arm = usize::from(family == Family::FineTune);
        let rate = self.pace()?.rate(family, kind);
        let [search, test] = estimate.map(|seconds| seconds * rate);
        standing.pending[arm] = test;
        Ok(standing.searched[arm] + search > (1.0 + LATE) * standing.share())
    }

    /// Whether no time is left for a training with the recipe that was found.
    pub(in crate::runner) fn is_too_late(&self, trial: &TuneTrial) -> Result<bool, Error> {
        if !self.run.settings.budget.top_up {
            return Ok(false);
        }
        Ok(self.has_ended()? || self.is_late(Family::FineTune, trial.method_name(), self.estimate(trial))?)
    }

    /// Puts a planned prompt off where it comes too late: it goes to the front of the reserve.
    pub(in crate::runner) fn put_off_prompt(&mut self, trial: &PromptTrial) -> Result<bool, Error> {
        let estimate = [trial.dev_seconds, trial.test_seconds];
        let first = self.plan.prompts.first().is_none_or(|first| first == trial);
        if first
            || self.is_settled(&trial.name())?
            || !self.is_late(Family::InContext, trial.method(), estimate)?
        {
            return Ok(false);
        }
        self.plan.prompts.retain(|one| one != trial);
        self.put_off(Family::InContext, Extra::Prompt(*trial))
    }

    /// The same for a training.
    pub(in crate::runner) fn put_off_training(&mut self, trial: &TuneTrial) -> Result<bool, Error> {
        let first = self.plan.tunes.first().is_none_or(|first| first == trial);
        // What a search or a second try trains is no trial of its own.
        if first
            || !self.plan.tunes.contains(trial)
            || self.is_settled(&describe(trial))?
            || !self.is_late(Family::FineTune, trial.method_name(), self.estimate(trial))?
        {
            return Ok(false);
        }
        self.plan.tunes.retain(|one| one != trial);
        self.put_off(Family::FineTune, Extra::Training(*trial))
    }

    /// Puts a trial behind those of its arm that were put off before it.
    fn put_off(&mut self, family: Family, extra: Extra) -> Result<bool, Error> {
        let name = extra.describe();
        let before = self.plan.put_off.iter().filter(|name| name.starts_with(family.name())).count();
        let reserve = self.plan.reserve.of_mut(family);
        reserve.insert(before.min(reserve.len()), extra);
        self.run.observer.noted(&format!("put off, the arm is late: {name}"));
        self.plan.put_off.push(name);
        self.run.store.set_fact("plan", &self.plan)?;
        Ok(true)
    }

    /// Whether nothing is to be decided about a trial any more: it has run, it was taken from the reserve, there is none, or the
    /// search has ended.
    fn is_settled(&self, name: &str) -> Result<bool, Error> {
        Ok(!self.run.settings.budget.top_up
            || self.plan.added.iter().any(|added| added == name)
            || self.pace()?.has(name)
            || self.has_ended()?)
    }

    pub(super) fn has_ended(&self) -> Result<bool, Error> {
        Ok(self.run.store.fact::<SearchBudget>(SEARCH_BUDGET)?.is_some()
            || self.run.store.finalists()?.is_some())
    }
}
