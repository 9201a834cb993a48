//! Registers of 32-bit integers and their products of bytes, for each instruction set.

#[cfg(target_arch = "x86_64")]
use std::arch::x86_64::*;

use super::tile::Integers;

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
