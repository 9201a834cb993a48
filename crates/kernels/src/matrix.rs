//! A weight matrix `[outputs, inputs]` in the storage its use asks for.

mod directions;
mod products;

use crate::blocks::{Blocks, Direction, PackedBlocks};
use crate::panel::ROWS;
use crate::product::View;
use crate::quantised::Quantised;
use crate::rounded::Right;
use crate::threads::for_each_chunk;
use directions::Directions;
use std::ops::Range;
use std::sync::{Mutex, PoisonError};

/// The arithmetic of products with weights. Activations, sums, normalisation and optimiser state stay `f32`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub enum Precision {
    /// Weights and products in 32 bits: the reference.
    F32,
    /// Weights, and activations at the entry of a product, rounded to bfloat16; sums in 32 bits.
    #[default]
    Bf16,
    /// As [`Precision::Bf16`], to the bit, but a frozen matrix that comes in [`Blocks`] stays in them and is unpacked
    /// while it is multiplied: slower, in a third of the memory or less.
    Stored,
    /// For scoring alone: weights, and activations at the entry of a product, rounded to 8-bit integers with a scale
    /// for every 64 values of the depth. A matrix with another use than [`Use::Inference`] is kept as
    /// [`Precision::Bf16`].
    Int8,
}

/// What a matrix will be used for, which decides the copies that it keeps.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Use {
    /// Forward products only (inference).
    Inference,
    /// Forward products and gradients of the input; the weights never change (the base under an adapter).
    Frozen,
    /// Everything: the `f32` values are kept and can be updated.
    Trainable,
}

/// A weight matrix, `[outputs, inputs]`, y = x . W^T.
///
/// | | `F32` | `Bf16` | `Stored`, from blocks | `Int8` |
/// |---|---|---|---|---|
/// | `Inference` | panels, 4 bytes a weight | panels, 2 bytes | codes of 4 or 8 bits and scales, 0.56 to 1.5 | 1.125 |
/// | `Frozen` | panels of both directions, 8 | panels of both directions, 4 | the same, for both directions | as `Bf16` |
/// | `Trainable` | values and panels, 8 | values and panels, 6 | as `Bf16` | as `Bf16` |
///
/// A row's result does not depend on the other rows of its batch.
#[derive(Clone, Debug)]
pub struct Matrix {
    outputs: usize,
    inputs: usize,
    usage: Use,
    /// Row-major; kept for [`Use::Trainable`], else empty.
    values: Vec<f32>,
    panels: Storage,
}

#[derive(Clone, Debug)]
enum Storage {
    Single(Directions<f32>),
    Rounded(Directions<u32>),
    Blocks(PackedBlocks),
    Quantised(Quantised),
}

impl Matrix {
    /// Takes `values` (row-major, `outputs * inputs`) into storage for `precision` and `usage`.
    pub fn new(outputs: usize, inputs: usize, values: Vec<f32>, precision: Precision, usage: Use) -> Self {
        assert_eq!(Some(values.len()), outputs.checked_mul(inputs), "matrix: outputs * inputs values");
        if Self::needs_values(precision, usage) {
            return Self::store(outputs, inputs, precision, usage, values, |_, _| {});
        }
        let read = |range: Range<usize>, own: &mut [f32]| own.copy_from_slice(&values[range]);
        Self::store(outputs, inputs, precision, usage, Vec::new(), read)
    }

    /// As [`Matrix::new`], of values that are read some rows at a time, on several threads: `read` is given the range of
    /// the values (row-major) and where they belong. Only what the storage keeps is held.
    ///
    /// # Errors
    /// The first that `read` returned.
    pub fn read<Failure: Send>(
        outputs: usize,
        inputs: usize,
        precision: Precision,
        usage: Use,
        read: impl Fn(Range<usize>, &mut [f32]) -> Result<(), Failure> + Sync + Send,
    ) -> Result<Self, Failure> {
        let failure = Mutex::new(None);
        let read = |range: Range<usize>, own: &mut [f32]| {
            if let Err(error) = read(range, own) {
                failure.lock().unwrap_or_else(PoisonError::into_inner).get_or_insert(error);
            }
        };
        let mut values = Vec::new();
        if Self::needs_values(precision, usage) {
            values.resize(outputs.checked_mul(inputs).expect("matrix: its values fit in usize"), 0.0);
        }
        let matrix = Self::store(outputs, inputs, precision, usage, values, read);
        failure.into_inner().unwrap_or_else(PoisonError::into_inner).map_or(Ok(matrix), Err)
    }

    /// Whether the storage is made from all values at once, or keeps them.
    fn needs_values(precision: Precision, usage: Use) -> bool {
        usage == Use::Trainable || (precision == Precision::Int8 && usage == Use::Inference)
    }

    /// Storage of what `read` puts some rows at a time into `values`, where those are needed, or else into memory of its own.
    fn store(
        outputs: usize,
        inputs: usize,
        precision: Precision,
        usage: Use,
        mut values: Vec<f32>,
        read: impl Fn(Range<usize>, &mut [f32]) + Sync + Send,
    ) -> Self {
        let panels = match precision {
            Precision::F32 => {
                let both = usage == Use::Frozen;
                Storage::Single(Directions::read(outputs, inputs, both, &mut values, read))
            }
            Precision::Int8 if usage == Use::Inference => {
                for_each_chunk(&mut values, ROWS * inputs, |index, own| {
                    let first = index * ROWS * inputs;
                    read(first..first + own.len(), own);
                });
                Storage::Quantised(Quantised::new(View::new(&values, outputs, inputs)))
            }
            Precision::Bf16 | Precision::Stored | Precision::Int8 => {
                let both = usage == Use::Frozen;
                Storage::Rounded(Directions::read(outputs, inputs, both, &mut values, read))
            }
        };
        let values = if usage == Use::Trainable { values } else { Vec::new() };
        Self { outputs, inputs, usage, values, panels }
    }

    /// Keeps `blocks` as they are. [`Use::Trainable`] is for values that change: it panics.
    pub fn from_blocks(blocks: &Blocks, usage: Use) -> Self {
        assert!(usage != Use::Trainable, "a matrix of blocks is not trainable");
        let panels = Storage::Blocks(PackedBlocks::new(blocks));
        Self { outputs: blocks.outputs, inputs: blocks.inputs, usage, values: Vec::new(), panels }
    }

    /// Rows of the matrix: features that come out.
    pub fn outputs(&self) -> usize {
        self.outputs
    }

    /// Columns of the matrix: features that go in.
    pub fn inputs(&self) -> usize {
        self.inputs
    }

    /// The arithmetic of its products.
    pub fn precision(&self) -> Precision {
        match self.panels {
            Storage::Single(_) => Precision::F32,
            Storage::Rounded(_) => Precision::Bf16,
            Storage::Blocks(_) => Precision::Stored,
            Storage::Quantised(_) => Precision::Int8,
        }
    }

    /// What it is kept for.
    pub fn usage(&self) -> Use {
        self.usage
    }

    /// The forward panels of a matrix in 32 bits.
    pub(crate) fn single_panels(&self) -> Option<&[f32]> {
        match &self.panels {
            Storage::Single(panels) => Some(&panels.forward.data),
            _ => None,
        }
    }

    /// The right factor of the forward product, where its factors are rounded to bfloat16.
    pub(crate) fn rounded_right(&self) -> Option<Right<'_>> {
        match &self.panels {
            Storage::Rounded(panels) => Some((&panels.forward).into()),
            Storage::Blocks(blocks) => Some(Right::blocks(blocks, Direction::Forward)),
            Storage::Single(_) | Storage::Quantised(_) => None,
        }
    }

    /// The values of a [`Use::Trainable`] matrix, row-major.
    pub(crate) fn values(&self) -> Option<&[f32]> {
        (self.usage == Use::Trainable).then_some(&self.values)
    }

    /// Copies row `index` (an embedding) to `out[inputs]`.
    pub fn row(&self, index: usize, out: &mut [f32]) {
        assert!(index < self.outputs, "row {index} of {}", self.outputs);
        match &self.panels {
            Storage::Rounded(panels) => panels.forward.column(index, out),
            Storage::Single(_) if self.usage == Use::Trainable => {
                out.copy_from_slice(&self.values[index * self.inputs..][..self.inputs]);
            }
            Storage::Single(panels) => panels.forward.column(index, out),
            Storage::Blocks(blocks) => blocks.rounded_row(index, out),
            Storage::Quantised(weights) => weights.column(index, out),
        }
    }

    /// Changes the values of a [`Use::Trainable`] matrix, then refreshes the packed copies. Panics otherwise.
    pub fn update(&mut self, change: impl FnOnce(&mut [f32])) {
        assert!(self.usage == Use::Trainable, "update of a matrix that is not trainable");
        change(&mut self.values);
        self.update_in_parts(|_, _| {});
    }

    /// As [`Matrix::update`], some rows at a time, on several threads: `change` is given the range of the values and the
    /// values.
    pub fn update_in_parts(&mut self, change: impl Fn(Range<usize>, &mut [f32]) + Sync + Send) {
        assert!(self.usage == Use::Trainable, "update of a matrix that is not trainable");
        let values = (self.values.as_mut_slice(), self.inputs);
        match &mut self.panels {
            Storage::Single(panels) => panels.update(values, change),
            Storage::Rounded(panels) => panels.update(values, change),
            Storage::Blocks(_) | Storage::Quantised(_) => {
                unreachable!("a matrix of small integers is not trainable")
            }
        }
    }

    /// The values as `f32`, row-major (bfloat16 panels and 8-bit integers give the rounded ones; blocks, and a [`Use::Trainable`] matrix,
    /// which has the values that the optimiser changes, the exact ones).
    pub fn to_f32(&self) -> Vec<f32> {
        if self.usage == Use::Trainable {
            return self.values.clone();
        }
        let mut values = vec![0f32; self.outputs * self.inputs];
        if self.inputs > 0 {
            for (index, row) in values.chunks_exact_mut(self.inputs).enumerate() {
                match &self.panels {
                    Storage::Blocks(blocks) => blocks.exact_row(index, row),
                    _ => self.row(index, row),
                }
            }
        }
        values
    }

    /// The same weights stored for another precision or use.
    pub fn converted(&self, precision: Precision, usage: Use) -> Self {
        if let (Storage::Blocks(_), Precision::Stored, Use::Inference | Use::Frozen) =
            (&self.panels, precision, usage)
        {
            return Self { usage, ..self.clone() };
        }
        Self::new(self.outputs, self.inputs, self.to_f32(), precision, usage)
    }

    /// Bytes held.
    pub fn bytes(&self) -> usize {
        let panels = match &self.panels {
            Storage::Single(panels) => panels.bytes(),
            Storage::Rounded(panels) => panels.bytes(),
            Storage::Blocks(blocks) => blocks.bytes(),
            Storage::Quantised(weights) => weights.bytes(),
        };
        self.values.len() * size_of::<f32>() + panels
    }
}
