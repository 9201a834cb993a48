//! Products of bfloat16 factors on tile registers: of whole matrices, and of a few rows with one panel.

use crate::amx::{DEPTH, Left, ROWS, Tiles};
use crate::instructions::Level;
use crate::lanes::will_write;
use crate::memory::Aligned;
use crate::plan::Part;
use crate::product::View;
use crate::rounded::{End, Right, finish, round_row, store, widened_part};
use crate::tile::PANEL;

/// Rows that are multiplied at a time.
const BOTH: usize = 2 * ROWS;

/// Values of a cache line.
const LINE: usize = 16;

/// Pairs of bfloat16 values that a tile is deep.
pub(crate) const PAIRS: usize = DEPTH / 2;

/// Lays out at most [`ROWS`] rows: tiles of [`DEPTH`] bfloat16 values of each, one after the other; absent rows are zero.
pub(crate) fn lay_out(rows: View<'_>, _depth: usize, to: &mut [u16]) {
    for (index, tile) in to.chunks_exact_mut(ROWS * DEPTH).enumerate() {
        let first = index * DEPTH;
        for (row, to) in tile.chunks_exact_mut(DEPTH).enumerate() {
            if row < rows.rows {
                let from = &rows.row(row)[first..];
                round_row(&from[..DEPTH.min(from.len())], to);
            } else {
                to.fill(0);
            }
        }
    }
}

/// One part of a product, of rows as [`lay_out`] leaves them.
pub(crate) fn multiply_part(packed: &[u16], right: Right<'_>, part: &Part<'_>, end: End<'_>) {
    let depth = right.depth.next_multiple_of(DEPTH);
    let steps = depth / DEPTH;
    if steps == 0 {
        return widened_part(Level::Portable, &[], right, part, end);
    }
    let (accumulate, narrow) = end;
    let mut sums = Aligned::<f32>::zeros(BOTH * PANEL);
    // SAFETY: the method comes from `rounded::available`.
    let tiles = unsafe { Tiles::configure() };
    for panel in part.panels.clone() {
        let columns = part.columns(panel);
        right.stretches(panel, depth, |_, b| {
            for first in part.rows.clone().step_by(BOTH) {
                let rows = (part.rows.end - first).min(BOTH);
                let blocks = rows.div_ceil(ROWS);
                let a = packed[(first - part.rows.start) * depth..][..blocks * ROWS * depth].as_ptr();
                let b = b[..depth / 2 * PANEL].as_ptr();
                let second = (blocks > 1).then(|| a.wrapping_add(ROWS * depth));
                let left = Left { first: a, second, row: DEPTH, step: ROWS * DEPTH };
                let whole = !accumulate && columns == PANEL && rows == blocks * ROWS;
                let (to, stride) = match whole {
                    true => (part.address(first, rows, panel), part.stride()),
                    false => (sums.as_mut_ptr(), PANEL),
                };
                if whole {
                    // The lines of the result come while the products are made.
                    for row in 0..rows {
                        let line = to.wrapping_add(row * stride);
                        will_write(line);
                        will_write(line.wrapping_add(LINE));
                    }
                }
                // SAFETY: both factors are whole (sliced above), and `to` has room for the blocks: it is `sums`, or
                // rows of the result that all exist and that no other part writes to.
                unsafe { tiles.multiply(&left, b, steps, to, (stride, false)) };
                if !whole {
                    for (row, sums) in sums.chunks_exact(PANEL).take(rows).enumerate() {
                        let to = part.address(first + row, 1, panel);
                        // SAFETY: `address` has checked that `columns` elements exist; no other part writes to them.
                        let to = unsafe { std::slice::from_raw_parts_mut(to, columns) };
                        store(to, &sums[..columns], accumulate);
                    }
                }
            }
        });
        finish(narrow, part, panel);
    }
}

/// Some rows, `[rows, depth]` pairs of bfloat16 values in rows of `row` pairs, to be multiplied with one panel.
#[derive(Clone, Copy)]
pub(crate) struct Rows<'a> {
    /// So many elements that every block of [`ROWS`] rows, the last one too, can be read whole.
    pub(crate) data: &'a [u32],
    /// Pairs from one row to the next.
    pub(crate) row: usize,
    /// How many rows there are.
    pub(crate) rows: usize,
    /// Pairs to sum over; a multiple of [`PAIRS`].
    pub(crate) depth: usize,
}

impl Rows<'_> {
    /// `y[rows, columns] (+)= self . panel`, row `i` of `y` at `i * stride`; at most [`PANEL`] columns.
    pub(crate) fn multiply(
        &self,
        tiles: &Tiles,
        panel: &[u32],
        y: &mut [f32],
        (stride, columns): (usize, usize),
        accumulate: bool,
    ) {
        let Self { data, row, rows, depth } = *self;
        if rows == 0 || columns == 0 || depth == 0 {
            return;
        }
        assert!(columns <= PANEL && depth.is_multiple_of(PAIRS), "product: one panel, whole tiles");
        assert!((rows - 1) * stride + columns <= y.len(), "product: the result is too short");
        let last = rows.next_multiple_of(ROWS) - 1;
        assert!(last * row + depth <= data.len(), "product: the left factor is too short");
        assert!(depth * PANEL <= panel.len(), "product: the right factor is too short");
        let mut apart = [0f32; BOTH * PANEL];
        for first in (0..rows).step_by(BOTH) {
            let here = (rows - first).min(BOTH);
            let a: *const u16 = data[first * row..].as_ptr().cast();
            let second = (here > ROWS).then(|| a.wrapping_add(2 * ROWS * row));
            let left = Left { first: a, second, row: 2 * row, step: DEPTH };
            let to = &mut y[first * stride..];
            let whole = columns == PANEL && here.is_multiple_of(ROWS);
            if !whole && accumulate {
                copy_rows((to, stride), (&mut apart, PANEL), (here, columns));
            }
            let (sums, stride_of_sums) = match whole {
                true => (to.as_mut_ptr(), stride),
                false => (apart.as_mut_ptr(), PANEL),
            };
            // SAFETY: the rows of all blocks and the panel are there (asserted above); `sums` has room for whole blocks.
            unsafe {
                tiles.multiply(&left, panel.as_ptr(), depth / PAIRS, sums, (stride_of_sums, accumulate));
            }
            if !whole {
                copy_rows((&apart, PANEL), (to, stride), (here, columns));
            }
        }
    }
}

/// Copies `rows` rows of `columns` values between places of different strides.
fn copy_rows(from: (&[f32], usize), to: (&mut [f32], usize), (rows, columns): (usize, usize)) {
    for row in 0..rows {
        to.0[row * to.1..][..columns].copy_from_slice(&from.0[row * from.1..][..columns]);
    }
}
