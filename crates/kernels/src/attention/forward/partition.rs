//! The rows of all sequences, cut into blocks that are treated together.

use crate::attention::block::ROWS;
use crate::attention::{Heads, Segment};
use crate::memory::{List, Plain};
use crate::threads;

/// What follows from a segment.
#[derive(Clone, Copy)]
#[repr(C)]
pub(super) struct Sequence {
    /// Its number.
    pub(super) segment: usize,
    pub(super) causal: usize,
    pub(super) past_len: usize,
    /// Where the depths of its tree begin.
    pub(super) depths: usize,
}

// SAFETY: four words without padding.
unsafe impl Plain for Sequence {}

/// The sequences, those that share a past next to each other, and the depths of their trees.
pub(super) fn take_sequences(
    segments: &[Segment<'_>],
    sequences: &mut List<'_, Sequence>,
    depths: &mut List<'_, usize>,
) {
    for (index, segment) in segments.iter().enumerate() {
        let first = depths.len();
        segment.append_depths(depths);
        sequences.push(Sequence {
            segment: index,
            causal: segment.causal,
            past_len: segment.past_len(),
            depths: first,
        });
    }
    let past = |sequence: &Sequence| {
        segments[sequence.segment].past.first().map(|&past| std::ptr::from_ref(past) as usize)
    };
    sequences.sort_unstable_by_key(|sequence| (past(sequence), sequence.segment));
}

/// Consecutive rows of one sequence in a block.
#[derive(Clone, Copy)]
#[repr(C)]
pub(super) struct Run {
    pub(super) sequence: usize,
    pub(super) first: usize,
    pub(super) rows: usize,
    /// Row of the block at which they begin.
    pub(super) offset: usize,
}

impl Run {
    /// Scores of one head.
    pub(super) fn work(&self, sequences: &[Sequence]) -> usize {
        self.rows * (sequences[self.sequence].past_len + self.first + self.rows)
    }
}

// SAFETY: four words without padding.
unsafe impl Plain for Run {}

/// Rows that are treated together.
#[derive(Clone, Copy)]
#[repr(C)]
pub(super) struct Block {
    /// Its first run, and how many.
    pub(super) first: usize,
    pub(super) runs: usize,
    pub(super) rows: usize,
}

// SAFETY: three words without padding.
unsafe impl Plain for Block {}

/// Rows of a block at least: with fewer, keys that several rows see are fetched once more for every few of them.
const LEAST: usize = 4;

/// Rows of a block. It follows the number of threads, which no row's result depends on.
pub(super) fn block_size(heads: &Heads, total: usize) -> usize {
    let most = (ROWS / heads.group()).max(1);
    (total * heads.kv_heads).div_ceil(threads::count() * 4).clamp(LEAST.min(most), most)
}

/// Cuts the sequences into blocks of `size` rows.
pub(super) fn cut(
    size: usize,
    segments: &[Segment<'_>],
    sequences: &[Sequence],
    (runs, blocks): (&mut List<'_, Run>, &mut List<'_, Block>),
) {
    let mut open = Block { first: 0, runs: 0, rows: 0 };
    for (index, sequence) in sequences.iter().enumerate() {
        let (all, mut first) = (segments[sequence.segment].rows(), 0);
        while first < all {
            let rows = (all - first).min(size - open.rows);
            runs.push(Run { sequence: index, first, rows, offset: open.rows });
            open.runs += 1;
            open.rows += rows;
            first += rows;
            if open.rows == size {
                blocks.push(open);
                open = Block { first: runs.len(), runs: 0, rows: 0 };
            }
        }
    }
    if open.rows > 0 {
        blocks.push(open);
    }
}
