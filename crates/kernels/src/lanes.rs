//! Vectors of `f32` for each instruction set, behind one trait.

#[cfg(target_arch = "aarch64")]
use std::arch::aarch64::*;
#[cfg(target_arch = "x86_64")]
use std::arch::x86_64::*;

/// A vector register of `f32`.
///
/// # Safety
/// The methods may only be called where the instruction set of the implementer is available; pointers must be valid
/// for [`Vector::LANES`] elements.
pub(crate) trait Vector: Copy {
    /// Elements held.
    const LANES: usize;
    unsafe fn zero() -> Self;
    unsafe fn splat(value: f32) -> Self;
    unsafe fn load(from: *const f32) -> Self;
    unsafe fn store(self, to: *mut f32);
    /// `self * factor + sum`.
    unsafe fn multiply_add(self, factor: Self, sum: Self) -> Self;
    /// `self * factor`.
    unsafe fn multiply(self, factor: Self) -> Self;
    /// The low halves of 32-bit elements, read as bfloat16.
    unsafe fn low_halves(from: *const u32) -> Self;
    /// The high halves of 32-bit elements, read as bfloat16.
    unsafe fn high_halves(from: *const u32) -> Self;
}

/// Fetches the line of an address, which need not be valid, in order to write to it soon.
#[inline(always)]
pub(crate) fn will_write(to: *mut f32) {
    #[cfg(not(target_arch = "x86_64"))]
    let _ = to;
    #[cfg(target_arch = "x86_64")]
    // SAFETY: a hint that never faults.
    unsafe {
        _mm_prefetch::<_MM_HINT_ET0>(to.cast());
    }
}

impl Vector for [f32; 4] {
    const LANES: usize = 4;
    #[inline(always)]
    unsafe fn zero() -> Self {
        [0.0; 4]
    }
    #[inline(always)]
    unsafe fn splat(value: f32) -> Self {
        [value; 4]
    }
    #[inline(always)]
    unsafe fn load(from: *const f32) -> Self {
        // SAFETY: valid for four elements by the trait's contract.
        unsafe { from.cast::<Self>().read_unaligned() }
    }
    #[inline(always)]
    unsafe fn store(self, to: *mut f32) {
        // SAFETY: valid for four elements by the trait's contract.
        unsafe { to.cast::<Self>().write_unaligned(self) }
    }
    #[inline(always)]
    unsafe fn multiply_add(self, factor: Self, sum: Self) -> Self {
        std::array::from_fn(|i| {
            crate::instructions::multiply_add::<{ crate::instructions::PORTABLE_FUSED }>(
                self[i], factor[i], sum[i],
            )
        })
    }
    #[inline(always)]
    unsafe fn multiply(self, factor: Self) -> Self {
        std::array::from_fn(|i| self[i] * factor[i])
    }
    #[inline(always)]
    unsafe fn low_halves(from: *const u32) -> Self {
        // SAFETY: valid for four elements by the trait's contract.
        unsafe { from.cast::<[u32; 4]>().read_unaligned() }.map(|pair| f32::from_bits(pair << 16))
    }
    #[inline(always)]
    unsafe fn high_halves(from: *const u32) -> Self {
        // SAFETY: valid for four elements by the trait's contract.
        unsafe { from.cast::<[u32; 4]>().read_unaligned() }.map(|pair| f32::from_bits(pair & 0xffff_0000))
    }
}

#[cfg(target_arch = "x86_64")]
impl Vector for __m256 {
    const LANES: usize = 8;
    #[inline(always)]
    unsafe fn zero() -> Self {
        // SAFETY: AVX2 is available by the trait's contract; so below.
        unsafe { _mm256_setzero_ps() }
    }
    #[inline(always)]
    unsafe fn splat(value: f32) -> Self {
        // SAFETY: as above.
        unsafe { _mm256_set1_ps(value) }
    }
    #[inline(always)]
    unsafe fn load(from: *const f32) -> Self {
        // SAFETY: as above, and valid for eight elements.
        unsafe { _mm256_loadu_ps(from) }
    }
    #[inline(always)]
    unsafe fn store(self, to: *mut f32) {
        // SAFETY: as above, and valid for eight elements.
        unsafe { _mm256_storeu_ps(to, self) }
    }
    #[inline(always)]
    unsafe fn multiply_add(self, factor: Self, sum: Self) -> Self {
        // SAFETY: as above.
        unsafe { _mm256_fmadd_ps(self, factor, sum) }
    }
    #[inline(always)]
    unsafe fn multiply(self, factor: Self) -> Self {
        // SAFETY: as above.
        unsafe { _mm256_mul_ps(self, factor) }
    }
    #[inline(always)]
    unsafe fn low_halves(from: *const u32) -> Self {
        // SAFETY: as above, and valid for eight elements.
        unsafe { _mm256_castsi256_ps(_mm256_slli_epi32::<16>(_mm256_loadu_si256(from.cast()))) }
    }
    #[expect(
        clippy::pointers_in_nomem_asm_block,
        reason = "nothing is read there: the address goes in and out"
    )]
    #[inline(always)]
    unsafe fn high_halves(from: *const u32) -> Self {
        let mut again = from;
        // SAFETY: as above, and valid for eight elements; no instruction, it only hides where the address comes from: else the
        // low halves' load would be kept for these, in registers that the sums of a tile need.
        unsafe {
            std::arch::asm!("/* {0} */", inout(reg) again, options(pure, nomem, nostack, preserves_flags));
            let mask = _mm256_set1_epi32(0xffff_0000_u32.cast_signed());
            _mm256_castsi256_ps(_mm256_and_si256(_mm256_loadu_si256(again.cast()), mask))
        }
    }
}

#[cfg(target_arch = "x86_64")]
impl Vector for __m512 {
    const LANES: usize = 16;
    #[inline(always)]
    unsafe fn zero() -> Self {
        // SAFETY: AVX-512 is available by the trait's contract; so below.
        unsafe { _mm512_setzero_ps() }
    }
    #[inline(always)]
    unsafe fn splat(value: f32) -> Self {
        // SAFETY: as above.
        unsafe { _mm512_set1_ps(value) }
    }
    #[inline(always)]
    unsafe fn load(from: *const f32) -> Self {
        // SAFETY: as above, and valid for sixteen elements.
        unsafe { _mm512_loadu_ps(from) }
    }
    #[inline(always)]
    unsafe fn store(self, to: *mut f32) {
        // SAFETY: as above, and valid for sixteen elements.
        unsafe { _mm512_storeu_ps(to, self) }
    }
    #[inline(always)]
    unsafe fn multiply_add(self, factor: Self, sum: Self) -> Self {
        // SAFETY: as above.
        unsafe { _mm512_fmadd_ps(self, factor, sum) }
    }
    #[inline(always)]
    unsafe fn multiply(self, factor: Self) -> Self {
        // SAFETY: as above.
        unsafe { _mm512_mul_ps(self, factor) }
    }
    #[inline(always)]
    unsafe fn low_halves(from: *const u32) -> Self {
        // SAFETY: as above, and valid for sixteen elements.
        unsafe { _mm512_castsi512_ps(_mm512_slli_epi32::<16>(_mm512_loadu_si512(from.cast()))) }
    }
    #[inline(always)]
    unsafe fn high_halves(from: *const u32) -> Self {
        // SAFETY: as above, and valid for sixteen elements.
        unsafe {
            let mask = _mm512_set1_epi32(0xffff_0000_u32.cast_signed());
            _mm512_castsi512_ps(_mm512_and_si512(_mm512_loadu_si512(from.cast()), mask))
        }
    }
}

/// NEON, which every processor of this architecture has.
#[cfg(target_arch = "aarch64")]
impl Vector for float32x4_t {
    const LANES: usize = 4;
    #[inline(always)]
    unsafe fn zero() -> Self {
        // SAFETY: NEON is available; so below.
        unsafe { vdupq_n_f32(0.0) }
    }
    #[inline(always)]
    unsafe fn splat(value: f32) -> Self {
        // SAFETY: as above.
        unsafe { vdupq_n_f32(value) }
    }
    #[inline(always)]
    unsafe fn load(from: *const f32) -> Self {
        // SAFETY: as above, and valid for four elements.
        unsafe { vld1q_f32(from) }
    }
    #[inline(always)]
    unsafe fn store(self, to: *mut f32) {
        // SAFETY: as above, and valid for four elements.
        unsafe { vst1q_f32(to, self) }
    }
    #[inline(always)]
    unsafe fn multiply_add(self, factor: Self, sum: Self) -> Self {
        // SAFETY: as above.
        unsafe { vfmaq_f32(sum, self, factor) }
    }
    #[inline(always)]
    unsafe fn multiply(self, factor: Self) -> Self {
        // SAFETY: as above.
        unsafe { vmulq_f32(self, factor) }
    }
    #[inline(always)]
    unsafe fn low_halves(from: *const u32) -> Self {
        // SAFETY: as above, and valid for four elements.
        unsafe { vreinterpretq_f32_u32(vshlq_n_u32::<16>(vld1q_u32(from))) }
    }
    #[inline(always)]
    unsafe fn high_halves(from: *const u32) -> Self {
        // SAFETY: as above, and valid for four elements.
        unsafe { vreinterpretq_f32_u32(vandq_u32(vld1q_u32(from), vdupq_n_u32(0xffff_0000))) }
    }
}

/// The vector of the portable level.
#[cfg(target_arch = "aarch64")]
pub(crate) type Portable = float32x4_t;
/// The vector of the portable level.
#[cfg(not(target_arch = "aarch64"))]
pub(crate) type Portable = [f32; 4];
