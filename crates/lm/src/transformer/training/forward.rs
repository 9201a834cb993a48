//! Forward through one layer, with what its backward pass needs.

use super::Step;
use crate::transformer::Layer;
use crate::transformer::layout::qkv_width;
use crate::transformer::workspace::{Buffers, Saved, gather};
use kernels::activation::swiglu;
use kernels::attention::attention;
use kernels::norm::rms_norm;
use kernels::rotary::rotate;

/// What a forward pass through a layer is for.
#[derive(Clone, Copy)]
pub(super) enum Purpose {
    /// The input of the next layer.
    Output,
    /// What the backward pass needs, computed again: all but the layer's output.
    Activations,
}

impl Step<'_> {
    /// Reads the layer's input from `b.x` and leaves its output there (of the last layer in `b.x_rows`).
    pub(super) fn layer_forward(
        &self,
        index: usize,
        layer: &Layer,
        saved: &mut Saved,
        b: &mut Buffers,
        purpose: Purpose,
    ) {
        let config = &self.transformer.config;
        let (count, hidden) = (self.positions.len(), config.hidden);
        let attention_width = config.heads * config.head_dim;
        let adapter = self.adapter(index).map(|(adapter, _)| adapter);
        b.size_for(config, count);
        b.between.grow_active(config, count);
        saved.x.clear();
        saved.x.extend_from_slice(&b.x);
        saved.inverse.resize(count);
        saved.qkv.resize(count * qkv_width(config));
        saved.attended.resize(count * attention_width);
        saved.lse.resize(count * config.heads);
        rms_norm(&b.x, &layer.input_norm, config.norm_epsilon, &mut b.normed, &mut saved.inverse);
        let qkv_adapter = adapter.and_then(|a| a.qkv.as_ref());
        layer.qkv.forward(&b.normed, &mut saved.qkv, false, qkv_adapter, &mut saved.rank[0]);
        let (heads_x, heads_inverse) = (&mut saved.heads_x, &mut saved.heads_inverse);
        layer.norm_heads(config, &mut saved.qkv, heads_x, &mut b.heads_y, heads_inverse);
        let heads = config.heads + config.kv_heads;
        rotate(&mut saved.qkv, qkv_width(config), heads, self.positions, self.table, false);
        if let Some(past) = adapter.and_then(|adapter| adapter.past.as_ref()) {
            past.put(self.tokens, &mut saved.qkv, config);
        }
        let kinds = self.transformer.heads(index);
        attention(kinds, &saved.qkv, self.segments, &mut saved.attended, Some(&mut saved.lse));
        let (x, attended) = if self.is_last(index) {
            gather(&b.x, hidden, self.rows, &mut b.x_rows);
            gather(&saved.attended, attention_width, self.rows, &mut saved.attended_rows);
            (&mut b.x_rows, &saved.attended_rows)
        } else {
            (&mut b.x, &saved.attended)
        };
        let output_adapter = adapter.and_then(|a| a.output.as_ref());
        layer.output.forward(attended, x, true, output_adapter, &mut saved.rank[1]);
        let rows = x.len() / hidden;
        saved.x_mid.clear();
        saved.x_mid.extend_from_slice(x);
        saved.inverse_mid.resize(rows);
        saved.gate_up.resize(rows * 2 * config.intermediate);
        let (normed, active) =
            (&mut b.normed[..rows * hidden], &mut b.between.active[..rows * config.intermediate]);
        rms_norm(x, &layer.post_norm, config.norm_epsilon, normed, &mut saved.inverse_mid);
        let gate_up_adapter = adapter.and_then(|a| a.gate_up.as_ref());
        layer.gate_up.forward(normed, &mut saved.gate_up, false, gate_up_adapter, &mut saved.rank[2]);
        swiglu(&saved.gate_up, config.intermediate, active);
        let down_adapter = adapter.and_then(|a| a.down.as_ref());
        match purpose {
            Purpose::Output => layer.down.forward(active, x, true, down_adapter, &mut saved.rank[3]),
            Purpose::Activations => match down_adapter {
                Some(adapter) if adapter.scales() => {
                    adapter.plain(&layer.down.matrix, active, &mut saved.rank[3]);
                }
                Some(adapter) => adapter.inner(active, &mut saved.rank[3]),
                None => {}
            },
        }
    }
}
