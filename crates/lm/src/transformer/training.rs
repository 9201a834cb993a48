//! One training step: forward with saved activations, loss at chosen rows, backward into gradients.

mod backward;
mod forward;

use super::batch::Batch;
use super::gradients::Gradients;
use super::layout::qkv_width;
use super::workspace::{BackwardBuffers, Buffers, Saved, Workspace};
use super::{Layer, Parameters, Transformer};
use crate::Error;
use crate::adapter::{Lora, LoraLayer, LoraSlots};
use forward::Purpose;
use kernels::attention::Segment;
use kernels::buffer::Buffer;
use kernels::matrix::Use;
use kernels::norm::{rms_norm, rms_norm_backward};
use kernels::product::{View, ViewMut};
use kernels::rotary::RotaryTable;

/// A loss over logits. It is called with tiles of rows in order: the index (into the `rows` of the step) of the
/// tile's first row, and its logits `[rows of the tile, vocabulary]`. It returns its share of the loss and replaces
/// the logits by the gradient of the loss with respect to them.
pub type Loss<'a> = dyn FnMut(usize, &mut [f32]) -> f64 + 'a;

/// Logits of one tile, in values: 64 MiB.
const TILE: usize = 16 << 20;

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
}
