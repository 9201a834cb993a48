//! Greedy continuation of several prompts at once.

use super::Scorer;
use super::guide::{Guide, TokenGuide};
use crate::Error;
use crate::transformer::{Batch, Cache, Prefix};

/// Rows of a prompt batch, unless one prompt alone is longer.
const PROMPT_ROWS: usize = 2048;

/// One continuation that is being made.
struct Lane {
    query: usize,
    cache: Cache,
    /// `None`: the answer has ended.
    next: Option<u32>,
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
        if max_tokens == 0 && queries.iter().all(|query| !query.as_ref().is_empty()) {
            return Ok(vec![Vec::new(); queries.len()]);
        }
        let mut guides = vec![TokenGuide::new(stop, max_tokens); queries.len()];
        self.generate_guided(prefix, queries, &mut guides)
    }

    /// Tokens that each query's guide chooses, one after another, until it ends the answer or the model's context is full.
    ///
    /// # Errors
    /// As [`Scorer::generate`], and those of the guides; [`Error::Invalid`] where there is not one guide a query.
    pub fn generate_guided<Q: AsRef<[u32]>, G: Guide>(
        &self,
        prefix: Option<&Prefix>,
        queries: &[Q],
        guides: &mut [G],
    ) -> Result<Vec<Vec<u32>>, Error> {
        if guides.len() != queries.len() {
            return Err(Error::Invalid(format!("{} guides for {} queries", guides.len(), queries.len())));
        }
        if let Some(empty) = queries.iter().position(|query| query.as_ref().is_empty()) {
            return Err(Error::Invalid(format!("query {empty} has no tokens")));
        }
        let mut answers = vec![Vec::new(); queries.len()];
        let mut lanes = Vec::new();
        let mut logits = Vec::new();
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
            lanes.extend(self.advance(prompts, caches, guides, &mut logits)?);
            first += count;
        }
        let limit = self.transformer.config().context;
        loop {
            lanes.retain(|lane: &Lane| {
                let Some(token) = lane.next else { return false };
                answers[lane.query].push(token);
                !guides[lane.query].is_complete() && lane.cache.len() < limit
            });
            if lanes.is_empty() {
                return Ok(answers);
            }
            let tokens: Vec<(usize, [u32; 1])> =
                lanes.iter().filter_map(|lane| Some((lane.query, [lane.next?]))).collect();
            let prompts = tokens.iter().map(|(query, token)| (*query, token.as_slice())).collect();
            let caches = lanes.into_iter().map(|lane| lane.cache).collect();
            lanes = self.advance(prompts, caches, guides, &mut logits)?;
        }
    }

    /// Runs tokens of several queries, each after its cache, and picks each one's next token.
    fn advance<G: Guide>(
        &self,
        prompts: Vec<(usize, &[u32])>,
        mut caches: Vec<Cache>,
        guides: &mut [G],
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
        let lanes = prompts.iter().zip(caches).zip(logits.chunks_exact(vocabulary));
        lanes
            .map(|(((query, _), cache), row)| {
                Ok(Lane { query: *query, cache, next: guides[*query].next(row)? })
            })
            .collect()
    }
}
