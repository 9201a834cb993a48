//! The decoder: weights, forward pass and backward pass.
//!
//! One architecture with options covers Llama, SmolLM, Mistral, Qwen2 and Qwen3: RMSNorm before attention and before a
//! SwiGLU feed-forward layer, rotary positions, grouped-query attention; optional biases, norms over the heads of q
//! and k, a sliding window per layer, tied or untied output projection.
//!
//! q, k and v are one matrix, and so are gate and up: their rows follow each other in the order of the checkpoint's
//! names. Sequences of unequal lengths are packed one after the other ([`Batch`]); nothing is padded. Logits are
//! computed only for the rows asked for, and so is everything after the attention of the last layer.

mod batch;
mod cost;
mod gradients;
mod inference;
pub(crate) mod layout;
mod linear;
mod load;
mod parameters;
mod prefix;
mod rotary;
mod save;
mod training;
mod workspace;

pub use batch::{Batch, Sequence};
pub use cost::Flops;
pub use gradients::Gradients;
pub use layout::{ParameterGroup, ParameterPart, ParameterSpec};
pub use load::TensorMap;
pub use parameters::{Parameter, Parameters};
pub use prefix::{Cache, Prefix};
pub use training::Loss;
pub use workspace::Workspace;

use std::sync::Arc;

use crate::Error;
use crate::adapter::Lora;
use crate::config::ModelConfig;
use kernels::attention::Heads;
use kernels::buffer::Buffer;
use kernels::matrix::{Matrix, Precision, Use};
use kernels::threads::for_each_chunk;
use layout::Layout;
use linear::Linear;
use rotary::Rotary;

/// Tokens whose embeddings a thread copies at a time.
const EMBEDDED: usize = 16;

/// A decoder with its weights.
#[derive(Clone, Debug)]
pub struct Transformer {
    config: Arc<ModelConfig>,
    layout: Arc<Layout>,
    precision: Precision,
    usage: Use,
    embedding: Matrix,
    layers: Vec<Layer>,
    /// Weight of the norm after the last layer.
    norm: Vec<f32>,
    /// The output projection where it is not the embedding.
    head: Option<Matrix>,
    rotary: Rotary,
}

/// The weights of one block.
#[derive(Clone, Debug)]
pub(crate) struct Layer {
    pub(crate) input_norm: Vec<f32>,
    pub(crate) qkv: Linear,
    pub(crate) query_norm: Option<Vec<f32>>,
    pub(crate) key_norm: Option<Vec<f32>>,
    pub(crate) output: Linear,
    pub(crate) post_norm: Vec<f32>,
    pub(crate) gate_up: Linear,
    pub(crate) down: Linear,
}

impl Transformer {
    /// The shape of the model.
    pub fn config(&self) -> &ModelConfig {
        &self.config
    }

    /// Parameters in all; a tied embedding counts once.
    pub fn parameters(&self) -> u64 {
        self.layout.parameters()
    }

    /// The precision of products with the weights.
    pub fn precision(&self) -> Precision {
        self.precision
    }

    /// What the weights are stored for.
    pub fn usage(&self) -> Use {
        self.usage
    }

    /// Bytes of weights held.
    pub fn bytes(&self) -> usize {
        let matrices = |layer: &Layer| {
            [&layer.qkv, &layer.output, &layer.gate_up, &layer.down]
                .map(|linear| linear.matrix.bytes())
                .iter()
                .sum::<usize>()
        };
        self.embedding.bytes()
            + self.head.as_ref().map_or(0, Matrix::bytes)
            + self.layers.iter().map(matrices).sum::<usize>()
    }

    /// The same weights stored for another precision or use. From bfloat16 storage one gets the rounded weights.
    pub fn converted(&self, precision: Precision, usage: Use) -> Self {
        let layer = |layer: &Layer| Layer {
            input_norm: layer.input_norm.clone(),
            qkv: layer.qkv.converted(precision, usage),
            query_norm: layer.query_norm.clone(),
            key_norm: layer.key_norm.clone(),
            output: layer.output.converted(precision, usage),
            post_norm: layer.post_norm.clone(),
            gate_up: layer.gate_up.converted(precision, usage),
            down: layer.down.converted(precision, usage),
        };
        let (embedding_precision, embedding_usage) = embedding_storage(&self.config, precision, usage);
        Self {
            config: Arc::clone(&self.config),
            layout: Arc::clone(&self.layout),
            precision,
            usage,
            embedding: self.embedding.converted(embedding_precision, embedding_usage),
            layers: self.layers.iter().map(layer).collect(),
            norm: self.norm.clone(),
            head: self.head.as_ref().map(|head| head.converted(precision, usage)),
            rotary: self.rotary.clone(),
        }
    }

    /// A copy in which the fused linear layers (layer, number in the order qkv, output, gate and up, down) have been
    /// changed by `change(layer, number, outputs, values)`.
    pub(crate) fn with_changed_linears(
        &self,
        mut change: impl FnMut(usize, usize, usize, &mut [f32]),
    ) -> Self {
        let mut changed = self.clone();
        for (index, layer) in changed.layers.iter_mut().enumerate() {
            let linears = [&mut layer.qkv, &mut layer.output, &mut layer.gate_up, &mut layer.down];
            for (number, linear) in linears.into_iter().enumerate() {
                let (outputs, inputs) = (linear.matrix.outputs(), linear.matrix.inputs());
                let mut values = linear.matrix.to_f32();
                change(index, number, outputs, &mut values);
                linear.matrix = Matrix::new(outputs, inputs, values, self.precision, self.usage);
            }
        }
        changed
    }

    /// The weights of a fused linear layer; numbers as in [`Transformer::with_changed_linears`].
    pub(crate) fn linear(&self, layer: usize, number: usize) -> &Matrix {
        let layer = &self.layers[layer];
        &[&layer.qkv, &layer.output, &layer.gate_up, &layer.down][number].matrix
    }

    /// The output projection.
    fn head(&self) -> &Matrix {
        self.head.as_ref().unwrap_or(&self.embedding)
    }

    fn heads(&self, layer: usize) -> Heads {
        Heads {
            heads: self.config.heads,
            kv_heads: self.config.kv_heads,
            head_dim: self.config.head_dim,
            window: self.config.windows.get(layer).copied().flatten(),
        }
    }

    /// The embeddings of the batch's tokens, `[rows, hidden]`.
    fn embed(&self, batch: &Batch, adapter: Option<&Lora>, x: &mut Buffer) {
        let (hidden, vocabulary) = (self.config.hidden, self.config.vocabulary);
        x.resize(batch.len() * hidden);
        for_each_chunk(x, EMBEDDED * hidden, |chunk, rows| {
            for (row, &token) in rows.chunks_exact_mut(hidden).zip(&batch.tokens[chunk * EMBEDDED..]) {
                match adapter.filter(|_| token as usize >= vocabulary) {
                    Some(adapter) => row.copy_from_slice(adapter.embedding(token, vocabulary, hidden)),
                    None => self.embedding.row(token as usize, row),
                }
            }
        });
    }

    /// The embedding of one token.
    pub(crate) fn embedding_row(&self, token: usize, row: &mut [f32]) {
        self.embedding.row(token, row);
    }

    /// Whether the batch, the rows asked for and the adapter are of this model.
    fn check(&self, batch: &Batch, rows: &[usize], adapter: Option<&Lora>) -> Result<(), Error> {
        if batch.is_empty() {
            return Err(Error::Invalid("a batch without tokens".into()));
        }
        let needed = batch.positions_needed();
        if needed > self.config.context {
            return Err(Error::Context { needed, limit: self.config.context });
        }
        let known = self.config.vocabulary + adapter.map_or(0, |adapter| adapter.config().virtual_tokens);
        if let Some(token) = batch.tokens.iter().find(|&&token| token as usize >= known) {
            return Err(Error::Invalid(format!(
                "token {token} is outside the vocabulary of {}",
                self.config.vocabulary
            )));
        }
        let mut next = 0;
        for sequence in &batch.sequences {
            let wrong_tree = sequence
                .tree
                .iter()
                .enumerate()
                .any(|(node, &parent)| parent != kernels::attention::ROOT && parent as usize >= node);
            let empty = match sequence.held {
                Some(held) => sequence.causal > 0 || held >= sequence.tree.len(),
                None => sequence.causal == 0,
            };
            if sequence.start != next || empty || wrong_tree {
                return Err(Error::Invalid(format!(
                    "the sequence at row {} is empty, out of place, or has a tree whose parents do not come first",
                    sequence.start
                )));
            }
            next = sequence.end();
        }
        if next != batch.len() || batch.positions.len() != batch.len() {
            return Err(Error::Invalid("the sequences do not cover the batch".into()));
        }
        if rows.windows(2).any(|pair| pair[0] >= pair[1])
            || rows.last().is_some_and(|&row| row >= batch.len())
        {
            return Err(Error::Invalid(format!(
                "the rows asked for are not increasing, or not among the batch's {}",
                batch.len()
            )));
        }
        if adapter.is_some_and(|adapter| !adapter.fits(&self.config)) {
            return Err(Error::Invalid("the adapter was made for a model of another shape".into()));
        }
        if adapter.is_some_and(|adapter| !adapter.is_ready()) {
            return Err(Error::Invalid("the adapter's magnitudes are not attached to these weights".into()));
        }
        Ok(())
    }
}

/// How the embedding is stored. One that is not the output projection is only ever read by rows: packed copies for
/// products would be waste.
fn embedding_storage(config: &ModelConfig, precision: Precision, usage: Use) -> (Precision, Use) {
    match (config.tied, usage) {
        (true, _) => (precision, usage),
        (false, Use::Trainable) => (Precision::F32, Use::Trainable),
        (false, _) => (precision, Use::Inference),
    }
}
