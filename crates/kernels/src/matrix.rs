//! A weight matrix `[outputs, inputs]` in the storage its use asks for.

use crate::product::{View, ViewMut};

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
}

impl Matrix {
    /// Takes `values` (row-major, `outputs * inputs`) into storage for `precision` and `usage`.
    pub fn new(outputs: usize, inputs: usize, values: Vec<f32>, precision: Precision, usage: Use) -> Self {
        todo!()
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
        todo!()
    }
    /// `dx[rows, inputs] (+)= dy[rows, outputs] . W`. Panics on [`Use::Inference`].
    pub fn backward(&self, dy: View<'_>, dx: ViewMut<'_>, accumulate: bool) {
        todo!()
    }
    /// `dw[outputs, inputs] += dy^T . x`: the gradient of the weights, in this matrix's precision.
    pub fn gradient(&self, dy: View<'_>, x: View<'_>, dw: &mut [f32]) {
        todo!()
    }
    /// Copies row `index` (an embedding) to `out[inputs]`.
    pub fn row(&self, index: usize, out: &mut [f32]) {
        todo!()
    }
    /// Changes the values of a [`Use::Trainable`] matrix, then refreshes the packed copies. Panics otherwise.
    pub fn update(&mut self, change: impl FnOnce(&mut [f32])) {
        todo!()
    }
    /// The values as `f32`, row-major (bfloat16 storage gives the rounded ones).
    pub fn to_f32(&self) -> Vec<f32> {
        todo!()
    }
    /// The same weights stored for another precision or use.
    pub fn converted(&self, precision: Precision, usage: Use) -> Self {
        todo!()
    }
    /// Bytes held.
    pub fn bytes(&self) -> usize {
        todo!()
    }
}
