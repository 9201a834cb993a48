//! From codes and scales to bfloat16.

use super::{Codes, Numbers, PAIRS, PackedBlocks, SQUARE, WEIGHTS};
use crate::instructions::vectorised;
use crate::panel::round_bf16;

/// Weights of one pair of inputs of a square.
const STRETCH: usize = 2 * SQUARE;

/// A half-precision number in 32 bits. Finite numbers only: the exponent is moved by a product, which also takes
/// denormals to what they stand for.
#[inline(always)]
fn widen(half: u16) -> f32 {
    const MOVE: f32 = f32::from_bits(0x7780_0000); // 2^112
    let magnitude = f32::from_bits(u32::from(half & 0x7fff) << 13) * MOVE;
    f32::from_bits(magnitude.to_bits() | u32::from(half & 0x8000) << 16)
}

impl Numbers {
    #[inline(always)]
    fn get(&self, index: usize) -> f32 {
        match self {
            Self::Half(numbers) => widen(numbers[index]),
            Self::Single(numbers) => numbers[index],
        }
    }

    /// The numbers of 32 columns, each twice.
    #[inline(always)]
    fn twice(&self, first: usize) -> [f32; STRETCH] {
        let mut numbers = [0f32; STRETCH];
        match self {
            Self::Half(own) => {
                let own = &own[first..][..SQUARE];
                for (two, &own) in numbers.as_chunks_mut::<2>().0.iter_mut().zip(own) {
                    *two = [widen(own); 2];
                }
            }
            Self::Single(own) => {
                let own = &own[first..][..SQUARE];
                for (two, &own) in numbers.as_chunks_mut::<2>().0.iter_mut().zip(own) {
                    *two = [own; 2];
                }
            }
        }
        numbers
    }
}

/// One weight of a square.
pub(super) fn weight(blocks: &PackedBlocks, square: usize, output: usize, input: usize) -> f32 {
    let place = input / 2 * STRETCH + output * 2 + input % 2;
    let code = match &blocks.codes {
        Codes::Bytes(codes) => f32::from(codes[square * WEIGHTS + place].cast_signed()),
        Codes::Nibbles(codes, table) => {
            let byte = codes[square * (WEIGHTS / 2) + place / 32 * 16 + place % 16];
            table[usize::from(if place % 32 < 16 { byte & 15 } else { byte >> 4 })]
        }
    };
    let group = (square * blocks.parts + input * blocks.parts / SQUARE) * SQUARE + output;
    let product = blocks.scales.get(group) * code;
    blocks.minimums.as_ref().map_or(product, |minimums| product + minimums.get(group))
}

/// Unpacks the squares from `first` on that fill `to`.
pub(super) fn squares(blocks: &PackedBlocks, first: usize, to: &mut [u32]) {
    #[cfg(target_arch = "x86_64")]
    if x86::available() {
        // SAFETY: the features were found.
        unsafe { x86::squares(blocks, first, to) };
        return;
    }
    plain_squares(blocks, first, to);
}

vectorised! {
    /// [`squares`] without instructions of its own.
    pub(super) fn plain_squares(blocks: &PackedBlocks, first: usize, to: &mut [u32]) {
        let stretches = SQUARE / 2 / blocks.parts;
        for (index, to) in to.as_chunks_mut::<PAIRS>().0.iter_mut().enumerate() {
            let square = first + index;
            for (part, to) in to.chunks_exact_mut(stretches * SQUARE).enumerate() {
                let group = (square * blocks.parts + part) * SQUARE;
                let scales = blocks.scales.twice(group);
                let minimums = blocks.minimums.as_ref().map(|minimums| minimums.twice(group));
                for (stretch, to) in to.as_chunks_mut::<SQUARE>().0.iter_mut().enumerate() {
                    let stretch = square * (SQUARE / 2) + part * stretches + stretch;
                    let mut weights = codes(&blocks.codes, stretch);
                    for (weight, scale) in weights.iter_mut().zip(&scales) {
                        *weight *= scale;
                    }
                    if let Some(minimums) = &minimums {
                        for (weight, minimum) in weights.iter_mut().zip(minimums) {
                            *weight += minimum;
                        }
                    }
                    for (to, [low, high]) in to.iter_mut().zip(weights.as_chunks::<2>().0) {
                        *to = u32::from(round_bf16(*low)) | u32::from(round_bf16(*high)) << 16;
                    }
                }
            }
        }
    }
}

/// The codes of one stretch.
#[inline(always)]
fn codes(codes: &Codes, stretch: usize) -> [f32; STRETCH] {
    let mut values = [0f32; STRETCH];
    match codes {
        Codes::Bytes(codes) => {
            for (value, code) in values.iter_mut().zip(&codes[stretch * STRETCH..][..STRETCH]) {
                *value = f32::from(code.cast_signed());
            }
        }
        Codes::Nibbles(codes, table) => {
            // The values of the nibbles follow each other.
            let codes = &codes[stretch * SQUARE..][..SQUARE];
            for (values, codes) in values.as_chunks_mut::<32>().0.iter_mut().zip(codes.as_chunks::<16>().0) {
                let (low, high) = values.split_at_mut(16);
                for ((low, high), code) in low.iter_mut().zip(high).zip(codes) {
                    *low = f32::from(code & 15) + table[0];
                    *high = f32::from(code >> 4) + table[0];
                }
            }
        }
    }
    values
}

/// A square as the backward product reads it: pairs of outputs of each input.
pub(super) fn transpose(from: &[u32; PAIRS], to: &mut [u32; PAIRS]) {
    #[cfg(target_arch = "x86_64")]
    if crate::instructions::level() == crate::instructions::Level::Avx512 {
        // SAFETY: the level has the features.
        unsafe { x86::transpose(from, to) };
        return;
    }
    plain_transpose(from, to);
}

/// [`transpose`] without instructions of its own: two by two weights at a time.
pub(super) fn plain_transpose(from: &[u32; PAIRS], to: &mut [u32; PAIRS]) {
    for input in 0..SQUARE / 2 {
        for output in 0..SQUARE / 2 {
            let (first, second) = (from[input * SQUARE + 2 * output], from[input * SQUARE + 2 * output + 1]);
            to[output * SQUARE + 2 * input] = first & 0xffff | second << 16;
            to[output * SQUARE + 2 * input + 1] = first >> 16 | second & 0xffff_0000;
        }
    }
}

#[cfg(target_arch = "x86_64")]
mod x86 {
    use std::arch::x86_64::*;
    use std::sync::OnceLock;

    use super::super::{Codes, Numbers, PAIRS, PackedBlocks, SQUARE, WEIGHTS};
    use crate::instructions::{Level, level};

    /// Whether [`squares`] can run here.
    pub(super) fn available() -> bool {
        static AVAILABLE: OnceLock<bool> = OnceLock::new();
        *AVAILABLE.get_or_init(|| level() == Level::Avx512 && is_x86_feature_detected!("avx512bf16"))
    }

    /// The numbers of 32 columns, each twice, sixteen a register.
    #[target_feature(enable = "avx512f,avx512vl,avx512dq,avx512bw")]
    fn twice(numbers: &Numbers, first: usize) -> [__m512; 4] {
        let load = |half: usize| match numbers {
            Numbers::Half(numbers) => {
                let own: &[u16] = &numbers[first + 16 * half..][..16];
                // SAFETY: sixteen elements (sliced above).
                _mm512_cvtph_ps(unsafe { _mm256_loadu_si256(own.as_ptr().cast()) })
            }
            Numbers::Single(numbers) => {
                let own: &[f32] = &numbers[first + 16 * half..][..16];
                // SAFETY: as above.
                unsafe { _mm512_loadu_ps(own.as_ptr()) }
            }
        };
        let low = _mm512_setr_epi32(0, 0, 1, 1, 2, 2, 3, 3, 4, 4, 5, 5, 6, 6, 7, 7);
        let high = _mm512_setr_epi32(8, 8, 9, 9, 10, 10, 11, 11, 12, 12, 13, 13, 14, 14, 15, 15);
        let (first, second) = (load(0), load(1));
        [
            _mm512_permutexvar_ps(low, first),
            _mm512_permutexvar_ps(high, first),
            _mm512_permutexvar_ps(low, second),
            _mm512_permutexvar_ps(high, second),
        ]
    }

    /// Squares from `first` on; the rounding instruction takes two registers of weights to pairs in order.
    #[target_feature(enable = "avx512f,avx512vl,avx512dq,avx512bw,avx512bf16")]
    pub(super) fn squares(blocks: &PackedBlocks, first: usize, to: &mut [u32]) {
        match &blocks.codes {
            Codes::Nibbles(codes, table) => {
                // SAFETY: the table has sixteen elements.
                let table = unsafe { _mm512_loadu_ps(table.as_ptr()) };
                let codes = &codes[first * (WEIGHTS / 2)..][..to.len() / PAIRS * (WEIGHTS / 2)];
                unpack::<16>(blocks, first, codes, to, |codes: &[u8; 16]| {
                    // SAFETY: sixteen bytes.
                    let bytes = unsafe { _mm_loadu_si128(codes.as_ptr().cast()) };
                    let low = _mm512_cvtepu8_epi32(bytes);
                    // Only the last four bits of an index count.
                    let high = _mm512_srli_epi32::<4>(low);
                    [_mm512_permutexvar_ps(low, table), _mm512_permutexvar_ps(high, table)]
                });
            }
            Codes::Bytes(codes) => {
                let codes = &codes[first * WEIGHTS..][..to.len() / PAIRS * WEIGHTS];
                unpack::<32>(blocks, first, codes, to, |codes: &[u8; 32]| {
                    // SAFETY: thirty-two bytes.
                    let (low, high) = unsafe {
                        let codes: *const __m128i = codes.as_ptr().cast();
                        (_mm_loadu_si128(codes), _mm_loadu_si128(codes.add(1)))
                    };
                    [low, high].map(|codes| _mm512_cvtepi32_ps(_mm512_cvtepi8_epi32(codes)))
                });
            }
        }
    }

    /// `expand` gives the codes of thirty-two weights from `BYTES` bytes.
    #[target_feature(enable = "avx512f,avx512vl,avx512dq,avx512bw,avx512bf16")]
    #[inline]
    fn unpack<const BYTES: usize>(
        blocks: &PackedBlocks,
        first: usize,
        codes: &[u8],
        to: &mut [u32],
        expand: impl Fn(&[u8; BYTES]) -> [__m512; 2],
    ) {
        let stretches = SQUARE / 2 / blocks.parts;
        // Halves of a stretch, sixteen pairs each.
        let parts = to.chunks_exact_mut(stretches * SQUARE).zip(codes.chunks_exact(stretches * 2 * BYTES));
        for (index, (to, codes)) in parts.enumerate() {
            let group = (first * blocks.parts + index) * SQUARE;
            let scales = twice(&blocks.scales, group);
            let halves =
                to.as_chunks_mut::<32>().0.iter_mut().zip(codes.as_chunks::<BYTES>().0.as_chunks::<2>().0);
            match &blocks.minimums {
                Some(minimums) => {
                    let minimums = twice(minimums, group);
                    for (to, codes) in halves {
                        for half in 0..2 {
                            let weights = expand(&codes[half]);
                            let weight = |i: usize| {
                                let product = _mm512_mul_ps(weights[i], scales[2 * half + i]);
                                _mm512_add_ps(product, minimums[2 * half + i])
                            };
                            store(weight(0), weight(1), &mut to[half * 16..]);
                        }
                    }
                }
                None => {
                    for (to, codes) in halves {
                        for half in 0..2 {
                            let weights = expand(&codes[half]);
                            let weight = |i: usize| _mm512_mul_ps(weights[i], scales[2 * half + i]);
                            store(weight(0), weight(1), &mut to[half * 16..]);
                        }
                    }
                }
            }
        }
    }

    #[target_feature(enable = "avx512f,avx512bf16")]
    #[inline]
    fn store(low: __m512, high: __m512, to: &mut [u32]) {
        let to = &mut to[..16];
        // SAFETY: sixteen elements (sliced above); a register of the same size, any bits allowed.
        unsafe {
            let pairs = std::mem::transmute::<__m512bh, __m512i>(_mm512_cvtne2ps_pbh(high, low));
            _mm512_storeu_si512(to.as_mut_ptr().cast(), pairs);
        }
    }

    /// Eight by eight blocks of two by two weights.
    #[target_feature(enable = "avx512f,avx512vl,avx512dq,avx512bw")]
    pub(super) fn transpose(from: &[u32; PAIRS], to: &mut [u32; PAIRS]) {
        // Within a block: the second and the third of four weights change places.
        let order = _mm512_set4_epi32(0x0f0e_0b0a, 0x0d0c_0908, 0x0706_0302, 0x0504_0100);
        for input in [0, 8] {
            for output in [0, 8] {
                let row = |i: usize| {
                    let from = &from[(input + i) * SQUARE + 2 * output..][..16];
                    // SAFETY: sixteen elements (sliced above).
                    unsafe { _mm512_loadu_si512(from.as_ptr().cast()) }
                };
                let pair = |i: usize| {
                    let (first, second) = (row(i), row(i + 1));
                    [_mm512_unpacklo_epi64(first, second), _mm512_unpackhi_epi64(first, second)]
                };
                let pairs = [pair(0), pair(2), pair(4), pair(6)];
                for parity in 0..2 {
                    let [a, b, c, d] = pairs.map(|pair| pair[parity]);
                    let (low, more) =
                        (_mm512_shuffle_i64x2::<0x44>(a, b), _mm512_shuffle_i64x2::<0x44>(c, d));
                    let (high, most) =
                        (_mm512_shuffle_i64x2::<0xee>(a, b), _mm512_shuffle_i64x2::<0xee>(c, d));
                    let rows = [
                        _mm512_shuffle_i64x2::<0x88>(low, more),
                        _mm512_shuffle_i64x2::<0xdd>(low, more),
                        _mm512_shuffle_i64x2::<0x88>(high, most),
                        _mm512_shuffle_i64x2::<0xdd>(high, most),
                    ];
                    for (index, row) in rows.into_iter().enumerate() {
                        let to = &mut to[(output + 2 * index + parity) * SQUARE + 2 * input..][..16];
                        // SAFETY: as above.
                        unsafe {
                            _mm512_storeu_si512(to.as_mut_ptr().cast(), _mm512_shuffle_epi8(row, order))
                        };
                    }
                }
            }
        }
    }
}
