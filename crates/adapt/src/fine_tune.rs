//! The fine-tuning arm: LoRA and full fine-tuning, scored on dev while they run, the best epoch kept.

use std::collections::BTreeMap;
use std::path::Path;
use std::time::Instant;

use serde_json::Value;
use task::dataset::Dataset;
use task::example::Example;
use task::predictor::{
    Control, EpochReport, OptimizerSettings, PredictError, Predictor, Trainer, TrainingJob, TrainingRow,
    Tuned, Wanted,
};
use task::record::{Answer, Experiment, Family, Part, Prediction, Setup, TimedRequest};

use crate::Error;
use crate::answering::{Answers, answer, one_by_one};
use crate::hybrid;
use crate::plan::{TuneTrial, evaluated_epochs};
use crate::recipe::adaptation_name;
use crate::selection;
use crate::writer::{PromptWriter, examples, inputs, label_count};

/// Evaluations without a better mean score on dev after which a training stops.
const PATIENCE: usize = 2;

/// The arm on one task.
pub(crate) struct FineTune<'a> {
    pub(crate) writer: &'a PromptWriter,
    pub(crate) dataset: &'a Dataset,
    /// Label indices of the training examples.
    pub(crate) targets: &'a [usize],
    /// How the optimiser steps.
    pub(crate) optimizer: OptimizerSettings,
}

/// The name of a training run: `fine_tune/lora/n64/lr0.001/s0`, with a searched recipe
/// `fine_tune/lora_recipe/n64/dora-r4-all/lr0.001/s0`.
pub(crate) fn name(trial: &TuneTrial, learning_rate: f64) -> String {
    let (method, labels, seed) = (trial.method_name(), trial.labels, trial.seed);
    let recipe = if trial.searched { adaptation_name(trial.method) + "/" } else { String::new() };
    format!("fine_tune/{method}/n{labels}/{recipe}lr{learning_rate}/s{seed}")
}

/// The rows of a step, and what else of the optimiser is not as by default.
fn optimizer_facts(optimizer: &OptimizerSettings) -> Vec<(String, Value)> {
    let facts = |of: &OptimizerSettings| serde_json::to_value(of).unwrap_or_default();
    let (own, default) = (facts(optimizer), facts(&OptimizerSettings::default()));
    let named = own.as_object().into_iter().flatten();
    let told = named.filter(|(name, value)| *name == "batch_rows" || default.get(*name) != Some(*value));
    told.map(|(name, value)| (name.clone(), value.clone())).collect()
}

/// One training, whatever it is for.
pub(crate) struct Training<'t> {
    /// Without the part behind `@`.
    pub(crate) name: String,
    pub(crate) family: Family,
    pub(crate) method: &'t str,
    /// Labelled examples that it could see.
    pub(crate) labels: usize,
    pub(crate) job: TrainingJob,
    /// The demonstrations before every request; none where the query is asked alone.
    pub(crate) shown: Vec<&'t Example>,
    /// Where the weights are kept; `None` where only the answers are wanted.
    pub(crate) folder: Option<&'t Path>,
}

/// The dev answers of the best epoch so far.
struct Best {
    epoch: usize,
    score: f64,
    answers: Answers,
}

impl FineTune<'_> {
    /// Trains at `learning_rate`, keeps the epoch with the best mean score on dev, and saves what would be shipped in `folder`.
    /// A training that diverges is a result too: an experiment without answers, marked as collapsed.
    pub(crate) fn on_dev(
        &self,
        trial: &TuneTrial,
        learning_rate: f64,
        trainer: &dyn Trainer,
        folder: &Path,
    ) -> Result<Experiment, Error> {
        let training = Training {
            name: name(trial, learning_rate),
            family: Family::FineTune,
            method: trial.method_name(),
            labels: trial.labels,
            job: self.job(trial, learning_rate)?,
            shown: Vec::new(),
            folder: Some(folder),
        };
        self.run(&training, trainer)
    }

    /// As [`FineTune::on_dev`], for any training.
    pub(crate) fn run(&self, training: &Training<'_>, trainer: &dyn Trainer) -> Result<Experiment, Error> {
        let name = &training.name;
        let started = Instant::now();
        let mut best: Option<Best> = None;
        let mut losses: Vec<f64> = Vec::new();
        let outcome = self.train(training, trainer, &mut best, &mut losses);
        let seconds = started.elapsed().as_secs_f64();
        let mut experiment = self.blank(training);
        let fell = losses.len() < 2 || losses.last() < losses.first();
        experiment.configuration.insert("epoch_losses".to_owned(), losses.into());
        match (outcome, best) {
            (Ok(tuned), Some(best)) => {
                let (tokens, flops) = tuned.cost();
                if let Some(folder) = training.folder {
                    experiment.artefact = Some(tuned.save(folder).map_err(Error::model(name))?);
                }
                experiment.configuration.insert("best_epoch".to_owned(), best.epoch.into());
                experiment.setup = Setup { seconds, tokens, flops };
                fill(&mut experiment, best.answers, self.dataset);
                if experiment.collapse.is_none() && !fell && at_chance(&experiment, self.dataset) {
                    experiment.collapse = Some("answers at chance, and the loss did not fall".to_owned());
                }
            }
            (Err(error), _) if error.downcast_ref::<Error>().is_some_and(Error::is_metric) => {
                return Err(Error::model(name)(error));
            }
            (Err(error), _) => {
                experiment.collapse = Some(error.to_string());
                experiment.setup = Setup { seconds, ..Setup::default() };
            }
            (Ok(_), None) => experiment.collapse = Some("no epoch was scored".to_owned()),
        }
        Ok(experiment)
    }

    /// Answers test with the weights that `chosen` saved, read back as `tuned`.
    pub(crate) fn on_test(&self, chosen: &Experiment, tuned: &mut dyn Tuned) -> Result<Experiment, Error> {
        let id = format!("{}@test", chosen.id.trim_end_matches("@dev"));
        let shown = self.shown(chosen);
        let answers =
            self.answer(Part::Test, &shown, tuned.predictor().as_mut()).map_err(Error::model(&id))?;
        let mut experiment = Experiment { id, part: Part::Test, ..chosen.clone() };
        fill(&mut experiment, answers, self.dataset);
        Ok(experiment)
    }

    /// Requests for `inputs`, sent one by one to `tuned`.
    pub(crate) fn timed(
        &self,
        id: &str,
        inputs: &[&str],
        tuned: &mut dyn Tuned,
        until: Instant,
    ) -> Result<Vec<TimedRequest>, Error> {
        let prompts = self.writer.tuned_prompts(inputs)?;
        one_by_one(self.writer, &prompts, Wanted::BEST, tuned.predictor().as_mut(), until)
            .map_err(Error::model(id))
    }

    /// The demonstrations before every request of a stored experiment.
    pub(crate) fn shown(&self, chosen: &Experiment) -> Vec<&Example> {
        let shots = chosen.shots.filter(|_| chosen.family == Family::Hybrid).unwrap_or(0);
        hybrid::demonstrations(self.dataset, self.targets, shots)
    }

    pub(crate) fn job(&self, trial: &TuneTrial, learning_rate: f64) -> Result<TrainingJob, Error> {
        Ok(TrainingJob {
            rows: self.rows(trial.labels, trial.seed)?,
            weights: Vec::new(),
            method: trial.method,
            learning_rate,
            epochs: trial.epochs,
            optimizer: self.optimizer,
            seed: trial.seed,
        })
    }

    /// So many rows, as labelled under `seed`.
    pub(crate) fn rows(&self, count: usize, seed: u64) -> Result<Vec<TrainingRow>, Error> {
        let chosen = selection::nested_subset(self.targets, label_count(self.dataset), count, seed);
        chosen.into_iter().map(|index| self.writer.training_row(&self.dataset.train[index])).collect()
    }

    fn train<'t>(
        &self,
        training: &Training<'_>,
        trainer: &'t dyn Trainer,
        best: &mut Option<Best>,
        losses: &mut Vec<f64>,
    ) -> Result<Box<dyn Tuned + 't>, PredictError> {
        let job = &training.job;
        let marks = evaluated_epochs(job.epochs);
        let mut without_gain = 0;
        trainer.train(job, &mut |report: EpochReport, predictor| {
            losses.push(report.loss);
            if !marks.contains(&report.epoch) {
                return Ok(Control::Continue);
            }
            let answers = self.answer(Part::Dev, &training.shown, predictor)?;
            let score = answers.predictions.iter().map(Prediction::score).sum::<f64>();
            // An equal later epoch is preferred: it saw a lower learning rate.
            if best.as_ref().is_none_or(|holder| score >= holder.score) {
                without_gain = if best.as_ref().is_none_or(|holder| score > holder.score) {
                    0
                } else {
                    without_gain + 1
                };
                *best = Some(Best { epoch: report.epoch, score, answers });
                return Ok(if without_gain >= PATIENCE { Control::KeepAndStop } else { Control::Keep });
            }
            without_gain += 1;
            Ok(if without_gain >= PATIENCE { Control::Stop } else { Control::Continue })
        })
    }

    /// The answers of `predictor`, asked as a tuned model is: after the demonstrations `shown`, where it was tuned after some.
    pub(crate) fn answer(
        &self,
        part: Part,
        shown: &[&Example],
        predictor: &mut dyn Predictor,
    ) -> Result<Answers, PredictError> {
        let items = examples(self.dataset, part);
        let prompts = if shown.is_empty() {
            self.writer.tuned_prompts(&inputs(items))?
        } else {
            self.writer.prompts(shown, &inputs(items))?
        };
        answer(self.writer, self.dataset, items, &prompts, predictor)
    }

    fn blank(&self, training: &Training<'_>) -> Experiment {
        let job = &training.job;
        let mut configuration = BTreeMap::from([
            ("learning_rate".to_owned(), job.learning_rate.into()),
            ("epochs".to_owned(), job.epochs.into()),
            ("adaptation".to_owned(), serde_json::to_value(job.method).unwrap_or_default()),
        ]);
        configuration.extend(optimizer_facts(&job.optimizer));
        Experiment {
            id: format!("{}@dev", training.name),
            family: training.family,
            method: training.method.to_owned(),
            labels_used: training.labels,
            shots: (!training.shown.is_empty()).then_some(training.shown.len()),
            seed: Some(job.seed),
            configuration,
            part: Part::Dev,
            predictions: Vec::new(),
            tokens: Default::default(),
            setup: Setup::default(),
            seconds_per_request: 0.0,
            artefact: None,
            collapse: None,
            calls: Default::default(),
        }
    }
}

/// Whether no more labels are right than guessing among all of them would have.
fn at_chance(experiment: &Experiment, dataset: &Dataset) -> bool {
    let labels = dataset.labels.len();
    labels > 1 && experiment.mean_score() <= 1.0 / labels as f64
}

/// Puts answers and their cost into `experiment`, and marks a run that gives one answer to everything.
fn fill(experiment: &mut Experiment, answers: Answers, dataset: &Dataset) {
    let items = answers.predictions.len().max(1) as f64;
    let Answers { predictions, usage, sha256 } = answers;
    experiment.calls.sha256 = sha256;
    experiment.tokens = usage.tokens;
    experiment.seconds_per_request = (usage.seconds - usage.shared_seconds) / items;
    let targets = examples(dataset, experiment.part);
    let differ = targets.iter().any(|example| example.target != targets[0].target);
    let same = predictions.windows(2).all(|pair| is_same(&pair[0].answer, &pair[1].answer));
    if same && differ {
        let noun = if dataset.labels.is_empty() { "answer" } else { "label" };
        experiment.collapse = Some(format!("one {noun} for every input"));
    }
    experiment.predictions = predictions;
}

/// Whether two answers say the same.
fn is_same(one: &Answer, other: &Answer) -> bool {
    match (one, other) {
        (Answer::Label { predicted, .. }, Answer::Label { predicted: second, .. }) => predicted == second,
        (Answer::Text { text, .. }, Answer::Text { text: second, .. }) => text == second,
        _ => false,
    }
}
