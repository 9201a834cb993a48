//! Operations on one row, vectorised.

use crate::instructions::{multiply_add, vectorised};
use crate::threads::{Shared, for_each};

/// Partial sums kept by a reduction: a fixed number, so that every instruction set adds in the same order.
const LANES: usize = 32;

/// Elements given to a thread at a time.
const CHUNK: usize = 1 << 14;

/// Inner product. Panics where the lengths differ.
pub fn dot(a: &[f32], b: &[f32]) -> f32 {
    assert_eq!(a.len(), b.len(), "inner product of rows of different lengths");
    dot_row(a, b)
}

/// `a += b`, in parallel for long slices. Panics where the lengths differ.
pub fn add(a: &mut [f32], b: &[f32]) {
    assert_eq!(a.len(), b.len(), "sum of slices of different lengths");
    let length = a.len();
    let a = Shared::new(a);
    for_each(length.div_ceil(CHUNK), length, |index| {
        let (start, count) = (index * CHUNK, CHUNK.min(length - index * CHUNK));
        // SAFETY: each chunk belongs to one task.
        add_row(unsafe { a.slice(start, count) }, &b[start..start + count]);
    });
}

/// Index of the largest element, the first of equal ones; 0 where no element is a number.
pub fn largest_index(x: &[f32]) -> usize {
    let largest = maximum(x);
    x.iter().position(|value| *value == largest).unwrap_or(0)
}

/// `log(sum(exp(x)))`, stable. Negative infinity for an empty row and for one of negative infinities.
pub fn log_sum_exp(x: &[f32]) -> f32 {
    let largest = maximum(x);
    if largest == f32::NEG_INFINITY {
        return largest;
    }
    largest + sum_of_exponentials(x, largest).ln()
}

vectorised! {
    fn dot_row(a: &[f32], b: &[f32]) -> f32 {
        sum_lanes::<FUSED>(a, b)
    }
}

/// The body of [`dot`], for use inside other vectorised bodies.
#[inline(always)]
pub(crate) fn sum_lanes<const FUSED: bool>(a: &[f32], b: &[f32]) -> f32 {
    let mut lanes = [0f32; LANES];
    let (a_blocks, a_rest) = a.as_chunks::<LANES>();
    let (b_blocks, b_rest) = b.as_chunks::<LANES>();
    for (a, b) in a_blocks.iter().zip(b_blocks) {
        for lane in 0..LANES {
            lanes[lane] = multiply_add::<FUSED>(a[lane], b[lane], lanes[lane]);
        }
    }
    for (lane, (a, b)) in lanes.iter_mut().zip(a_rest.iter().zip(b_rest)) {
        *lane = multiply_add::<FUSED>(*a, *b, *lane);
    }
    fold(lanes, |a, b| a + b)
}

/// Combines the lanes pairwise: halves, quarters, and so on.
#[inline(always)]
pub(crate) fn fold(mut lanes: [f32; LANES], combine: impl Fn(f32, f32) -> f32) -> f32 {
    let mut width = LANES / 2;
    while width > 0 {
        for lane in 0..width {
            lanes[lane] = combine(lanes[lane], lanes[lane + width]);
        }
        width /= 2;
    }
    lanes[0]
}

vectorised! {
    fn add_row(a: &mut [f32], b: &[f32]) {
        for (a, b) in a.iter_mut().zip(b) {
            *a += *b;
        }
    }
}

vectorised! {
    /// The largest element; negative infinity for an empty row.
    pub(crate) fn maximum(x: &[f32]) -> f32 {
        largest(x)
    }
}

/// The body of [`maximum`].
#[inline(always)]
pub(crate) fn largest(x: &[f32]) -> f32 {
    let mut lanes = [f32::NEG_INFINITY; LANES];
    let (blocks, rest) = x.as_chunks::<LANES>();
    for block in blocks {
        for lane in 0..LANES {
            lanes[lane] = if block[lane] > lanes[lane] { block[lane] } else { lanes[lane] };
        }
    }
    for (lane, x) in lanes.iter_mut().zip(rest) {
        *lane = if *x > *lane { *x } else { *lane };
    }
    fold(lanes, |a, b| if a > b { a } else { b })
}

vectorised! {
    /// `sum(exp(x - shift))`.
    pub(crate) fn sum_of_exponentials(x: &[f32], shift: f32) -> f32 {
        let mut lanes = [0f32; LANES];
        let (blocks, rest) = x.as_chunks::<LANES>();
        for block in blocks {
            for lane in 0..LANES {
                lanes[lane] += exponential::<FUSED>(block[lane] - shift);
            }
        }
        for (lane, x) in lanes.iter_mut().zip(rest) {
            *lane += exponential::<FUSED>(*x - shift);
        }
        fold(lanes, |a, b| a + b)
    }
}

/// Replaces `x` by `exp(scale * x - shift)` and returns the sum; for use inside vectorised bodies.
#[inline(always)]
pub(crate) fn exponentiate<const FUSED: bool>(x: &mut [f32], scale: f32, shift: f32) -> f32 {
    let mut lanes = [0f32; LANES];
    let (blocks, rest) = x.as_chunks_mut::<LANES>();
    for block in blocks {
        for lane in 0..LANES {
            block[lane] = exponential::<FUSED>(multiply_add::<FUSED>(block[lane], scale, -shift));
            lanes[lane] += block[lane];
        }
    }
    for (lane, x) in lanes.iter_mut().zip(rest) {
        *x = exponential::<FUSED>(multiply_add::<FUSED>(*x, scale, -shift));
        *lane += *x;
    }
    fold(lanes, |a, b| a + b)
}

/// `exp(x)` within two units in the last place for results that are normal numbers; 0 below them (also for negative
/// infinity), infinity above. NaN gives NaN.
///
/// Range reduction `x = n ln 2 + r`, `|r| <= ln 2 / 2`, with ln 2 in two parts (Cody and Waite 1980), then the Taylor
/// polynomial of degree 7, whose error on that range is below 1e-8 relative.
#[inline(always)]
pub(crate) fn exponential<const FUSED: bool>(x: f32) -> f32 {
    /// 1.5 * 2^23: adding it rounds to an integer held in the low bits.
    const ROUND: f32 = 12_582_912.0;
    const LN2_HIGH: f32 = 0.693_359_4;
    const LN2_LOW: f32 = -2.121_944_4e-4;
    let clamped = if x > 88.722_83 { 88.722_83 } else { x };
    let clamped = if clamped < -87.336_54 { -87.336_54 } else { clamped };
    let shifted = multiply_add::<FUSED>(clamped, std::f32::consts::LOG2_E, ROUND);
    let n = shifted - ROUND;
    let r = multiply_add::<FUSED>(n, -LN2_HIGH, clamped);
    let r = multiply_add::<FUSED>(n, -LN2_LOW, r);
    let mut p = 1.0 / 5040.0;
    p = multiply_add::<FUSED>(p, r, 1.0 / 720.0);
    p = multiply_add::<FUSED>(p, r, 1.0 / 120.0);
    p = multiply_add::<FUSED>(p, r, 1.0 / 24.0);
    p = multiply_add::<FUSED>(p, r, 1.0 / 6.0);
    p = multiply_add::<FUSED>(p, r, 0.5);
    p = multiply_add::<FUSED>(p, r, 1.0);
    p = multiply_add::<FUSED>(p, r, 1.0);
    // 2^n in two factors, since n reaches 128, one more than a float's exponent holds.
    let n = shifted.to_bits().wrapping_sub(ROUND.to_bits()) as i32;
    let half = n >> 1;
    let power = |n: i32| f32::from_bits((n.wrapping_add(127) << 23) as u32);
    let value = p * power(half) * power(n.wrapping_sub(half));
    let value = if x > 88.722_83 { f32::INFINITY } else { value };
    if x < -87.336_54 { 0.0 } else { value }
}
