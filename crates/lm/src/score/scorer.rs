//! Scoring many queries against a tree of labels.

use std::sync::{Mutex, MutexGuard, PoisonError};

use super::LabelTree;
use crate::Error;
use crate::adapter::Lora;
use crate::transformer::{Batch, Prefix, Transformer, Workspace};
use kernels::row::log_sum_exp;

/// Logits held at a time, in values: 32 MiB.
const TILE: usize = 8 << 20;

/// A transformer, with or without an adapter, that answers queries. Can be shared by threads; its calls use all the
/// cores one after the other.
pub struct Scorer<'a> {
    pub(super) transformer: &'a Transformer,
    pub(super) adapter: Option<&'a Lora>,
    workspace: Mutex<Workspace>,
}

impl<'a> Scorer<'a> {
    /// Answers come from `transformer`, changed by `adapter` where given.
    pub fn new(transformer: &'a Transformer, adapter: Option<&'a Lora>) -> Self {
        Self { transformer, adapter, workspace: Mutex::new(Workspace::new()) }
    }

    /// The transformer that answers.
    pub fn transformer(&self) -> &Transformer {
        self.transformer
    }

    /// The adapter on it.
    pub fn adapter(&self) -> Option<&Lora> {
        self.adapter
    }

    pub(super) fn workspace(&self) -> MutexGuard<'_, Workspace> {
        // Buffers hold nothing between calls.
        self.workspace.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Computes what many queries begin with.
    ///
    /// # Errors
    /// [`Error::Context`] where it does not fit; [`Error::Invalid`] for a token outside the vocabulary.
    pub fn prefill(&self, tokens: &[u32]) -> Result<Prefix, Error> {
        self.transformer.prefill(tokens, self.adapter, &mut self.workspace())
    }

    /// `prefix` continued by `tokens`; what it holds is shared.
    ///
    /// # Errors
    /// As [`Scorer::prefill`].
    pub fn extend(&self, prefix: &Prefix, tokens: &[u32]) -> Result<Prefix, Error> {
        self.transformer.extend(prefix, tokens, self.adapter, &mut self.workspace())
    }

    /// Log-probability (natural) of every label after every query: the sum over the label's tokens, `[query][label]`.
    ///
    /// Each query follows `prefix`; its labels are computed in the same pass, as a tree after its last token. Queries
    /// are packed into batches of at most `token_budget` rows (one query at least), which bounds the memory and does
    /// not change the results beyond rounding.
    ///
    /// # Errors
    /// [`Error::Context`] where prefix, query and longest label do not fit; [`Error::Invalid`] for a query without
    /// tokens (nothing precedes its label) or a token outside the vocabulary.
    pub fn score<Q: AsRef<[u32]>>(
        &self,
        prefix: Option<&Prefix>,
        queries: &[Q],
        labels: &LabelTree,
        token_budget: usize,
    ) -> Result<Vec<Vec<f64>>, Error> {
        self.check(prefix, queries, labels)?;
        let mut scores = Vec::with_capacity(queries.len());
        let mut batch = Batch::new();
        let mut rows = Vec::new();
        for query in queries {
            let query = query.as_ref();
            let needed = query.len() + labels.nodes();
            if !batch.is_empty() && batch.len() + needed > token_budget {
                self.score_batch(&batch, &rows, labels, &mut scores)?;
                batch = Batch::new();
                rows.clear();
            }
            let start = batch.push_after(prefix, query, labels.tokens(), labels.parents());
            rows.extend(start + query.len() - 1..start + needed);
        }
        if !batch.is_empty() {
            self.score_batch(&batch, &rows, labels, &mut scores)?;
        }
        Ok(scores)
    }

    fn check<Q: AsRef<[u32]>>(
        &self,
        prefix: Option<&Prefix>,
        queries: &[Q],
        labels: &LabelTree,
    ) -> Result<(), Error> {
        let vocabulary = self.transformer.config().vocabulary;
        if let Some((_, token)) =
            labels.paths().iter().flatten().find(|(_, token)| *token as usize >= vocabulary)
        {
            return Err(Error::Invalid(format!(
                "label token {token} is outside the vocabulary of {vocabulary}"
            )));
        }
        let limit = self.transformer.config().context;
        for (index, query) in queries.iter().enumerate() {
            if query.as_ref().is_empty() {
                return Err(Error::Invalid(format!("query {index} has no tokens")));
            }
            let needed = prefix.map_or(0, Prefix::len) + query.as_ref().len() + labels.depth();
            if needed > limit {
                return Err(Error::Context { needed, limit });
            }
        }
        Ok(())
    }

    /// `rows` holds, for each query, its last row and those of the tree.
    fn score_batch(
        &self,
        batch: &Batch,
        rows: &[usize],
        labels: &LabelTree,
        scores: &mut Vec<Vec<f64>>,
    ) -> Result<(), Error> {
        let config = self.transformer.config();
        let (hidden, vocabulary) = (config.hidden, config.vocabulary);
        let states =
            self.transformer.hidden_states(batch, rows, self.adapter, None, &mut self.workspace())?;
        // Tokens that are predicted at each row of the tree, and by which label.
        let per_query = labels.nodes() + 1;
        let mut wanted: Vec<Vec<(usize, u32)>> = vec![Vec::new(); per_query];
        for (label, path) in labels.paths().iter().enumerate() {
            for &(row, token) in path {
                wanted[row].push((label, token));
            }
        }
        let base = scores.len();
        scores.resize_with(base + rows.len() / per_query, || vec![0.0; labels.len()]);
        let tile_rows = (TILE / vocabulary).clamp(1, rows.len());
        let mut logits = vec![0.0; tile_rows * vocabulary];
        for (tile, states) in states.chunks(tile_rows * hidden).enumerate() {
            let logits = &mut logits[..states.len() / hidden * vocabulary];
            self.transformer.logits_into(states, logits);
            for (offset, logits) in logits.chunks_exact(vocabulary).enumerate() {
                let row = tile * tile_rows + offset;
                let normalizer = f64::from(log_sum_exp(logits));
                for &(label, token) in &wanted[row % per_query] {
                    scores[base + row / per_query][label] += f64::from(logits[token as usize]) - normalizer;
                }
            }
        }
        Ok(())
    }
}
