//! One training step: forward with saved activations, loss at chosen rows, backward into gradients.

use super::batch::Batch;
use super::gradients::Gradients;
use super::layout::{LayerSlots, qkv_width};
use super::linear::bias_gradient;
use super::workspace::{BackwardBuffers, Buffers, Saved, Workspace, gather, scatter};
use super::{Layer, Parameters, Transformer};
use crate::Error;
use crate::adapter::{Lora, LoraLayer, LoraLinear, LoraSlots, take_gradient};
use kernels::activation::{swiglu, swiglu_backward};
use kernels::attention::{Segment, attention, attention_backward};
use kernels::buffer::Buffer;
use kernels::matrix::Use;
use kernels::norm::{rms_norm, rms_norm_backward};
use kernels::product::{View, ViewMut};
use kernels::rotary::{RotaryTable, rotate};

/// A loss over logits. It is called with tiles of rows in order: the index (into the `rows` of the step) of the
/// tile's first row, and its logits `[rows of the tile, vocabulary]`. It returns its share of the loss and replaces
/// the logits by the gradient of the loss with respect to them.
pub type Loss<'a> = dyn FnMut(usize, &mut [f32]) -> f64 + 'a;

/// Logits of one tile, in values: 64 MiB.
const TILE: usize = 16 << 20;

/// What a forward pass through a layer is for.
#[derive(Clone, Copy)]
enum Purpose {
    /// The input of the next layer.
    Output,
    /// What the backward pass needs, computed again: all but the layer's output.
    Activations,
}

/// What forward and backward of one step share.
struct Step<'a> {
    transformer: &'a Transformer,
    segments: &'a [Segment<'static>],
    tokens: &'a [u32],
    positions: &'a [u32],
    table: &'a RotaryTable,
    /// Rows with a loss.
    rows: &'a [usize],
    adapter: Option<&'a Lora>,
}

impl Transformer {
    /// Forward and backward through one batch of sequences without past and without tree; logits are computed only
    /// at `rows`. Adds the gradients of the adapter's parameters where an adapter is given (the weights stay
    /// frozen), or else of all weights. Returns the sum of what `loss` returned.
    ///
    /// # Errors
    /// [`Error::Context`] where a position does not fit; [`Error::Invalid`] for bad rows, tokens, adapters, gradients
    /// of something else, or weights that are stored for another use ([`Use::Inference`] has no backward pass,
    /// [`Use::Frozen`] none for the weights themselves).
    pub fn train_step(
        &self,
        batch: &Batch,
        rows: &[usize],
        adapter: Option<&Lora>,
        loss: &mut Loss<'_>,
        gradients: &mut Gradients,
        workspace: &mut Workspace,
    ) -> Result<f64, Error> {
        self.check(batch, rows, adapter)?;
        self.check_trainable(batch, rows, adapter, gradients)?;
        let table = self.rotary.table(batch.positions_needed());
        let Workspace { buffers, saved, inputs, backward, segments } = workspace;
        segments.clear();
        segments.extend(alone(batch));
        let step = Step::new(self, segments, batch, &table, rows, adapter);
        self.embed(batch, adapter, &mut buffers.x);
        // Where only the inputs are kept, all layers share one set of activations.
        let shared = inputs.is_some();
        let place = |index: usize| if shared { 0 } else { index };
        saved.resize_with(saved.len().max(place(self.layers.len() - 1) + 1), Saved::default);
        if let Some(inputs) = inputs {
            inputs.resize_with(self.layers.len().max(inputs.len()), Buffer::new);
        }
        for (index, layer) in self.layers.iter().enumerate() {
            step.layer_forward(index, layer, &mut saved[place(index)], buffers, Purpose::Output);
            if let Some(inputs) = inputs {
                std::mem::swap(&mut saved[0].x, &mut inputs[index]);
            }
        }
        let total = self.head_step(rows.len(), adapter.is_none(), loss, gradients, (buffers, backward));
        for (index, layer) in self.layers.iter().enumerate().rev() {
            if let Some(inputs) = inputs {
                std::mem::swap(&mut buffers.x, &mut inputs[index]);
                step.layer_forward(index, layer, &mut saved[0], buffers, Purpose::Activations);
            }
            step.layer_backward(index, layer, &mut saved[place(index)], (buffers, backward), gradients);
        }
        match adapter {
            None => self.embedding_gradient(batch, &backward.dx, gradients),
            Some(adapter) => adapter.virtual_gradient(batch, &backward.dx, gradients, &self.config),
        }
        gradients.settle();
        Ok(total)
    }

    /// Keys (rotated) and values of `tokens` in every layer, each `[tokens, 2, kv_heads * head_dim]`.
    ///
    /// # Errors
    /// As [`Transformer::hidden_states`].
    pub(crate) fn keys_and_values(&self, tokens: &[u32]) -> Result<Vec<Vec<f32>>, Error> {
        let batch = Batch::of(&[tokens]);
        let rows = [tokens.len() - 1];
        self.check(&batch, &rows, None)?;
        let table = self.rotary.table(batch.positions_needed());
        let segments: Vec<Segment<'static>> = alone(&batch).collect();
        let step = Step::new(self, &segments, &batch, &table, &rows, None);
        let (mut buffers, mut saved) = (Buffers::default(), Saved::default());
        self.embed(&batch, None, &mut buffers.x);
        let queries = self.config.heads * self.config.head_dim;
        let of_layer = |(index, layer): (usize, &Layer)| {
            step.layer_forward(index, layer, &mut saved, &mut buffers, Purpose::Output);
            saved.qkv.chunks_exact(qkv_width(&self.config)).flat_map(|row| &row[queries..]).copied().collect()
        };
        Ok(self.layers.iter().enumerate().map(of_layer).collect())
    }

    fn check_trainable(
        &self,
        batch: &Batch,
        rows: &[usize],
        adapter: Option<&Lora>,
        gradients: &Gradients,
    ) -> Result<(), Error> {
        let refuse = |reason: &str| Err(Error::Invalid(format!("training step: {reason}")));
        if rows.is_empty() {
            return refuse("no row has a loss");
        }
        if batch.sequences.iter().any(|sequence| sequence.past.is_some() || !sequence.tree.is_empty()) {
            return refuse("a sequence has a past or a tree");
        }
        let specs = adapter.map_or(self.specs(), |adapter| adapter.specs());
        if !gradients.match_specs(specs) {
            return refuse("the gradients are of other parameters");
        }
        match (adapter, self.usage) {
            (_, Use::Trainable) | (Some(_), Use::Frozen) => Ok(()),
            (_, usage) => refuse(&format!("the weights are stored for {usage:?}")),
        }
    }

    /// Final norm, output projection and loss, forward and backward. Leaves the gradient of the last layer's output
    /// rows in `dx_rows`.
    fn head_step(
        &self,
        rows: usize,
        full: bool,
        loss: &mut Loss<'_>,
        gradients: &mut Gradients,
        (buffers, backward): (&mut Buffers, &mut BackwardBuffers),
    ) -> f64 {
        let (hidden, vocabulary) = (self.config.hidden, self.config.vocabulary);
        let head_slot = self.layout.head.unwrap_or(self.layout.embedding);
        let (normed, inverse) = (&mut buffers.normed[..rows * hidden], &mut buffers.inverse[..rows]);
        rms_norm(&buffers.x_rows, &self.norm, self.config.norm_epsilon, normed, inverse);
        backward.dnormed.resize(rows * hidden);
        let dnormed = &mut backward.dnormed;
        let tile_rows = (TILE / vocabulary).clamp(1, rows);
        let mut total = 0.0;
        let tiles = normed.chunks(tile_rows * hidden).zip(dnormed.chunks_mut(tile_rows * hidden));
        for (number, (normed, dnormed)) in tiles.enumerate() {
            let rows = normed.len() / hidden;
            backward.logits.resize(rows * vocabulary);
            self.logits_into(normed, &mut backward.logits);
            total += loss(number * tile_rows, &mut backward.logits);
            let dlogits = View::new(&backward.logits, rows, vocabulary);
            self.head().backward(dlogits, ViewMut::new(dnormed, rows, hidden), false);
            if full {
                let normed = View::new(normed, rows, hidden);
                let (dhead, accumulate) = gradients.target(head_slot);
                self.head().gradient(dlogits, normed, dhead, accumulate);
            }
        }
        backward.dx_rows.resize(rows * hidden);
        let dweight = full.then(|| gradients.values_mut(self.layout.norm));
        rms_norm_backward(
            &buffers.x_rows,
            &self.norm,
            inverse,
            dnormed,
            &mut backward.dx_rows,
            false,
            dweight,
        );
        total
    }

    /// Adds the gradient of the embedded tokens.
    fn embedding_gradient(&self, batch: &Batch, dx: &[f32], gradients: &mut Gradients) {
        let hidden = self.config.hidden;
        let dembedding = gradients.values_mut(self.layout.embedding);
        for (own, &token) in dx.chunks_exact(hidden).zip(&batch.tokens) {
            for (sum, value) in dembedding[token as usize * hidden..][..hidden].iter_mut().zip(own) {
                *sum += value;
            }
        }
    }
}

/// The sequences of `batch`, each by itself.
fn alone(batch: &Batch) -> impl Iterator<Item = Segment<'static>> {
    batch.sequences.iter().map(|sequence| Segment {
        start: sequence.start,
        causal: sequence.causal,
        tree: &[],
        past: &[],
        held: None,
    })
}

impl<'a> Step<'a> {
    fn new(
        transformer: &'a Transformer,
        segments: &'a [Segment<'static>],
        batch: &'a Batch,
        table: &'a RotaryTable,
        rows: &'a [usize],
        adapter: Option<&'a Lora>,
    ) -> Self {
        Self {
            transformer,
            segments,
            tokens: &batch.tokens,
            positions: &batch.positions,
            table,
            rows,
            adapter,
        }
    }
}

impl Step<'_> {
    fn is_last(&self, index: usize) -> bool {
        index + 1 == self.transformer.config.layers
    }

    fn adapter(&self, index: usize) -> Option<(&LoraLayer, &LoraSlots)> {
        self.adapter.map(|adapter| (adapter.layer(index), adapter.slots(index)))
    }

    /// Reads the layer's input from `b.x` and leaves its output there (of the last layer in `b.x_rows`).
    fn layer_forward(
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

    /// On entry `dx` (in the last layer `dx_rows`) is the gradient of the layer's output; on return `dx` is that of
    /// its input.
    fn layer_backward(
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
        linear: &super::Linear,
        (x, inner): (&[f32], &[f32]),
        dy: &[f32],
        dx: Option<&mut Buffer>,
        gradients: &mut Gradients,
        drank: &mut Buffer,
    ) {
        let narrow = match self.adapter {
            None => {
                let (dw, accumulate) = gradients.target(self.slots.0);
                linear.gradient(dy, x, dw, accumulate);
                if let Some(bias) = self.slots.1 {
                    bias_gradient(dy, gradients.values_mut(bias));
                }
                None
            }
            Some(Some((adapter, first))) if adapter.scales() => {
                let (dy, narrow) = adapter.backward_scaled((x, inner), dy, (gradients, first), drank);
                if let Some(dx) = dx {
                    linear.backward(dy, dx, Some(narrow));
                }
                return;
            }
            Some(Some((adapter, first))) => Some(adapter.backward((x, inner), dy, (gradients, first), drank)),
            Some(None) => None,
        };
        if let Some(dx) = dx {
            linear.backward(dy, dx, narrow);
        }
    }
}
