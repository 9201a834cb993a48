//! A weight matrix `[outputs, inputs]` in the storage its use asks for.

use half::bf16;

use crate::product::{View, ViewMut, multiply_nn, multiply_nt, multiply_tn};

/// The arithmetic of products with weights. Activations, sums, normalisation and optimiser state stay `f32`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub enum Precision {
    /// Weights and products in 32 bits: the reference.
    F32,
    /// Weights, and activations at the entry of a product, rounded to bfloat16; sums in 32 bits.
    #[default]
    Bf16,
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
#[derive(Clone, Debug)]
pub struct Matrix {
    outputs: usize,
    inputs: usize,
    precision: Precision,
    usage: Use,
    /// Kept for [`Precision::F32`] and for [`Use::Trainable`].
    values: Vec<f32>,
    /// Kept for [`Precision::Bf16`].
    rounded: Vec<u16>,
}

impl Matrix {
    /// Takes `values` (row-major, `outputs * inputs`) into storage for `precision` and `usage`.
    pub fn new(outputs: usize, inputs: usize, values: Vec<f32>, precision: Precision, usage: Use) -> Self {
        assert_eq!(Some(values.len()), outputs.checked_mul(inputs), "matrix: outputs * inputs values");
        let mut matrix = Self { outputs, inputs, precision, usage, values, rounded: Vec::new() };
        matrix.refresh();
        if precision == Precision::Bf16 && usage != Use::Trainable {
            matrix.values = Vec::new();
        }
        matrix
    }

    fn refresh(&mut self) {
        if self.precision == Precision::Bf16 {
            self.rounded = self.values.iter().map(|&value| bf16::from_f32(value).to_bits()).collect();
        }
    }

    /// Rows of the matrix: features that come out.
    pub fn outputs(&self) -> usize {
        self.outputs
    }

    /// Columns of the matrix: features that go in.
    pub fn inputs(&self) -> usize {
        self.inputs
    }

    /// `y[rows, outputs] (+)= x[rows, inputs] . W^T`. Fast for one row (decoding) and for many.
    pub fn forward(&self, x: View<'_>, y: ViewMut<'_>, accumulate: bool) {
        match self.precision {
            Precision::F32 => {
                multiply_nt(y, x, View::new(&self.values, self.outputs, self.inputs), 1.0, accumulate);
            }
            Precision::Bf16 => {
                let x = rounded(x);
                let weights = widened(&self.rounded);
                let weights = View::new(&weights, self.outputs, self.inputs);
                multiply_nt(y, View::new(&x, x.len() / self.inputs, self.inputs), weights, 1.0, accumulate);
            }
        }
    }

    /// `dx[rows, inputs] (+)= dy[rows, outputs] . W`. Panics on [`Use::Inference`].
    pub fn backward(&self, dy: View<'_>, dx: ViewMut<'_>, accumulate: bool) {
        assert!(self.usage != Use::Inference, "backward product with a matrix kept for inference");
        match self.precision {
            Precision::F32 => {
                multiply_nn(dx, dy, View::new(&self.values, self.outputs, self.inputs), 1.0, accumulate);
            }
            Precision::Bf16 => {
                let dy = rounded(dy);
                let weights = widened(&self.rounded);
                let weights = View::new(&weights, self.outputs, self.inputs);
                multiply_nn(
                    dx,
                    View::new(&dy, dy.len() / self.outputs, self.outputs),
                    weights,
                    1.0,
                    accumulate,
                );
            }
        }
    }

    /// `dw[outputs, inputs] += dy^T . x`: the gradient of the weights, in this matrix's precision.
    pub fn gradient(&self, dy: View<'_>, x: View<'_>, dw: &mut [f32]) {
        let dw = ViewMut::new(dw, self.outputs, self.inputs);
        match self.precision {
            Precision::F32 => multiply_tn(dw, dy, x, 1.0, true),
            Precision::Bf16 => {
                let (rows, dy, x) = (x.rows, rounded(dy), rounded(x));
                multiply_tn(
                    dw,
                    View::new(&dy, rows, self.outputs),
                    View::new(&x, rows, self.inputs),
                    1.0,
                    true,
                );
            }
        }
    }

    /// Copies row `index` (an embedding) to `out[inputs]`.
    pub fn row(&self, index: usize, out: &mut [f32]) {
        let range = index * self.inputs..(index + 1) * self.inputs;
        match self.precision {
            Precision::F32 => out.copy_from_slice(&self.values[range]),
            Precision::Bf16 => out.copy_from_slice(&widened(&self.rounded[range])),
        }
    }

    /// Changes the values of a [`Use::Trainable`] matrix, then refreshes the packed copies. Panics otherwise.
    pub fn update(&mut self, change: impl FnOnce(&mut [f32])) {
        assert!(self.usage == Use::Trainable, "update of a matrix that is not trainable");
        change(&mut self.values);
        self.refresh();
    }

    /// The values as `f32`, row-major (bfloat16 storage gives the rounded ones).
    pub fn to_f32(&self) -> Vec<f32> {
        if self.values.is_empty() { widened(&self.rounded) } else { self.values.clone() }
    }

    /// The same weights stored for another precision or use.
    pub fn converted(&self, precision: Precision, usage: Use) -> Self {
        Self::new(self.outputs, self.inputs, self.to_f32(), precision, usage)
    }

    /// Bytes held.
    pub fn bytes(&self) -> usize {
        self.values.len() * size_of::<f32>() + self.rounded.len() * size_of::<u16>()
    }
}

fn rounded(x: View<'_>) -> Vec<f32> {
    (0..x.rows).flat_map(|row| x.row(row)).map(|&value| bf16::from_f32(value).to_f32()).collect()
}

fn widened(values: &[u16]) -> Vec<f32> {
    values.iter().map(|&value| f32::from_bits(u32::from(value) << 16)).collect()
}
