//! Combinations of both arms, once dev has chosen the best prompt.

use task::predictor::TrainingJob;
use task::record::{Experiment, Family};
use task::settings::HybridMethod;

use super::Session;
use crate::Error;
use crate::choice;
use crate::fine_tune::Training;
use crate::hybrid::{self, HybridTrial, Teacher};
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
        let method = method_name(trial.adaptation);
        let learning_rate = match trial.method {
            HybridMethod::VirtualTokens => Some(hybrid::VIRTUAL_RATE),
            _ => choice::learning_rate(&dev, method, trial.labels),
        };
        let Some(learning_rate) = learning_rate else { return Ok(None) };
        let name = trial.name();
        let folder = self.folder(&name)?;
        let arm = self.fine_tune();
        let mut job = TrainingJob {
            rows: Vec::new(),
            weights: Vec::new(),
            method: trial.adaptation,
            learning_rate,
            epochs: trial.epochs,
            batch_rows: arm.batch_rows,
            seed: 0,
        };
        if trial.method != HybridMethod::Distilled {
            job.rows = match trial.method {
                HybridMethod::FewShot => {
                    hybrid::few_shot_rows(self.writer, self.run.dataset, self.targets, trial)?
                }
                _ => arm.rows(trial.labels, 0)?,
            };
            let training = Training {
                name,
                family: Family::Hybrid,
                method: trial.method_name(),
                labels: trial.labels,
                job,
                shown: hybrid::demonstrations(self.run.dataset, self.targets, trial.shots),
                folder: Some(&folder),
            };
            return arm.run(&training, self.run.engine).map(Some);
        }
        let Some(prompted) = choice::finalist(&dev, Family::InContext) else { return Ok(None) };
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
        let lessons = teacher.lessons(trial.labels, self.run.engine.base().as_mut())?;
        if lessons.rows.is_empty() {
            return Ok(None);
        }
        (job.rows, job.weights) = (lessons.rows, lessons.weights);
        let training = Training {
            name,
            family: Family::Hybrid,
            method: trial.method_name(),
            // The labels that the prompt needed.
            labels: prompted.labels_used,
            job,
            shown: Vec::new(),
            folder: Some(&folder),
        };
        let mut experiment = arm.run(&training, self.run.engine)?;
        experiment.setup.tokens += lessons.tokens;
        experiment.setup.flops += self.run.engine.base().forward_flops(lessons.tokens);
        experiment.configuration.insert("teacher".to_owned(), prompted.id.clone().into());
        experiment.configuration.insert("unlabelled_inputs".to_owned(), lessons.inputs.into());
        Ok(Some(experiment))
    }
}
