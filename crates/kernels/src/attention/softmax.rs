//! Scores to weights in bfloat16, with AVX-512: the running maximum, exponentials, their sum and the rounding in two passes
//! over a row, where separate operations take four.

use std::arch::x86_64::*;

/// Lanes of a register.
const LANES: usize = 16;

/// `2^f` for `|f| <= 1/2`, from the Taylor series of `exp(f ln 2)`: the first term left out is below 2e-7.
const POLYNOMIAL: [f32; 7] =
    [1.540_353e-4, 1.333_355_8e-3, 9.618_129e-3, 0.055_504_11, 0.240_226_5, std::f32::consts::LN_2, 1.0];

/// Writes `exp(score - new maximum)` of all scores to `weights` as pairs of bfloat16, the lower in the low half; the last is
/// completed by zero. Gives the new maximum (of `maximum` and the scores), the factor `exp(maximum - new)` for what was
/// summed before, and the sum of the weights (before rounding). A score of negative infinity has weight 0. Scores keep
/// what they hold.
///
/// # Safety
/// The machine must have AVX-512 F, BW and AVX512-BF16.
#[target_feature(enable = "avx512f,avx512bw,avx512bf16")]
pub(super) fn round_weights(scores: &[f32], maximum: f32, weights: &mut [u32]) -> (f32, f32, f32) {
    let largest = largest(scores);
    let new = if largest > maximum { largest } else { maximum };
    if new == f32::NEG_INFINITY {
        weights.fill(0);
        return (new, 1.0, 0.0);
    }
    let factor = if new == maximum {
        1.0
    } else {
        _mm512_cvtss_f32(exponential(_mm512_set1_ps(maximum), _mm512_set1_ps(new)))
    };
    let shift = _mm512_set1_ps(new);
    let mut sums = _mm512_setzero_ps();
    let pairs = scores.chunks(2 * LANES).zip(weights.chunks_mut(LANES));
    for (scores, weights) in pairs {
        let low = exponential(load(scores), shift);
        let high = exponential(load(scores.get(LANES..).unwrap_or_default()), shift);
        sums = _mm512_add_ps(sums, _mm512_add_ps(low, high));
        let mask = mask(weights.len());
        // SAFETY: both types are 512 plain bits; the mask covers the elements of `weights` alone.
        unsafe {
            let rounded = std::mem::transmute::<__m512bh, __m512i>(_mm512_cvtne2ps_pbh(high, low));
            _mm512_mask_storeu_epi32(weights.as_mut_ptr().cast(), mask, rounded);
        }
    }
    (new, factor, _mm512_reduce_add_ps(sums))
}

#[inline]
#[target_feature(enable = "avx512f")]
fn largest(scores: &[f32]) -> f32 {
    let mut lanes = _mm512_set1_ps(f32::NEG_INFINITY);
    for scores in scores.chunks(LANES) {
        lanes = _mm512_max_ps(load(scores), lanes);
    }
    _mm512_reduce_max_ps(lanes)
}

/// The first [`LANES`] elements, or fewer and then negative infinity.
#[inline]
#[target_feature(enable = "avx512f")]
fn load(from: &[f32]) -> __m512 {
    // SAFETY: the mask covers the elements of `from` alone.
    unsafe { _mm512_mask_loadu_ps(_mm512_set1_ps(f32::NEG_INFINITY), mask(from.len()), from.as_ptr()) }
}

/// Bits for the first `count` lanes, at most all.
#[inline]
fn mask(count: usize) -> u16 {
    if count >= LANES { u16::MAX } else { (1 << count) - 1 }
}

/// `exp(x - shift)` within 4e-7 of the value, for `x <= shift`; 0 below 2^-125.5.
#[inline]
#[target_feature(enable = "avx512f")]
fn exponential(x: __m512, shift: __m512) -> __m512 {
    let power = _mm512_mul_ps(_mm512_sub_ps(x, shift), _mm512_set1_ps(std::f32::consts::LOG2_E));
    // What is smaller than any normal number is 0 (results below it take some processors a hundred cycles). A NaN is kept.
    let normal = _mm512_cmp_ps_mask::<_CMP_NLT_UQ>(power, _mm512_set1_ps(-125.5));
    let whole = _mm512_roundscale_ps::<{ _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC }>(power);
    let fraction = _mm512_sub_ps(power, whole);
    let mut value = _mm512_set1_ps(POLYNOMIAL[0]);
    for coefficient in &POLYNOMIAL[1..] {
        value = _mm512_fmadd_ps(value, fraction, _mm512_set1_ps(*coefficient));
    }
    _mm512_maskz_scalef_ps(normal, value, whole)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn available() -> bool {
        is_x86_feature_detected!("avx512f")
            && is_x86_feature_detected!("avx512bw")
            && is_x86_feature_detected!("avx512bf16")
    }

    /// Against `f64` arithmetic of the standard library; bfloat16 keeps 8 bits, so half a unit is up to 2^-8 relative.
    #[test]
    fn weights_are_exponentials_of_what_scores_lack_to_the_maximum() {
        if !available() {
            return;
        }
        for length in [1, 2, 15, 16, 31, 32, 33, 100, 128] {
            let mut scores: Vec<f32> =
                (0..length).map(|index| ((index * 37 % 101) as f32 - 50.0) * 0.23).collect();
            scores[length / 2] = f32::NEG_INFINITY;
            for maximum in [f32::NEG_INFINITY, -3.0, 20.0] {
                let mut weights = vec![7; length.div_ceil(2)];
                // SAFETY: the instructions are there.
                let (new, factor, sum) = unsafe { round_weights(&scores, maximum, &mut weights) };
                let most = scores.iter().copied().fold(maximum, f32::max);
                if most == f32::NEG_INFINITY {
                    assert_eq!((new, factor, sum), (most, 1.0, 0.0));
                    continue;
                }
                assert_eq!(new, most);
                assert!((f64::from(factor) - f64::from(maximum - most).exp()).abs() < 1e-6);
                let exact: Vec<f64> = scores.iter().map(|score| f64::from(score - most).exp()).collect();
                assert!((f64::from(sum) - exact.iter().sum::<f64>()).abs() < 1e-5 * exact.len() as f64);
                for (index, exact) in exact.iter().enumerate() {
                    let half = weights[index / 2] >> (16 * (index % 2)) & 0xffff;
                    let weight = f64::from(f32::from_bits(half << 16));
                    assert!((weight - exact).abs() <= exact * 3.95e-3 + 1e-30, "{index}: {weight} {exact}");
                }
                if length % 2 == 1 {
                    assert_eq!(weights[length / 2] >> 16, 0);
                }
            }
        }
    }
}
