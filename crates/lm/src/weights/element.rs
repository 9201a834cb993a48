//! Number formats of stored tensors.

use half::{bf16, f16};
use kernels::threads;

/// Number format of the tensors in a safetensors file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Dtype {
    /// IEEE single precision.
    F32,
    /// IEEE half precision.
    F16,
    /// The upper half of single precision.
    Bf16,
}

impl Dtype {
    /// Name in a safetensors header.
    pub fn name(self) -> &'static str {
        match self {
            Self::F32 => "F32",
            Self::F16 => "F16",
            Self::Bf16 => "BF16",
        }
    }

    /// Bytes of one number.
    pub fn size(self) -> usize {
        match self {
            Self::F32 => 4,
            Self::F16 | Self::Bf16 => 2,
        }
    }

    /// Appends `values` in this format, little-endian, rounded to nearest even.
    pub(crate) fn encode(self, values: &[f32], bytes: &mut Vec<u8>) {
        match self {
            Self::F32 => bytes.extend(values.iter().flat_map(|value| value.to_le_bytes())),
            Self::F16 => bytes.extend(values.iter().flat_map(|&value| f16::from_f32(value).to_le_bytes())),
            Self::Bf16 => bytes.extend(values.iter().flat_map(|&value| bf16::from_f32(value).to_le_bytes())),
        }
    }
}

/// Number formats that are read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Element {
    /// IEEE double precision.
    F64,
    /// IEEE single precision.
    F32,
    /// IEEE half precision.
    F16,
    /// The upper half of single precision.
    Bf16,
}

impl Element {
    /// Bytes of one number.
    pub(crate) fn size(self) -> usize {
        match self {
            Self::F64 => 8,
            Self::F32 => 4,
            Self::F16 | Self::Bf16 => 2,
        }
    }

    /// Little-endian `bytes` as f32.
    pub(crate) fn decode(self, bytes: &[u8]) -> Vec<f32> {
        let mut values = vec![0.0; bytes.len() / self.size()];
        threads::for_each_chunk(&mut values, CHUNK, |index, values| {
            self.decode_into(&bytes[index * CHUNK * self.size()..], values);
        });
        values
    }

    /// As many values as there is room for.
    pub(crate) fn decode_into(self, bytes: &[u8], values: &mut [f32]) {
        match self {
            Self::F64 => widen(bytes, values, |chunk| f64::from_le_bytes(chunk) as f32),
            Self::F32 => widen(bytes, values, f32::from_le_bytes),
            Self::F16 => widen(bytes, values, |chunk| f16::from_le_bytes(chunk).to_f32()),
            Self::Bf16 => {
                widen(bytes, values, |chunk| f32::from_bits(u32::from(u16::from_le_bytes(chunk)) << 16))
            }
        }
    }
}

/// Numbers that are widened by a thread at a time.
const CHUNK: usize = 1 << 14;

fn widen<const SIZE: usize>(bytes: &[u8], values: &mut [f32], one: impl Fn([u8; SIZE]) -> f32) {
    for (value, &chunk) in values.iter_mut().zip(bytes.as_chunks().0) {
        *value = one(chunk);
    }
}
