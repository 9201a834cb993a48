//! The factors of a block's two products, in 32 bits or rounded to bfloat16.

use super::block::{
    KEYS, gather, gather_transposed, left, padded, panels_length, plain, scale_into, take_scores, transposed,
};
#[cfg(target_arch = "x86_64")]
use super::past::Stored;
#[cfg(target_arch = "x86_64")]
use super::softmax;
#[cfg(target_arch = "x86_64")]
use crate::amx::{ROWS, Tiles};
use crate::memory::with_scratch;
#[cfg(target_arch = "x86_64")]
use crate::panel::round_pairs;
use crate::panel::{Source, pack_panel, panel_length};
use crate::product::View;
#[cfg(target_arch = "x86_64")]
use crate::rounded::{self, Method};
use crate::tile::{self, Block, PANEL, Product};
#[cfg(target_arch = "x86_64")]
use crate::tiled::{APART, PAIRS, Rows};

/// Keys and values of at most [`KEYS`] consecutive positions of one key/value head.
#[derive(Clone, Copy)]
pub(super) enum Tile<'a> {
    Rows {
        keys: View<'a>,
        values: View<'a>,
    },
    /// Rounded, in the order in which products read them.
    #[cfg(target_arch = "x86_64")]
    Stored {
        stored: Stored<'a>,
        count: usize,
    },
}

impl Tile<'_> {
    /// Positions.
    pub(super) fn count(&self) -> usize {
        match self {
            Self::Rows { keys, .. } => keys.rows,
            #[cfg(target_arch = "x86_64")]
            Self::Stored { count, .. } => *count,
        }
    }
}

/// The arithmetic of the products of queries with keys and of weights with values; sums are in 32 bits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Arithmetic {
    Single,
    /// Factors rounded to bfloat16, with the AVX512-BF16 instruction.
    #[cfg(target_arch = "x86_64")]
    Rounded,
}

impl Arithmetic {
    /// The fastest of this machine.
    pub(super) fn fastest() -> Self {
        #[cfg(target_arch = "x86_64")]
        if crate::instructions::level() == crate::instructions::Level::Avx512
            && is_x86_feature_detected!("avx512bf16")
        {
            return Self::Rounded;
        }
        Self::Single
    }
}

/// Rows of a product and where its result goes: `[rows, columns]` at a stride of `stride`.
pub(super) struct Destination<'a> {
    pub(super) y: &'a mut [f32],
    pub(super) stride: usize,
}

/// The left factors of all rows of a block, and the right ones of the tile that they meet.
pub(super) enum Factors<'a> {
    Single {
        dim: usize,
        /// `[rows, dim]`.
        queries: &'a mut [f32],
        keys: &'a mut [f32],
        values: &'a mut [f32],
    },
    /// Elements are pairs.
    #[cfg(target_arch = "x86_64")]
    Rounded {
        dim: usize,
        /// Pairs of a row of queries, whole tiles; those past the head are zero.
        row: usize,
        /// `[rows, row]`.
        queries: &'a mut [u32],
        /// `[rows, KEYS / 2]`.
        weights: &'a mut [u32],
        keys: &'a mut [u32],
        values: &'a mut [u32],
        /// Where products are made on tile registers.
        tiles: Option<Tiles>,
        /// Room for the sums of a block of rows that is not whole.
        apart: &'a mut [f32],
    },
}

/// Pairs of a query, and of a key in a panel.
#[cfg(target_arch = "x86_64")]
pub(super) fn pairs(dim: usize) -> usize {
    panel_length::<u32>(dim) / PANEL
}

/// Elements of a panel of values.
#[cfg(target_arch = "x86_64")]
fn values_panel() -> usize {
    panel_length::<u32>(KEYS)
}

impl Factors<'_> {
    /// Calls `work` with room for `rows` rows of heads that are `dim` wide.
    pub(super) fn with<R>(
        arithmetic: Arithmetic,
        rows: usize,
        dim: usize,
        work: impl FnOnce(&mut Factors<'_>) -> R,
    ) -> R {
        match arithmetic {
            Arithmetic::Single => {
                let lengths = [rows * dim, panels_length(dim), KEYS * padded(dim)];
                with_scratch(lengths.iter().sum(), |scratch: &mut [f32]| {
                    let (queries, rest) = scratch.split_at_mut(lengths[0]);
                    let (keys, values) = rest.split_at_mut(lengths[1]);
                    work(&mut Factors::Single { dim, queries, keys, values })
                })
            }
            #[cfg(target_arch = "x86_64")]
            Arithmetic::Rounded => {
                let row = pairs(dim);
                // The last tile of rows may begin at any row, and is read whole.
                let padded = rows + ROWS - 1;
                let lengths = [
                    padded * row,
                    padded * (KEYS / 2),
                    KEYS / PANEL * panel_length::<u32>(dim),
                    dim.div_ceil(PANEL) * values_panel(),
                ];
                with_scratch(lengths.iter().sum(), |scratch: &mut [u32]| {
                    let (queries, rest) = scratch.split_at_mut(lengths[0]);
                    let (weights, rest) = rest.split_at_mut(lengths[1]);
                    let (keys, values) = rest.split_at_mut(lengths[2]);
                    let tiles = (rounded::method() == Method::Tiles)
                        // SAFETY: the machine has tile registers and the system has granted them.
                        .then(|| unsafe { Tiles::configure() });
                    with_scratch(APART, |apart: &mut [f32]| {
                        work(&mut Factors::Rounded { dim, row, queries, weights, keys, values, tiles, apart })
                    })
                })
            }
        }
    }

    /// Takes the query of row `row`, times `scale`.
    pub(super) fn take_query(&mut self, row: usize, query: &[f32], scale: f32) {
        match self {
            Self::Single { dim, queries, .. } => {
                scale_into(query, scale, &mut queries[row * *dim..][..*dim]);
            }
            #[cfg(target_arch = "x86_64")]
            Self::Rounded { dim, row: pairs, queries, .. } => {
                let (own, rest) = queries[row * *pairs..][..*pairs].split_at_mut(dim.div_ceil(2));
                round_pairs(query, scale, own);
                rest.fill(0);
            }
        }
    }

    /// Takes the right factors of a tile, which may be in place already.
    pub(super) fn take_tile(&mut self, tile: &Tile<'_>) {
        match (self, tile) {
            (Self::Single { keys, values, .. }, Tile::Rows { keys: from_keys, values: from_values }) => {
                gather_transposed(*from_keys, keys);
                gather(*from_values, values);
            }
            #[cfg(target_arch = "x86_64")]
            (
                Self::Rounded { dim, keys, values, .. },
                Tile::Rows { keys: from_keys, values: from_values },
            ) => {
                let panels = keys.chunks_exact_mut(panel_length::<u32>(*dim));
                for (index, panel) in panels.take(from_keys.rows.div_ceil(PANEL)).enumerate() {
                    pack_panel(Source::Transposed(*from_keys), index, panel, 0);
                }
                let length = panel_length::<u32>(from_values.rows);
                for (index, panel) in values.chunks_exact_mut(values_panel()).enumerate() {
                    pack_panel(Source::Plain(*from_values), index, &mut panel[..length], 0);
                }
            }
            #[cfg(target_arch = "x86_64")]
            (_, Tile::Stored { .. }) => {}
        }
    }

    /// Scores of rows `first .. first + rows` against `columns` keys of the tile, from key `from` (a multiple of
    /// [`PANEL`]) on; at most [`PANEL`] keys.
    pub(super) fn scores(
        &mut self,
        tile: &Tile<'_>,
        [first, rows]: [usize; 2],
        [from, columns]: [usize; 2],
        to: Destination<'_>,
    ) {
        match self {
            Self::Single { dim, queries, keys, .. } => {
                let product = Product {
                    left: left(&queries[first * *dim..], *dim),
                    right: transposed(&keys[from * *dim..], *dim),
                    rows,
                    columns,
                    depth: *dim,
                };
                product.store(to.y, to.stride, false);
            }
            #[cfg(target_arch = "x86_64")]
            Self::Rounded { row, queries, keys, tiles, apart, .. } => {
                let keys = match tile {
                    Tile::Rows { .. } => &**keys,
                    Tile::Stored { stored, .. } => stored.keys,
                };
                let row = *row;
                let right = &keys[from / PANEL * row * PANEL..];
                let left = &queries[first * row..];
                Pairs { left, row, right, rows, columns, depth: row }.store(
                    to,
                    false,
                    tiles.as_ref().map(|tiles| (tiles, &mut **apart)),
                );
            }
        }
    }

    /// Turns the scores of row `row` against the tile into weights, of which those outside of `low..high` are 0; the sums
    /// then use them. Gives the new running maximum, the factor for what was summed under the old one, `maximum`, and the
    /// sum of the weights.
    pub(super) fn take_scores(
        &mut self,
        row: usize,
        scores: &mut [f32],
        [low, high]: [usize; 2],
        maximum: f32,
    ) -> (f32, f32, f32) {
        match self {
            Self::Single { .. } => {
                scores[..low].fill(0.0);
                scores[high..].fill(0.0);
                take_scores(&mut scores[low..high], maximum)
            }
            #[cfg(target_arch = "x86_64")]
            Self::Rounded { weights, .. } => {
                // Past what the row sees there is nothing to compute; a product takes whole panels of weights.
                let seen = high.next_multiple_of(PANEL).min(scores.len());
                scores[..low].fill(f32::NEG_INFINITY);
                scores[high..seen].fill(f32::NEG_INFINITY);
                let all = (scores.len().div_ceil(2)).next_multiple_of(PAIRS);
                let (weights, rest) = weights[row * (KEYS / 2)..][..all].split_at_mut(seen.div_ceil(2));
                rest.fill(0);
                let scores = &scores[..seen];
                // SAFETY: `Arithmetic::fastest` has found AVX-512 and AVX512-BF16 on this machine.
                unsafe { softmax::round_weights(scores, maximum, weights) }
            }
        }
    }

    /// Adds the sums of the first `depth` values of the tile, weighted for rows `first .. first + rows` as
    /// [`Factors::take_scores`] left them. `scores` are its rows from `first` on, `[rows, KEYS]`: in 32 bits the weights.
    pub(super) fn sums(
        &mut self,
        tile: &Tile<'_>,
        [first, rows]: [usize; 2],
        depth: usize,
        scores: &[f32],
        to: Destination<'_>,
    ) {
        match self {
            Self::Single { dim, values, .. } => {
                let (left, right) = (left(scores, KEYS), plain(values, *dim));
                Product { left, right, rows, columns: *dim, depth }.store(to.y, to.stride, true);
            }
            #[cfg(target_arch = "x86_64")]
            Self::Rounded { dim, weights, values, tiles, apart, .. } => {
                let left = &weights[first * (KEYS / 2)..];
                for (index, column) in (0..*dim).step_by(PANEL).enumerate() {
                    let right = match tile {
                        Tile::Rows { .. } => &values[index * values_panel()..],
                        Tile::Stored { stored, .. } => &stored.values.of(index)[stored.first..],
                    };
                    let columns = PANEL.min(*dim - column);
                    let depth = match tiles {
                        Some(_) => depth.div_ceil(2).next_multiple_of(PAIRS),
                        None => depth.div_ceil(2),
                    };
                    let product = Pairs { left, row: KEYS / 2, right, rows, columns, depth };
                    let to = Destination { y: &mut to.y[column..], stride: to.stride };
                    product.store(to, true, tiles.as_ref().map(|tiles| (tiles, &mut **apart)));
                }
            }
        }
    }
}

/// A small product of bfloat16 pairs with one panel on this thread, checked: as [`Product`].
#[cfg(target_arch = "x86_64")]
struct Pairs<'a> {
    left: &'a [u32],
    /// Elements from one row of the left factor to the next.
    row: usize,
    /// `[depth, PANEL]`.
    right: &'a [u32],
    rows: usize,
    /// At most [`PANEL`].
    columns: usize,
    /// Pairs to sum over.
    depth: usize,
}

#[cfg(target_arch = "x86_64")]
impl Pairs<'_> {
    fn store(&self, to: Destination<'_>, accumulate: bool, tiles: Option<(&Tiles, &mut [f32])>) {
        let Self { left, row, right, rows, columns, depth } = *self;
        if let Some(tiles) = tiles {
            let left = Rows { data: left, row, rows, depth };
            return left.multiply(tiles, right, (to.y, to.stride, columns), accumulate);
        }
        if rows == 0 || columns == 0 {
            return;
        }
        assert!(columns <= PANEL, "product: one panel");
        assert!((rows - 1) * to.stride + columns <= to.y.len(), "product: the result is too short");
        assert!((rows - 1) * row + depth <= left.len(), "product: the left factor is too short");
        assert!(depth * PANEL <= right.len(), "product: the right factor is too short");
        let block = Block {
            a: left.as_ptr(),
            a_row: row,
            a_step: 1,
            b: right.as_ptr(),
            b_step: PANEL,
            y: to.y.as_mut_ptr(),
            y_row: to.stride,
            rows,
            columns,
            depth,
            scale: 1.0,
            accumulate,
            resume: false,
        };
        // SAFETY: `Arithmetic::fastest` has found AVX512-BF16 on this machine; every element was checked above; `y` is
        // borrowed mutably.
        unsafe { tile::paired(&block) };
    }
}
