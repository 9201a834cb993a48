//! The fine-tuning arm: LoRA and full fine-tuning, scored on dev while they run, the best epoch kept.

use std::collections::BTreeMap;
use std::path::Path;

use task::dataset::Dataset;
use task::predictor::{
    Control, EpochReport, PredictError, Predictor, PromptBatch, Scored, Trainer, TrainingJob, Tuned,
};
use task::prompt::Rendered;
use task::record::{Experiment, Family, Part, Prediction, Setup};

use crate::Error;
use crate::in_context::prediction;
use crate::plan::{TuneTrial, evaluated_epochs, method_name};
use crate::selection;
use crate::writer::{PromptWriter, examples, inputs};

/// Evaluations without a better dev accuracy after which a training stops.
const PATIENCE: usize = 2;

/// The arm on one task.
pub(crate) struct FineTune<'a> {
    pub(crate) writer: &'a PromptWriter,
    pub(crate) dataset: &'a Dataset,
    /// Label indices of the training examples.
    pub(crate) targets: &'a [usize],
    /// Rows in an optimiser step.
    pub(crate) batch_rows: usize,
}

/// The name of a training run: `fine_tune/lora/n64/lr0.001/s0`.
pub(crate) fn name(trial: &TuneTrial, learning_rate: f64) -> String {
    format!("fine_tune/{}/n{}/lr{learning_rate}/s{}", method_name(trial.method), trial.labels, trial.seed)
}

/// The dev answers of the best epoch so far.
struct Best {
    epoch: usize,
    right: usize,
    answers: Answers,
}

/// Answers to one part, and what they took.
struct Answers {
    predictions: Vec<Prediction>,
    scored: Scored,
}

impl FineTune<'_> {
    /// Trains at `learning_rate`, keeps the epoch with the best dev accuracy, and saves what would be shipped in `folder`.
    /// A training that diverges is a result too: an experiment without answers, marked as collapsed.
    pub(crate) fn on_dev(
        &self,
        trial: &TuneTrial,
        learning_rate: f64,
        trainer: &dyn Trainer,
        folder: &Path,
    ) -> Result<Experiment, Error> {
        let name = name(trial, learning_rate);
        let started = std::time::Instant::now();
        let job = self.job(trial, learning_rate)?;
        let mut best: Option<Best> = None;
        let mut losses: Vec<f64> = Vec::new();
        let outcome = self.train(&job, trainer, &mut best, &mut losses);
        let seconds = started.elapsed().as_secs_f64();
        let mut experiment = self.blank(trial, learning_rate, Part::Dev, &format!("{name}@dev"));
        experiment.configuration.insert("epoch_losses".to_owned(), losses.into());
        match (outcome, best) {
            (Ok(tuned), Some(best)) => {
                let (tokens, flops) = tuned.cost();
                experiment.artefact = Some(tuned.save(folder).map_err(Error::model(&name))?);
                experiment.configuration.insert("best_epoch".to_owned(), best.epoch.into());
                experiment.setup = Setup { seconds, tokens, flops };
                fill(&mut experiment, best.answers);
            }
            (Err(error), _) => {
                experiment.collapse = Some(error.to_string());
                experiment.setup = Setup { seconds, ..Setup::default() };
            }
            (Ok(_), None) => experiment.collapse = Some("no epoch was scored".to_owned()),
        }
        Ok(experiment)
    }

    /// Answers test with the weights that `chosen` saved.
    pub(crate) fn on_test(
        &self,
        chosen: &Experiment,
        trainer: &dyn Trainer,
        folder: &Path,
    ) -> Result<Experiment, Error> {
        let id = format!("{}@test", chosen.id.trim_end_matches("@dev"));
        let mut tuned = trainer.load(folder).map_err(Error::model(&id))?;
        let answers = self.answer(Part::Test, tuned.predictor().as_mut()).map_err(Error::model(&id))?;
        let mut experiment = Experiment { id, part: Part::Test, ..chosen.clone() };
        fill(&mut experiment, answers);
        Ok(experiment)
    }

    fn job(&self, trial: &TuneTrial, learning_rate: f64) -> Result<TrainingJob, Error> {
        let labels = self.dataset.labels.len();
        let chosen = selection::nested_subset(self.targets, labels, trial.labels, trial.seed);
        let rows: Result<Vec<_>, Error> =
            chosen.into_iter().map(|index| self.writer.training_row(&self.dataset.train[index])).collect();
        Ok(TrainingJob {
            rows: rows?,
            method: trial.method,
            learning_rate,
            epochs: trial.epochs,
            batch_rows: self.batch_rows,
            seed: trial.seed,
        })
    }

    fn train<'t>(
        &self,
        job: &TrainingJob,
        trainer: &'t dyn Trainer,
        best: &mut Option<Best>,
        losses: &mut Vec<f64>,
    ) -> Result<Box<dyn Tuned + 't>, PredictError> {
        let marks = evaluated_epochs(job.epochs);
        let mut without_gain = 0;
        trainer.train(job, &mut |report: EpochReport, predictor| {
            losses.push(report.loss);
            if !marks.contains(&report.epoch) {
                return Ok(Control::Continue);
            }
            let answers = self.answer(Part::Dev, predictor)?;
            let right = answers.predictions.iter().filter(|answer| answer.gold == answer.predicted).count();
            // An equal later epoch is preferred: it saw a lower learning rate.
            if best.as_ref().is_none_or(|holder| right >= holder.right) {
                without_gain = if best.as_ref().is_none_or(|holder| right > holder.right) {
                    0
                } else {
                    without_gain + 1
                };
                *best = Some(Best { epoch: report.epoch, right, answers });
                return Ok(if without_gain >= PATIENCE { Control::KeepAndStop } else { Control::Keep });
            }
            without_gain += 1;
            Ok(if without_gain >= PATIENCE { Control::Stop } else { Control::Continue })
        })
    }

    fn answer(&self, part: Part, predictor: &mut dyn Predictor) -> Result<Answers, PredictError> {
        let items = examples(self.dataset, part);
        let Rendered { shared, requests } = self.writer.tuned_prompts(&inputs(items))?;
        let batch = PromptBatch { shared: &shared, requests: &requests, answers: self.writer.answers() };
        let scored = predictor.score(&batch)?;
        let predictions = items
            .iter()
            .zip(&scored.log_probabilities)
            .map(|(example, row)| prediction(example, self.dataset, &eval::calibration::apply(row, None)))
            .collect();
        Ok(Answers { predictions, scored })
    }

    fn blank(&self, trial: &TuneTrial, learning_rate: f64, part: Part, id: &str) -> Experiment {
        let configuration = BTreeMap::from([
            ("learning_rate".to_owned(), learning_rate.into()),
            ("epochs".to_owned(), trial.epochs.into()),
            ("batch_rows".to_owned(), self.batch_rows.into()),
            ("adaptation".to_owned(), serde_json::to_value(trial.method).unwrap_or_default()),
        ]);
        Experiment {
            id: id.to_owned(),
            family: Family::FineTune,
            method: method_name(trial.method).to_owned(),
            labels_used: trial.labels,
            shots: None,
            seed: Some(trial.seed),
            configuration,
            part,
            predictions: Vec::new(),
            tokens: Default::default(),
            setup: Setup::default(),
            seconds_per_request: 0.0,
            artefact: None,
            collapse: None,
        }
    }
}

/// Puts answers and their cost into `experiment`, and marks a run that gives one label to everything.
fn fill(experiment: &mut Experiment, answers: Answers) {
    let items = answers.predictions.len().max(1) as f64;
    experiment.tokens = answers.scored.tokens;
    experiment.seconds_per_request = (answers.scored.seconds - answers.scored.shared_seconds) / items;
    let first = answers.predictions.first().map(|answer| (answer.predicted, answer.gold));
    let same_answer =
        answers.predictions.iter().all(|answer| Some(answer.predicted) == first.map(|pair| pair.0));
    let same_gold = answers.predictions.iter().all(|answer| Some(answer.gold) == first.map(|pair| pair.1));
    if same_answer && !same_gold {
        experiment.collapse = Some("one label for every input".to_owned());
    }
    experiment.predictions = answers.predictions;
}
