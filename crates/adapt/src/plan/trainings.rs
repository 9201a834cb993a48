//! Which trainings are tried, in which order, and what they take.

use task::predictor::{LoraVariant, TrainingMethod};

use super::{LearningRate, Measured, TuneTrial, Wishes, method_name};

/// Full fine-tuning moves 6N operations a token where LoRA moves 4N, and its optimiser touches every weight.
const FULL_SLOWDOWN: f64 = 1.8;
/// DoRA scales every output and renews its norms after each step.
const DORA_SLOWDOWN: f64 = 1.6;
/// PiSSA carries twice the directions, and begins by finding them.
const PISSA_SLOWDOWN: f64 = 1.5;

/// Epochs at which dev is scored: four, evenly spread, the last included.
pub(crate) fn evaluated_epochs(epochs: usize) -> Vec<usize> {
    let mut marks: Vec<usize> = (1..=4).map(|quarter| (epochs * quarter).div_ceil(4)).collect();
    marks.dedup();
    marks
}

/// A training run in words, for the list of what was left out.
pub(crate) fn describe(trial: &TuneTrial) -> String {
    let rate = match trial.learning_rate {
        LearningRate::Candidate(rate) => format!("lr{rate}"),
        LearningRate::Best => "best lr".to_owned(),
    };
    format!("fine_tune/{}/n{}/{rate}/s{}", method_name(trial.method), trial.labels, trial.seed)
}

/// Training runs in order of interest.
pub(super) fn tune_candidates(wishes: &Wishes, measured: &Measured) -> Vec<TuneTrial> {
    let lora = wishes.methods.iter().copied().find(|method| matches!(method, TrainingMethod::Lora { .. }));
    let full = wishes.methods.iter().copied().find(|method| matches!(method, TrainingMethod::Full));
    let mut list = Candidates { wishes, measured, trials: Vec::new() };
    let descending: Vec<(usize, usize)> = wishes.labels.iter().rev().copied().collect();
    let Some(&largest) = descending.first() else { return Vec::new() };
    if let Some(method) = lora {
        for &labels in &wishes.labels {
            list.candidate(method, labels, wishes.lora_rates.first());
        }
    }
    if let Some(method) = full {
        list.candidate(method, largest, wishes.full_rates.first());
    }
    if let Some(method) = lora {
        for &labels in &descending {
            for rate in wishes.lora_rates.iter().skip(1) {
                list.candidate(method, labels, Some(rate));
            }
        }
    }
    for seed in 1..wishes.seeds {
        if let Some(method) = lora {
            wishes.labels.iter().for_each(|&labels| list.repeat(method, labels, seed));
        }
        if let Some(method) = full {
            if seed == 1 {
                wishes.full_rates.iter().skip(1).for_each(|rate| list.candidate(method, largest, Some(rate)));
            }
            list.repeat(method, largest, seed);
        }
    }
    if let Some(method) = full {
        for &labels in descending.iter().skip(1) {
            wishes.full_rates.iter().for_each(|rate| list.candidate(method, labels, Some(rate)));
            (1..wishes.seeds).for_each(|seed| list.repeat(method, labels, seed));
        }
    }
    list.trials
}

struct Candidates<'a> {
    wishes: &'a Wishes,
    measured: &'a Measured,
    trials: Vec<TuneTrial>,
}

impl Candidates<'_> {
    fn candidate(&mut self, method: TrainingMethod, labels: (usize, usize), rate: Option<&f64>) {
        if let Some(&rate) = rate {
            self.push(method, labels, 0, LearningRate::Candidate(rate));
        }
    }

    fn repeat(&mut self, method: TrainingMethod, labels: (usize, usize), seed: u64) {
        self.push(method, labels, seed, LearningRate::Best);
    }

    fn push(&mut self, method: TrainingMethod, rows: (usize, usize), seed: u64, learning_rate: LearningRate) {
        let (labels, epochs) = rows;
        let seconds = tune_seconds(self.wishes, self.measured, method, rows, true);
        self.trials.push(TuneTrial { method, labels, seed, learning_rate, epochs, seconds, searched: false });
    }
}

/// Estimated seconds for the answers of a trained model to test.
pub(crate) fn test_seconds(wishes: &Wishes, measured: &Measured) -> f64 {
    wishes.evaluated[1] as f64 * measured.each(false) / measured.forward_speed
}

/// Estimated seconds of a training on so many rows, so many times over, with the scoring of dev on the way and of test at
/// the end where it is wanted.
pub(crate) fn tune_seconds(
    wishes: &Wishes,
    measured: &Measured,
    method: TrainingMethod,
    (labels, epochs): (usize, usize),
    test: bool,
) -> f64 {
    let dev = wishes.evaluated[0] as f64;
    let slowdown = match method {
        TrainingMethod::Lora { variant: LoraVariant::Dora, .. } => DORA_SLOWDOWN,
        TrainingMethod::Lora { variant: LoraVariant::Pissa, .. } => PISSA_SLOWDOWN,
        TrainingMethod::Lora { .. } => 1.0,
        TrainingMethod::Full => FULL_SLOWDOWN,
        // Every row is so much longer.
        TrainingMethod::VirtualTokens { tokens } => 1.0 + tokens as f64 / measured.demonstration.max(1.0),
    };
    let training = (epochs * labels) as f64 * measured.demonstration * slowdown / measured.training_speed;
    let scored = evaluated_epochs(epochs).len() as f64 * dev * measured.each(false) / measured.forward_speed;
    training + scored + if test { test_seconds(wishes, measured) } else { 0.0 }
}
