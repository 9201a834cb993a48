//! Products of 8-bit integers: weights quantised once, the left factor row by row at the entry of a product.
//!
//! Both factors have a scale for every [`GROUP`] values of the depth (symmetric, the largest magnitude is 127), so that
//! one large activation costs only its neighbours their precision. Sums within a group are exact integers, the same
//! with every instruction set; groups are added in 32-bit floating point, in order.

#[cfg(target_arch = "x86_64")]
use std::arch::x86_64::*;

use crate::instructions::vectorised;
#[cfg(target_arch = "x86_64")]
use crate::instructions::{Level, level};
use crate::lanes::Vector;
use crate::memory::{Aligned, with_scratch};
use crate::plan::{Grain, Part, Plan, Target};
use crate::product::View;
use crate::threads::{Shared, for_each};
use crate::tile::PANEL;

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

/// Rows of a tile.
const ROWS: usize = 4;

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

/// Up to [`ROWS`] rows times one panel. All slices are as long as `groups` and `rows` say (see [`by_panel`]).
struct Tile<'a> {
    quads: &'a [u32],
    scales: &'a [f32],
    codes: &'a [u32],
    own_scales: &'a [f32],
    corrections: &'a [u32],
    groups: usize,
    rows: usize,
}

/// Integers of 32 bits in a register, summed up from products of bytes.
///
/// # Safety
/// As for [`Vector`].
trait Integers: Copy {
    type Float: Vector;
    /// Whether the offset of the left factor stays in the sums, to be taken out by the corrections.
    const OFFSET_STAYS: bool;
    unsafe fn zero() -> Self;
    unsafe fn load(from: *const u32) -> Self;
    /// Four bytes of the left factor in every lane.
    unsafe fn broadcast(quad: u32) -> Self;
    /// `self` plus the products of four bytes each.
    unsafe fn add_products(self, left: Self, right: Self) -> Self;
    unsafe fn to_float(self) -> Self::Float;
}

impl Tile<'_> {
    fn run(&self, method: Method, sums: &mut [f32; ROWS * PANEL]) {
        match method {
            // SAFETY: the method comes from `available`; so below.
            #[cfg(target_arch = "x86_64")]
            Method::Wide => unsafe { wide(self, sums) },
            // SAFETY: as above.
            #[cfg(target_arch = "x86_64")]
            Method::Narrow => unsafe { narrow(self, sums) },
            // SAFETY: needs no feature.
            Method::Portable => unsafe { self.by_rows::<[i32; 4], 2>(sums) },
        }
    }

    /// `VECTORS` registers of columns at a time.
    ///
    /// # Safety
    /// The instruction set of `I` is available.
    #[inline(always)]
    unsafe fn by_rows<I: Integers, const VECTORS: usize>(&self, sums: &mut [f32; ROWS * PANEL]) {
        let mut column = 0;
        while column < PANEL {
            // SAFETY: the contract above.
            unsafe {
                match self.rows {
                    1 => self.tile::<I, 1, VECTORS>(column, sums),
                    2 => self.tile::<I, 2, VECTORS>(column, sums),
                    3 => self.tile::<I, 3, VECTORS>(column, sums),
                    _ => self.tile::<I, ROWS, VECTORS>(column, sums),
                }
            }
            column += VECTORS * I::Float::LANES;
        }
    }

    /// # Safety
    /// The instruction set of `I` is available; there are `R` rows, and `VECTORS` registers of columns from `column`.
    #[inline(always)]
    unsafe fn tile<I: Integers, const R: usize, const VECTORS: usize>(
        &self,
        column: usize,
        sums: &mut [f32; ROWS * PANEL],
    ) {
        let lanes = I::Float::LANES;
        assert!(self.quads.len() >= R * self.groups * QUADS && self.scales.len() >= R * self.groups);
        assert!(self.codes.len() >= self.groups * QUADS * PANEL && column + VECTORS * lanes <= PANEL);
        assert!(self.own_scales.len().min(self.corrections.len()) >= self.groups * PANEL);
        // SAFETY: the contract above; the assertions cover every address.
        unsafe {
            let mut totals = [[I::Float::zero(); VECTORS]; R];
            for group in 0..self.groups {
                let place = group * PANEL + column;
                let start: [I; VECTORS] = std::array::from_fn(|v| match I::OFFSET_STAYS {
                    true => I::load(self.corrections.as_ptr().add(place + v * lanes)),
                    false => I::zero(),
                });
                let mut integers = [start; R];
                for k in 0..QUADS {
                    let codes = self.codes.as_ptr().add((group * QUADS + k) * PANEL + column);
                    let right: [I; VECTORS] = std::array::from_fn(|v| I::load(codes.add(v * lanes)));
                    for (row, integers) in integers.iter_mut().enumerate() {
                        let quads = self.quads.as_ptr().add((row * self.groups + group) * QUADS + k);
                        let left = I::broadcast(*quads);
                        for v in 0..VECTORS {
                            integers[v] = integers[v].add_products(left, right[v]);
                        }
                    }
                }
                for v in 0..VECTORS {
                    let own = I::Float::load(self.own_scales.as_ptr().add(place + v * lanes));
                    for row in 0..R {
                        let scale = I::Float::splat(*self.scales.as_ptr().add(row * self.groups + group));
                        let product = integers[row][v].to_float().multiply(scale);
                        totals[row][v] = product.multiply_add(own, totals[row][v]);
                    }
                }
            }
            for (row, totals) in totals.iter().enumerate() {
                for (v, total) in totals.iter().enumerate() {
                    total.store(sums.as_mut_ptr().add(row * PANEL + column + v * lanes));
                }
            }
        }
    }
}

#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx512vnni,avx512f,avx512vl,avx512dq,avx512bw,avx2,fma")]
fn wide(tile: &Tile<'_>, sums: &mut [f32; ROWS * PANEL]) {
    // SAFETY: features as declared; so below.
    unsafe { tile.by_rows::<__m512i, 2>(sums) }
}

#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx2,fma")]
fn narrow(tile: &Tile<'_>, sums: &mut [f32; ROWS * PANEL]) {
    // SAFETY: as above.
    unsafe { tile.by_rows::<__m256i, 1>(sums) }
}

#[cfg(target_arch = "x86_64")]
impl Integers for __m512i {
    type Float = __m512;
    const OFFSET_STAYS: bool = true;
    #[inline(always)]
    unsafe fn zero() -> Self {
        // SAFETY: AVX512-VNNI is available by the trait's contract; so below.
        unsafe { _mm512_setzero_si512() }
    }
    #[inline(always)]
    unsafe fn load(from: *const u32) -> Self {
        // SAFETY: as above, and valid for sixteen elements.
        unsafe { _mm512_loadu_si512(from.cast()) }
    }
    #[inline(always)]
    unsafe fn broadcast(quad: u32) -> Self {
        // SAFETY: as above.
        unsafe { _mm512_set1_epi32(quad.cast_signed()) }
    }
    #[inline(always)]
    unsafe fn add_products(self, left: Self, right: Self) -> Self {
        // SAFETY: as above.
        unsafe { _mm512_dpbusd_epi32(self, left, right) }
    }
    #[inline(always)]
    unsafe fn to_float(self) -> __m512 {
        // SAFETY: as above.
        unsafe { _mm512_cvtepi32_ps(self) }
    }
}

#[cfg(target_arch = "x86_64")]
impl Integers for __m256i {
    type Float = __m256;
    const OFFSET_STAYS: bool = false;
    #[inline(always)]
    unsafe fn zero() -> Self {
        // SAFETY: AVX2 is available by the trait's contract; so below.
        unsafe { _mm256_setzero_si256() }
    }
    #[inline(always)]
    unsafe fn load(from: *const u32) -> Self {
        // SAFETY: as above, and valid for eight elements.
        unsafe { _mm256_loadu_si256(from.cast()) }
    }
    #[inline(always)]
    unsafe fn broadcast(quad: u32) -> Self {
        // The offset taken out again: signed bytes.
        // SAFETY: as above.
        unsafe { _mm256_set1_epi32((quad ^ 0x8080_8080).cast_signed()) }
    }
    /// Magnitudes times signed codes: two products of at most 127 * 127 fit in the 16 bits of a pair.
    #[inline(always)]
    unsafe fn add_products(self, left: Self, right: Self) -> Self {
        // SAFETY: as above.
        unsafe {
            let pairs = _mm256_maddubs_epi16(_mm256_abs_epi8(left), _mm256_sign_epi8(right, left));
            _mm256_add_epi32(self, _mm256_madd_epi16(pairs, _mm256_set1_epi16(1)))
        }
    }
    #[inline(always)]
    unsafe fn to_float(self) -> __m256 {
        // SAFETY: as above.
        unsafe { _mm256_cvtepi32_ps(self) }
    }
}

impl Integers for [i32; 4] {
    type Float = [f32; 4];
    const OFFSET_STAYS: bool = false;
    #[inline(always)]
    unsafe fn zero() -> Self {
        [0; 4]
    }
    #[inline(always)]
    unsafe fn load(from: *const u32) -> Self {
        // SAFETY: valid for four elements by the trait's contract.
        unsafe { from.cast::<Self>().read_unaligned() }
    }
    #[inline(always)]
    unsafe fn broadcast(quad: u32) -> Self {
        [(quad ^ 0x8080_8080).cast_signed(); 4]
    }
    #[inline(always)]
    unsafe fn add_products(self, left: Self, right: Self) -> Self {
        // Byte `i` of a quadruple, its sign kept.
        let byte = |quad: i32, i: u32| (quad << (24 - 8 * i)) >> 24;
        std::array::from_fn(|lane| {
            (0..4).fold(self[lane], |sum, i| sum + byte(left[lane], i) * byte(right[lane], i))
        })
    }
    #[inline(always)]
    unsafe fn to_float(self) -> [f32; 4] {
        self.map(|sum| sum as f32)
    }
}
