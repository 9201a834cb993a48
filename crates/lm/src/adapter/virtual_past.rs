//! Prefix tuning (Li and Liang 2021): trained keys and values of positions that stand before every sequence, on frozen weights.
//!
//! A virtual token goes through the layers as a row like any other, so that it is packed, cached and continued as they are; but
//! in every layer its keys and values are these. What the row itself computes is read by nothing.

use super::{LoraConfig, VirtualPart};
use crate::config::ModelConfig;
use crate::transformer::layout::qkv_width;
use crate::transformer::{Gradients, ParameterGroup, ParameterSpec};

/// The keys (rotated) and values of virtual tokens in one layer.
#[derive(Clone, Debug)]
pub(crate) struct VirtualPast {
    /// `[tokens, 2, kv_heads * head_dim]`: keys, then values.
    pub(super) values: Vec<f32>,
    tokens: usize,
}

impl VirtualPast {
    /// Zeros, where `config` has such tokens.
    pub(super) fn of(config: &LoraConfig, model: &ModelConfig) -> Option<Self> {
        let tokens = config.virtual_tokens;
        config
            .trains(VirtualPart::KeysAndValues)
            .then(|| Self { values: vec![0.0; tokens * width(model)], tokens })
    }

    /// The parameter that it is in layer `layer`.
    pub(super) fn spec(&self, layer: usize) -> ParameterSpec {
        let name = format!("model.layers.{layer}.past_key_values");
        let columns = self.values.len() / self.tokens;
        ParameterSpec::new(vec![(name, self.tokens)], Some(columns), ParameterGroup::Embedding)
    }

    /// Puts the keys and values into the rows of `qkv` whose tokens are virtual.
    pub(crate) fn put(&self, tokens: &[u32], qkv: &mut [f32], model: &ModelConfig) {
        for (row, number) in virtual_rows(tokens, qkv, model) {
            row.copy_from_slice(&self.values[number * row.len()..][..row.len()]);
        }
    }
}

/// Moves the gradients of the keys and values of virtual tokens from `dqkv` to `slot`: no weight gets them.
pub(crate) fn take_gradient(
    tokens: &[u32],
    dqkv: &mut [f32],
    model: &ModelConfig,
    (gradients, slot): (&mut Gradients, usize),
) {
    let sums = gradients.values_mut(slot);
    for (row, number) in virtual_rows(tokens, dqkv, model) {
        let sum = &mut sums[number * row.len()..][..row.len()];
        for (sum, value) in sum.iter_mut().zip(row) {
            *sum += *value;
            *value = 0.0;
        }
    }
}

/// Keys and values of the virtual tokens' rows, with the tokens' numbers.
fn virtual_rows<'q>(
    tokens: &[u32],
    qkv: &'q mut [f32],
    model: &ModelConfig,
) -> impl Iterator<Item = (&'q mut [f32], usize)> {
    let (vocabulary, before) = (model.vocabulary, qkv_width(model) - width(model));
    qkv.chunks_exact_mut(qkv_width(model)).zip(tokens).filter_map(move |(row, &token)| {
        Some((&mut row[before..], (token as usize).checked_sub(vocabulary)?))
    })
}

/// Keys and values of a position, in values.
pub(super) fn width(model: &ModelConfig) -> usize {
    2 * model.kv_heads * model.head_dim
}
