//! Products of bfloat16 factors with 32-bit sums: the right factor in panels, the left one rounded at the entry.

use std::sync::OnceLock;

use crate::instructions::{self, Level, vectorised};
use crate::memory::{Plain, with_scratch};
use crate::panel::{Element, Panels, Source, pack, packed_length, panel_length, round_bf16};
use crate::plan::{Part, Plan};
use crate::product::{View, ViewMut};
use crate::threads::{Shared, for_each};
use crate::tile::{self, Block};

/// The instructions that multiply.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Method {
    /// Tile registers.
    #[cfg(target_arch = "x86_64")]
    Tiles,
    /// AVX512-BF16.
    #[cfg(target_arch = "x86_64")]
    Pairs,
    /// 32-bit products of the widened factors.
    Widened(Level),
}

/// The best method of this machine.
pub(crate) fn method() -> Method {
    static METHOD: OnceLock<Method> = OnceLock::new();
    *METHOD.get_or_init(|| available().first().copied().unwrap_or(Method::Widened(Level::Portable)))
}

/// The methods that this machine has, best first.
pub(crate) fn available() -> Vec<Method> {
    let mut methods = Vec::new();
    let level = instructions::level();
    #[cfg(target_arch = "x86_64")]
    {
        if level == Level::Avx512 && crate::amx::available() {
            methods.push(Method::Tiles);
        }
        if level == Level::Avx512 && is_x86_feature_detected!("avx512bf16") {
            methods.push(Method::Pairs);
        }
    }
    for candidate in [Level::Avx512, Level::Avx2, Level::Portable] {
        if candidate <= level {
            methods.push(Method::Widened(candidate));
        }
    }
    methods
}

/// The left factor `[rows, depth]` as stored.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Left<'a> {
    /// `[rows, depth]`.
    Plain(View<'a>),
    /// `[depth, rows]`.
    Transposed(View<'a>),
}

impl Left<'_> {
    fn rows(&self) -> usize {
        match self {
            Self::Plain(view) => view.rows,
            Self::Transposed(view) => view.columns,
        }
    }

    fn depth(&self) -> usize {
        match self {
            Self::Plain(view) => view.columns,
            Self::Transposed(view) => view.rows,
        }
    }

    fn view(&self) -> &View<'_> {
        match self {
            Self::Plain(view) | Self::Transposed(view) => view,
        }
    }
}

/// The right factor `[depth, columns]` in panels.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Right<'a> {
    data: &'a [u32],
    columns: usize,
    depth: usize,
}

impl<'a> From<&'a Panels<u32>> for Right<'a> {
    fn from(panels: &'a Panels<u32>) -> Self {
        Self { data: &panels.data, columns: panels.columns, depth: panels.depth }
    }
}

/// Rows of the left factor that are rounded and laid out together: the rows of a tile register.
const BLOCK: usize = 16;

/// The left factor's depth is filled with zeros to a multiple of this, as the panels' is.
const DEPTH: usize = <u32 as Element>::MULTIPLE;

/// Multiply-adds in the time of one elementary operation.
fn rate(method: Method) -> usize {
    match method {
        #[cfg(target_arch = "x86_64")]
        Method::Tiles => 128,
        #[cfg(target_arch = "x86_64")]
        Method::Pairs => 32,
        Method::Widened(_) => 16,
    }
}

/// `y (+)= left . right`.
pub(crate) fn multiply(left: Left<'_>, right: Right<'_>, y: ViewMut<'_>, accumulate: bool) {
    multiply_by(method(), left, right, y, accumulate);
}

/// [`multiply`] with a right factor that is packed for this product alone.
pub(crate) fn multiply_sources(left: Left<'_>, right: Source<'_>, y: ViewMut<'_>, accumulate: bool) {
    let (columns, depth) = (right.columns(), right.depth());
    with_scratch(packed_length::<u32>(columns, depth), |data: &mut [u32]| {
        pack(right, data, 0);
        multiply(left, Right { data, columns, depth }, y, accumulate);
    });
}

/// [`multiply`] by the given method, which the machine must have.
pub(crate) fn multiply_by(
    method: Method,
    left: Left<'_>,
    right: Right<'_>,
    y: ViewMut<'_>,
    accumulate: bool,
) {
    left.view().check();
    assert_eq!((y.rows, y.columns), (left.rows(), right.columns), "product: shape of the result");
    assert_eq!(left.depth(), right.depth, "product: the factors agree");
    assert_eq!(right.data.len(), packed_length::<u32>(right.columns, right.depth), "product: whole panels");
    let plan = Plan::new(y, right.depth, rate(method));
    match method {
        Method::Widened(level) => run(left, plan, widen_block, |packed, part| {
            widened_part(level, packed, right, part, accumulate);
        }),
        #[cfg(target_arch = "x86_64")]
        Method::Pairs => run(left, plan, pair_block, |packed, part| {
            paired_part(packed, right, part, accumulate);
        }),
        #[cfg(target_arch = "x86_64")]
        Method::Tiles => run(left, plan, tile_block, |packed, part| {
            tiled_part(packed, right, part, accumulate);
        }),
    }
}

/// Lays out the left factor with `block(rows, depth, to)`, [`BLOCK`] rows at a time, and runs `multiply(rows, part)`
/// on every part: all rows before the first part, or, where no other task needs a part's rows, just before it, when
/// they need not leave the caches in between.
fn run<T: Plain + Send + Sync>(
    left: Left<'_>,
    plan: Plan<'_>,
    block: impl Fn(View<'_>, usize, &mut [T]) + Sync + Send,
    multiply: impl Fn(&[T], &Part<'_>) + Sync + Send,
) {
    let depth = left.depth().next_multiple_of(DEPTH);
    let length = |rows: usize| rows.next_multiple_of(BLOCK) * depth;
    if plan.splits_rows_only() {
        plan.run(|part| {
            with_scratch(length(part.rows.len()), |packed: &mut [T]| {
                if depth > 0 {
                    for (to, first) in
                        packed.chunks_exact_mut(BLOCK * depth).zip(part.rows.clone().step_by(BLOCK))
                    {
                        lay_out_block(left, first, depth, to, &block);
                    }
                }
                multiply(packed, part);
            });
        });
        return;
    }
    let work = left.rows() * depth;
    with_scratch(length(left.rows()), |packed: &mut [T]| {
        if depth > 0 {
            let count = packed.len() / (BLOCK * depth);
            let packed = Shared::new(packed);
            for_each(count, work, |index| {
                // SAFETY: each block belongs to one task.
                let to = unsafe { packed.slice(index * BLOCK * depth, BLOCK * depth) };
                lay_out_block(left, index * BLOCK, depth, to, &block);
            });
        }
        plan.run(|part| multiply(&packed[part.rows.start * depth..], part));
    });
}

/// Lays out rows `first .. first + BLOCK`, as far as they exist.
fn lay_out_block<T>(
    left: Left<'_>,
    first: usize,
    depth: usize,
    to: &mut [T],
    block: impl Fn(View<'_>, usize, &mut [T]),
) {
    let rows = BLOCK.min(left.rows() - first);
    match left {
        Left::Plain(view) => {
            let rows = View { data: &view.data[first * view.stride..], rows, ..view };
            block(rows, depth, to);
        }
        Left::Transposed(view) => with_scratch(rows * view.rows, |rows_held: &mut [f32]| {
            for k in 0..view.rows {
                for (i, value) in view.row(k)[first..][..rows].iter().enumerate() {
                    rows_held[i * view.rows + k] = *value;
                }
            }
            block(View::new(rows_held, rows, view.rows), depth, to);
        }),
    }
}

/// Rows of `depth` rounded values, held in 32 bits.
fn widen_block(rows: View<'_>, depth: usize, to: &mut [f32]) {
    for (row, to) in to.chunks_exact_mut(depth).take(rows.rows).enumerate() {
        widen_row(rows.row(row), to);
    }
}

/// Rows of `depth` bfloat16 values.
fn pair_block(rows: View<'_>, depth: usize, to: &mut [u16]) {
    for (row, to) in to.chunks_exact_mut(depth).take(rows.rows).enumerate() {
        round_row(rows.row(row), to);
    }
}

/// Tiles of [`BLOCK`] rows by [`DEPTH`] bfloat16 values, one after the other; absent rows are zero.
fn tile_block(rows: View<'_>, _depth: usize, to: &mut [u16]) {
    for (index, tile) in to.chunks_exact_mut(BLOCK * DEPTH).enumerate() {
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

vectorised! {
    /// Rounds `from` into the start of `to`, and fills the rest with zeros.
    fn round_row(from: &[f32], to: &mut [u16]) {
        let (rounded, rest) = to.split_at_mut(from.len());
        for (to, from) in rounded.iter_mut().zip(from) {
            *to = round_bf16(*from);
        }
        rest.fill(0);
    }
}

vectorised! {
    /// As [`round_row`], widened again.
    fn widen_row(from: &[f32], to: &mut [f32]) {
        let (rounded, rest) = to.split_at_mut(from.len());
        for (to, from) in rounded.iter_mut().zip(from) {
            *to = f32::from_bits(u32::from(round_bf16(*from)) << 16);
        }
        rest.fill(0.0);
    }
}

/// The block of one panel for the row-by-row kernels; `left` begins with the part's rows, of `depth` values, two an
/// element.
fn block<A>(left: &[A], right: Right<'_>, part: &Part<'_>, panel: usize, accumulate: bool) -> Block<A, u32> {
    let pairs = right.depth.next_multiple_of(DEPTH) / 2;
    let (first, rows) = (part.rows.start, part.rows.len());
    let length = panel_length::<u32>(right.depth);
    Block {
        a: left[..rows * pairs].as_ptr(),
        a_row: pairs,
        a_step: 1,
        b: right.data[panel * length..][..length].as_ptr(),
        b_step: tile::PANEL,
        y: part.address(first, rows, panel),
        y_row: part.stride(),
        rows,
        columns: part.columns(panel),
        depth: pairs,
        scale: 1.0,
        accumulate,
    }
}

fn widened_part(level: Level, packed: &[f32], right: Right<'_>, part: &Part<'_>, accumulate: bool) {
    let (left, _) = packed.as_chunks::<2>();
    for panel in part.panels.clone() {
        // SAFETY: `level` comes from `available`; `block` has checked every address; parts do not overlap.
        unsafe { tile::widened(level, &block(left, right, part, panel, accumulate)) };
    }
}

#[cfg(target_arch = "x86_64")]
fn paired_part(packed: &[u16], right: Right<'_>, part: &Part<'_>, accumulate: bool) {
    // SAFETY: any two `u16` make a `u32`; `align_to` keeps to the alignment.
    let (before, left, _) = unsafe { packed.align_to::<u32>() };
    assert!(before.is_empty(), "scratch memory is aligned");
    for panel in part.panels.clone() {
        // SAFETY: the method comes from `available`; `block` has checked every address; parts do not overlap.
        unsafe { tile::paired(&block(left, right, part, panel, accumulate)) };
    }
}

#[cfg(target_arch = "x86_64")]
fn tiled_part(packed: &[u16], right: Right<'_>, part: &Part<'_>, accumulate: bool) {
    use crate::amx::{ROWS, Tiles};
    use crate::tile::PANEL;
    let depth = right.depth.next_multiple_of(DEPTH);
    let (steps, length) = (depth / DEPTH, panel_length::<u32>(right.depth));
    if steps == 0 {
        return widened_part(Level::Portable, &[], right, part, accumulate);
    }
    let mut sums = crate::memory::Aligned::<f32>::zeros(2 * ROWS * PANEL);
    // SAFETY: the method comes from `available`.
    let tiles = unsafe { Tiles::configure() };
    for panel in part.panels.clone() {
        let columns = part.columns(panel);
        let b = right.data[panel * length..][..length].as_ptr();
        for first in part.rows.clone().step_by(2 * ROWS) {
            let rows = (part.rows.end - first).min(2 * ROWS);
            let blocks = rows.div_ceil(ROWS);
            let a = packed[(first - part.rows.start) * depth..][..blocks * ROWS * depth].as_ptr();
            let whole = !accumulate && columns == PANEL && rows == blocks * ROWS;
            let (to, stride) = match whole {
                true => (part.address(first, rows, panel), part.stride()),
                false => (sums.as_mut_ptr(), PANEL),
            };
            // SAFETY: both factors are whole (sliced above), and `to` has room for the blocks: it is `sums`, or rows
            // of the result that all exist and that no other part writes to.
            unsafe {
                match blocks {
                    1 => tiles.one_block(a, b, steps, to, stride),
                    _ => tiles.two_blocks(a, b, steps, to, stride),
                }
            }
            if !whole {
                for (row, sums) in sums.chunks_exact(PANEL).take(rows).enumerate() {
                    let to = part.address(first + row, 1, panel);
                    // SAFETY: `address` has checked that `columns` elements exist; no other part writes to them.
                    let to = unsafe { std::slice::from_raw_parts_mut(to, columns) };
                    store(to, &sums[..columns], accumulate);
                }
            }
        }
    }
}

#[cfg(target_arch = "x86_64")]
vectorised! {
    fn store(to: &mut [f32], sums: &[f32], accumulate: bool) {
        for (to, sum) in to.iter_mut().zip(sums) {
            *to = if accumulate { *to + *sum } else { *sum };
        }
    }
}
