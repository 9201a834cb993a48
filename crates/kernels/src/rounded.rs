//! Products of bfloat16 factors with 32-bit sums: the right factor in panels, the left one rounded at the entry.

use std::sync::OnceLock;

use crate::blocks::{Direction, PackedBlocks, SQUARE};
use crate::instructions::{self, Level, vectorised};
use crate::memory::{Plain, with_scratch};
use crate::narrow::Narrow;
use crate::panel::{
    Element, Panels, Source, pack, packed_length, panel_length, round_bf16, transpose_columns,
};
use crate::plan::{Grain, Part, Plan, Target};
use crate::product::{View, ViewMut};
use crate::threads::{Shared, for_each};
use crate::tile::{self, Block, PANEL};
#[cfg(target_arch = "x86_64")]
use crate::tiled;

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
        let pairs = level == Level::Avx512 && is_x86_feature_detected!("avx512bf16");
        if pairs && crate::amx::available() {
            methods.push(Method::Tiles);
        }
        if pairs {
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

/// The right factor `[depth, columns]`.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Right<'a> {
    panels: Held<'a>,
    columns: usize,
    pub(crate) depth: usize,
}

/// Where panels come from.
#[derive(Clone, Copy, Debug)]
enum Held<'a> {
    Packed(&'a [u32]),
    /// Unpacked for every use.
    Blocks(&'a PackedBlocks, Direction),
}

impl<'a> From<&'a Panels<u32>> for Right<'a> {
    fn from(panels: &'a Panels<u32>) -> Self {
        Self { panels: Held::Packed(&panels.data), columns: panels.columns, depth: panels.depth }
    }
}

impl<'a> Right<'a> {
    pub(crate) fn blocks(blocks: &'a PackedBlocks, direction: Direction) -> Self {
        let (columns, depth) = match direction {
            Direction::Forward => (blocks.outputs(), blocks.inputs()),
            Direction::Backward => (blocks.inputs(), blocks.outputs()),
        };
        Self { panels: Held::Blocks(blocks, direction), columns, depth }
    }

    /// Gives `multiply` panel `panel` in stretches of at most `most` values of its depth (a multiple of [`DEPTH`]), in order,
    /// and where each begins; at least one.
    pub(crate) fn stretches(&self, panel: usize, most: usize, mut multiply: impl FnMut(usize, &[u32])) {
        let length = panel_length::<u32>(self.depth);
        match self.panels {
            Held::Packed(data) => {
                let panel = &data[panel * length..][..length];
                let most = most.max(DEPTH);
                if panel.len() <= most / 2 * PANEL {
                    return multiply(0, panel);
                }
                for (index, stretch) in panel.chunks(most / 2 * PANEL).enumerate() {
                    multiply(index * most, stretch);
                }
            }
            Held::Blocks(blocks, direction) => {
                let squares = length / (SQUARE / 2 * PANEL);
                let most = (most / SQUARE).clamp(1, squares.max(1));
                with_scratch(most * SQUARE / 2 * PANEL, |scratch: &mut [u32]| {
                    for first in (0..squares).step_by(most) {
                        let end = squares.min(first + most);
                        let to = &mut scratch[..(end - first) * SQUARE / 2 * PANEL];
                        blocks.unpack(direction, panel, first..end, to);
                        multiply(first * SQUARE, to);
                    }
                    if squares == 0 {
                        multiply(0, &[]);
                    }
                });
            }
        }
    }

    /// The depth of a stretch for `rows` rows: one of few rows reads the panel once, from the first cache; one of many
    /// rows reads it again and again, from the second.
    fn stretch(&self, rows: usize) -> usize {
        let whole = self.depth.next_multiple_of(DEPTH);
        match self.panels {
            Held::Packed(_) => whole,
            Held::Blocks(..) if rows <= FEW => whole.min(SHORT),
            Held::Blocks(..) => whole.min(LONG),
        }
    }
}

/// Rows that are few.
const FEW: usize = 16;
/// Values of depth whose panel takes half of a first cache.
const SHORT: usize = 256;
/// Values of depth whose panel takes a quarter of a second cache.
const LONG: usize = 4096;

/// Rows of the left factor that are rounded and laid out together: the rows of a tile register.
const BLOCK: usize = 16;

/// The left factor's depth is filled with zeros to a multiple of this, as the panels' is.
const DEPTH: usize = <u32 as Element>::MULTIPLE;

/// Multiply-adds in the time of one elementary operation, and how products are split.
fn rate(method: Method) -> (usize, Grain) {
    match method {
        #[cfg(target_arch = "x86_64")]
        Method::Tiles => (128, Grain::COARSE),
        #[cfg(target_arch = "x86_64")]
        Method::Pairs => (32, Grain::FINE),
        Method::Widened(_) => (16, Grain::FINE),
    }
}

/// `y (+)= left . right`, and the narrow products, which must fit.
pub(crate) fn multiply(
    left: Left<'_>,
    right: Right<'_>,
    y: Target<'_>,
    accumulate: bool,
    narrow: Option<&Narrow<'_>>,
) {
    multiply_by(method(), left, right, y, accumulate, narrow);
}

/// [`multiply`] with a right factor that is packed for this product alone.
pub(crate) fn multiply_sources(left: Left<'_>, right: Source<'_>, y: ViewMut<'_>, accumulate: bool) {
    let (columns, depth) = (right.columns(), right.depth());
    with_scratch(packed_length::<u32>(columns, depth), |data: &mut [u32]| {
        pack(right, data, 0);
        let panels = Held::Packed(data);
        multiply(left, Right { panels, columns, depth }, y.into(), accumulate, None);
    });
}

/// [`multiply`] by the given method, which the machine must have.
pub(crate) fn multiply_by(
    method: Method,
    left: Left<'_>,
    right: Right<'_>,
    y: Target<'_>,
    accumulate: bool,
    narrow: Option<&Narrow<'_>>,
) {
    left.view().check();
    if let Some(narrow) = narrow {
        narrow.left.check();
        assert_eq!(narrow.left.rows, left.rows(), "product: rows of the narrow one");
    }
    assert_eq!(y.shape(), (left.rows(), right.columns), "product: shape of the result");
    assert_eq!(left.depth(), right.depth, "product: the factors agree");
    if let Held::Packed(data) = right.panels {
        assert_eq!(data.len(), packed_length::<u32>(right.columns, right.depth), "product: whole panels");
    }
    let plan = Plan::new(y, right.depth, rate(method), matches!(right.panels, Held::Packed(_)));
    match method {
        Method::Widened(level) => run(left, plan, widen_block, |packed, part| {
            widened_part(level, packed, right, part, (accumulate, narrow));
        }),
        #[cfg(target_arch = "x86_64")]
        Method::Pairs => run(left, plan, pair_block, |packed, part| {
            paired_part(packed, right, part, (accumulate, narrow));
        }),
        #[cfg(target_arch = "x86_64")]
        Method::Tiles => run(left, plan, tiled::lay_out, |packed, part| {
            tiled::multiply_part(packed, right, part, (accumulate, narrow));
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
            transpose_columns(view, first, rows, rows_held);
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
#[cfg(target_arch = "x86_64")]
fn pair_block(rows: View<'_>, depth: usize, to: &mut [u16]) {
    for (row, to) in to.chunks_exact_mut(depth).take(rows.rows).enumerate() {
        round_row(rows.row(row), to);
    }
}

#[cfg(target_arch = "x86_64")]
vectorised! {
    /// Rounds `from` into the start of `to`, and fills the rest with zeros.
    pub(crate) fn round_row(from: &[f32], to: &mut [u16]) {
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

/// Multiplies by the row-by-row kernel `multiply`; `left` begins with the part's rows, of `depth` values, two an
/// element.
fn part_by_rows<A>(
    left: &[A],
    right: Right<'_>,
    part: &Part<'_>,
    (accumulate, narrow): End<'_>,
    multiply: impl Fn(&Block<A, u32>),
) {
    let pairs = right.depth.next_multiple_of(DEPTH) / 2;
    let (first, rows) = (part.rows.start, part.rows.len());
    let left = &left[..rows * pairs];
    let most = right.stretch(rows);
    for panel in part.panels.clone() {
        let (y, columns) = (part.address(first, rows, panel), part.columns(panel));
        let block = |begin: usize, stretch: &[u32]| {
            let depth = stretch.len() / PANEL;
            assert!(begin / 2 + depth <= pairs, "a stretch of the left factor's depth");
            Block {
                a: left.as_ptr().wrapping_add(begin / 2),
                a_row: pairs,
                a_step: 1,
                b: stretch.as_ptr(),
                b_step: PANEL,
                y,
                y_row: part.stride(),
                rows,
                columns,
                depth,
                scale: 1.0,
                accumulate,
                resume: false,
            }
        };
        if most / 2 >= pairs {
            right.stretches(panel, most, |begin, stretch| multiply(&block(begin, stretch)));
            finish(narrow, part, panel);
            continue;
        }
        with_scratch(rows * PANEL, |sums: &mut [f32]| {
            right.stretches(panel, most, |begin, stretch| {
                let (y, y_row) = (sums.as_mut_ptr(), PANEL);
                let whole = block(begin, stretch);
                let resume = begin > 0;
                multiply(&Block { y, y_row, columns: PANEL, accumulate: false, resume, ..whole });
            });
            for (row, sums) in sums.chunks_exact(PANEL).enumerate() {
                let to = part.address(first + row, 1, panel);
                // SAFETY: `address` has checked that `columns` elements exist; no other part writes to them.
                let to = unsafe { std::slice::from_raw_parts_mut(to, columns) };
                store(to, &sums[..columns], accumulate);
            }
        });
        finish(narrow, part, panel);
    }
}

/// Whether a product is added to what is there, and the narrow ones that are added at its end.
pub(crate) type End<'a> = (bool, Option<&'a Narrow<'a>>);

pub(crate) fn finish(narrow: Option<&Narrow<'_>>, part: &Part<'_>, panel: usize) {
    if let Some(narrow) = narrow {
        narrow.finish(part, panel);
    }
}

pub(crate) fn widened_part(level: Level, packed: &[f32], right: Right<'_>, part: &Part<'_>, end: End<'_>) {
    let (left, _) = packed.as_chunks::<2>();
    part_by_rows(left, right, part, end, |block| {
        // SAFETY: `level` comes from `available`; every address of the block was checked; parts do not overlap.
        unsafe { tile::widened(level, block) };
    });
}

#[cfg(target_arch = "x86_64")]
fn paired_part(packed: &[u16], right: Right<'_>, part: &Part<'_>, end: End<'_>) {
    // SAFETY: any two `u16` make a `u32`; `align_to` keeps to the alignment.
    let (before, left, _) = unsafe { packed.align_to::<u32>() };
    assert!(before.is_empty(), "scratch memory is aligned");
    part_by_rows(left, right, part, end, |block| {
        // SAFETY: the method comes from `available`; every address of the block was checked; parts do not overlap.
        unsafe { tile::paired(block) };
    });
}

vectorised! {
    fn store(to: &mut [f32], sums: &[f32], accumulate: bool) {
        for (to, sum) in to.iter_mut().zip(sums) {
            *to = if accumulate { *to + *sum } else { *sum };
        }
    }
}
