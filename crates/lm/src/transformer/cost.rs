//! Floating-point operations, counted from the shapes: a multiplication and an addition count as two.

use super::batch::Batch;
use super::layout::{linear_inputs, linear_outputs};
use super::{Parameters, Transformer};
use crate::adapter::Lora;
use kernels::attention::ROOT;

/// Operations of the products of one batch: the linear layers, attention, and the output projection where logits are
/// computed. Everything else (norms, rotations, the optimiser) is below one percent and not counted.
///
/// With N weights in the matrices that a token passes, a forward pass is 2N a token. The backward pass into an adapter
/// adds another 2N (the gradients of the inputs), that into all weights 4N (inputs and weights): 4N and 6N with the
/// forward pass, and an adapter's own products three times.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Flops {
    /// Linear layers, the adapter's left out.
    pub linear: f64,
    /// Scores and weighted sums of attention.
    pub attention: f64,
    /// Output projection.
    pub head: f64,
    /// The adapter's products.
    pub adapter: f64,
}

impl Flops {
    /// The sum.
    pub fn total(&self) -> f64 {
        self.linear + self.attention + self.head + self.adapter
    }

    /// Both together, part by part.
    #[must_use]
    pub fn plus(&self, other: &Self) -> Self {
        Self {
            linear: self.linear + other.linear,
            attention: self.attention + other.attention,
            head: self.head + other.head,
            adapter: self.adapter + other.adapter,
        }
    }
}

impl Transformer {
    /// Operations of a forward pass over `batch` with logits at `rows` of its rows.
    pub fn forward_flops(&self, batch: &Batch, rows: usize, adapter: Option<&Lora>) -> Flops {
        let config = &self.config;
        let layers = config.layers as f64;
        let (inputs, outputs) = (linear_inputs(config), linear_outputs(config));
        let sizes: [f64; 4] = std::array::from_fn(|number| (inputs[number] * outputs[number]) as f64);
        let count = batch.len() as f64;
        // After the attention of the last layer only the wanted rows go on.
        let after = count * (layers - 1.0) + rows as f64;
        let linear = 2.0 * (sizes[0] * count * layers + (sizes[1] + sizes[2] + sizes[3]) * after);
        let attended: f64 = (0..config.layers).map(|layer| self.visible_pairs(batch, layer)).sum();
        Flops {
            linear,
            attention: 4.0 * attended * (config.heads * config.head_dim) as f64,
            head: 2.0 * (rows * config.hidden * config.vocabulary) as f64,
            adapter: adapter.map_or(0.0, |adapter| 2.0 * adapter.parameters() as f64 * count),
        }
    }

    /// Operations of a training step on `batch` with logits at `rows` of its rows.
    pub fn training_flops(&self, batch: &Batch, rows: usize, adapter: Option<&Lora>) -> Flops {
        let forward = self.forward_flops(batch, rows, adapter);
        let factor = if adapter.is_some() { 2.0 } else { 3.0 };
        Flops {
            linear: factor * forward.linear,
            attention: 3.0 * forward.attention,
            head: factor * forward.head,
            adapter: 3.0 * forward.adapter,
        }
    }

    /// Pairs of a query and a key it sees, in one layer.
    fn visible_pairs(&self, batch: &Batch, layer: usize) -> f64 {
        let window = self.config.windows.get(layer).copied().flatten().unwrap_or(usize::MAX);
        let seen = |position: usize| (position + 1).min(window) as f64;
        let of_sequence = |sequence: &super::Sequence| {
            let past = sequence.past_len();
            let causal: f64 = (past..past + sequence.causal).map(seen).sum();
            let mut depths: Vec<usize> = Vec::with_capacity(sequence.tree.len());
            for &parent in &sequence.tree {
                depths.push(if parent == ROOT { 1 } else { depths[parent as usize] + 1 });
            }
            let nodes = depths.iter().skip(sequence.held.unwrap_or(0));
            causal + nodes.map(|depth| seen(past + sequence.causal + depth - 1)).sum::<f64>()
        };
        batch.sequences.iter().map(of_sequence).sum()
    }

    /// Operations of one optimiser step are not counted; its parameters are these.
    pub fn trained_parameters(&self, adapter: Option<&Lora>) -> u64 {
        let specs = adapter.map_or(self.specs(), |adapter| adapter.specs());
        specs.iter().map(|spec| spec.len() as u64).sum()
    }
}
