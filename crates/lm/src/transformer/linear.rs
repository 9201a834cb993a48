//! One linear layer of the frozen or trained weights, with the adapter that may sit on it.

use crate::adapter::LoraLinear;
use kernels::buffer::Buffer;
use kernels::matrix::{Matrix, Precision, Use};
use kernels::narrow::Narrow;
use kernels::product::{View, ViewMut};

/// A (fused) linear layer: `y = x . W^T + bias`.
#[derive(Clone, Debug)]
pub(crate) struct Linear {
    pub(crate) matrix: Matrix,
    pub(crate) bias: Option<Vec<f32>>,
}

impl Linear {
    /// `y (+)= x . W^T + bias`, plus the adapter's share. `rank` receives the adapter's inner activations
    /// (see [`LoraLinear::forward`]).
    pub(crate) fn forward(
        &self,
        x: &[f32],
        y: &mut [f32],
        accumulate: bool,
        adapter: Option<&LoraLinear>,
        rank: &mut Buffer,
    ) {
        let (inputs, outputs) = (self.matrix.inputs(), self.matrix.outputs());
        let rows = x.len() / inputs;
        if let Some(adapter) = adapter.filter(|adapter| adapter.scales()) {
            adapter.forward_scaled(&self.matrix, x, (y, accumulate), rank);
        } else {
            let narrow = adapter.map(|adapter| adapter.forward(x, rank));
            let to = ViewMut::new(y, rows, outputs);
            self.matrix.forward_with(View::new(x, rows, inputs), to, accumulate, narrow);
        }
        if let Some(bias) = &self.bias {
            for row in y.chunks_exact_mut(outputs) {
                for (value, shift) in row.iter_mut().zip(bias) {
                    *value += shift;
                }
            }
        }
    }

    /// `dx[rows, inputs] = dy . W`, and the adapter's share.
    pub(crate) fn backward(&self, dy: &[f32], dx: &mut [f32], narrow: Option<Narrow<'_>>) {
        let (inputs, outputs) = (self.matrix.inputs(), self.matrix.outputs());
        let rows = dy.len() / outputs;
        let to = ViewMut::new(dx, rows, inputs);
        self.matrix.backward_with(View::new(dy, rows, outputs), to, false, narrow);
    }

    /// `dw (+)= dy^T . x`.
    pub(crate) fn gradient(&self, dy: &[f32], x: &[f32], dw: &mut [f32], accumulate: bool) {
        let (inputs, outputs) = (self.matrix.inputs(), self.matrix.outputs());
        let rows = dy.len() / outputs;
        self.matrix.gradient(View::new(dy, rows, outputs), View::new(x, rows, inputs), dw, accumulate);
    }

    pub(crate) fn converted(&self, precision: Precision, usage: Use) -> Self {
        Self { matrix: self.matrix.converted(precision, usage), bias: self.bias.clone() }
    }
}

/// `dbias += sum over rows of dy`, in the order of the rows.
pub(crate) fn bias_gradient(dy: &[f32], dbias: &mut [f32]) {
    for row in dy.chunks_exact(dbias.len()) {
        for (sum, value) in dbias.iter_mut().zip(row) {
            *sum += value;
        }
    }
}
