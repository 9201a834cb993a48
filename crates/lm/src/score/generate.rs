//! Greedy continuation of several prompts at once.

use super::Scorer;
use crate::Error;
use crate::transformer::{Batch, Cache, Prefix};
use kernels::row::largest_index;

/// Rows of a prompt batch, unless one prompt alone is longer.
const PROMPT_ROWS: usize = 2048;

/// One continuation that is being made.
struct Lane {
    query: usize,
    cache: Cache,
    next: u32,
}

impl Scorer<'_> {
    /// The most probable next token, again and again, for every query after `prefix`: until a token of `stop` (not
    /// returned), `max_tokens`, or the end of the model's context. Of equal logits the lowest token wins.
    ///
    /// # Errors
    /// [`Error::Context`] where a query does not fit; [`Error::Invalid`] for a query without tokens or a token outside
    /// the vocabulary.
    pub fn generate<Q: AsRef<[u32]>>(
        &self,
        prefix: Option<&Prefix>,
        queries: &[Q],
        max_tokens: usize,
        stop: &[u32],
    ) -> Result<Vec<Vec<u32>>, Error> {
        if let Some(empty) = queries.iter().position(|query| query.as_ref().is_empty()) {
            return Err(Error::Invalid(format!("query {empty} has no tokens")));
        }
        let mut answers = vec![Vec::new(); queries.len()];
        let mut lanes = Vec::new();
        let mut logits = Vec::new();
        if max_tokens == 0 {
            return Ok(answers);
        }
        let mut first = 0;
        while first < queries.len() {
            let mut rows = 0;
            let fits = |query: &Q| {
                rows += query.as_ref().len();
                rows <= PROMPT_ROWS
            };
            let count = queries[first..].iter().map(fits).take_while(|&fits| fits).count().max(1);
            let prompts: Vec<(usize, &[u32])> =
                (first..first + count).map(|index| (index, queries[index].as_ref())).collect();
            let caches = (0..count).map(|_| self.transformer.cache(prefix)).collect();
            lanes.extend(self.advance(prompts, caches, &mut logits)?);
            first += count;
        }
        let limit = self.transformer.config().context;
        loop {
            lanes.retain(|lane: &Lane| {
                let answer = &mut answers[lane.query];
                if stop.contains(&lane.next) {
                    return false;
                }
                answer.push(lane.next);
                answer.len() < max_tokens && lane.cache.len() < limit
            });
            if lanes.is_empty() {
                return Ok(answers);
            }
            let tokens: Vec<(usize, [u32; 1])> = lanes.iter().map(|lane| (lane.query, [lane.next])).collect();
            let prompts = tokens.iter().map(|(query, token)| (*query, token.as_slice())).collect();
            let caches = lanes.into_iter().map(|lane| lane.cache).collect();
            lanes = self.advance(prompts, caches, &mut logits)?;
        }
    }

    /// Runs tokens of several queries, each after its cache, and picks each one's next token.
    fn advance(
        &self,
        prompts: Vec<(usize, &[u32])>,
        mut caches: Vec<Cache>,
        logits: &mut Vec<f32>,
    ) -> Result<Vec<Lane>, Error> {
        let mut batch = Batch::new();
        let mut rows = Vec::with_capacity(prompts.len());
        for ((_, tokens), cache) in prompts.iter().zip(&caches) {
            rows.push(batch.push_continuation(cache, tokens) + tokens.len() - 1);
        }
        let transformer = self.transformer;
        let mut workspace = self.workspace();
        let states =
            transformer.hidden_states(&batch, &rows, self.adapter, Some(&mut caches), &mut workspace)?;
        let vocabulary = transformer.config().vocabulary;
        logits.resize(rows.len() * vocabulary, 0.0);
        transformer.logits_into(&states, logits);
        let best = logits.chunks_exact(vocabulary).map(|row| largest_index(row) as u32);
        let lanes = prompts.iter().zip(caches).zip(best);
        Ok(lanes.map(|(((query, _), cache), next)| Lane { query: *query, cache, next }).collect())
    }
}
