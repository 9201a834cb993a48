//! The finalists again with a share of their labels flipped: how much clean labels matter to each arm.
//!
//! Only what the arms learn from is flipped (training rows and demonstrations); dev and test stay as they are. The rows are
//! chosen by a hash, so that those of a smaller share are among those of a larger one, and a flipped row takes the target of
//! the next row whose target is another one.

use eval::sequential::looking_order;
use task::dataset::Dataset;
use task::record::{Experiment, Family, Finalists, NoisyRun};
use task::settings::Calibration;

use super::{Session, on_test};
use crate::Error;
use crate::fine_tune::FineTune;
use crate::in_context::InContext;
use crate::plan::{LearningRate, TuneTrial, method_name};
use crate::recipe::SEARCHED;
use crate::writer::target_index;

impl Session<'_> {
    /// Runs what `probes.label_noise` asks for, on the items of `seen`.
    pub(super) fn label_noise(
        &mut self,
        chosen: &[Experiment],
        finalists: &Finalists,
        seen: &Dataset,
    ) -> Result<(), Error> {
        for rate in self.run.settings.probes.label_noise.clone() {
            let noisy = flipped(seen, rate);
            for id in [&finalists.in_context, &finalists.fine_tune] {
                let Some(own) = chosen.iter().find(|experiment| on_test(&experiment.id) == *id) else {
                    continue;
                };
                let name = format!("{}/noise{rate}", own.id.trim_end_matches("@dev"));
                if self.run.store.has_noisy_run(&on_test(&name))? {
                    continue;
                }
                self.stop_if_wanted()?;
                self.run.observer.started(&name);
                if let Some(experiment) = self.noisy(own, &noisy, &name)? {
                    self.run.store.put_noisy_run(&NoisyRun { rate, experiment })?;
                }
                let seconds = self.lap();
                self.run.store.add_wall_seconds(seconds)?;
            }
        }
        Ok(())
    }

    /// The configuration of `own`, learnt from `noisy` data; `None` where the training broke down.
    fn noisy(&self, own: &Experiment, noisy: &Dataset, name: &str) -> Result<Option<Experiment>, Error> {
        let targets: Vec<usize> = noisy.train.iter().map(|example| target_index(noisy, example)).collect();
        let mut experiment = if own.family == Family::FineTune {
            let arm = FineTune { dataset: noisy, targets: &targets, ..self.fine_tune() };
            let Some((trial, rate)) = self.tune_trial(own) else { return Ok(None) };
            let folder = self.folder(name)?;
            let dev = arm.on_dev(&trial, rate, self.run.engine, &folder)?;
            let test = match dev.artefact {
                Some(_) => {
                    let mut tuned = self.run.engine.load(&folder).map_err(Error::model(&on_test(name)))?;
                    Some(arm.on_test(&dev, tuned.as_mut())?)
                }
                None => None,
            };
            if folder.is_dir() {
                std::fs::remove_dir_all(&folder)
                    .map_err(|source| task::Error::Io { path: folder.clone(), source })?;
            }
            let Some(test) = test else { return Ok(None) };
            test
        } else {
            let trial = self.trial(own)?;
            let calibration = own.setting("calibration").unwrap_or(Calibration::None);
            let (order, writer) = (self.run.settings.in_context.order, self.writer.of(own, noisy)?);
            let arm = InContext::new(&writer, noisy, &targets, order, self.embedder);
            let mut base = self.run.engine.base();
            let Some(dev) = arm.on_dev(&trial, &[calibration], base.as_mut())?.pop() else { return Ok(None) };
            arm.on_test(&trial, &dev, base.as_mut())?
        };
        experiment.id = on_test(name);
        experiment.artefact = None;
        Ok(Some(experiment))
    }

    /// The training run of a stored experiment.
    fn tune_trial(&self, own: &Experiment) -> Option<(TuneTrial, f64)> {
        let rate = own.setting("learning_rate")?;
        if own.method == SEARCHED {
            let trial = self
                .plan
                .search
                .as_ref()?
                .follow
                .iter()
                .find(|trial| trial.labels == own.labels_used && Some(trial.seed) == own.seed)?;
            let method = own.setting("adaptation")?;
            return Some((TuneTrial { method, ..*trial }, rate));
        }
        let same = |trial: &&TuneTrial| {
            method_name(trial.method) == own.method
                && trial.labels == own.labels_used
                && Some(trial.seed) == own.seed
                && match trial.learning_rate {
                    LearningRate::Candidate(candidate) => candidate == rate,
                    LearningRate::Best => true,
                }
        };
        self.plan.tunes.iter().find(same).map(|trial| (*trial, rate))
    }
}

/// `dataset` with the share `rate` of its training rows flipped.
fn flipped(dataset: &Dataset, rate: f64) -> Dataset {
    let mut noisy = dataset.clone();
    let rows = dataset.train.len();
    let ids: Vec<&str> = dataset.train.iter().map(|example| example.id.as_str()).collect();
    let wanted = (rate * rows as f64).round() as usize;
    for row in looking_order(&ids, "label noise").into_iter().take(wanted) {
        let own = &dataset.train[row].target;
        let other =
            (1..rows).map(|step| &dataset.train[(row + step) % rows].target).find(|other| *other != own);
        if let Some(other) = other {
            noisy.train[row].target.clone_from(other);
        }
    }
    noisy
}

#[cfg(test)]
mod tests {
    use task::dataset::{Source, Sources};
    use task::settings::Settings;

    use super::*;

    #[test]
    fn a_share_is_flipped_and_a_larger_one_holds_it() {
        let lines: Vec<String> = (0..300)
            .map(|row| {
                format!(
                    "{{\"text\": \"row {row} {}\", \"label\": \"{}\"}}",
                    row * 7919,
                    ["a", "b", "c"][row % 3]
                )
            })
            .collect();
        let text = lines.join("\n");
        let settings = Settings::from_str("[data]\nnear_duplicates = false", std::path::Path::new(""));
        let settings = settings.expect("is a task file");
        let sources =
            Sources { train: vec![Source::bytes("rows.jsonl", text.as_bytes())], ..Sources::default() };
        let dataset = Dataset::from_sources(&settings, sources).expect("are rows");
        let changed = |noisy: &Dataset| -> Vec<usize> {
            (0..dataset.train.len()).filter(|&row| noisy.train[row] != dataset.train[row]).collect()
        };
        let (some, more) = (changed(&flipped(&dataset, 0.1)), changed(&flipped(&dataset, 0.2)));
        assert_eq!(some.len(), (0.1 * dataset.train.len() as f64).round() as usize);
        assert!(some.iter().all(|row| more.contains(row)) && more.len() > some.len());
        let noisy = flipped(&dataset, 0.2);
        assert!(noisy.dev == dataset.dev && noisy.test == dataset.test);
        assert!(more.iter().all(|&row| dataset.labels.contains(&noisy.train[row].target)));
    }
}
