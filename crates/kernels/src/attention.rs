//! Causal grouped-query attention over packed sequences, with shared cached prefixes and label trees.
//!
//! Scores are computed for a block of queries and a tile of keys at a time, with a running maximum and sum for each
//! row (Milakov and Gimelshein 2018; Rabe and Staats 2021; Dao et al. 2022). All query heads of a key/value head, and
//! the rows of consecutive segments that share a past, meet its keys in one product. Tiles are counted from the start
//! of a past or a segment, so a row's result does not depend on what else is in the batch.

mod backward;
mod block;
mod factors;
mod forward;
#[cfg(target_arch = "x86_64")]
mod own;
#[cfg(not(target_arch = "x86_64"))]
#[path = "attention/own_in_place.rs"]
mod own;
mod past;
#[cfg(target_arch = "x86_64")]
mod softmax;

use crate::memory::List;

pub use backward::attention_backward;
pub use forward::{attention, attention_rounded};
pub use past::KeyValues;

use factors::Arithmetic;

/// Heads of one layer. A row of `qkv` holds the queries of all `heads`, then the keys, then the values of all
/// `kv_heads`, each `head_dim` wide: `row = (heads + 2 * kv_heads) * head_dim`.
#[derive(Clone, Copy, Debug)]
pub struct Heads {
    /// Query heads.
    pub heads: usize,
    /// Key/value heads; divides `heads`.
    pub kv_heads: usize,
    /// Width of one head.
    pub head_dim: usize,
    /// Sliding window: a query sees keys whose position is less than `window` behind its own.
    pub window: Option<usize>,
}

/// One sequence in a packed batch: rows `start .. start + causal` are consecutive positions after the pasts; then
/// `tree.len()` rows are nodes of a tree hanging from the last causal row, `tree[i]` being the parent of node `i`
/// among the nodes (smaller than `i`), or [`ROOT`]. A tree may grow: nodes that were computed before are `held`, and only
/// those after them are rows.
#[derive(Clone, Debug)]
pub struct Segment<'a> {
    /// First row in the batch.
    pub start: usize,
    /// Rows that attend causally.
    pub causal: usize,
    /// Parents of the tree rows that follow; empty where there is no tree.
    pub tree: &'a [u32],
    /// Cached positions before the first row, in order (a shared prefix, then the sequence's own past). May be empty.
    pub past: &'a [&'a KeyValues],
    /// Keys and values of the first nodes of the tree, where they were computed before; there are no causal rows then, the
    /// tree hangs from the last position of the past.
    pub held: Option<&'a KeyValues>,
}

/// The parent of a tree node that hangs from the last causal row.
pub const ROOT: u32 = u32::MAX;

impl Heads {
    /// Elements of a row of `qkv`.
    pub fn row(&self) -> usize {
        (self.heads + 2 * self.kv_heads) * self.head_dim
    }

    /// Query heads of one key/value head.
    fn group(&self) -> usize {
        self.heads / self.kv_heads
    }

    fn scale(&self) -> f32 {
        1.0 / (self.head_dim as f32).sqrt()
    }

    fn check(&self) {
        assert!(
            self.kv_heads > 0 && self.heads.is_multiple_of(self.kv_heads),
            "attention: kv_heads divides heads"
        );
        assert!(self.head_dim > 0, "attention: head_dim");
        assert!(self.window != Some(0), "attention: a row sees at least itself");
    }
}

impl Segment<'_> {
    /// Rows in the batch.
    fn rows(&self) -> usize {
        self.causal + self.tree.len() - self.held_len()
    }

    /// Nodes of the tree that are no rows.
    fn held_len(&self) -> usize {
        self.held.map_or(0, KeyValues::len)
    }

    /// Cached positions.
    fn past_len(&self) -> usize {
        self.past.iter().map(|past| past.len()).sum()
    }

    fn check(&self, heads: &Heads, batch: usize, arithmetic: Arithmetic) {
        let held = self.held_len();
        assert!(held <= self.tree.len(), "attention: held nodes are of the tree");
        assert!(held == 0 || self.causal == 0, "attention: a tree that grows has no causal rows");
        assert!(
            self.start <= batch && self.rows() <= batch - self.start,
            "attention: a segment's rows in the batch"
        );
        assert!(
            self.tree.is_empty() || self.causal + self.past_len() > 0,
            "attention: a tree hangs from a row"
        );
        for (node, &parent) in self.tree.iter().enumerate() {
            assert!(
                parent == ROOT || (parent as usize) < node,
                "attention: parents come before their children"
            );
        }
        for past in self.past.iter().copied().chain(self.held) {
            assert!(past.fits(heads), "attention: a past of these heads");
            assert!(past.suits(arithmetic), "attention: a past that this arithmetic reads");
        }
    }

    /// Appends the depth of each tree node, 1 below the last causal row.
    fn append_depths(&self, depths: &mut List<'_, usize>) {
        let first = depths.len();
        for &parent in self.tree {
            let depth = if parent == ROOT { 1 } else { depths[first + parent as usize] + 1 };
            depths.push(depth);
        }
    }
}
