//! Buffers that outlive a forward or backward pass, so that a step allocates nothing once they have grown.

use super::Layer;
use super::layout::qkv_width;
use crate::config::ModelConfig;
use kernels::attention::Segment;
use kernels::buffer::Buffer;
use kernels::norm::{rms_norm, rms_norm_backward};

/// Buffers of forward and backward passes. One per thread of control; any model and batch size.
#[derive(Debug, Default)]
pub struct Workspace {
    pub(super) buffers: Buffers,
    /// What each layer keeps for its backward pass; where activations are computed again, the one that is at work.
    pub(super) saved: Vec<Saved>,
    /// The input of each layer, kept where everything else is computed again in the backward pass.
    pub(super) inputs: Option<Vec<Buffer>>,
    pub(super) backward: BackwardBuffers,
    /// The sequences of a training step.
    pub(super) segments: Vec<Segment<'static>>,
}

impl Workspace {
    /// Empty buffers.
    pub fn new() -> Self {
        Self::default()
    }

    /// Empty buffers for training steps that keep only the input of each layer and compute its other activations again
    /// in the backward pass (Chen et al. 2016): a tenth of the memory of the activations for about a quarter more
    /// time, and the same bits.
    pub fn recomputing() -> Self {
        Self { inputs: Some(Vec::new()), ..Self::default() }
    }
}

/// Activations of the layer that is being computed.
#[derive(Debug, Default)]
pub(super) struct Buffers {
    /// The residual stream, `[n, hidden]`.
    pub(super) x: Buffer,
    /// The residual stream of the wanted rows, after the last layer's attention.
    pub(super) x_rows: Buffer,
    pub(super) normed: Buffer,
    pub(super) inverse: Buffer,
    pub(super) qkv: Buffer,
    /// `[n, heads * head_dim]`.
    pub(super) attended: Buffer,
    pub(super) attended_rows: Buffer,
    pub(super) between: Between,
    /// Inner activations of an adapter.
    pub(super) rank: Buffer,
    /// Queries and keys before and after their norm.
    pub(super) heads_x: Buffer,
    pub(super) heads_y: Buffer,
    pub(super) heads_inverse: Buffer,
}

impl Buffers {
    pub(super) fn size_for(&mut self, config: &ModelConfig, count: usize) {
        let attention = config.heads * config.head_dim;
        self.normed.resize(count * config.hidden);
        self.inverse.resize(count);
        self.qkv.resize(count * qkv_width(config));
        self.attended.resize(count * attention);
    }
}

/// Between the projections of a feed-forward block.
#[derive(Debug, Default)]
pub(super) struct Between {
    /// `[n, 2 * intermediate]`, where it is not kept for a backward pass.
    pub(super) gate_up: Buffer,
    /// `[n, intermediate]`.
    pub(super) active: Buffer,
}

impl Between {
    /// Room for `count` rows.
    pub(super) fn grow(&mut self, config: &ModelConfig, count: usize) {
        self.gate_up.resize(self.gate_up.len().max(count * 2 * config.intermediate));
        self.grow_active(config, count);
    }

    /// Room for `count` rows of `active` alone.
    pub(super) fn grow_active(&mut self, config: &ModelConfig, count: usize) {
        self.active.resize(self.active.len().max(count * config.intermediate));
    }
}

/// What one layer keeps for its backward pass. What is cheap to compute again (the normed inputs, the product of
/// gate and up) is not kept: a third of the memory.
#[derive(Debug, Default)]
pub(super) struct Saved {
    /// Input of the layer, `[n, hidden]`.
    pub(super) x: Buffer,
    pub(super) inverse: Buffer,
    /// After the norms of the heads and the rotation.
    pub(super) qkv: Buffer,
    /// Queries and keys before their norm: `[n * heads, head_dim]`, then `[n * kv_heads, head_dim]`.
    pub(super) heads_x: Buffer,
    pub(super) heads_inverse: Buffer,
    pub(super) attended: Buffer,
    /// The rows of `attended` that go on, in the last layer.
    pub(super) attended_rows: Buffer,
    /// Log-sum-exp of the attention scores, `[n, heads]`.
    pub(super) lse: Buffer,
    /// The residual stream between attention and feed-forward, of the rows that go on.
    pub(super) x_mid: Buffer,
    pub(super) inverse_mid: Buffer,
    pub(super) gate_up: Buffer,
    /// Inner activations of the adapters: qkv, output, gate and up, down.
    pub(super) rank: [Buffer; 4],
}

/// Gradients on their way down.
#[derive(Debug, Default)]
pub(super) struct BackwardBuffers {
    /// Of the residual stream.
    pub(super) dx: Buffer,
    /// Of the residual stream of the wanted rows.
    pub(super) dx_rows: Buffer,
    /// Of a normed input.
    pub(super) dnormed: Buffer,
    pub(super) dqkv: Buffer,
    pub(super) dattended: Buffer,
    pub(super) dattended_rows: Buffer,
    pub(super) dactive: Buffer,
    pub(super) drank: Buffer,
    pub(super) logits: Buffer,
    pub(super) heads_dy: Buffer,
    pub(super) heads_dx: Buffer,
}

/// Copies the rows `rows` of `from[_, width]` to `to[rows.len(), width]`.
pub(super) fn gather(from: &[f32], width: usize, rows: &[usize], to: &mut Buffer) {
    to.resize(rows.len() * width);
    for (own, &row) in to.chunks_exact_mut(width).zip(rows) {
        own.copy_from_slice(&from[row * width..][..width]);
    }
}

/// The gradient of [`gather`]: `to[count, width]` is zero but for the rows `rows`, to which `from` is added.
pub(super) fn scatter(from: &[f32], width: usize, rows: &[usize], count: usize, to: &mut Buffer) {
    to.clear();
    to.resize(count * width);
    for (own, &row) in from.chunks_exact(width).zip(rows) {
        for (sum, value) in to[row * width..][..width].iter_mut().zip(own) {
            *sum += value;
        }
    }
}

impl Layer {
    /// Applies the norms over the heads of q and k, in place in `qkv`, where the model has them. `before` keeps
    /// what went in, `inverse` what the backward pass needs; `after` is scratch.
    pub(super) fn norm_heads(
        &self,
        config: &ModelConfig,
        qkv: &mut [f32],
        before: &mut Buffer,
        after: &mut Buffer,
        inverse: &mut Buffer,
    ) {
        let (Some(query), Some(key)) = (&self.query_norm, &self.key_norm) else { return };
        let rows = qkv.len() / qkv_width(config);
        let all = rows * (config.heads + config.kv_heads);
        before.resize(all * config.head_dim);
        after.resize(all * config.head_dim);
        inverse.resize(all);
        copy_heads(config, qkv, before, Direction::OutOfRows);
        let queries = rows * config.heads;
        let (x_q, x_k) = before.split_at(queries * config.head_dim);
        let (y_q, y_k) = after.split_at_mut(queries * config.head_dim);
        let (inverse_q, inverse_k) = inverse.split_at_mut(queries);
        rms_norm(x_q, query, config.norm_epsilon, y_q, inverse_q);
        rms_norm(x_k, key, config.norm_epsilon, y_k, inverse_k);
        copy_heads(config, qkv, after, Direction::IntoRows);
    }

    /// Gradient of [`Layer::norm_heads`], in place in `dqkv`; adds to the gradients of the two weights where given.
    pub(super) fn norm_heads_backward(
        &self,
        config: &ModelConfig,
        dqkv: &mut [f32],
        saved: &Saved,
        (dy, dx): (&mut Buffer, &mut Buffer),
        weights: (Option<&mut [f32]>, Option<&mut [f32]>),
    ) {
        let (Some(query), Some(key)) = (&self.query_norm, &self.key_norm) else { return };
        let rows = dqkv.len() / qkv_width(config);
        dy.resize(saved.heads_x.len());
        dx.resize(saved.heads_x.len());
        copy_heads(config, dqkv, dy, Direction::OutOfRows);
        let queries = rows * config.heads;
        let cut = queries * config.head_dim;
        let (x_q, x_k) = saved.heads_x.split_at(cut);
        let (dy_q, dy_k) = dy.split_at(cut);
        let (dx_q, dx_k) = dx.split_at_mut(cut);
        let (inverse_q, inverse_k) = saved.heads_inverse.split_at(queries);
        rms_norm_backward(x_q, query, inverse_q, dy_q, dx_q, false, weights.0);
        rms_norm_backward(x_k, key, inverse_k, dy_k, dx_k, false, weights.1);
        copy_heads(config, dqkv, dx, Direction::IntoRows);
    }
}

#[derive(Clone, Copy, PartialEq)]
enum Direction {
    OutOfRows,
    IntoRows,
}

/// Copies queries and keys between the rows of `qkv` and a dense `[n, heads, head_dim]` followed by
/// `[n, kv_heads, head_dim]`.
fn copy_heads(config: &ModelConfig, qkv: &mut [f32], dense: &mut [f32], direction: Direction) {
    let (query, key) = (config.heads * config.head_dim, config.kv_heads * config.head_dim);
    let rows = qkv.len() / qkv_width(config);
    let (queries, keys) = dense.split_at_mut(rows * query);
    let dense_rows = queries.chunks_exact_mut(query).zip(keys.chunks_exact_mut(key));
    for (row, (queries, keys)) in qkv.chunks_exact_mut(qkv_width(config)).zip(dense_rows) {
        let (row_q, row_k) = row[..query + key].split_at_mut(query);
        match direction {
            Direction::OutOfRows => {
                queries.copy_from_slice(row_q);
                keys.copy_from_slice(row_k);
            }
            Direction::IntoRows => {
                row_q.copy_from_slice(queries);
                row_k.copy_from_slice(keys);
            }
        }
    }
}
