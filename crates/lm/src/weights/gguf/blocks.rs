//! Quantised block formats of GGUF, as integers with scales and minimums, and widened to f32. Layouts: the ggml project's block structures; a block holds 32
//! values (`_0`, `_1`) or 256 in sub-blocks with scales of their own (`_K`).

use half::f16;
use kernels::threads;

use crate::weights::element::Element;
use kernels::blocks::Blocks;

/// Blocks that are widened by a thread at a time.
const BLOCKS: usize = 512;
/// Values of the largest block.
const LARGEST_BLOCK: usize = 256;

/// Takes one block apart: its bytes, its codes, and the scale and minimum of each group.
type Unpack = fn(&[u8], &mut [i8], &mut [f32], &mut [f32]);

/// The number formats of tensors that are read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[expect(non_camel_case_types, reason = "the names by which everyone knows the formats")]
pub(crate) enum BlockFormat {
    F32,
    F16,
    BF16,
    F64,
    Q4_0,
    Q4_1,
    Q5_0,
    Q5_1,
    Q8_0,
    Q2_K,
    Q3_K,
    Q4_K,
    Q5_K,
    Q6_K,
}

impl BlockFormat {
    /// The format with this number in a file.
    pub(crate) fn from_number(number: u32) -> Option<Self> {
        Some(match number {
            0 => Self::F32,
            1 => Self::F16,
            2 => Self::Q4_0,
            3 => Self::Q4_1,
            6 => Self::Q5_0,
            7 => Self::Q5_1,
            8 => Self::Q8_0,
            10 => Self::Q2_K,
            11 => Self::Q3_K,
            12 => Self::Q4_K,
            13 => Self::Q5_K,
            14 => Self::Q6_K,
            28 => Self::F64,
            30 => Self::BF16,
            _ => return None,
        })
    }

    /// Values in a block.
    pub(crate) fn values(self) -> usize {
        match self {
            Self::F32 | Self::F16 | Self::BF16 | Self::F64 => 1,
            Self::Q4_0 | Self::Q4_1 | Self::Q5_0 | Self::Q5_1 | Self::Q8_0 => 32,
            Self::Q2_K | Self::Q3_K | Self::Q4_K | Self::Q5_K | Self::Q6_K => 256,
        }
    }

    /// Bytes of a block.
    pub(crate) fn bytes(self) -> usize {
        match self {
            Self::F16 | Self::BF16 => 2,
            Self::F32 => 4,
            Self::F64 => 8,
            Self::Q4_0 => 18,
            Self::Q4_1 => 20,
            Self::Q5_0 => 22,
            Self::Q5_1 => 24,
            Self::Q8_0 => 34,
            Self::Q2_K => 84,
            Self::Q3_K => 110,
            Self::Q4_K => 144,
            Self::Q5_K => 176,
            Self::Q6_K => 210,
        }
    }

    /// Values that share a scale.
    fn group(self) -> usize {
        match self {
            Self::Q2_K | Self::Q3_K | Self::Q6_K => 16,
            _ => 32,
        }
    }

    /// Whether something is added to scaled integers.
    fn has_minimums(self) -> bool {
        matches!(self, Self::Q4_1 | Self::Q5_1 | Self::Q2_K | Self::Q4_K | Self::Q5_K)
    }

    /// The numbers of a format without blocks.
    fn element(self) -> Option<Element> {
        match self {
            Self::F32 => Some(Element::F32),
            Self::F16 => Some(Element::F16),
            Self::BF16 => Some(Element::Bf16),
            Self::F64 => Some(Element::F64),
            _ => None,
        }
    }

    /// Every value of whole blocks, in order.
    pub(crate) fn decode(self, bytes: &[u8]) -> Vec<f32> {
        let mut values = vec![0.0; bytes.len() / self.bytes() * self.values()];
        threads::for_each_chunk(&mut values, BLOCKS * self.values(), |index, values| {
            let length = values.len() / self.values() * self.bytes();
            self.decode_into(&bytes[index * BLOCKS * self.bytes()..][..length], values);
        });
        values
    }

    /// The values of whole blocks, as many as there is room for.
    pub(crate) fn decode_into(self, bytes: &[u8], values: &mut [f32]) {
        if let Some(element) = self.element() {
            element.decode_into(bytes, values);
            return;
        }
        let Some((unpack, group)) = self.unpack() else { return };
        let mut codes = [0; LARGEST_BLOCK];
        let (mut scales, mut minimums) = ([0.0; LARGEST_BLOCK / 16], [0.0; LARGEST_BLOCK / 16]);
        let blocks = bytes.chunks_exact(self.bytes()).zip(values.chunks_exact_mut(self.values()));
        for (bytes, values) in blocks {
            let codes = &mut codes[..values.len()];
            unpack(bytes, codes, &mut scales, &mut minimums);
            let groups = values.chunks_exact_mut(group).zip(codes.chunks_exact(group));
            for ((values, codes), (scale, minimum)) in groups.zip(scales.iter().zip(&minimums)) {
                for (value, code) in values.iter_mut().zip(codes) {
                    *value = f32::from(*code) * scale + minimum;
                }
            }
        }
    }

    /// How a block is taken apart, and how many of its values share a scale; `None` where the format has numbers.
    fn unpack(self) -> Option<(Unpack, usize)> {
        let unpack: Unpack = match self {
            Self::F32 | Self::F16 | Self::BF16 | Self::F64 => return None,
            Self::Q4_0 => q4_0,
            Self::Q4_1 => q4_1,
            Self::Q5_0 => q5_0,
            Self::Q5_1 => q5_1,
            Self::Q8_0 => q8_0,
            Self::Q2_K => q2_k,
            Self::Q3_K => q3_k,
            Self::Q4_K => q4_k,
            Self::Q5_K => q5_k,
            Self::Q6_K => q6_k,
        };
        Some((unpack, self.group()))
    }

    /// Whole blocks as integers with scales, in rows of `inputs`; `None` where the format has numbers instead.
    pub(crate) fn blocks(self, bytes: &[u8], inputs: usize) -> Option<Blocks> {
        let (unpack, group) = self.unpack()?;
        let values = bytes.len() / self.bytes() * self.values();
        let groups = values / group;
        let mut codes = vec![0; values];
        let (mut scales, mut minimums) = (vec![0.0; groups], vec![0.0; groups]);
        let per = self.values() / group;
        for (index, bytes) in bytes.chunks_exact(self.bytes()).enumerate() {
            unpack(
                bytes,
                &mut codes[index * self.values()..][..self.values()],
                &mut scales[index * per..][..per],
                &mut minimums[index * per..][..per],
            );
        }
        if !self.has_minimums() {
            minimums.clear();
        }
        Some(Blocks {
            outputs: values.checked_div(inputs).unwrap_or(0),
            inputs,
            group,
            codes,
            scales,
            minimums,
        })
    }
}

/// The half-precision number at `at`.
fn half(bytes: &[u8], at: usize) -> f32 {
    f16::from_le_bytes([bytes[at], bytes[at + 1]]).to_f32()
}

/// `byte - offset`, of codes of at most seven bits.
fn less(byte: u8, offset: i8) -> i8 {
    byte.cast_signed().wrapping_sub(offset)
}

/// Sixteen bytes whose low nibbles are the first 16 codes and whose high nibbles the rest.
fn nibbles(bytes: &[u8], offset: i8, codes: &mut [i8]) {
    let (low, high) = codes.split_at_mut(16);
    for ((&byte, low), high) in bytes.iter().zip(low).zip(high) {
        *low = less(byte & 15, offset);
        *high = less(byte >> 4, offset);
    }
}

/// Scale, nibbles; offset 8.
fn q4_0(bytes: &[u8], codes: &mut [i8], scales: &mut [f32], _minimums: &mut [f32]) {
    scales[0] = half(bytes, 0);
    nibbles(&bytes[2..], 8, codes);
}

/// Scale, minimum, nibbles.
fn q4_1(bytes: &[u8], codes: &mut [i8], scales: &mut [f32], minimums: &mut [f32]) {
    (scales[0], minimums[0]) = (half(bytes, 0), half(bytes, 2));
    nibbles(&bytes[4..], 0, codes);
}

/// The fifth bits of 32 values, then nibbles.
fn five_bits(fifth: &[u8], bytes: &[u8], offset: i8, codes: &mut [i8]) {
    nibbles(bytes, offset, codes);
    for (index, code) in codes.iter_mut().enumerate() {
        *code = code.wrapping_add((((fifth[index / 8] >> (index % 8)) & 1) << 4).cast_signed());
    }
}

/// Scale, fifth bits, nibbles; offset 16.
fn q5_0(bytes: &[u8], codes: &mut [i8], scales: &mut [f32], _minimums: &mut [f32]) {
    scales[0] = half(bytes, 0);
    five_bits(&bytes[2..6], &bytes[6..], 16, codes);
}

/// Scale, minimum, fifth bits, nibbles.
fn q5_1(bytes: &[u8], codes: &mut [i8], scales: &mut [f32], minimums: &mut [f32]) {
    (scales[0], minimums[0]) = (half(bytes, 0), half(bytes, 2));
    five_bits(&bytes[4..8], &bytes[8..], 0, codes);
}

/// Scale, then 32 signed bytes.
fn q8_0(bytes: &[u8], codes: &mut [i8], scales: &mut [f32], _minimums: &mut [f32]) {
    scales[0] = half(bytes, 0);
    for (&byte, code) in bytes[2..].iter().zip(codes) {
        *code = byte.cast_signed();
    }
}

/// Sixteen sub-blocks of 16 values of two bits, each with a scale and a minimum of four bits.
fn q2_k(bytes: &[u8], codes: &mut [i8], scales: &mut [f32], minimums: &mut [f32]) {
    let (packed, quants) = (&bytes[..16], &bytes[16..80]);
    let (scale, minimum) = (half(bytes, 80), half(bytes, 82));
    for (index, codes) in codes.chunks_exact_mut(16).enumerate() {
        let (start, shift) = two_bit_place(index);
        scales[index] = scale * f32::from(packed[index] & 15);
        minimums[index] = -(minimum * f32::from(packed[index] >> 4));
        for (code, &byte) in codes.iter_mut().zip(&quants[start..start + 16]) {
            *code = less((byte >> shift) & 3, 0);
        }
    }
}

/// Where a sub-block of 16 values has its two-bit parts: first byte and shift. Each half of the block has 32 bytes,
/// which hold four layers of 32 values, two sub-blocks each.
fn two_bit_place(index: usize) -> (usize, usize) {
    let (half, within) = (index / 8, index % 8);
    (half * 32 + (within % 2) * 16, (within / 2) * 2)
}

/// Sixteen sub-blocks of 16 values of three bits (the third in a mask, set where nothing is to be subtracted), each
/// with a scale of six bits.
fn q3_k(bytes: &[u8], codes: &mut [i8], scales: &mut [f32], _minimums: &mut [f32]) {
    let (mask, quants, packed) = (&bytes[..32], &bytes[32..96], &bytes[96..108]);
    let scale = half(bytes, 108);
    for (index, codes) in codes.chunks_exact_mut(16).enumerate() {
        let low = if index < 8 { packed[index] & 15 } else { packed[index - 8] >> 4 };
        let high = (packed[8 + index % 4] >> (2 * (index / 4))) & 3;
        scales[index] = scale * (f32::from(low | (high << 4)) - 32.0);
        let (start, shift) = two_bit_place(index);
        let (mask_start, mask_bit) = (start % 32, (index / 8) * 4 + shift / 2);
        for (offset, code) in codes.iter_mut().enumerate() {
            let kept = (mask[mask_start + offset] >> mask_bit) & 1;
            *code = less((quants[start + offset] >> shift) & 3, if kept == 1 { 0 } else { 4 });
        }
    }
}

/// Scale and minimum of six bits of sub-block `index` (of 8), out of 12 packed bytes.
fn six_bit_scales(packed: &[u8], index: usize) -> (f32, f32) {
    let (scale, minimum) = match index {
        0..4 => (packed[index] & 63, packed[index + 4] & 63),
        _ => (
            (packed[index + 4] & 15) | ((packed[index - 4] >> 6) << 4),
            (packed[index + 4] >> 4) | ((packed[index] >> 6) << 4),
        ),
    };
    (f32::from(scale), f32::from(minimum))
}

/// Eight sub-blocks of 32 values of four bits, each with a scale and a minimum of six bits.
fn q4_k(bytes: &[u8], codes: &mut [i8], scales: &mut [f32], minimums: &mut [f32]) {
    let (scale, minimum) = (half(bytes, 0), half(bytes, 2));
    for (index, codes) in codes.chunks_exact_mut(32).enumerate() {
        let (own_scale, own_minimum) = six_bit_scales(&bytes[4..16], index);
        (scales[index], minimums[index]) = (scale * own_scale, -(minimum * own_minimum));
        let (start, shift) = ((index / 2) * 32, (index % 2) * 4);
        let quants = &bytes[bytes.len() - 128 + start..];
        for (code, &byte) in codes.iter_mut().zip(quants) {
            *code = less((byte >> shift) & 15, 0);
        }
    }
}

/// As `q4_k`, with a fifth bit.
fn q5_k(bytes: &[u8], codes: &mut [i8], scales: &mut [f32], minimums: &mut [f32]) {
    q4_k(bytes, codes, scales, minimums);
    for (index, codes) in codes.chunks_exact_mut(32).enumerate() {
        for (code, &fifth) in codes.iter_mut().zip(&bytes[16..48]) {
            *code = code.wrapping_add((((fifth >> index) & 1) << 4).cast_signed());
        }
    }
}

/// Sixteen sub-blocks of 16 values of six bits (four and two), each with a signed byte of scale; offset 32.
fn q6_k(bytes: &[u8], codes: &mut [i8], scales: &mut [f32], _minimums: &mut [f32]) {
    let (low, high, packed) = (&bytes[..128], &bytes[128..192], &bytes[192..208]);
    let scale = half(bytes, 208);
    for (index, codes) in codes.chunks_exact_mut(16).enumerate() {
        scales[index] = scale * f32::from(packed[index].cast_signed());
        let (half, quarter) = (index / 8, (index % 8) / 2);
        for (offset, code) in codes.iter_mut().enumerate() {
            let column = (index % 2) * 16 + offset;
            // Quarters 0 and 1 are the low nibbles of 64 bytes, 2 and 3 the high ones.
            let four = (low[half * 64 + (quarter % 2) * 32 + column] >> ((quarter / 2) * 4)) & 15;
            let two = (high[half * 32 + column] >> (quarter * 2)) & 3;
            *code = less(four | (two << 4), 32);
        }
    }
}
