//! Scoring many queries against a tree of labels.

use std::sync::{Mutex, MutexGuard, PoisonError};

use super::schedule::{Item, Schedule, Work};
use super::{LabelTree, PromptTree};
use crate::Error;
use crate::adapter::Lora;
use crate::transformer::{Batch, Prefix, Transformer, Workspace};

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
        self.score_tree(prefix, &PromptTree::alone(queries), labels, token_budget)
    }

    /// As [`Scorer::score`], where what several queries begin with is computed once. The keys and values of shared
    /// beginnings are held only while something below them is not done.
    ///
    /// # Errors
    /// As [`Scorer::score`].
    pub fn score_tree(
        &self,
        prefix: Option<&Prefix>,
        queries: &PromptTree<'_>,
        labels: &LabelTree,
        token_budget: usize,
    ) -> Result<Vec<Vec<f64>>, Error> {
        self.check(prefix, queries.prompts(), labels)?;
        let scores = vec![vec![0.0; labels.len()]; queries.len()];
        let mut pass = Pass { scorer: self, queries, labels, wanted: labels.wanted(), scores };
        Schedule::new(queries, token_budget, labels.nodes()).run(prefix, &mut pass)?;
        Ok(pass.scores)
    }

    /// Shared beginnings of queries after what they follow.
    pub(super) fn extend_nodes(
        &self,
        queries: &PromptTree<'_>,
        nodes: &[Item],
    ) -> Result<Vec<Prefix>, Error> {
        let pasts = nodes.iter().map(|item| (item.past.as_ref(), queries.node(item.index)));
        self.transformer.extend_all(&pasts.collect::<Vec<_>>(), self.adapter, &mut self.workspace())
    }

    pub(super) fn check(
        &self,
        prefix: Option<&Prefix>,
        queries: &[&[u32]],
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
            if query.is_empty() {
                return Err(Error::Invalid(format!("query {index} has no tokens")));
            }
            let needed = prefix.map_or(0, Prefix::len) + query.len() + labels.depth();
            if needed > limit {
                return Err(Error::Context { needed, limit });
            }
        }
        Ok(())
    }
}

/// One call of [`Scorer::score_tree`].
struct Pass<'a> {
    scorer: &'a Scorer<'a>,
    queries: &'a PromptTree<'a>,
    labels: &'a LabelTree,
    /// See [`LabelTree::wanted`].
    wanted: Vec<Vec<(usize, u32)>>,
    scores: Vec<Vec<f64>>,
}

impl Work for Pass<'_> {
    fn extend(&mut self, nodes: &[Item]) -> Result<Vec<Prefix>, Error> {
        self.scorer.extend_nodes(self.queries, nodes)
    }

    fn score(&mut self, prompts: &[Item]) -> Result<(), Error> {
        let Scorer { transformer, adapter, .. } = *self.scorer;
        let mut batch = Batch::new();
        // Of each prompt its last row and those of the tree.
        let mut rows = Vec::new();
        for item in prompts {
            let query = self.queries.own(item.index);
            let start =
                batch.push_after(item.past.as_ref(), query, self.labels.tokens(), self.labels.parents());
            rows.extend(start + query.len() - 1..batch.len());
        }
        let states = transformer.hidden_states(&batch, &rows, adapter, None, &mut self.scorer.workspace())?;
        let (wanted, scores) = (&self.wanted, &mut self.scores);
        let of_row = |row: usize| &wanted[row % wanted.len()];
        let tokens = |row: usize| of_row(row).iter().map(|&(_, token)| token);
        read_rows(transformer, &states, tokens, |row, log_probabilities| {
            let scores = &mut scores[prompts[row / wanted.len()].index];
            for (&(label, _), log_probability) in of_row(row).iter().zip(log_probabilities) {
                scores[label] += log_probability;
            }
        });
        Ok(())
    }
}

/// Shows `reader` each of the normed hidden `states`, by its number, as the log-probabilities of `tokens(number)` after it.
pub(super) fn read_rows<Tokens: Iterator<Item = u32>>(
    transformer: &Transformer,
    states: &[f32],
    tokens: impl Fn(usize) -> Tokens,
    mut reader: impl FnMut(usize, &[f64]),
) {
    let rows = states.len() / transformer.config().hidden;
    let (mut wanted, mut ends) = (Vec::new(), Vec::with_capacity(rows));
    for row in 0..rows {
        wanted.extend(tokens(row).map(|token| (row as u32, token)));
        ends.push(wanted.len());
    }
    let found = transformer.log_probabilities(states, &wanted);
    let mut start = 0;
    for (row, end) in ends.into_iter().enumerate() {
        reader(row, &found[start..end]);
        start = end;
    }
}
