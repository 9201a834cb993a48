//! Products of bfloat16 factors on tile registers: of whole matrices, and of a few rows with one panel.

use std::arch::x86_64::*;

use crate::amx::{DEPTH, Left, ROWS, Tiles};
use crate::instructions::Level;
use crate::lanes::will_write;
use crate::memory::with_scratch;
use crate::plan::Part;
use crate::product::View;
use crate::rounded::{End, Right, finish, round_row, widened_part};
use crate::tile::PANEL;

/// Rows that are multiplied at a time.
pub(crate) const BOTH: usize = 2 * ROWS;

/// Values of their sums for one panel.
pub(crate) const APART: usize = BOTH * PANEL;

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
                match from.first_chunk::<DEPTH>() {
                    // SAFETY: where there are tile registers there is AVX512-BF16 (`rounded::available`).
                    Some(from) => unsafe { round_tile_row(from, to) },
                    None => round_row(from, to),
                }
            } else {
                to.fill(0);
            }
        }
    }
}

/// The row of a tile, rounded by the instruction for it: numbers below the smallest normal one become 0, which the products take them
/// for anyway.
///
/// # Safety
/// The machine has AVX512-BF16; `to` has [`DEPTH`] elements.
#[target_feature(enable = "avx512f,avx512bf16")]
unsafe fn round_tile_row(from: &[f32; DEPTH], to: &mut [u16]) {
    debug_assert_eq!(to.len(), DEPTH);
    // SAFETY: both halves of `from` are there, and `to` by the contract; both types are 512 plain bits.
    unsafe {
        let low = _mm512_loadu_ps(from.as_ptr());
        let high = _mm512_loadu_ps(from.as_ptr().add(DEPTH / 2));
        let rounded = std::mem::transmute::<__m512bh, __m512i>(_mm512_cvtne2ps_pbh(high, low));
        _mm512_storeu_si512(to.as_mut_ptr().cast(), rounded);
    }
}

/// One part of a product, of rows as [`lay_out`] leaves them.
pub(crate) fn multiply_part(packed: &[u16], right: Right<'_>, part: &Part<'_>, end: End<'_>) {
    if right.depth == 0 {
        return widened_part(Level::Portable, &[], right, part, end);
    }
    let depth = right.depth.next_multiple_of(DEPTH);
    let (accumulate, narrow) = end;
    let (start, rows) = (part.rows.start, part.rows.len());
    // SAFETY: the method comes from `rounded::available`.
    let tiles = unsafe { Tiles::configure() };
    with_scratch(APART, |apart: &mut [f32]| {
        for panel in part.panels.clone() {
            let columns = part.columns(panel);
            right.stretches(panel, stretch(depth, rows), |begin, b| {
                for (first, rows, left) in blocks(packed, rows, depth) {
                    let y = part.address(start + first, rows, panel);
                    let to = To { y, stride: part.stride(), rows, columns };
                    // SAFETY: `blocks` gives whole rows, `stretches` whole tiles of the panel; `address` has checked the rows
                    // of the result, to which no other part writes.
                    unsafe { to.multiply((&tiles, apart), &left.from(begin), b, accumulate || begin > 0) };
                }
            });
            finish(narrow, part, panel);
        }
    });
}

/// Blocks of `rows` rows that [`lay_out`] has left `depth` deep: the first, how many, and the left factor.
pub(crate) fn blocks(
    laid_out: &[u16],
    rows: usize,
    depth: usize,
) -> impl Iterator<Item = (usize, usize, Left)> + '_ {
    (0..rows).step_by(BOTH).map(move |first| {
        let here = (rows - first).min(BOTH);
        let whole = here.next_multiple_of(ROWS);
        let a = laid_out[first * depth..][..whole * depth].as_ptr();
        let second = (whole > ROWS).then(|| a.wrapping_add(ROWS * depth));
        (first, here, Left { first: a, second, row: DEPTH, step: ROWS * DEPTH })
    })
}

/// Values of depth whose panel stays in a first cache while all rows meet it.
const STRETCH: usize = 640;

/// The depth of a stretch: where there are rows to meet it again, of several of about the same length.
pub(crate) fn stretch(depth: usize, rows: usize) -> usize {
    let count = if rows > BOTH { depth.div_ceil(STRETCH).max(1) } else { 1 };
    depth.div_ceil(count).next_multiple_of(DEPTH)
}

/// Where the sums of one or two blocks of rows with one panel go.
pub(crate) struct To {
    pub(crate) y: *mut f32,
    /// Elements from one row to the next.
    pub(crate) stride: usize,
    /// Rows that exist, at most [`BOTH`].
    pub(crate) rows: usize,
    /// Columns that exist, at most [`PANEL`].
    pub(crate) columns: usize,
}

impl To {
    /// The product of `left` with a panel, all of it, into `self` or added to what it holds: every sum then begins with what is there,
    /// in whatever way it gets there. With the tiles comes room for [`APART`] values.
    ///
    /// # Safety
    /// `left` is as deep as the panel, and whole as [`Tiles::multiply`] wants it; the rows and columns of `self` may be written.
    pub(crate) unsafe fn multiply(
        &self,
        (tiles, apart): (&Tiles, &mut [f32]),
        left: &Left,
        panel: &[u32],
        accumulate: bool,
    ) {
        let Self { y, stride, rows, columns } = *self;
        let (panel, steps) = (panel.as_ptr(), panel.len() / (PAIRS * PANEL));
        assert!(steps > 0, "product: a tile of depth");
        if columns == PANEL && rows.is_multiple_of(ROWS) {
            // The lines of the result come while the products are made.
            for row in 0..rows {
                will_write(y.wrapping_add(row * stride));
                will_write(y.wrapping_add(row * stride + LINE));
            }
            // SAFETY: by the contract; whole blocks of rows are there.
            return unsafe { tiles.multiply(left, panel, steps, y, (stride, accumulate)) };
        }
        assert!(apart.len() >= APART, "product: room for the sums of two blocks");
        if accumulate {
            for (row, apart) in apart.chunks_exact_mut(PANEL).take(rows).enumerate() {
                // SAFETY: the row exists by the contract, and no one else uses it.
                let from = unsafe { std::slice::from_raw_parts(y.add(row * stride), columns) };
                apart[..columns].copy_from_slice(from);
            }
        }
        // SAFETY: by the contract; two blocks have room in `apart`.
        unsafe { tiles.multiply(left, panel, steps, apart.as_mut_ptr(), (PANEL, accumulate)) };
        for (row, apart) in apart.chunks_exact(PANEL).take(rows).enumerate() {
            // SAFETY: as above.
            let to = unsafe { std::slice::from_raw_parts_mut(y.add(row * stride), columns) };
            to.copy_from_slice(&apart[..columns]);
        }
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
    /// `y[rows, columns] (+)= self . panel`, row `i` of `y` at `i * stride`; at most [`PANEL`] columns. With the tiles comes
    /// room for [`APART`] values.
    pub(crate) fn multiply(
        &self,
        (tiles, apart): (&Tiles, &mut [f32]),
        panel: &[u32],
        (y, stride, columns): (&mut [f32], usize, usize),
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
        let panel = &panel[..depth * PANEL];
        for first in (0..rows).step_by(BOTH) {
            let here = (rows - first).min(BOTH);
            let a: *const u16 = data[first * row..].as_ptr().cast();
            let second = (here > ROWS).then(|| a.wrapping_add(2 * ROWS * row));
            let left = Left { first: a, second, row: 2 * row, step: DEPTH };
            let to = To { y: y[first * stride..].as_mut_ptr(), stride, rows: here, columns };
            // SAFETY: the rows of all blocks and the panel are there, and the rows of `y` (asserted above).
            unsafe { to.multiply((tiles, apart), &left, panel, accumulate) };
        }
    }
}
