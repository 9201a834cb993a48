//! Weights kept as small integers with scales, as files of quantised models have them, and unpacked to bfloat16 while
//! a product walks over them.
//!
//! One copy serves both directions. It is stored in squares of 32 outputs by 32 inputs, each in the
//! order of a panel of the forward product; the backward product unpacks a square and transposes it.

mod unpack;

use std::ops::Range;

use crate::memory::Aligned;
use crate::panel::round_bf16;
use crate::threads::{Shared, for_each};
use crate::tile::PANEL;

/// Outputs and inputs of a square: the columns of a panel, and the depth to which panels are filled with zeros.
pub(crate) const SQUARE: usize = 32;
/// Weights of a square.
const WEIGHTS: usize = SQUARE * SQUARE;
/// Elements of a square once it is unpacked, two weights each.
const PAIRS: usize = WEIGHTS / 2;

const _: () = assert!(PANEL == SQUARE);

/// A matrix `[outputs, inputs]` in groups of consecutive inputs that share a scale, row after row:
/// `weight = scale * code + minimum`, the product and the sum each rounded to 32 bits.
#[derive(Clone, Debug, PartialEq)]
pub struct Blocks {
    /// Rows.
    pub outputs: usize,
    /// Columns; a multiple of 32.
    pub inputs: usize,
    /// Weights of a group: 16 or 32.
    pub group: usize,
    /// `outputs * inputs` integers.
    pub codes: Vec<i8>,
    /// One for each group.
    pub scales: Vec<f32>,
    /// One for each group, or none at all: then nothing is added.
    pub minimums: Vec<f32>,
}

impl Blocks {
    /// Panics where the lengths do not fit the shape.
    fn check(&self) {
        assert!(self.group == 16 || self.group == 32, "blocks: groups of 16 or 32, not {}", self.group);
        assert!(self.inputs.is_multiple_of(SQUARE), "blocks: {} inputs, no multiple of 32", self.inputs);
        assert_eq!(Some(self.codes.len()), self.outputs.checked_mul(self.inputs), "blocks: a code a weight");
        let groups = self.codes.len() / self.group;
        assert_eq!(self.scales.len(), groups, "blocks: a scale a group");
        assert!(self.minimums.is_empty() || self.minimums.len() == groups, "blocks: a minimum a group");
    }

    /// The weights, row-major.
    pub fn values(&self) -> Vec<f32> {
        self.check();
        let mut values = Vec::with_capacity(self.codes.len());
        for (index, codes) in self.codes.chunks_exact(self.group).enumerate() {
            let scale = self.scales[index];
            match self.minimums.get(index) {
                Some(minimum) => values.extend(codes.iter().map(|&code| scale * f32::from(code) + minimum)),
                None => values.extend(codes.iter().map(|&code| scale * f32::from(code))),
            }
        }
        values
    }

    /// Puts the rows of `below` under these. Groups become as small, and minimums as many, as either has.
    ///
    /// Panics where the columns differ.
    pub fn append(&mut self, mut below: Self) {
        self.check();
        below.check();
        assert_eq!(self.inputs, below.inputs, "blocks: columns of the rows below");
        let group = self.group.min(below.group);
        let minimums = !(self.minimums.is_empty() && below.minimums.is_empty());
        for part in [&mut *self, &mut below] {
            if part.group > group {
                part.group = group;
                part.scales = part.scales.iter().flat_map(|&scale| [scale; 2]).collect();
                part.minimums = part.minimums.iter().flat_map(|&minimum| [minimum; 2]).collect();
            }
            if minimums {
                part.minimums.resize(part.scales.len(), 0.0);
            }
        }
        self.outputs += below.outputs;
        self.codes.extend_from_slice(&below.codes);
        self.scales.extend_from_slice(&below.scales);
        self.minimums.extend_from_slice(&below.minimums);
    }
}

/// One number for each group, in 16 bits where that loses nothing.
#[derive(Clone, Debug)]
pub(crate) enum Numbers {
    /// IEEE half precision.
    Half(Aligned<u16>),
    Single(Aligned<f32>),
}

impl Numbers {
    fn bytes(&self) -> usize {
        match self {
            Self::Half(numbers) => numbers.bytes(),
            Self::Single(numbers) => numbers.bytes(),
        }
    }
}

/// How the codes are held.
#[derive(Clone, Debug)]
pub(crate) enum Codes {
    /// Two in a byte; the values of the sixteen nibbles.
    Nibbles(Aligned<u8>, [f32; 16]),
    /// One in a byte, signed.
    Bytes(Aligned<u8>),
}

/// [`Blocks`] in the order in which products read them.
#[derive(Clone, Debug)]
pub(crate) struct PackedBlocks {
    outputs: usize,
    inputs: usize,
    /// Scales of a column of a square: 1 or 2.
    parts: usize,
    codes: Codes,
    scales: Numbers,
    minimums: Option<Numbers>,
}

/// Which product the weights are unpacked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Direction {
    /// x . W^T: a panel has 32 outputs, and is as deep as there are inputs.
    Forward,
    /// dy . W: a panel has 32 inputs, and is as deep as there are outputs.
    Backward,
}

/// Where the two weights of element `pair` of a square are, as (output, input) of the first; the second is the next
/// input.
fn place(pair: usize) -> (usize, usize) {
    (pair % SQUARE, pair / SQUARE * 2)
}

impl PackedBlocks {
    pub(crate) fn new(blocks: &Blocks) -> Self {
        blocks.check();
        let (outputs, inputs) = (blocks.outputs, blocks.inputs);
        let (panels, deep) = (outputs.div_ceil(SQUARE), inputs / SQUARE);
        let parts = SQUARE / blocks.group;
        let least = blocks.codes.iter().copied().min().unwrap_or(0);
        let most = blocks.codes.iter().copied().max().unwrap_or(0);
        let narrow = i16::from(most) - i16::from(least) < 16;
        let bytes = if narrow { WEIGHTS / 2 } else { WEIGHTS };
        let mut codes = Aligned::<u8>::zeros(panels * deep * bytes);
        let shared = Shared::new(&mut codes);
        for_each(panels * deep, blocks.codes.len(), |index| {
            // SAFETY: each square belongs to one task.
            let square = unsafe { shared.slice(index * bytes, bytes) };
            let (panel, depth) = (index / deep, index % deep);
            let code = |output: usize, input: usize| {
                let output = panel * SQUARE + output;
                if output < outputs { blocks.codes[output * inputs + depth * SQUARE + input] } else { least }
            };
            pack_square(square, if narrow { Some(least) } else { None }, code);
        });
        let spread = |numbers: &[f32]| {
            let mut spread = vec![0f32; panels * deep * parts * SQUARE];
            for (index, number) in spread.iter_mut().enumerate() {
                let (column, rest) = (index % SQUARE, index / SQUARE);
                let (part, square) = (rest % parts, rest / parts);
                let (output, depth) = (square / deep * SQUARE + column, square % deep);
                if output < outputs {
                    *number = numbers[(output * deep + depth) * parts + part];
                }
            }
            numbers_of(&spread)
        };
        Self {
            outputs,
            inputs,
            parts,
            codes: if narrow {
                Codes::Nibbles(codes, std::array::from_fn(|code| f32::from(least) + code as f32))
            } else {
                Codes::Bytes(codes)
            },
            scales: spread(&blocks.scales),
            minimums: (!blocks.minimums.is_empty()).then(|| spread(&blocks.minimums)),
        }
    }

    pub(crate) fn outputs(&self) -> usize {
        self.outputs
    }

    pub(crate) fn inputs(&self) -> usize {
        self.inputs
    }

    /// Bytes held.
    pub(crate) fn bytes(&self) -> usize {
        let (Codes::Nibbles(codes, _) | Codes::Bytes(codes)) = &self.codes;
        codes.bytes() + self.scales.bytes() + self.minimums.as_ref().map_or(0, Numbers::bytes)
    }

    /// Unpacks squares `depth` of a panel, as bfloat16 pairs in the order of [`crate::panel`].
    pub(crate) fn unpack(&self, direction: Direction, panel: usize, depth: Range<usize>, to: &mut [u32]) {
        assert_eq!(to.len(), depth.len() * PAIRS, "unpack: room for the squares");
        let deep = self.inputs / SQUARE;
        match direction {
            Direction::Forward => {
                assert!(depth.end <= deep, "unpack: a square beyond the inputs");
                unpack::squares(self, panel * deep + depth.start, to);
            }
            Direction::Backward => {
                let mut square = Aligned64([0u32; PAIRS]);
                for (output, to) in depth.zip(to.as_chunks_mut::<PAIRS>().0) {
                    unpack::squares(self, output * deep + panel, &mut square.0);
                    unpack::transpose(&square.0, to);
                }
            }
        }
    }

    /// Copies row `output`, each weight given by `finish`, to `out[inputs]`.
    fn row(&self, output: usize, out: &mut [f32], finish: impl Fn(f32) -> f32) {
        assert!(output < self.outputs, "row {output} of {}", self.outputs);
        assert_eq!(out.len(), self.inputs, "a row has a value for each input");
        let deep = self.inputs / SQUARE;
        for (depth, out) in out.as_chunks_mut::<SQUARE>().0.iter_mut().enumerate() {
            let square = output / SQUARE * deep + depth;
            for (input, out) in out.iter_mut().enumerate() {
                *out = finish(unpack::weight(self, square, output % SQUARE, input));
            }
        }
    }

    /// Copies row `output` as the products see it, rounded to bfloat16.
    pub(crate) fn rounded_row(&self, output: usize, out: &mut [f32]) {
        self.row(output, out, |weight| f32::from_bits(u32::from(round_bf16(weight)) << 16));
    }

    /// Copies row `output` as it was given.
    pub(crate) fn exact_row(&self, output: usize, out: &mut [f32]) {
        self.row(output, out, |weight| weight);
    }
}

#[repr(align(64))]
struct Aligned64([u32; PAIRS]);

/// The codes of a square, two inputs of sixteen outputs in a stretch. In nibbles (`Some`: the code of nibble 0), the
/// first eight outputs of a stretch are the low halves of its sixteen bytes, the others the high halves.
fn pack_square(square: &mut [u8], least: Option<i8>, code: impl Fn(usize, usize) -> i8) {
    let at = |index: usize| {
        let (output, input) = place(index / 2);
        code(output, input + index % 2)
    };
    match least {
        Some(least) => {
            let nibble = |index: usize| at(index).wrapping_sub(least).cast_unsigned();
            for (index, byte) in square.iter_mut().enumerate() {
                let first = index / 16 * 32 + index % 16;
                *byte = nibble(first) | nibble(first + 16) << 4;
            }
        }
        None => {
            for (index, byte) in square.iter_mut().enumerate() {
                *byte = at(index).cast_unsigned();
            }
        }
    }
}

/// In half precision where every number survives it. Numbers that are not finite, or denormal, stay in 32 bits.
fn numbers_of(numbers: &[f32]) -> Numbers {
    let halves: Option<Vec<u16>> = numbers.iter().map(|&number| exact_half(number)).collect();
    match halves {
        Some(halves) => {
            let mut held = Aligned::zeros(halves.len());
            held.copy_from_slice(&halves);
            Numbers::Half(held)
        }
        None => {
            let mut held = Aligned::zeros(numbers.len());
            held.copy_from_slice(numbers);
            Numbers::Single(held)
        }
    }
}

/// The IEEE half-precision number that equals `number`, if there is one.
fn exact_half(number: f32) -> Option<u16> {
    let sign = if number.is_sign_negative() { 0x8000 } else { 0 };
    // Whole multiples of the smallest half, 2^-24; normal halves have eleven bits of them.
    let units = number.abs() * 16_777_216.0;
    if !units.is_finite() || units.fract() != 0.0 || number.abs() > 65504.0 {
        return None;
    }
    let units = units as u64;
    if units < 2048 {
        return Some(sign | units as u16);
    }
    let excess = 64 - units.leading_zeros() - 11;
    if units & ((1 << excess) - 1) != 0 {
        return None;
    }
    // The implicit leading bit adds one to the exponent.
    Some(sign | ((excess as u16) << 10).wrapping_add((units >> excess) as u16))
}

#[cfg(test)]
impl PackedBlocks {
    /// Asserts that the instructions of this machine unpack to the bits of the portable path.
    pub(crate) fn compare_unpacking(&self) {
        let squares = self.outputs.div_ceil(SQUARE) * (self.inputs / SQUARE);
        let (mut own, mut plain) = (vec![0u32; squares * PAIRS], vec![0u32; squares * PAIRS]);
        unpack::squares(self, 0, &mut own);
        unpack::plain_squares(self, 0, &mut plain);
        assert!(own == plain, "unpacked squares");
        for from in own.as_chunks::<PAIRS>().0 {
            let (mut own, mut plain) = ([0u32; PAIRS], [0u32; PAIRS]);
            unpack::transpose(from, &mut own);
            unpack::plain_transpose(from, &mut plain);
            assert!(own == plain, "transposed square");
        }
    }
}
