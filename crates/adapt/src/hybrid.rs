//! Combinations of both arms, as rows of the same comparison.
//!
//! *Distilled*: an adapter trained on what the best prompt answers to training inputs, asked without that prompt (Snell et al.
//! 2022, "Learning by Distilling Context"). Their labels are not used. Where labels are scored, the prompt's whole distribution
//! is taught, a row for each label that it holds likely, weighted by how likely; where answers are written, its answer.
//!
//! *Few-shot*: every training row comes after demonstrations, and so does every request (arXiv 2512.19879): the weights learn to
//! use demonstrations of this task.
//!
//! *Virtual tokens* (Li and Liang 2021): a beginning whose keys and values are trained, on frozen weights; the smallest artefact.

use std::collections::BTreeSet;

use serde::{Deserialize, Serialize};
use task::dataset::Dataset;
use task::example::Example;
use task::predictor::{Predictor, PromptBatch, TrainingMethod, TrainingRow, Wanted};
use task::record::{Answer, Experiment};
use task::settings::{HybridMethod, Order};

use crate::Error;
use crate::answering::answer;
use crate::digest::hashed;
use crate::embedding::Embedder;
use crate::engine::Engine;
use crate::in_context::InContext;
use crate::plan::{Measured, PromptTrial, Wishes, prompt_bound, tune_seconds};
use crate::selection;
use crate::writer::{PromptWriter, label_count};

/// Demonstrations before a row and a request.
const SHOTS: usize = 4;
/// Tokens of a trained prefix (Li and Liang 2021, section 7.2: 10 do for sentences from tables, 200 for summaries).
const VIRTUAL: usize = 20;
/// The peak learning rate of a trained prefix, far above that of weights: its few values have all the way to go. On the demo's dev
/// set, 256 rows, eight passes: .24 at a third of it, .52 at it, .41 at three times as much.
pub(crate) const VIRTUAL_RATE: f64 = 3e-2;
/// Most labels of one input that are taught.
const LIKELY: usize = 3;
/// Labels that are less likely than this to the prompt are not taught.
const UNLIKELY: f64 = 0.05;
/// Parts of the training rows for a prompt that retrieves: it never sees the part that it answers.
const FOLDS: usize = 4;

/// One combination, planned.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct HybridTrial {
    /// Which.
    pub method: HybridMethod,
    /// The adapter.
    pub adaptation: TrainingMethod,
    /// Rows; for distillation, inputs without labels.
    pub labels: usize,
    /// Passes over them.
    pub epochs: usize,
    /// Demonstrations of a request.
    pub shots: usize,
    /// Estimated seconds, test included.
    pub seconds: f64,
}

impl HybridTrial {
    /// The method of its experiment.
    pub fn method_name(&self) -> &'static str {
        match self.method {
            HybridMethod::Distilled => "distilled",
            HybridMethod::VirtualTokens => "virtual_tokens",
            HybridMethod::FewShot | HybridMethod::None => "few_shot_tuned",
        }
    }

    /// The name of its experiment: `hybrid/few_shot_tuned/n64/k4`.
    pub fn name(&self) -> String {
        let shots = if self.shots > 0 { format!("/k{}", self.shots) } else { String::new() };
        format!("hybrid/{}/n{}{shots}", self.method_name(), self.labels)
    }
}

/// The combinations that fit into `room` seconds, each at the largest number of rows that does.
pub(crate) fn plan(wishes: &Wishes, measured: &Measured, mut room: f64) -> Vec<HybridTrial> {
    let lora = wishes.methods.iter().copied().find(|method| matches!(method, TrainingMethod::Lora { .. }));
    let Some(adaptation) = lora else { return Vec::new() };
    let mut planned = Vec::new();
    for &method in &wishes.hybrids {
        let adaptation = match method {
            HybridMethod::VirtualTokens => TrainingMethod::VirtualTokens { tokens: VIRTUAL },
            _ => adaptation,
        };
        let shots = if method == HybridMethod::FewShot { SHOTS } else { 0 };
        let fits = prompt_bound(measured, shots) <= measured.context as f64;
        let mut trials = wishes.labels.iter().rev().map(|&(labels, epochs)| {
            let tuning = tune_seconds(wishes, measured, adaptation, (labels, epochs), true);
            let seconds = match method {
                HybridMethod::Distilled => tuning + teaching(wishes, measured, labels),
                // Rows and requests are so much longer.
                _ => tuning * (1.0 + shots as f64),
            };
            HybridTrial { method, adaptation, labels, epochs, shots, seconds }
        });
        let trial = trials.find(|trial| fits && trial.labels > trial.shots && trial.seconds <= room);
        if let Some(trial) = trial {
            room -= trial.seconds;
            planned.push(trial);
        }
    }
    planned
}

/// Seconds for the answers of the dearest prompt, and for training on more than one label of an input.
fn teaching(wishes: &Wishes, measured: &Measured, rows: usize) -> f64 {
    let shots = wishes.shots.iter().copied().max().unwrap_or(0) as f64;
    let each = shots * measured.demonstration + measured.each(true);
    let longer = rows as f64 * measured.demonstration / measured.training_speed;
    rows as f64 * each / measured.forward_speed + longer
}

/// What a hybrid is trained on.
#[derive(Default)]
pub(crate) struct Lessons {
    pub(crate) rows: Vec<TrainingRow>,
    /// Of each row; empty where all are alike.
    pub(crate) weights: Vec<f32>,
    /// Inputs that a prompt was asked.
    pub(crate) inputs: usize,
    /// Tokens that the prompt's answers took.
    pub(crate) tokens: u64,
}

/// Asks a prompt for the answers to training inputs.
pub(crate) struct Teacher<'a> {
    /// Writes the rows that are trained on, in the task's own words.
    pub(crate) writer: &'a PromptWriter,
    /// Writes the prompt, in words that may have been searched for.
    pub(crate) wording: &'a PromptWriter,
    pub(crate) engine: &'a dyn Engine,
    pub(crate) dataset: &'a Dataset,
    pub(crate) targets: &'a [usize],
    pub(crate) order: Order,
    /// The prompt.
    pub(crate) trial: PromptTrial,
    /// Its experiment on dev, whose calibration it keeps.
    pub(crate) prompted: &'a Experiment,
}

impl Teacher<'_> {
    /// The answers to at most `wanted` inputs, none of which stands in the prompt that answers it.
    pub(crate) fn lessons(&self, wanted: usize) -> Result<Lessons, Error> {
        let chosen = selection::nested_subset(self.targets, label_count(self.dataset), wanted, 0);
        let mut base = self.engine.base();
        let predictor = base.as_mut();
        let mut lessons = Lessons::default();
        // The vectors of the run itself are of all training rows.
        let embedder = || Embedder::new(Some(self.engine), None);
        if self.trial.selection.retrieved(self.trial.shots) == 0 {
            let embedder = embedder();
            let arm = InContext::new(self.wording, self.dataset, self.targets, self.order, &embedder);
            let shown = arm.block(&self.trial);
            let asked = chosen.into_iter().map(|index| &self.dataset.train[index]);
            let asked: Vec<&Example> =
                asked.filter(|example| !shown.iter().any(|one| one.id == example.id)).collect();
            self.teach(&arm, &asked, predictor, &mut lessons)?;
            return Ok(lessons);
        }
        for fold in 0..FOLDS {
            let asked: BTreeSet<usize> = chosen.iter().copied().skip(fold).step_by(FOLDS).collect();
            let kept: Vec<usize> =
                (0..self.dataset.train.len()).filter(|index| !asked.contains(index)).collect();
            let mut others = self.dataset.clone();
            others.train = kept.iter().map(|&index| self.dataset.train[index].clone()).collect();
            let targets: Vec<usize> = kept.iter().map(|&index| self.targets[index]).collect();
            let embedder = embedder();
            let arm = InContext::new(self.wording, &others, &targets, self.order, &embedder);
            let asked: Vec<&Example> = asked.into_iter().map(|index| &self.dataset.train[index]).collect();
            self.teach(&arm, &asked, predictor, &mut lessons)?;
        }
        Ok(lessons)
    }

    fn teach(
        &self,
        arm: &InContext<'_>,
        asked: &[&Example],
        predictor: &mut dyn Predictor,
        lessons: &mut Lessons,
    ) -> Result<(), Error> {
        if asked.is_empty() {
            return Ok(());
        }
        let inputs: Vec<&str> = asked.iter().map(|example| example.input.as_str()).collect();
        let prompts = arm.prompts(&self.trial, &inputs)?;
        lessons.inputs += asked.len();
        let model = || Error::model("distillation");
        if self.wording.texts().is_some() {
            let items: Vec<Example> = asked.iter().map(|example| (*example).clone()).collect();
            let answers = answer(self.wording, self.dataset, &items, &prompts, predictor).map_err(model())?;
            lessons.tokens += answers.usage.processed_tokens;
            for (example, prediction) in asked.iter().zip(&answers.predictions) {
                if let Answer::Text { text, .. } = &prediction.answer
                    && !text.is_empty()
                {
                    lessons.rows.push(self.row(example, text)?);
                    lessons.weights.push(1.0);
                }
            }
            return Ok(());
        }
        let prior: Option<Vec<f64>> = self.prompted.setting("log_prior");
        let batch = PromptBatch {
            shared: &prompts.shared,
            requests: &prompts.requests,
            answers: self.wording.answers(),
            // More labels than the best are taught, by their shares.
            wanted: Wanted::All,
        };
        let scored = predictor.score(&batch).map_err(model())?;
        lessons.tokens += scored.usage.processed_tokens;
        for (example, scores) in asked.iter().zip(&scored.log_probabilities) {
            let scores = eval::calibration::apply(scores, prior.as_deref());
            for (label, share) in likely(&scores) {
                lessons.rows.push(self.row(example, &self.dataset.labels[label])?);
                lessons.weights.push(share);
            }
        }
        Ok(())
    }

    fn row(&self, example: &Example, answer: &str) -> Result<TrainingRow, Error> {
        self.writer.training_row(&Example { target: answer.to_owned(), ..example.clone() })
    }
}

/// The likeliest labels by their log-probabilities up to a constant, with their shares of each other.
fn likely(scores: &[f64]) -> Vec<(usize, f32)> {
    let highest = scores.iter().copied().fold(f64::NEG_INFINITY, f64::max);
    let total: f64 = scores.iter().map(|score| (score - highest).exp()).sum();
    let mut shares: Vec<(usize, f64)> =
        scores.iter().map(|score| (score - highest).exp() / total).enumerate().collect();
    shares.sort_by(|one, other| other.1.total_cmp(&one.1));
    shares.truncate(LIKELY);
    // The first is always taught.
    let cut = shares.iter().skip(1).take_while(|(_, share)| *share >= UNLIKELY).count() + 1;
    shares.truncate(cut);
    let kept: f64 = shares.iter().map(|(_, share)| share).sum();
    shares.into_iter().map(|(label, share)| (label, (share / kept) as f32)).collect()
}

/// The demonstrations before every request of a model that was tuned after demonstrations: the first of its rows.
pub(crate) fn demonstrations<'d>(dataset: &'d Dataset, targets: &[usize], shots: usize) -> Vec<&'d Example> {
    let chosen = selection::nested_subset(targets, label_count(dataset), shots, 0);
    chosen.into_iter().map(|index| &dataset.train[index]).collect()
}

/// Rows after demonstrations: for each other ones, a balanced draw from the other rows.
pub(crate) fn few_shot_rows(
    writer: &PromptWriter,
    dataset: &Dataset,
    targets: &[usize],
    trial: &HybridTrial,
) -> Result<Vec<TrainingRow>, Error> {
    let labels = label_count(dataset);
    let chosen = selection::nested_subset(targets, labels, trial.labels, 0);
    let own: Vec<usize> = chosen.iter().map(|&index| targets[index]).collect();
    let mut rows = Vec::with_capacity(chosen.len());
    for (place, &index) in chosen.iter().enumerate() {
        let example = &dataset.train[index];
        let seed = hashed(&example.id, 0);
        let drawn = selection::balanced_draw(&own, labels, trial.shots + 1, seed);
        let others = drawn.into_iter().filter(|&other| other != place).take(trial.shots);
        let shown: Vec<&Example> = others.map(|other| &dataset.train[chosen[other]]).collect();
        let prompts = writer.prompts(&shown, &[&example.input])?;
        let completion = writer.training_row(example)?.completion;
        rows.push(TrainingRow { prompt: prompts.shared + &prompts.requests[0], completion });
    }
    Ok(rows)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Shares e^0 : e^-1 : e^-10 of 1.3679: 0.731, 0.269, 0.00003; the last is not taught.
    #[test]
    fn likely_labels_keep_their_shares_of_each_other() {
        let taught = likely(&[-1.0, 0.0, -10.0]);
        assert_eq!(taught.len(), 2);
        assert_eq!((taught[0].0, taught[1].0), (1, 0));
        let first = 1.0 / (1.0 + (-1.0_f64).exp());
        assert!((f64::from(taught[0].1) - first).abs() < 1e-6, "{taught:?}");
        assert!((taught.iter().map(|(_, share)| share).sum::<f32>() - 1.0).abs() < 1e-6);
        // 40 labels alike: none reaches 5%, the first is taught alone.
        assert_eq!(likely(&[0.0; 40]), [(0, 1.0)]);
    }
}
