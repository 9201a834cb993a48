//! Which training examples a request is shown: the one way that a run, its report and a shipped prompt share.

use std::borrow::Cow;

use serde::{Deserialize, Serialize};
use task::settings::Order;

use crate::embedding::{Code, Space};
use crate::plan::Selection;
use crate::retrieval::Bm25;
use crate::selection::{self, Retrieval};

/// Weight of likeness to the request against unlikeness to what was chosen before, in [`Selection::Diverse`].
pub const DIVERSE_LAMBDA: f64 = 0.7;
/// Candidates of [`Selection::Diverse`], in demonstrations wanted.
const CANDIDATES: usize = 4;
/// One in so many demonstrations of [`Selection::Hybrid`] is retrieved, the others are the block that all requests share.
const RETRIEVED: usize = 4;

/// How demonstrations are chosen.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Rule {
    /// By what.
    #[serde(default = "bm25")]
    pub selection: Selection,
    /// How many stand in a prompt.
    pub shots: usize,
    /// Seed of a random draw.
    #[serde(default)]
    pub seed: u64,
    /// In which order.
    pub order: Order,
}

/// What prompts of before there was another kind of retrieval had.
fn bm25() -> Selection {
    Selection::Bm25
}

/// Demonstrations of [`Selection::Hybrid`] that are retrieved, of `shots`: a quarter, at least one.
pub(crate) fn hybrid_retrieved(shots: usize) -> usize {
    shots.div_ceil(RETRIEVED)
}

/// The examples to choose from.
pub(crate) struct Pool<'a> {
    inputs: Vec<&'a str>,
    targets: Cow<'a, [usize]>,
    /// How many labels draws are balanced over.
    labels: usize,
    index: Bm25,
}

impl<'a> Pool<'a> {
    pub(crate) fn new(inputs: Vec<&'a str>, targets: Cow<'a, [usize]>, labels: usize) -> Self {
        let index = Bm25::new(&inputs);
        Self { inputs, targets, labels, index }
    }

    /// The examples' inputs.
    pub(crate) fn inputs(&self) -> &[&'a str] {
        &self.inputs
    }

    /// Where each example stands in the one order of all requests, where the rule wants one.
    pub(crate) fn places(&self, rule: &Rule) -> Option<Vec<usize>> {
        (rule.selection.per_request() && rule.order == Order::Fixed)
            .then(|| selection::fixed_order(&self.index, &self.inputs, &self.targets, rule.shots))
    }

    /// What all requests are shown first, in prompt order: the whole draw, the hybrid's block, or nothing.
    pub(crate) fn block(&self, rule: &Rule) -> Vec<usize> {
        let shots = match rule.selection {
            Selection::Random => rule.shots,
            Selection::Hybrid => rule.shots - hybrid_retrieved(rule.shots),
            _ => return Vec::new(),
        };
        let drawn = selection::balanced_draw(&self.targets, self.labels, shots, rule.seed);
        if rule.order == Order::Cycled { selection::cycled(drawn, &self.targets) } else { drawn }
    }

    /// What `query` is shown after the rule's `block`, in prompt order; `near` is the space of this pool with the query's place in it.
    pub(crate) fn retrieved(
        &self,
        rule: &Rule,
        block: &[usize],
        query: &str,
        near: Option<(&Space, &Code)>,
        places: Option<&[usize]>,
    ) -> Vec<usize> {
        let whole = Retrieval { count: rule.shots, per_label: None, exclude: None };
        let mut chosen = match rule.selection {
            Selection::ZeroShot | Selection::Random => return Vec::new(),
            Selection::Bm25 => whole.choose(&self.index, query, &self.targets),
            Selection::Embedding => {
                let ranked = near.map_or_else(Vec::new, |(space, code)| space.search(code));
                whole.choose_ranked(ranked, &self.targets)
            }
            Selection::Diverse => whole.choose_ranked(self.diverse(query, rule.shots), &self.targets),
            Selection::Hybrid => {
                let found =
                    self.index.search(query, usize::MAX, None).into_iter().map(|(example, _)| example);
                let count = hybrid_retrieved(rule.shots);
                let more = Retrieval { count: count + block.len(), ..whole };
                // What the block shows is not shown again; what fills up is drawn as ever.
                let mut found = more.choose_ranked(found, &self.targets);
                found.retain(|example| !block.contains(example));
                found.split_off(found.len().saturating_sub(count))
            }
        };
        if let Some(places) = places {
            chosen.sort_by_key(|&index| places[index]);
        }
        if rule.order == Order::Cycled { selection::cycled(chosen, &self.targets) } else { chosen }
    }

    /// Examples like `query` and unlike each other, the first choice first. Relevance is BM25's score over the highest one, and
    /// likeness the cosine of BM25's weights.
    fn diverse(&self, query: &str, shots: usize) -> Vec<usize> {
        let found = self.index.search(query, CANDIDATES * shots, None);
        let highest = found.first().map_or(1.0, |&(_, score)| score);
        let relevance: Vec<f64> = found.iter().map(|&(_, score)| score / highest).collect();
        let likeness = |a: usize, b: usize| self.index.likeness(found[a].0, found[b].0);
        let order = selection::marginal_relevance(&relevance, likeness, shots, DIVERSE_LAMBDA);
        order.into_iter().map(|index| found[index].0).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const INPUTS: [&str; 6] = [
        "lost my card",
        "lost my card today",
        "card payment failed",
        "refund the charge",
        "new pin",
        "old pin",
    ];

    fn pool() -> Pool<'static> {
        Pool::new(INPUTS.to_vec(), Cow::Owned(vec![0, 0, 1, 1, 2, 2]), 3)
    }

    fn rule(selection: Selection, shots: usize) -> Rule {
        Rule { selection, shots, seed: 0, order: Order::Similarity }
    }

    #[test]
    fn a_hybrid_shows_the_block_to_all_and_never_twice() {
        let pool = pool();
        let rule = rule(Selection::Hybrid, 4);
        let block = pool.block(&rule);
        assert_eq!(block.len(), 3, "a quarter of four is retrieved");
        for query in ["I lost my card", "a new pin", "what is the weather", "refund"] {
            let retrieved = pool.retrieved(&rule, &block, query, None, None);
            assert_eq!(retrieved.len(), 1, "{query}");
            assert!(!block.contains(&retrieved[0]), "{query}");
        }
    }

    #[test]
    fn a_diverse_choice_passes_over_what_says_the_same() {
        let pool = pool();
        let nearest = pool.retrieved(&rule(Selection::Bm25, 2), &[], "lost my card", None, None);
        assert_eq!(nearest, [1, 0], "the nearest last");
        let diverse = pool.retrieved(&rule(Selection::Diverse, 2), &[], "lost my card", None, None);
        assert_eq!(diverse[1], 0);
        // By BM25 the second has the same words and one more; of the others only the third shares a word.
        assert!(pool.index.likeness(0, 1) > 0.7 && pool.index.likeness(0, 2) < 0.3);
    }
}
