//! The forward pass without saved activations.

use super::batch::{Batch, Sequence};
use super::layout::qkv_width;
use super::prefix::{Cache, Prefix};
use super::workspace::{Buffers, Workspace, gather};
use super::{Layer, Transformer};
use crate::Error;
use crate::adapter::{Lora, LoraLayer};
use crate::config::ModelConfig;
use kernels::activation::swiglu;
use kernels::attention::{KeyValues, Segment, attention, attention_rounded};
use kernels::feed_forward::{FeedForward, feed_forward};
use kernels::log_softmax::log_softmax_at;
use kernels::matrix::Precision;
use kernels::norm::rms_norm;
use kernels::product::{View, ViewMut};
use kernels::rotary::{RotaryTable, rotate};
use kernels::threads::for_each_value;

/// What the forward pass of one layer needs beside the layer.
struct Pass<'a> {
    transformer: &'a Transformer,
    batch: &'a Batch,
    table: &'a RotaryTable,
    /// Rows wanted after the last layer.
    rows: &'a [usize],
}

impl Transformer {
    /// Hidden states of `rows` of the batch after the last layer and the final norm: `[rows.len(), hidden]`.
    ///
    /// Where `caches` are given (one per sequence; the batch made by [`Batch::push_continuation`] or
    /// [`Batch::push_branches`]), what they hold comes before each sequence, and they grow by its rows. With no `rows`, only the caches are filled.
    ///
    /// # Errors
    /// [`Error::Context`] where a position does not fit the model's context; [`Error::Invalid`] for a token outside
    /// the vocabulary, a row outside the batch, or an adapter of another shape.
    pub fn hidden_states(
        &self,
        batch: &Batch,
        rows: &[usize],
        adapter: Option<&Lora>,
        mut caches: Option<&mut [Cache]>,
        workspace: &mut Workspace,
    ) -> Result<Vec<f32>, Error> {
        self.check(batch, rows, adapter)?;
        if let Some(caches) = caches.as_deref() {
            if caches.len() != batch.sequences.len() {
                return Err(Error::Invalid(format!(
                    "{} caches for {} sequences",
                    caches.len(),
                    batch.sequences.len()
                )));
            }
            let fits = |(sequence, cache): (&Sequence, &Cache)| match sequence.held {
                Some(held) => held == cache.own_len() && !cache.prefix.is_empty(),
                None => sequence.tree.is_empty() && sequence.past.is_none(),
            };
            if !batch.sequences.iter().zip(caches).all(fits) {
                return Err(Error::Invalid("a sequence with a cache has a past or a tree of its own".into()));
            }
        } else if batch.sequences.iter().any(|sequence| sequence.held.is_some()) {
            return Err(Error::Invalid("a tree that grows has no cache".into()));
        }
        let table = self.rotary.table(batch.positions_needed());
        let pass = Pass { transformer: self, batch, table: &table, rows };
        let buffers = &mut workspace.buffers;
        self.embed(batch, adapter, &mut buffers.x);
        for (index, layer) in self.layers.iter().enumerate() {
            let adapter = adapter.map(|adapter| adapter.layer(index));
            pass.layer(index, layer, adapter, caches.as_deref_mut(), buffers);
        }
        let mut normed = vec![0.0; rows.len() * self.config.hidden];
        if !rows.is_empty() {
            let epsilon = self.config.norm_epsilon;
            rms_norm(&buffers.x_rows, &self.norm, epsilon, &mut normed, &mut buffers.inverse[..rows.len()]);
        }
        Ok(normed)
    }

    /// Logits `[rows, vocabulary]` of normed hidden states `[rows, hidden]`.
    pub fn logits(&self, hidden: &[f32]) -> Vec<f32> {
        let rows = hidden.len() / self.config.hidden;
        let mut logits = vec![0.0; rows * self.config.vocabulary];
        self.logits_into(hidden, &mut logits);
        logits
    }

    /// As [`Transformer::logits`], into `logits[rows, vocabulary]`.
    pub fn logits_into(&self, hidden: &[f32], logits: &mut [f32]) {
        let rows = hidden.len() / self.config.hidden;
        self.head().forward(
            View::new(hidden, rows, self.config.hidden),
            ViewMut::new(logits, rows, self.config.vocabulary),
            false,
        );
    }

    /// Log-probability (natural) of each `wanted` (row, token) after the normed hidden states `[rows, hidden]`. No logits are
    /// stored.
    pub fn log_probabilities(&self, hidden: &[f32], wanted: &[(u32, u32)]) -> Vec<f64> {
        let rows = hidden.len() / self.config.hidden;
        let mut found = vec![0.0; wanted.len()];
        log_softmax_at(self.head(), View::new(hidden, rows, self.config.hidden), wanted, &mut found);
        found
    }

    /// Computes `tokens` once, to be continued by any number of sequences.
    ///
    /// # Errors
    /// As [`Transformer::hidden_states`].
    pub fn prefill(
        &self,
        tokens: &[u32],
        adapter: Option<&Lora>,
        workspace: &mut Workspace,
    ) -> Result<Prefix, Error> {
        self.extend(&Prefix::default(), tokens, adapter, workspace)
    }

    /// `prefix` continued by `tokens`; the keys and values of `prefix` are shared, not copied.
    ///
    /// # Errors
    /// As [`Transformer::hidden_states`].
    pub fn extend(
        &self,
        prefix: &Prefix,
        tokens: &[u32],
        adapter: Option<&Lora>,
        workspace: &mut Workspace,
    ) -> Result<Prefix, Error> {
        let mut extended = self.extend_all(&[(Some(prefix), tokens)], adapter, workspace)?;
        Ok(extended.pop().unwrap_or_default())
    }

    /// Every past (nothing, where absent) continued by its tokens, in one pass.
    ///
    /// # Errors
    /// As [`Transformer::hidden_states`].
    pub fn extend_all(
        &self,
        pasts: &[(Option<&Prefix>, &[u32])],
        adapter: Option<&Lora>,
        workspace: &mut Workspace,
    ) -> Result<Vec<Prefix>, Error> {
        let mut batch = Batch::new();
        let mut caches = Vec::with_capacity(pasts.len());
        for (past, tokens) in pasts.iter().filter(|(_, tokens)| !tokens.is_empty()) {
            let cache = self.cache(*past);
            batch.push_continuation(&cache, tokens);
            caches.push(cache);
        }
        if !caches.is_empty() {
            self.hidden_states(&batch, &[], adapter, Some(&mut caches), workspace)?;
        }
        let mut computed = caches.into_iter();
        let whole = |(past, tokens): &(Option<&Prefix>, &[u32])| {
            let extended = (!tokens.is_empty()).then(|| computed.next()).flatten().map(Cache::into_prefix);
            extended.unwrap_or_else(|| past.cloned().unwrap_or_default())
        };
        Ok(pasts.iter().map(whole).collect())
    }

    /// An empty cache after `prefix`.
    pub fn cache(&self, prefix: Option<&Prefix>) -> Cache {
        let layer = |layer| match self.precision {
            Precision::F32 => KeyValues::new(&self.heads(layer)),
            Precision::Bf16 | Precision::Stored | Precision::Int8 => KeyValues::rounded(&self.heads(layer)),
        };
        Cache::new(prefix.cloned().unwrap_or_default(), (0..self.config.layers).map(layer).collect())
    }
}

impl Layer {
    /// Adds the feed-forward block to `x` in one operation, where that can be done and is worth it; false where not.
    fn feed_forward(&self, config: &ModelConfig, x: &mut [f32]) -> bool {
        let (gate_up, down) = (&self.gate_up, &self.down);
        if gate_up.bias.is_some() || down.bias.is_some() {
            return false;
        }
        let (norm, epsilon) = (&self.post_norm, config.norm_epsilon);
        feed_forward(x, &FeedForward { norm, epsilon, gate_up: &gate_up.matrix, down: &down.matrix })
    }
}

impl Pass<'_> {
    fn layer(
        &self,
        index: usize,
        layer: &Layer,
        adapter: Option<&LoraLayer>,
        caches: Option<&mut [Cache]>,
        buffers: &mut Buffers,
    ) {
        let config = &self.transformer.config;
        let (count, hidden) = (self.batch.len(), config.hidden);
        let last = index + 1 == config.layers;
        let b = buffers;
        b.size_for(config, count);
        rms_norm(&b.x, &layer.input_norm, config.norm_epsilon, &mut b.normed, &mut b.inverse);
        layer.qkv.forward(&b.normed, &mut b.qkv, false, adapter.and_then(|a| a.qkv.as_ref()), &mut b.rank);
        layer.norm_heads(config, &mut b.qkv, &mut b.heads_x, &mut b.heads_y, &mut b.heads_inverse);
        let heads = config.heads + config.kv_heads;
        rotate(&mut b.qkv, qkv_width(config), heads, &self.batch.positions, self.table, false);
        if let Some(past) = adapter.and_then(|adapter| adapter.past.as_ref()) {
            past.put(&self.batch.tokens, &mut b.qkv, config);
        }
        if last && self.rows.is_empty() {
            self.keep(index, &b.qkv, caches);
            return;
        }
        self.attend(index, &b.qkv, caches.as_deref(), &mut b.attended);
        self.keep(index, &b.qkv, caches);
        // After the last layer's attention only the wanted rows go on.
        let (rows, x, attended) = if last {
            gather(&b.x, hidden, self.rows, &mut b.x_rows);
            gather(&b.attended, config.heads * config.head_dim, self.rows, &mut b.attended_rows);
            (self.rows.len(), &mut b.x_rows, &b.attended_rows)
        } else {
            (count, &mut b.x, &b.attended)
        };
        layer.output.forward(attended, x, true, adapter.and_then(|a| a.output.as_ref()), &mut b.rank);
        let plain = adapter.is_none_or(|adapter| adapter.gate_up.is_none() && adapter.down.is_none());
        if !(plain && layer.feed_forward(config, x)) {
            let (normed, inverse) = (&mut b.normed[..rows * hidden], &mut b.inverse[..rows]);
            b.between.grow(config, rows);
            let gate_up = &mut b.between.gate_up[..rows * 2 * config.intermediate];
            let active = &mut b.between.active[..rows * config.intermediate];
            rms_norm(x, &layer.post_norm, config.norm_epsilon, normed, inverse);
            let (first, second) =
                (adapter.and_then(|a| a.gate_up.as_ref()), adapter.and_then(|a| a.down.as_ref()));
            layer.gate_up.forward(normed, gate_up, false, first, &mut b.rank);
            swiglu(gate_up, config.intermediate, active);
            layer.down.forward(active, x, true, second, &mut b.rank);
        }
    }

    fn attend(&self, index: usize, qkv: &[f32], caches: Option<&[Cache]>, out: &mut [f32]) {
        let parts_of = |number: usize| {
            let sequence = &self.batch.sequences[number];
            let (prefix, own) = match caches {
                Some(caches) => (Some(&caches[number].prefix), Some(&caches[number].own)),
                None => (sequence.past.as_ref(), None),
            };
            let shared = prefix.into_iter().flat_map(|prefix| &prefix.parts).map(AsRef::as_ref);
            let own = own.map(|own| &own.layers[index]).filter(|own| !own.is_empty());
            // What a cache holds of its own comes before the rows, or is the beginning of their tree.
            let (before, held) = if sequence.held.is_some() { (None, own) } else { (own, None) };
            let past = shared.map(|part| &part.layers[index]).filter(|past| !past.is_empty()).chain(before);
            (past.collect::<Vec<_>>(), held)
        };
        let parts: Vec<(Vec<&KeyValues>, Option<&KeyValues>)> =
            (0..self.batch.sequences.len()).map(parts_of).collect();
        let segments: Vec<Segment<'_>> = self
            .batch
            .sequences
            .iter()
            .zip(&parts)
            .map(|(sequence, (past, held))| Segment {
                start: sequence.start,
                causal: sequence.causal,
                tree: &sequence.tree,
                past,
                held: *held,
            })
            .collect();
        let heads = self.transformer.heads(index);
        match self.transformer.precision {
            Precision::F32 => attention(heads, qkv, &segments, out, None),
            Precision::Bf16 | Precision::Stored | Precision::Int8 => {
                attention_rounded(heads, qkv, &segments, out);
            }
        }
    }

    /// Appends this layer's keys and values to the caches.
    fn keep(&self, index: usize, qkv: &[f32], caches: Option<&mut [Cache]>) {
        let Some(caches) = caches else { return };
        let heads = self.transformer.heads(index);
        for_each_value(caches, 4 * qkv.len(), |number, cache| {
            let sequence = &self.batch.sequences[number];
            let layer = &mut cache.own.layers[index];
            if layer.is_empty() {
                layer.reserve(sequence.causal);
            }
            layer.append(&heads, &qkv[sequence.start * heads.row()..sequence.end() * heads.row()]);
        });
    }
}
