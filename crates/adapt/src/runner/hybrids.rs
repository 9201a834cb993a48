//! Combinations of both arms, once dev has chosen the best prompt.

use task::predictor::TrainingJob;
use task::record::{Experiment, Family};
use task::settings::HybridMethod;

use super::Session;
use crate::Error;
use crate::choice;
use crate::fine_tune::Training;
use crate::hybrid::{self, HybridTrial, Lessons, Teacher};
use crate::plan::method_name;

impl Session<'_> {
    pub(super) fn hybrids(&mut self) -> Result<(), Error> {
        for trial in self.plan.hybrids.clone() {
            let name = trial.name();
            let failed = self.run.store.fact::<String>(&format!("failed/{name}"))?.is_some();
            if failed || self.run.store.contains(&format!("{name}@dev"))? {
                continue;
            }
            self.stop_if_wanted()?;
            self.run.observer.started(&name);
            match self.hybrid(&trial) {
                Ok(Some(experiment)) => {
                    if let Some(reason) = &experiment.collapse {
                        self.run.observer.noted(&format!("{name} collapsed: {reason}"));
                    }
                    self.put(experiment, 0.0)?;
                }
                Ok(None) => {}
                Err(error) if error.is_metric() => return Err(error),
                Err(error) => self.failed(&name, &error, Family::Hybrid)?,
            }
        }
        Ok(())
    }

    fn hybrid(&self, trial: &HybridTrial) -> Result<Option<Experiment>, Error> {
        let dev = self.run.store.experiments()?;
        let learning_rate = match trial.method {
            HybridMethod::VirtualTokens => Some(hybrid::VIRTUAL_RATE),
            _ => choice::learning_rate(&dev, method_name(trial.adaptation), trial.labels),
        };
        let Some(learning_rate) = learning_rate else { return Ok(None) };
        let arm = self.fine_tune();
        let (mut lessons, mut teacher) = (Lessons::default(), None);
        match trial.method {
            HybridMethod::Distilled => {
                teacher = choice::finalist(&dev, Family::InContext);
                let Some(prompted) = teacher else { return Ok(None) };
                lessons = self.lessons(prompted, trial.labels)?;
            }
            HybridMethod::FewShot => {
                lessons.rows = hybrid::few_shot_rows(self.writer, self.run.dataset, self.targets, trial)?;
            }
            HybridMethod::VirtualTokens | HybridMethod::None => lessons.rows = arm.rows(trial.labels, 0)?,
        }
        if lessons.rows.is_empty() {
            return Ok(None);
        }
        let folder = self.folder(&trial.name())?;
        let training = Training {
            name: trial.name(),
            family: Family::Hybrid,
            method: trial.method_name(),
            // A distilled adapter needs the labels that its prompt needed.
            labels: teacher.map_or(trial.labels, |prompted| prompted.labels_used),
            job: TrainingJob {
                rows: lessons.rows,
                weights: lessons.weights,
                method: trial.adaptation,
                learning_rate,
                epochs: trial.epochs,
                optimizer: arm.optimizer,
                seed: 0,
            },
            shown: hybrid::demonstrations(self.run.dataset, self.targets, trial.shots),
            folder: Some(&folder),
        };
        let mut experiment = arm.run(&training, self.run.engine)?;
        if let Some(prompted) = teacher {
            experiment.setup.tokens += lessons.tokens;
            experiment.setup.flops += self.run.engine.base().forward_flops(lessons.tokens);
            experiment.configuration.insert("teacher".to_owned(), prompted.id.clone().into());
            experiment.configuration.insert("unlabelled_inputs".to_owned(), lessons.inputs.into());
        }
        Ok(Some(experiment))
    }

    /// What the prompt of `prompted` answers to at most `wanted` training inputs.
    fn lessons(&self, prompted: &Experiment, wanted: usize) -> Result<Lessons, Error> {
        let prompt = self.trial(prompted)?;
        let wording = self.writer_of(&prompt)?;
        let teacher = Teacher {
            writer: self.writer,
            wording: &wording,
            engine: self.run.engine,
            dataset: self.run.dataset,
            targets: self.targets,
            order: self.run.settings.in_context.order,
            trial: prompt,
            prompted,
        };
        teacher.lessons(wanted)
    }
}
