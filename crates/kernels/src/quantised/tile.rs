//! Up to four rows of the left factor times one panel of the right one.

#[cfg(target_arch = "x86_64")]
use std::arch::x86_64::{__m256i, __m512i};

use super::{Method, QUADS};
use crate::lanes::Vector;
use crate::tile::PANEL;

/// Rows of a tile.
pub(super) const ROWS: usize = 4;

/// Up to [`ROWS`] rows times one panel. All slices are as long as `groups` and `rows` say (see [`by_panel`](super::by_panel)).
pub(super) struct Tile<'a> {
    pub(super) quads: &'a [u32],
    pub(super) scales: &'a [f32],
    pub(super) codes: &'a [u32],
    pub(super) own_scales: &'a [f32],
    pub(super) corrections: &'a [u32],
    pub(super) groups: usize,
    pub(super) rows: usize,
}

/// Integers of 32 bits in a register, summed up from products of bytes.
///
/// # Safety
/// As for [`Vector`].
pub(super) trait Integers: Copy {
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
    pub(super) fn run(&self, method: Method, sums: &mut [f32; ROWS * PANEL]) {
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
