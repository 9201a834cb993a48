//! A gated feed-forward block in one pass: norm, gate and up projection, SwiGLU and down projection of some rows at a time, so
//! that nothing between them leaves the second cache.
//!
//! Worth it where products are so fast that reading and writing what lies between them takes longer: with tile registers.

use crate::activation::swiglu_rounded;
use crate::amx::{DEPTH, ROWS, Tiles};
use crate::memory::with_scratch;
use crate::norm::normalise_row;
use crate::product::View;
use crate::rounded::{self, Method, Right};
use crate::threads::{self, Shared, for_each};
use crate::tile::PANEL;
use crate::tiled::{APART, BOTH, To, blocks, lay_out, stretch};

/// Rows of a task at most: what they need between the projections stays in a second cache of two megabytes at the widths of
/// small models.
const MOST: usize = 256;

/// Rows of a task at least: with fewer, fetching weights takes longer than using them, and threads should share the weights
/// instead of the rows.
const LEAST: usize = 64;

/// As [`super::feed_forward`], where it is worth it.
pub(super) fn run(x: &mut [f32], block: &super::FeedForward<'_>) -> bool {
    let (hidden, width) = (block.norm.len(), block.down.inputs());
    let rows = x.len() / hidden;
    let (Some(gate_up), Some(down)) = (block.gate_up.rounded_right(), block.down.rounded_right()) else {
        return false;
    };
    let threads = threads::count();
    if rounded::method() != Method::Tiles || !width.is_multiple_of(PANEL) || rows < threads * LEAST {
        return false;
    }
    let tasks = rows.div_ceil(MOST).next_multiple_of(threads);
    let chunk = rows.div_ceil(tasks).next_multiple_of(BOTH);
    let work = rows.saturating_mul(hidden).saturating_mul(width);
    let x = Shared::new(x);
    for_each(rows.div_ceil(chunk), work, |index| {
        let first = index * chunk;
        let rows = chunk.min(rows - first);
        // SAFETY: the rows belong to this task.
        let x = unsafe { x.slice(first * hidden, rows * hidden) };
        // SAFETY: the method is that of tile registers.
        let tiles = unsafe { Tiles::configure() };
        let task = Task { tiles, rows, hidden, width };
        let (depth, laid_out) = (hidden.next_multiple_of(DEPTH), rows.next_multiple_of(ROWS));
        with_scratch(rows.next_multiple_of(BOTH) * PANEL + APART, |sums: &mut [f32]| {
            with_scratch(laid_out * width, |active: &mut [u16]| {
                with_scratch(laid_out * depth, |normed: &mut [u16]| {
                    task.normalise(x, block, normed);
                    task.activate(normed, gate_up, active, sums);
                });
                task.project(active, down, x, sums);
            });
        });
    });
    true
}

/// Some rows, on one thread.
struct Task {
    tiles: Tiles,
    rows: usize,
    hidden: usize,
    width: usize,
}

impl Task {
    /// The normed rows, laid out.
    fn normalise(&self, x: &[f32], block: &super::FeedForward<'_>, to: &mut [u16]) {
        let depth = self.hidden.next_multiple_of(DEPTH);
        with_scratch(ROWS * self.hidden, |normed: &mut [f32]| {
            let blocks = x.chunks(ROWS * self.hidden).zip(to.chunks_exact_mut(ROWS * depth));
            for (x, to) in blocks {
                let rows = x.len() / self.hidden;
                for (x, normed) in x.chunks_exact(self.hidden).zip(normed.chunks_exact_mut(self.hidden)) {
                    normalise_row(x, block.norm, block.epsilon, normed);
                }
                lay_out(View::new(&normed[..rows * self.hidden], rows, self.hidden), depth, to);
            }
        });
    }

    /// Gate, up and what SwiGLU makes of them, laid out again: a panel's columns are a tile's depth. One panel meets all rows before
    /// the next, so that it stays in the first cache.
    fn activate(&self, normed: &[u16], right: Right<'_>, active: &mut [u16], sums: &mut [f32]) {
        let depth = self.hidden.next_multiple_of(DEPTH);
        let (gates, ups) = sums.split_at_mut(self.rows.next_multiple_of(BOTH) * PANEL);
        let (all, steps) = (self.width / PANEL, depth / DEPTH);
        for panel in 0..all {
            right.stretches(panel, depth, |_, gate| {
                let gate = gate[..depth / 2 * PANEL].as_ptr();
                for (first, _, left) in blocks(normed, self.rows, depth) {
                    let to = gates[first * PANEL..][..APART].as_mut_ptr();
                    // SAFETY: the rows are laid out whole, and so is the panel (sliced above); two blocks of sums have room.
                    unsafe { self.tiles.multiply(&left, gate, steps, to, (PANEL, false)) };
                }
            });
            right.stretches(all + panel, depth, |_, up| {
                let up = up[..depth / 2 * PANEL].as_ptr();
                for (first, rows, left) in blocks(normed, self.rows, depth) {
                    // SAFETY: as above.
                    unsafe { self.tiles.multiply(&left, up, steps, ups.as_mut_ptr(), (PANEL, false)) };
                    let gates = gates[first * PANEL..].chunks_exact(ROWS * PANEL);
                    let blocks = active[first * self.width..].chunks_exact_mut(ROWS * self.width);
                    let sums = gates.zip(ups.chunks_exact(ROWS * PANEL));
                    for (to, (gate, up)) in blocks.zip(sums).take(rows.div_ceil(ROWS)) {
                        swiglu_rounded(gate, up, &mut to[panel * ROWS * DEPTH..][..ROWS * DEPTH]);
                    }
                }
            });
        }
    }

    /// Adds the down projection to the rows, a stretch of its depth at a time.
    fn project(&self, active: &[u16], right: Right<'_>, x: &mut [f32], apart: &mut [f32]) {
        for panel in 0..self.hidden.div_ceil(PANEL) {
            let columns = PANEL.min(self.hidden - panel * PANEL);
            right.stretches(panel, stretch(self.width, self.rows), |begin, b| {
                for (first, rows, left) in blocks(active, self.rows, self.width) {
                    let y =
                        &mut x[first * self.hidden + panel * PANEL..][..(rows - 1) * self.hidden + columns];
                    let to = To { y: y.as_mut_ptr(), stride: self.hidden, rows, columns };
                    // SAFETY: the rows are laid out whole, `stretches` gives whole tiles of the panel, and the rows of `x`
                    // are there (sliced above).
                    unsafe { to.multiply((&self.tiles, apart), &left.from(begin), b, true) };
                }
            });
        }
    }
}

const _: () = assert!(PANEL == DEPTH);
