//! Products of 8-bit integers: weights quantised once, the left factor row by row at the entry of a product.
//!
//! Both factors have a scale for every [`GROUP`] values of the depth (symmetric, the largest magnitude is 127), so that
//! one large activation costs only its neighbours their precision. Sums within a group are exact integers, the same
//! with every instruction set; groups are added in 32-bit floating point, in order.

mod integers;
mod tile;

use crate::instructions::vectorised;
#[cfg(target_arch = "x86_64")]
use crate::instructions::{Level, level};
use crate::memory::{Aligned, with_scratch};
use crate::plan::{Grain, Part, Plan, Target};
use crate::product::View;
use crate::threads::{Shared, for_each};
use crate::tile::PANEL;
use tile::{ROWS, Tile};

/// Values of the depth that share a scale.
const GROUP: usize = 64;
/// Four values of consecutive depth, 8 bits each: an element of either factor.
const QUADS: usize = GROUP / 4;
/// The largest code.
const MOST: f32 = 127.0;
/// Added to the codes of the left factor, which one instruction wants unsigned.
const OFFSET: i32 = 128;
/// Multiply-adds in the time of one elementary operation.
const RATE: usize = 64;

/// A right factor `[depth, columns]` of 8-bit integers, in panels.
#[derive(Clone, Debug)]
pub(crate) struct Quantised {
    columns: usize,
    depth: usize,
    /// Element `(k, j)` of a panel at `k * PANEL + j`: four values of the depth.
    codes: Aligned<u32>,
    /// A number for each column of each group of each panel.
    scales: Aligned<f32>,
    /// `-OFFSET` times the sum of the codes, for the same.
    corrections: Aligned<u32>,
}

fn groups(depth: usize) -> usize {
    depth.div_ceil(GROUP)
}

/// Codes and scale of a group: `code = round(value / scale)`, to nearest and ties to even.
#[inline(always)]
fn quantise(values: &[f32], codes: &mut [i32; GROUP]) -> f32 {
    /// 1.5 * 2^23: adding it rounds to an integer held in the low bits.
    const ROUND: f32 = 12_582_912.0;
    let mut most = [0f32; 16];
    let mut padded = [0f32; GROUP];
    padded[..values.len()].copy_from_slice(values);
    for part in padded.as_chunks::<16>().0 {
        for (most, value) in most.iter_mut().zip(part) {
            *most = if value.abs() > *most { value.abs() } else { *most };
        }
    }
    let most = most.into_iter().fold(0f32, |a, b| if b > a { b } else { a });
    let scale = most / MOST;
    let inverse = if scale >= f32::MIN_POSITIVE { 1.0 / scale } else { 0.0 };
    for (code, value) in codes.iter_mut().zip(padded) {
        // What is not a number becomes 0.
        let scaled = value * inverse;
        let scaled = if scaled > -MOST { scaled } else { -MOST };
        let scaled = if scaled < MOST { scaled } else { MOST };
        *code = (scaled + ROUND).to_bits().wrapping_sub(ROUND.to_bits()).cast_signed();
    }
    scale
}

fn quad(codes: &[i32], offset: i32) -> u32 {
    u32::from_le_bytes(std::array::from_fn(|i| (codes[i] + offset) as u8))
}

impl Quantised {
    /// Quantises the rows of `weights`, which are the columns of the factor.
    pub(crate) fn new(weights: View<'_>) -> Self {
        let (columns, depth) = (weights.rows, weights.columns);
        let (panels, groups) = (columns.div_ceil(PANEL), groups(depth));
        let mut codes = Aligned::<u32>::zeros(panels * groups * QUADS * PANEL);
        let mut scales = Aligned::<f32>::zeros(panels * groups * PANEL);
        let mut corrections = Aligned::<u32>::zeros(panels * groups * PANEL);
        let (all_codes, all_scales, all_corrections) =
            (Shared::new(&mut codes), Shared::new(&mut scales), Shared::new(&mut corrections));
        for_each(panels, columns * depth, |panel| {
            // SAFETY: each panel belongs to one task; so below.
            let codes = unsafe { all_codes.slice(panel * groups * QUADS * PANEL, groups * QUADS * PANEL) };
            // SAFETY: as above.
            let scales = unsafe { all_scales.slice(panel * groups * PANEL, groups * PANEL) };
            // SAFETY: as above.
            let corrections = unsafe { all_corrections.slice(panel * groups * PANEL, groups * PANEL) };
            let mut own = [0i32; GROUP];
            for j in 0..PANEL.min(columns - panel * PANEL) {
                for (group, values) in weights.row(panel * PANEL + j).chunks(GROUP).enumerate() {
                    scales[group * PANEL + j] = quantise(values, &mut own);
                    corrections[group * PANEL + j] = (-OFFSET * own.iter().sum::<i32>()).cast_unsigned();
                    for (k, four) in own.chunks_exact(4).enumerate() {
                        codes[(group * QUADS + k) * PANEL + j] = quad(four, 0);
                    }
                }
            }
        });
        Self { columns, depth, codes, scales, corrections }
    }

    /// Bytes held.
    pub(crate) fn bytes(&self) -> usize {
        self.codes.bytes() + self.scales.bytes() + self.corrections.bytes()
    }

    /// Copies column `j` to `out[depth]`.
    pub(crate) fn column(&self, j: usize, out: &mut [f32]) {
        assert!(j < self.columns, "column {j} of {}", self.columns);
        assert_eq!(out.len(), self.depth, "a column is as long as the factor is deep");
        let first = j / PANEL * groups(self.depth);
        for (k, out) in out.iter_mut().enumerate() {
            let group = first + k / GROUP;
            let quad = self.codes[(group * QUADS + k % GROUP / 4) * PANEL + j % PANEL];
            let code = quad.to_le_bytes()[k % 4].cast_signed();
            *out = f32::from(code) * self.scales[group * PANEL + j % PANEL];
        }
    }
}

vectorised! {
    /// Codes (with [`OFFSET`]) and scales of one row of the left factor.
    fn quantise_row(row: &[f32], quads: &mut [u32], scales: &mut [f32]) {
        let mut codes = [0i32; GROUP];
        let groups = row.chunks(GROUP).zip(quads.as_chunks_mut::<QUADS>().0).zip(scales);
        for ((values, quads), scale) in groups {
            *scale = quantise(values, &mut codes);
            for (to, four) in quads.iter_mut().zip(codes.as_chunks::<4>().0) {
                *to = quad(four, OFFSET);
            }
        }
    }
}

/// The instructions that multiply.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Method {
    /// AVX512-VNNI.
    #[cfg(target_arch = "x86_64")]
    Wide,
    /// AVX2: products of bytes added in pairs, then pairs in fours.
    #[cfg(target_arch = "x86_64")]
    Narrow,
    /// What the target guarantees.
    Portable,
}

/// The methods that this machine has, best first.
pub(crate) fn available() -> Vec<Method> {
    let mut methods = Vec::new();
    #[cfg(target_arch = "x86_64")]
    {
        if level() == Level::Avx512 && is_x86_feature_detected!("avx512vnni") {
            methods.push(Method::Wide);
        }
        if level() >= Level::Avx2 {
            methods.push(Method::Narrow);
        }
    }
    methods.push(Method::Portable);
    methods
}

/// `y (+)= x . right`.
pub(crate) fn multiply(x: View<'_>, right: &Quantised, y: Target<'_>, accumulate: bool) {
    static METHOD: std::sync::OnceLock<Method> = std::sync::OnceLock::new();
    let method = *METHOD.get_or_init(|| available()[0]);
    multiply_by(method, x, right, y, accumulate);
}

/// [`multiply`] by the given method, which the machine must have.
pub(crate) fn multiply_by(method: Method, x: View<'_>, right: &Quantised, y: Target<'_>, accumulate: bool) {
    x.check();
    assert_eq!(y.shape(), (x.rows, right.columns), "product: shape of the result");
    assert_eq!(x.columns, right.depth, "product: the factors agree");
    let (rows, groups) = (x.rows, groups(right.depth));
    let plan = Plan::new(y, right.depth, (RATE, Grain::FINE), false);
    with_scratch(rows * groups * QUADS, |quads: &mut [u32]| {
        with_scratch(rows * groups, |scales: &mut [f32]| {
            let (all_quads, all_scales) = (Shared::new(quads), Shared::new(scales));
            for_each(rows, rows * right.depth, |row| {
                // SAFETY: each row belongs to one task; so below.
                let quads = unsafe { all_quads.slice(row * groups * QUADS, groups * QUADS) };
                // SAFETY: as above.
                let scales = unsafe { all_scales.slice(row * groups, groups) };
                quantise_row(x.row(row), quads, scales);
            });
            plan.run(|part| {
                for panel in part.panels.clone() {
                    by_panel(method, (quads, scales), right, part, panel, accumulate);
                }
            });
        });
    });
}

/// The rows of a part times one panel.
fn by_panel(
    method: Method,
    (quads, scales): (&[u32], &[f32]),
    right: &Quantised,
    part: &Part<'_>,
    panel: usize,
    accumulate: bool,
) {
    let (groups, columns) = (groups(right.depth), part.columns(panel));
    let codes = &right.codes[panel * groups * QUADS * PANEL..][..groups * QUADS * PANEL];
    let own_scales = &right.scales[panel * groups * PANEL..][..groups * PANEL];
    let corrections = &right.corrections[panel * groups * PANEL..][..groups * PANEL];
    let mut sums = [0f32; ROWS * PANEL];
    for first in part.rows.clone().step_by(ROWS) {
        let rows = ROWS.min(part.rows.end - first);
        let tile = Tile {
            quads: &quads[first * groups * QUADS..][..rows * groups * QUADS],
            scales: &scales[first * groups..][..rows * groups],
            codes,
            own_scales,
            corrections,
            groups,
            rows,
        };
        tile.run(method, &mut sums);
        for (row, sums) in sums.chunks_exact(PANEL).take(rows).enumerate() {
            let to = part.address(first + row, 1, panel);
            // SAFETY: `address` has checked that `columns` elements exist; no other part writes to them.
            let to = unsafe { std::slice::from_raw_parts_mut(to, columns) };
            for (to, sum) in to.iter_mut().zip(sums) {
                *to = if accumulate { *to + *sum } else { *sum };
            }
        }
    }
}
