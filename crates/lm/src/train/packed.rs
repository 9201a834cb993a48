//! The examples of one pass through the model, side by side.

use super::TrainingExample;
use crate::transformer::Batch;

/// The sum of the weights of a step's supervised tokens.
pub(super) fn total_weight(examples: &[TrainingExample], weights: &[f32], batch: &[usize]) -> f32 {
    let of = |&index: &usize| {
        let weight = weights.get(index).copied().unwrap_or(1.0);
        std::iter::repeat_n(weight, examples[index].supervised())
    };
    batch.iter().flat_map(of).sum()
}

/// The examples of one pass in one batch.
#[derive(Default)]
pub(super) struct Packed {
    pub(super) batch: Batch,
    /// Rows that predict a supervised token.
    pub(super) rows: Vec<usize>,
    pub(super) targets: Vec<u32>,
    /// Of each target in the loss; those of all passes of a step sum to 1.
    pub(super) weights: Vec<f32>,
}

impl Packed {
    /// Takes other examples into the same memory; `total` is the weight of all tokens of the step.
    pub(super) fn fill(
        &mut self,
        examples: &[TrainingExample],
        weights: &[f32],
        indices: &[usize],
        total: f32,
    ) {
        self.batch.clear();
        self.rows.clear();
        self.targets.clear();
        self.weights.clear();
        for &index in indices {
            let example = &examples[index];
            // The last token is only ever a target.
            let start = self.batch.push(&example.tokens[..example.tokens.len() - 1]);
            let supervised = example.supervised_from..example.tokens.len();
            self.rows.extend(supervised.map(|target| start + target - 1));
            self.targets.extend_from_slice(&example.tokens[example.supervised_from..]);
            self.weights.resize(self.rows.len(), weights.get(index).copied().unwrap_or(1.0));
        }
        self.weights.iter_mut().for_each(|weight| *weight /= total);
    }
}
