//! The inner kernel of every product: a tile of a few rows by [`PANEL`] columns, its sums in registers.
//!
//! The right factor comes in panels of [`PANEL`] columns: element `(k, j)` of a panel at `k * stride + j`. The left
//! factor is read where it lies, one broadcast element at a time. Each sum runs over `k` in order, whatever the number
//! of rows, columns or threads, so that a row's result does not depend on the other rows of its batch.
//!
//! In bfloat16 an element is a pair of consecutive `k` (32 bits, the lower `k` in the low half).

#[cfg(target_arch = "x86_64")]
use std::arch::x86_64::*;
use std::marker::PhantomData;

use crate::instructions::{Level, level};
use crate::lanes::{Portable, Vector, will_write};

/// Columns of a panel.
pub(crate) const PANEL: usize = 32;

/// A product of some rows with one panel: `y (+)= scale * a . b`. Strides are in elements of each factor.
#[derive(Clone, Copy)]
pub(crate) struct Block<A, B> {
    pub(crate) a: *const A,
    pub(crate) a_row: usize,
    pub(crate) a_step: usize,
    pub(crate) b: *const B,
    pub(crate) b_step: usize,
    pub(crate) y: *mut f32,
    pub(crate) y_row: usize,
    pub(crate) rows: usize,
    /// Columns of `y` to write, at most [`PANEL`]; all [`PANEL`] columns of `b` are read.
    pub(crate) columns: usize,
    /// Elements (pairs in bfloat16) to sum over.
    pub(crate) depth: usize,
    pub(crate) scale: f32,
    pub(crate) accumulate: bool,
    /// The sums go on from what `y` holds, which has all [`PANEL`] columns: a product in stretches of its depth has
    /// the bits of one in one piece.
    pub(crate) resume: bool,
}

/// How elements are multiplied.
///
/// # Safety
/// As for [`Vector`]: the instruction set must be available, pointers valid for the elements read.
trait Arithmetic {
    type Left: Copy;
    type Right: Copy;
    type Sum: Vector;
    type Factor: Copy;
    /// Parts of an element that are multiplied one after the other, so that the registers hold those of one part at a time.
    const PARTS: usize;
    unsafe fn broadcast(from: *const Self::Left, part: usize) -> Self::Factor;
    unsafe fn load(from: *const Self::Right, part: usize) -> Self::Factor;
    unsafe fn multiply_add(a: Self::Factor, b: Self::Factor, sum: Self::Sum) -> Self::Sum;
}

/// 32-bit factors.
struct Single<V>(PhantomData<V>);

impl<V: Vector> Arithmetic for Single<V> {
    type Left = f32;
    type Right = f32;
    type Sum = V;
    type Factor = V;
    const PARTS: usize = 1;
    #[inline(always)]
    unsafe fn broadcast(from: *const f32, _part: usize) -> V {
        // SAFETY: the trait's contract; so below.
        unsafe { V::splat(*from) }
    }
    #[inline(always)]
    unsafe fn load(from: *const f32, _part: usize) -> V {
        // SAFETY: as above.
        unsafe { V::load(from) }
    }
    #[inline(always)]
    unsafe fn multiply_add(a: V, b: V, sum: V) -> V {
        // SAFETY: as above.
        unsafe { a.multiply_add(b, sum) }
    }
}

/// bfloat16 pairs on the right, widened; on the left pairs of `f32` that were rounded to bfloat16.
struct Widened<V>(PhantomData<V>);

impl<V: Vector> Arithmetic for Widened<V> {
    type Left = [f32; 2];
    type Right = u32;
    type Sum = V;
    type Factor = V;
    const PARTS: usize = 2;
    #[inline(always)]
    unsafe fn broadcast(from: *const [f32; 2], part: usize) -> V {
        // SAFETY: the trait's contract; so below.
        unsafe { V::splat((*from)[part]) }
    }
    #[inline(always)]
    unsafe fn load(from: *const u32, part: usize) -> V {
        // SAFETY: as above.
        unsafe { if part == 0 { V::low_halves(from) } else { V::high_halves(from) } }
    }
    #[inline(always)]
    unsafe fn multiply_add(a: V, b: V, sum: V) -> V {
        // SAFETY: as above.
        unsafe { a.multiply_add(b, sum) }
    }
}

/// bfloat16 pairs on both sides, with the AVX512-BF16 instruction.
#[cfg(target_arch = "x86_64")]
struct Paired;

#[cfg(target_arch = "x86_64")]
impl Arithmetic for Paired {
    type Left = u32;
    type Right = u32;
    type Sum = __m512;
    type Factor = __m512bh;
    const PARTS: usize = 1;
    #[inline(always)]
    unsafe fn broadcast(from: *const u32, _part: usize) -> __m512bh {
        // SAFETY: the trait's contract; a register of the same size, any bits allowed. So below.
        unsafe { std::mem::transmute::<__m512i, __m512bh>(_mm512_set1_epi32((*from).cast_signed())) }
    }
    #[inline(always)]
    unsafe fn load(from: *const u32, _part: usize) -> __m512bh {
        // SAFETY: as above.
        unsafe { std::mem::transmute::<__m512i, __m512bh>(_mm512_loadu_si512(from.cast())) }
    }
    #[inline(always)]
    unsafe fn multiply_add(a: __m512bh, b: __m512bh, sum: __m512) -> __m512 {
        // SAFETY: as above.
        unsafe { _mm512_dpbf16_ps(sum, a, b) }
    }
}

/// `ROWS` rows by `VECTORS` vectors of columns.
///
/// # Safety
/// The contract of [`Arithmetic`]; the pointers of `block` (moved to the tile) are valid for the tile.
#[inline(always)]
unsafe fn tile<M: Arithmetic, const ROWS: usize, const VECTORS: usize>(block: &Block<M::Left, M::Right>) {
    // SAFETY: the contract above; every address is inside the tile.
    unsafe {
        let lanes = M::Sum::LANES;
        let mut sums = [[M::Sum::zero(); VECTORS]; ROWS];
        if block.resume {
            for (row, sums) in sums.iter_mut().enumerate() {
                for (vector, sum) in sums.iter_mut().enumerate() {
                    *sum = M::Sum::load(block.y.add(row * block.y_row + vector * lanes));
                }
            }
        }
        let (mut a, mut b) = (block.a, block.b);
        for row in 0..ROWS {
            for vector in 0..VECTORS {
                will_write(block.y.wrapping_add(row * block.y_row + vector * lanes));
            }
        }
        for _ in 0..block.depth {
            for part in 0..M::PARTS {
                let right: [M::Factor; VECTORS] =
                    std::array::from_fn(|vector| M::load(b.add(vector * lanes), part));
                for (row, sums) in sums.iter_mut().enumerate() {
                    let left = M::broadcast(a.add(row * block.a_row), part);
                    for vector in 0..VECTORS {
                        sums[vector] = M::multiply_add(left, right[vector], sums[vector]);
                    }
                }
            }
            a = a.wrapping_add(block.a_step);
            b = b.wrapping_add(block.b_step);
        }
        let scale = M::Sum::splat(block.scale);
        for (row, sums) in sums.iter().enumerate() {
            for (vector, sum) in sums.iter().enumerate() {
                let first = vector * lanes;
                if first + lanes <= block.columns {
                    let y = block.y.add(row * block.y_row + first);
                    if block.accumulate {
                        sum.multiply_add(scale, M::Sum::load(y)).store(y);
                    } else {
                        sum.multiply(scale).store(y);
                    }
                } else if first < block.columns {
                    let y = block.y.add(row * block.y_row + first);
                    let count = block.columns - first;
                    let mut edge = [0f32; 16];
                    if block.accumulate {
                        std::ptr::copy_nonoverlapping(y, edge.as_mut_ptr(), count);
                    }
                    let old = M::Sum::load(edge.as_ptr());
                    let value =
                        if block.accumulate { sum.multiply_add(scale, old) } else { sum.multiply(scale) };
                    value.store(edge.as_mut_ptr());
                    std::ptr::copy_nonoverlapping(edge.as_ptr(), y, count);
                }
            }
        }
    }
}

/// All rows of a block, `MOST` at a time, two vectors of columns at a time.
///
/// # Safety
/// As for [`tile`], for the whole block.
#[inline(always)]
unsafe fn block<M: Arithmetic, const MOST: usize>(whole: &Block<M::Left, M::Right>) {
    let lanes = M::Sum::LANES;
    let mut row = 0;
    while row < whole.rows {
        let rows = (whole.rows - row).min(MOST);
        let mut column = 0;
        while column < whole.columns {
            let part = Block {
                a: whole.a.wrapping_add(row * whole.a_row),
                b: whole.b.wrapping_add(column),
                y: whole.y.wrapping_add(row * whole.y_row + column),
                columns: whole.columns - column,
                ..*whole
            };
            // SAFETY: the part lies in the block; `part.columns` limits what is written.
            unsafe {
                if part.columns > lanes {
                    rows_of::<M, 2>(&part, rows);
                } else {
                    rows_of::<M, 1>(&part, rows);
                }
            }
            column += 2 * lanes;
        }
        row += rows;
    }
}

/// # Safety
/// As for [`tile`]; `rows` is 1 to 8.
#[inline(always)]
unsafe fn rows_of<M: Arithmetic, const VECTORS: usize>(part: &Block<M::Left, M::Right>, rows: usize) {
    // SAFETY: the contract above.
    unsafe {
        match rows {
            1 => tile::<M, 1, VECTORS>(part),
            2 => tile::<M, 2, VECTORS>(part),
            3 => tile::<M, 3, VECTORS>(part),
            4 => tile::<M, 4, VECTORS>(part),
            5 => tile::<M, 5, VECTORS>(part),
            6 => tile::<M, 6, VECTORS>(part),
            7 => tile::<M, 7, VECTORS>(part),
            _ => tile::<M, 8, VECTORS>(part),
        }
    }
}

/// Rows of a tile with AVX-512, which has 32 registers of 16 lanes.
#[cfg(target_arch = "x86_64")]
const ROWS_AVX512: usize = 8;
/// Rows of a tile with 16 registers.
const ROWS_SMALL: usize = 6;
/// Rows of a tile of the portable level: NEON has 32 registers of 4 lanes.
const ROWS_PORTABLE: usize = if cfg!(target_arch = "aarch64") { 8 } else { ROWS_SMALL };

#[cfg(target_arch = "x86_64")]
mod x86 {
    use super::*;

    #[target_feature(enable = "avx512f,avx512vl,avx512dq,avx512bw,avx2,fma")]
    pub(super) unsafe fn single512(whole: &Block<f32, f32>) {
        // SAFETY: features as declared; pointers by the caller's contract. So below.
        unsafe { block::<Single<__m512>, ROWS_AVX512>(whole) }
    }
    #[target_feature(enable = "avx2,fma")]
    pub(super) unsafe fn single256(whole: &Block<f32, f32>) {
        // SAFETY: as above.
        unsafe { block::<Single<__m256>, ROWS_SMALL>(whole) }
    }
    #[target_feature(enable = "avx512f,avx512vl,avx512dq,avx512bw,avx2,fma")]
    pub(super) unsafe fn widened512(whole: &Block<[f32; 2], u32>) {
        // SAFETY: as above.
        unsafe { block::<Widened<__m512>, ROWS_AVX512>(whole) }
    }
    #[target_feature(enable = "avx2,fma")]
    pub(super) unsafe fn widened256(whole: &Block<[f32; 2], u32>) {
        // SAFETY: as above.
        unsafe { block::<Widened<__m256>, ROWS_SMALL>(whole) }
    }
    #[target_feature(enable = "avx512bf16,avx512f,avx512vl,avx512dq,avx512bw,avx2,fma")]
    pub(super) unsafe fn paired512(whole: &Block<u32, u32>) {
        // SAFETY: as above.
        unsafe { block::<Paired, ROWS_AVX512>(whole) }
    }
}

/// `y (+)= scale * a . b` with 32-bit factors.
///
/// # Safety
/// This machine has `level`. Every element that the block names is valid: `a` for reading at
/// `row * a_row + k * a_step`, `b` at `k * b_step + 0 .. PANEL`, `y` for reading and writing at
/// `row * y_row + 0 .. columns`, and no one else uses that part of `y` meanwhile.
pub(crate) unsafe fn single(level: Level, whole: &Block<f32, f32>) {
    debug_assert!(whole.columns <= PANEL);
    // SAFETY: the contract above.
    unsafe {
        match level {
            #[cfg(target_arch = "x86_64")]
            Level::Avx512 => x86::single512(whole),
            #[cfg(target_arch = "x86_64")]
            Level::Avx2 => x86::single256(whole),
            _ => block::<Single<Portable>, ROWS_PORTABLE>(whole),
        }
    }
}

/// The same with bfloat16 pairs on the right and rounded 32-bit pairs on the left.
///
/// # Safety
/// As for [`single`].
pub(crate) unsafe fn widened(level: Level, whole: &Block<[f32; 2], u32>) {
    debug_assert!(whole.columns <= PANEL);
    // SAFETY: the contract above.
    unsafe {
        match level {
            #[cfg(target_arch = "x86_64")]
            Level::Avx512 => x86::widened512(whole),
            #[cfg(target_arch = "x86_64")]
            Level::Avx2 => x86::widened256(whole),
            _ => block::<Widened<Portable>, ROWS_PORTABLE>(whole),
        }
    }
}

/// The same with bfloat16 pairs on both sides.
///
/// # Safety
/// As for [`single`]; the machine has AVX512-BF16.
#[cfg(target_arch = "x86_64")]
pub(crate) unsafe fn paired(whole: &Block<u32, u32>) {
    debug_assert!(whole.columns <= PANEL);
    // SAFETY: the contract above.
    unsafe { x86::paired512(whole) }
}

/// The left factor of a [`Product`]: element `(i, k)` at `i * row + k * step`.
#[derive(Clone, Copy)]
pub(crate) struct LeftFactor<'a> {
    pub(crate) data: &'a [f32],
    pub(crate) row: usize,
    pub(crate) step: usize,
}

/// The right factor of a [`Product`]: element `(k, j)` at `j / PANEL * panel + k * step + j % PANEL`. The columns of
/// the last panel are all there, whether they are asked for or not.
#[derive(Clone, Copy)]
pub(crate) struct RightFactor<'a> {
    pub(crate) data: &'a [f32],
    pub(crate) panel: usize,
    pub(crate) step: usize,
}

/// A small product on this thread, checked.
#[derive(Clone, Copy)]
pub(crate) struct Product<'a> {
    pub(crate) left: LeftFactor<'a>,
    pub(crate) right: RightFactor<'a>,
    pub(crate) rows: usize,
    pub(crate) columns: usize,
    pub(crate) depth: usize,
}

impl Product<'_> {
    /// `y (+)= left . right`, row `i` of `y` at `i * stride`.
    pub(crate) fn store(&self, y: &mut [f32], stride: usize, accumulate: bool) {
        let Self { left, right, rows, columns, depth } = *self;
        if rows == 0 || columns == 0 {
            return;
        }
        let panels = columns.div_ceil(PANEL);
        assert!((rows - 1) * stride + columns <= y.len(), "product: the result is too short");
        if depth > 0 {
            let last = (rows - 1) * left.row + (depth - 1) * left.step;
            assert!(last < left.data.len(), "product: the left factor is too short");
            let end = (panels - 1) * right.panel + (depth - 1) * right.step + PANEL;
            assert!(end <= right.data.len(), "product: the right factor is too short");
        }
        for panel in 0..panels {
            let block = Block {
                a: left.data.as_ptr(),
                a_row: left.row,
                a_step: left.step,
                b: right.data.as_ptr().wrapping_add(panel * right.panel),
                b_step: right.step,
                y: y.as_mut_ptr().wrapping_add(panel * PANEL),
                y_row: stride,
                rows,
                columns: PANEL.min(columns - panel * PANEL),
                depth,
                scale: 1.0,
                accumulate,
                resume: false,
            };
            // SAFETY: the machine has its own level; every element was checked above; `y` is borrowed mutably.
            unsafe { single(level(), &block) };
        }
    }
}
