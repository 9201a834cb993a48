//! The trials on dev: floors, prompts and trainings of the plan, and what is searched for and topped up.

use task::record::Family;

use super::Session;
use crate::Error;
use crate::choice;
use crate::fine_tune;
use crate::floor_arm::FloorArm;
use crate::in_context::{self, calibration_name};
use crate::plan::{LearningRate, PromptTrial, TuneTrial, describe};

impl Session<'_> {
    pub(super) fn dev(&mut self) -> Result<(), Error> {
        self.floors()?;
        for trial in self.plan.prompts.clone().iter().filter(|trial| !trial.searched) {
            self.prompt_on_dev(trial)?;
        }
        self.search_prompt()?;
        for trial in self.plan.tunes.clone() {
            self.tune_on_dev(&trial)?;
        }
        self.search_recipe()?;
        self.top_up()?;
        self.hybrids()
    }

    fn floors(&mut self) -> Result<(), Error> {
        let arm = FloorArm::new(self.run.dataset, self.targets, self.writer);
        for plan in arm.plan(&self.run.settings.fine_tune.labels) {
            if !self.run.store.contains(&format!("{}@dev", plan.name()))? {
                self.stop_if_wanted()?;
                self.run.observer.started(&plan.name());
                let experiment = arm.on_dev(&plan)?;
                self.put(experiment, 0.0)?;
            }
        }
        Ok(())
    }

    pub(super) fn prompt_on_dev(&mut self, trial: &PromptTrial) -> Result<(), Error> {
        let calibrations = &self.run.settings.in_context.calibration;
        let mut stored = true;
        for calibration in calibrations.iter().copied().filter(|&c| in_context::applies(c, trial.selection)) {
            let id = format!("{}/{}@dev", trial.name(), calibration_name(calibration));
            stored &= self.run.store.contains(&id)?;
        }
        if stored || self.run.store.fact::<String>(&format!("failed/{}", trial.name()))?.is_some() {
            self.done_seconds += trial.dev_seconds;
            return Ok(());
        }
        if self.put_off_prompt(trial)? {
            return Ok(());
        }
        self.stop_if_wanted()?;
        self.run.observer.started(&trial.name());
        let share = trial.dev_seconds;
        self.begins(Family::InContext, trial.method(), &trial.name(), share);
        let writer = self.writer_of(trial)?;
        let arm = self.in_context(&writer);
        let outcome = arm.on_dev(trial, calibrations, self.run.engine.base().as_mut());
        match outcome {
            Ok(mut experiments) => {
                if trial.unlisted {
                    experiments.iter_mut().for_each(choice::mark_unlisted);
                }
                self.put_all(experiments, share)
            }
            Err(error) if error.is_metric() => Err(error),
            Err(error) => self.failed(&trial.name(), &error, Family::InContext),
        }
    }

    pub(super) fn tune_on_dev(&mut self, trial: &TuneTrial) -> Result<(), Error> {
        let method = trial.method_name();
        let rate = match trial.learning_rate {
            LearningRate::Candidate(rate) => Some(rate),
            LearningRate::Best => choice::learning_rate(&self.run.store.experiments()?, method, trial.labels),
        };
        let Some(rate) = rate else { return Ok(()) };
        self.train_on_dev(trial, rate)
    }

    /// One training run, and where it collapses and no smaller rate is planned there, another one at a third of its rate: both are
    /// stored and counted.
    pub(super) fn train_on_dev(&mut self, trial: &TuneTrial, rate: f64) -> Result<(), Error> {
        let name = fine_tune::name(trial, rate);
        if self.run.store.contains(&format!("{name}@dev"))? {
            self.done_seconds += trial.seconds;
            return self.train_again(trial, rate);
        }
        if self.put_off_training(trial)? {
            return Ok(());
        }
        self.stop_if_wanted()?;
        self.run.observer.started(&name);
        let planned = self.plan.tunes.contains(trial);
        let unit = if planned { describe(trial) } else { name.clone() };
        self.begins(Family::FineTune, trial.method_name(), &unit, self.on_dev(trial));
        let folder = self.folder(&name)?;
        let arm = self.fine_tune();
        let experiment = arm.on_dev(trial, rate, self.run.engine, &folder)?;
        if let Some(reason) = &experiment.collapse {
            self.run.observer.noted(&format!("{name} collapsed: {reason}"));
        }
        self.put(experiment, trial.seconds)?;
        self.train_again(trial, rate)
    }

    /// A prompt trial that cannot run (its demonstrations exceed the context after all) is kept as a fact, not as a result.
    pub(super) fn failed(&mut self, name: &str, error: &Error, family: Family) -> Result<(), Error> {
        self.run.observer.noted(&format!("left out: {error}"));
        self.run.store.set_fact(&format!("failed/{name}"), &error.to_string())?;
        self.spent(family)?;
        Ok(())
    }
}
