//! Backward through one layer, into the gradients of its weights or of its adapter.

use super::Step;
use crate::adapter::{Lora, LoraLinear, take_gradient};
use crate::transformer::Layer;
use crate::transformer::gradients::Gradients;
use crate::transformer::layout::{LayerSlots, qkv_width};
use crate::transformer::linear::{Linear, bias_gradient};
use crate::transformer::workspace::{BackwardBuffers, Buffers, Saved, scatter};
use kernels::activation::{swiglu, swiglu_backward};
use kernels::attention::attention_backward;
use kernels::buffer::Buffer;
use kernels::norm::{rms_norm, rms_norm_backward};
use kernels::rotary::rotate;

impl Step<'_> {
    /// On entry `dx` (in the last layer `dx_rows`) is the gradient of the layer's output; on return `dx` is that of
    /// its input.
    pub(super) fn layer_backward(
        &self,
        index: usize,
        layer: &Layer,
        saved: &mut Saved,
        (b, d): (&mut Buffers, &mut BackwardBuffers),
        gradients: &mut Gradients,
    ) {
        self.feed_forward_backward(index, layer, saved, (b, d), gradients);
        self.attention_block_backward(index, layer, saved, (b, d), gradients);
    }

    fn feed_forward_backward(
        &self,
        index: usize,
        layer: &Layer,
        saved: &mut Saved,
        (b, d): (&mut Buffers, &mut BackwardBuffers),
        gradients: &mut Gradients,
    ) {
        let config = &self.transformer.config;
        let slots = &self.transformer.layout.layers[index];
        let dx = if self.is_last(index) { &mut d.dx_rows } else { &mut d.dx };
        let rows = dx.len() / config.hidden;
        let full = self.adapter.is_none();
        let active = &mut b.between.active[..rows * config.intermediate];
        swiglu(&saved.gate_up, config.intermediate, active);
        d.dactive.resize(rows * config.intermediate);
        let place = self.place(index, 3, (slots.down, slots.down_bias));
        place.backward(
            &layer.down,
            (active, &saved.rank[3]),
            dx,
            Some(&mut d.dactive),
            gradients,
            &mut d.drank,
        );
        swiglu_backward(&mut saved.gate_up, config.intermediate, &d.dactive);
        let normed = &mut b.normed[..rows * config.hidden];
        rms_norm(&saved.x_mid, &layer.post_norm, config.norm_epsilon, normed, &mut saved.inverse_mid);
        d.dnormed.resize(rows * config.hidden);
        let place = self.place(index, 2, (slots.gate_up, slots.gate_up_bias));
        let dgate_up = &saved.gate_up;
        place.backward(
            &layer.gate_up,
            (normed, &saved.rank[2]),
            dgate_up,
            Some(&mut d.dnormed),
            gradients,
            &mut d.drank,
        );
        let dweight = full.then(|| gradients.values_mut(slots.post_norm));
        rms_norm_backward(&saved.x_mid, &layer.post_norm, &saved.inverse_mid, &d.dnormed, dx, true, dweight);
    }

    fn attention_block_backward(
        &self,
        index: usize,
        layer: &Layer,
        saved: &mut Saved,
        (b, d): (&mut Buffers, &mut BackwardBuffers),
        gradients: &mut Gradients,
    ) {
        let config = &self.transformer.config;
        let slots = &self.transformer.layout.layers[index];
        let (count, hidden, width) = (self.positions.len(), config.hidden, qkv_width(config));
        let attention_width = config.heads * config.head_dim;
        let place = self.place(index, 1, (slots.output, slots.output_bias));
        if self.is_last(index) {
            d.dattended_rows.resize(self.rows.len() * attention_width);
            let input = (&*saved.attended_rows, &*saved.rank[1]);
            let dattended = Some(&mut d.dattended_rows);
            place.backward(&layer.output, input, &d.dx_rows, dattended, gradients, &mut d.drank);
            scatter(&d.dattended_rows, attention_width, self.rows, count, &mut d.dattended);
            scatter(&d.dx_rows, hidden, self.rows, count, &mut d.dx);
        } else {
            d.dattended.resize(count * attention_width);
            let input = (&*saved.attended, &*saved.rank[1]);
            place.backward(&layer.output, input, &d.dx, Some(&mut d.dattended), gradients, &mut d.drank);
        }
        d.dqkv.resize(count * width);
        attention_backward(
            self.transformer.heads(index),
            &saved.qkv,
            &saved.attended,
            &d.dattended,
            &saved.lse,
            self.segments,
            &mut d.dqkv,
        );
        if let Some(slot) = self.adapter(index).and_then(|(_, slots)| slots.past) {
            take_gradient(self.tokens, &mut d.dqkv, config, (gradients, slot));
        }
        rotate(&mut d.dqkv, width, config.heads + config.kv_heads, self.positions, self.table, true);
        self.head_norms_backward(layer, slots, saved, d, gradients);
        // Nothing below the first layer is trained with an adapter, but for virtual tokens' embeddings.
        let full = self.adapter.is_none();
        let needed = index > 0 || self.adapter.is_none_or(Lora::trains_embeddings);
        rms_norm(&saved.x, &layer.input_norm, config.norm_epsilon, &mut b.normed, &mut saved.inverse);
        d.dnormed.resize(count * hidden);
        let place = self.place(index, 0, (slots.qkv, slots.qkv_bias));
        let input = (&*b.normed, &*saved.rank[0]);
        let dnormed = needed.then_some(&mut d.dnormed);
        place.backward(&layer.qkv, input, &d.dqkv, dnormed, gradients, &mut d.drank);
        if needed {
            let dweight = full.then(|| gradients.values_mut(slots.input_norm));
            let dx = &mut d.dx;
            rms_norm_backward(&saved.x, &layer.input_norm, &saved.inverse, &d.dnormed, dx, true, dweight);
        }
    }

    fn head_norms_backward(
        &self,
        layer: &Layer,
        slots: &LayerSlots,
        saved: &Saved,
        d: &mut BackwardBuffers,
        gradients: &mut Gradients,
    ) {
        let (Some(query), Some(key)) = (slots.query_norm, slots.key_norm) else { return };
        let scratch = (&mut d.heads_dy, &mut d.heads_dx);
        let weights = if self.adapter.is_none() {
            let (dquery, dkey) = gradients.pair_mut(query, key);
            (Some(dquery), Some(dkey))
        } else {
            (None, None)
        };
        layer.norm_heads_backward(&self.transformer.config, &mut d.dqkv, saved, scratch, weights);
    }

    fn place(&self, index: usize, number: usize, slots: (usize, Option<usize>)) -> Place<'_> {
        let adapter = self.adapter(index).map(|(layer, slots)| {
            let linears = [&layer.qkv, &layer.output, &layer.gate_up, &layer.down];
            linears[number].as_ref().zip(slots.first[number])
        });
        Place { adapter, slots }
    }
}

/// Where the gradients of one linear layer go.
struct Place<'a> {
    /// Outer `None`: the weights are trained. Inner `None`: an adapter is, but not in this layer.
    adapter: Option<Option<(&'a LoraLinear, usize)>>,
    /// Of the matrix and of the bias.
    slots: (usize, Option<usize>),
}

impl Place<'_> {
    /// Backward of one linear layer, given its input and the adapter's inner activations.
    fn backward(
        &self,
        linear: &Linear,
        (x, inner): (&[f32], &[f32]),
        dy: &[f32],
        dx: Option<&mut Buffer>,
        gradients: &mut Gradients,
        drank: &mut Buffer,
    ) {
        match self.adapter {
            None => {
                let (dw, accumulate) = gradients.target(self.slots.0);
                linear.gradient(dy, x, dw, accumulate);
                if let Some(bias) = self.slots.1 {
                    bias_gradient(dy, gradients.values_mut(bias));
                }
            }
            Some(Some((adapter, first))) if adapter.scales() => {
                let (dy, narrow) = adapter.backward_scaled((x, inner), dy, (gradients, first), drank);
                if let Some(dx) = dx {
                    linear.backward(dy, dx, Some(narrow));
                }
                return;
            }
            Some(Some((adapter, first))) => {
                let narrow = adapter.backward((x, inner), dy, (gradients, first), drank);
                if let Some(dx) = dx {
                    linear.backward(dy, dx, narrow);
                    adapter.add_dropped(drank, dx);
                }
                return;
            }
            Some(None) => {}
        }
        if let Some(dx) = dx {
            linear.backward(dy, dx, None);
        }
    }
}
