//! Searching the best label of many queries: their nodes are computed together, pass after pass.

use super::schedule::{Item, Schedule, Work};
use super::scorer::read_rows;
use super::search::{Beneath, Outcome, Search};
use super::{LabelTree, PromptTree, Scorer, SearchGoal};
use crate::Error;
use crate::transformer::{Batch, Cache, Prefix};
use kernels::attention::ROOT;

/// Positions whose keys and values are held for queries that are searched together.
const HELD: usize = 4096;
/// Positions that a query and its nodes are counted as at least: keys are kept in panels of this size.
const PANEL: usize = 32;

/// What [`Scorer::search_tree`] found.
#[derive(Clone, Debug, PartialEq)]
pub struct Found {
    /// `[query][label]`: log-probabilities (natural) as [`Scorer::score`] gives them. A label that was left out has an equal share of
    /// what the beginning has that it shares with others that were: it is not the best.
    pub scores: Vec<Vec<f64>>,
    /// Of each query whether the labels that were left out have together no more than `goal.tolerance` of the probability of the
    /// others, so that the shares of all labels are those of [`Scorer::score`] within it.
    pub complete: Vec<bool>,
    /// Nodes of the label tree that were computed, for all queries together.
    pub nodes: usize,
}

impl Scorer<'_> {
    /// The best label of every query, found by the log-probabilities of as few nodes of the label tree as that takes (best first):
    /// the highest score is that of the label which [`Scorer::score_tree`] gives the highest, offsets of `goal` added, and exact.
    ///
    /// A query's nodes are computed in several passes, each together with those of other queries; which they are depends on that
    /// query alone.
    ///
    /// # Errors
    /// As [`Scorer::score`].
    pub fn search_tree(
        &self,
        prefix: Option<&Prefix>,
        queries: &PromptTree<'_>,
        labels: &LabelTree,
        goal: SearchGoal<'_>,
        token_budget: usize,
    ) -> Result<Found, Error> {
        self.check(prefix, queries.prompts(), labels)?;
        let beneath = Beneath::new(labels, &goal);
        let mut pass = SearchPass {
            scorer: self,
            queries,
            labels,
            goal,
            beneath: &beneath,
            budget: token_budget,
            waiting: Vec::new(),
            positions: 0,
            found: Found {
                scores: vec![Vec::new(); queries.len()],
                complete: vec![false; queries.len()],
                nodes: 0,
            },
        };
        Schedule::new(queries, token_budget, 0).run(prefix, &mut pass)?;
        pass.drain()?;
        Ok(pass.found)
    }
}

/// One query that is being searched.
struct Lane<'a> {
    query: usize,
    search: Search<'a>,
    /// Parents of the nodes that were computed, by their place among them.
    parents: Vec<u32>,
    /// The place of each node of the tree.
    places: Vec<u32>,
}

/// A query with the keys and values of what was computed of it: itself as a prefix, and nodes below it.
type Held<'a> = (Lane<'a>, Cache);

/// One call of [`Scorer::search_tree`].
struct SearchPass<'a> {
    scorer: &'a Scorer<'a>,
    queries: &'a PromptTree<'a>,
    labels: &'a LabelTree,
    goal: SearchGoal<'a>,
    beneath: &'a Beneath,
    /// Rows of a batch.
    budget: usize,
    /// Queries that are computed and wait for their search.
    waiting: Vec<Held<'a>>,
    /// Positions that they hold.
    positions: usize,
    found: Found,
}

impl Work for SearchPass<'_> {
    fn extend(&mut self, nodes: &[Item]) -> Result<Vec<Prefix>, Error> {
        self.scorer.extend_nodes(self.queries, nodes)
    }

    fn score(&mut self, prompts: &[Item]) -> Result<(), Error> {
        let Scorer { transformer, adapter, .. } = *self.scorer;
        let mut caches: Vec<Cache> =
            prompts.iter().map(|item| transformer.cache(item.past.as_ref())).collect();
        let (mut batch, mut rows) = (Batch::new(), Vec::with_capacity(prompts.len()));
        for (item, cache) in prompts.iter().zip(&caches) {
            batch.push_continuation(cache, self.queries.own(item.index));
            rows.push(batch.len() - 1);
        }
        let mut workspace = self.scorer.workspace();
        let states = transformer.hidden_states(&batch, &rows, adapter, Some(&mut caches), &mut workspace)?;
        let first = self.waiting.len();
        for (item, cache) in prompts.iter().zip(caches) {
            let lane = Lane {
                query: item.index,
                search: Search::new(self.labels, self.goal, self.beneath),
                parents: Vec::new(),
                places: vec![ROOT; self.labels.nodes()],
            };
            self.positions += self.queries.own(item.index).len().next_multiple_of(PANEL) + PANEL;
            self.waiting.push((lane, transformer.cache(Some(&cache.into_prefix()))));
        }
        let held = &mut self.waiting[first..];
        let branches = |_| self.labels.branches(0).iter().map(|&(token, _)| token);
        read_rows(transformer, &states, branches, |row, log_probabilities| {
            held[row].0.search.take(0, log_probabilities);
        });
        drop(workspace);
        if self.positions >= HELD { self.drain() } else { Ok(()) }
    }
}

impl<'a> SearchPass<'a> {
    /// Searches for all queries that wait.
    fn drain(&mut self) -> Result<(), Error> {
        self.positions = 0;
        let mut lanes = std::mem::take(&mut self.waiting);
        while !lanes.is_empty() {
            let mut going = Vec::with_capacity(lanes.len());
            for (mut lane, cache) in lanes {
                let nodes = lane.search.next();
                if nodes.is_empty() {
                    self.end(lane);
                } else {
                    going.push((lane, cache, nodes));
                }
            }
            lanes = Vec::with_capacity(going.len());
            let mut going = going.into_iter().peekable();
            while going.peek().is_some() {
                let (mut together, mut rows) = (Vec::new(), 0);
                while let Some(one) =
                    going.next_if(|(_, _, nodes)| rows == 0 || rows + nodes.len() <= self.budget)
                {
                    rows += one.2.len();
                    together.push(one);
                }
                lanes.extend(self.advance(together)?);
            }
        }
        Ok(())
    }

    /// Keeps what a search has found.
    fn end(&mut self, lane: Lane<'a>) {
        let Outcome { scores, complete, nodes } = lane.search.finish();
        self.found.nodes += nodes;
        self.found.complete[lane.query] = complete;
        self.found.scores[lane.query] = scores;
    }

    /// Computes nodes of several queries and tells their searches.
    fn advance(&mut self, going: Vec<(Lane<'a>, Cache, Vec<usize>)>) -> Result<Vec<Held<'a>>, Error> {
        let Scorer { transformer, adapter, .. } = *self.scorer;
        let (mut batch, mut rows) = (Batch::new(), Vec::new());
        let (mut lanes, mut caches) = (Vec::with_capacity(going.len()), Vec::with_capacity(going.len()));
        for (mut lane, cache, nodes) in going {
            for &node in &nodes {
                lane.places[node] = lane.parents.len() as u32;
                let parent = self.labels.parents()[node];
                lane.parents.push(if parent == ROOT { ROOT } else { lane.places[parent as usize] });
                rows.push((lanes.len(), node + 1));
            }
            let tokens: Vec<u32> = nodes.iter().map(|&node| self.labels.tokens()[node]).collect();
            batch.push_branches(&cache, &lane.parents, &tokens);
            lanes.push(lane);
            caches.push(cache);
        }
        let wanted: Vec<usize> = (0..batch.len()).collect();
        let mut workspace = self.scorer.workspace();
        let states =
            transformer.hidden_states(&batch, &wanted, adapter, Some(&mut caches), &mut workspace)?;
        let branches = |row: usize| self.labels.branches(rows[row].1).iter().map(|&(token, _)| token);
        read_rows(transformer, &states, branches, |row, log_probabilities| {
            let (lane, row) = rows[row];
            lanes[lane].search.take(row, log_probabilities);
        });
        Ok(lanes.into_iter().zip(caches).collect())
    }
}
