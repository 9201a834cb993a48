//! Packed sequences of unequal lengths: no padding.

use super::prefix::{Cache, Prefix};
use kernels::attention::ROOT;

/// One sequence of a [`Batch`]: `causal` consecutive rows from `start`, then the rows of its tree.
#[derive(Clone, Debug)]
pub struct Sequence {
    /// First row in the batch.
    pub start: usize,
    /// Rows that attend causally.
    pub causal: usize,
    /// Parents of the tree rows that follow (see [`kernels::attention::Segment`]); usually empty.
    pub tree: Vec<u32>,
    /// What comes before the first row and is already computed.
    pub past: Option<Prefix>,
    /// Where the tree grows on a cache: how many of its first nodes the cache holds, so that they are no rows.
    pub held: Option<usize>,
}

impl Sequence {
    /// The row after the last one of this sequence.
    pub fn end(&self) -> usize {
        self.start + self.causal + self.tree.len() - self.held.unwrap_or(0)
    }

    /// Positions before the first row.
    pub fn past_len(&self) -> usize {
        self.past.as_ref().map_or(0, Prefix::len)
    }
}

/// Tokens of several sequences, one row each, packed one sequence after the other.
#[derive(Clone, Debug, Default)]
pub struct Batch {
    /// Token of each row.
    pub tokens: Vec<u32>,
    /// Position of each row in its sequence, the past included.
    pub positions: Vec<u32>,
    /// The sequences, in the order of their rows, without gaps.
    pub sequences: Vec<Sequence>,
}

impl Batch {
    /// An empty batch.
    pub fn new() -> Self {
        Self::default()
    }

    /// A batch of whole sequences.
    pub fn of<S: AsRef<[u32]>>(sequences: &[S]) -> Self {
        let mut batch = Self::new();
        for sequence in sequences {
            batch.push(sequence.as_ref());
        }
        batch
    }

    /// Appends a sequence that starts at position 0; returns its first row.
    pub fn push(&mut self, tokens: &[u32]) -> usize {
        self.push_after(None, tokens, &[], &[])
    }

    /// Appends `tokens` after an already computed `past`, followed by the nodes of a tree that hangs from the last of
    /// `tokens`: `tree_tokens[i]` under `tree_parents[i]` (a smaller index, or [`ROOT`]). Returns the first row.
    pub fn push_after(
        &mut self,
        past: Option<&Prefix>,
        tokens: &[u32],
        tree_tokens: &[u32],
        tree_parents: &[u32],
    ) -> usize {
        debug_assert_eq!(tree_tokens.len(), tree_parents.len());
        let start = self.tokens.len();
        let first = past.map_or(0, Prefix::len);
        self.tokens.extend_from_slice(tokens);
        self.positions.extend((first..first + tokens.len()).map(|position| position as u32));
        let base = self.positions.len();
        for &parent in tree_parents {
            let above = match parent {
                ROOT => first + tokens.len(),
                node => self.positions[base + node as usize] as usize + 1,
            };
            self.positions.push(above as u32);
        }
        self.tokens.extend_from_slice(tree_tokens);
        self.sequences.push(Sequence {
            start,
            causal: tokens.len(),
            tree: tree_parents.to_vec(),
            past: past.cloned().filter(|past| !past.is_empty()),
            held: None,
        });
        start
    }

    /// Appends `tokens` as further nodes of the tree whose first nodes `cache` holds beyond its prefix, from the last position
    /// of which the tree hangs; `parents` are those of all nodes, the held ones first. The forward pass must be given the caches.
    /// Returns the first row.
    pub fn push_branches(&mut self, cache: &Cache, parents: &[u32], tokens: &[u32]) -> usize {
        debug_assert_eq!(cache.own_len() + tokens.len(), parents.len());
        let start = self.tokens.len();
        let first = cache.len() - cache.own_len();
        let depth = |node: usize| {
            let above = |&node: &usize| match parents[node] {
                ROOT => None,
                parent => Some(parent as usize),
            };
            std::iter::successors(Some(node), above).count()
        };
        self.tokens.extend_from_slice(tokens);
        self.positions.extend((cache.own_len()..parents.len()).map(|node| (first + depth(node) - 1) as u32));
        let (tree, held) = (parents.to_vec(), Some(cache.own_len()));
        self.sequences.push(Sequence { start, causal: 0, tree, past: None, held });
        start
    }

    /// Appends `tokens` after what `cache` holds; the forward pass must be given the caches. Returns the first row.
    pub fn push_continuation(&mut self, cache: &Cache, tokens: &[u32]) -> usize {
        let start = self.tokens.len();
        let first = cache.len();
        self.tokens.extend_from_slice(tokens);
        self.positions.extend((first..first + tokens.len()).map(|position| position as u32));
        let (causal, tree) = (tokens.len(), Vec::new());
        self.sequences.push(Sequence { start, causal, tree, past: None, held: None });
        start
    }

    /// Takes all sequences out; the memory stays for those to come.
    pub fn clear(&mut self) {
        self.tokens.clear();
        self.positions.clear();
        self.sequences.clear();
    }

    /// Rows in all.
    pub fn len(&self) -> usize {
        self.tokens.len()
    }

    /// Whether there is no row.
    pub fn is_empty(&self) -> bool {
        self.tokens.is_empty()
    }

    /// Positions that the batch needs: one more than the largest.
    pub fn positions_needed(&self) -> usize {
        self.positions.iter().max().map_or(0, |&last| last as usize + 1)
    }
}
