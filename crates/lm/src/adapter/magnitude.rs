//! DoRA (Liu et al. 2024, arXiv 2402.09353): `y = m / ||W + s B A|| * (x . (W + s B A)^T)`, with a trained magnitude `m` for
//! every output and the norm over each row of the changed weights.
//!
//! The norm is a constant in the backward pass, as in the paper's section 4.3 and in PEFT. It is computed after every step
//! from `||w + s b A||^2 = ||w||^2 + 2 s b . (A w) + s^2 b A A^T b^T`, which needs one narrow product with the frozen weights
//! instead of a changed copy of them.

use super::{LoraLinear, dot};
use crate::transformer::Gradients;
use kernels::buffer::Buffer;
use kernels::matrix::Matrix;
use kernels::narrow::{Narrow, Right};
use kernels::product::{View, ViewMut};

/// The magnitudes of one fused linear layer, and what they are divided by.
#[derive(Clone, Debug)]
pub(crate) struct Magnitude {
    /// Trained, one list a segment.
    pub(super) values: Vec<Vec<f32>>,
    /// Squared norm of each row of the frozen weights; empty before they were seen.
    base: Vec<f32>,
    /// One over the norm of each row of the changed weights; 0 for outputs without an adapter.
    inverse: Vec<f32>,
    /// What each output is multiplied by; 1 for outputs without an adapter.
    factors: Vec<f32>,
}

impl Magnitude {
    pub(super) fn zeros(lengths: impl Iterator<Item = usize>) -> Self {
        let values = lengths.map(|length| vec![0.0; length]).collect();
        Self { values, base: Vec::new(), inverse: Vec::new(), factors: Vec::new() }
    }
}

impl LoraLinear {
    /// Whether its outputs are multiplied by trained magnitudes.
    pub(crate) fn scales(&self) -> bool {
        self.magnitude.is_some()
    }

    /// Takes the norms of the frozen weights; with `start`, the magnitudes become the norms of the changed weights, so that
    /// nothing is scaled yet.
    pub(super) fn see(&mut self, weights: &Matrix, start: bool) {
        let Some(magnitude) = &mut self.magnitude else { return };
        let squares = |row: &[f32]| row.iter().map(|value| f64::from(*value).powi(2)).sum::<f64>() as f32;
        magnitude.base = weights.to_f32().chunks_exact(self.inputs).map(squares).collect();
        self.renorm(weights);
        let Some(magnitude) = self.magnitude.as_mut().filter(|_| start) else { return };
        for (segment, values) in self.segments.iter().zip(&mut magnitude.values) {
            let inverse = &magnitude.inverse[segment.start..][..segment.len];
            values.iter_mut().zip(inverse).for_each(|(value, inverse)| *value = 1.0 / inverse);
            magnitude.factors[segment.start..][..segment.len].fill(1.0);
        }
    }

    /// Computes the norms and factors anew, after A, B or the magnitudes were changed.
    pub(super) fn renorm(&mut self, weights: &Matrix) {
        let (rank, width) = (self.rank, self.width());
        let Some(magnitude) = &mut self.magnitude else { return };
        let (a, scale) = (self.a.to_f32(), f64::from(self.scale));
        let mut crossed = vec![0.0; width * self.outputs];
        weights.forward(
            View::new(&a, width, self.inputs),
            ViewMut::new(&mut crossed, width, self.outputs),
            false,
        );
        magnitude.inverse.clear();
        magnitude.inverse.resize(self.outputs, 0.0);
        magnitude.factors.clear();
        magnitude.factors.resize(self.outputs, 1.0);
        for (number, (segment, placed)) in self.segments.iter().zip(&self.b).enumerate() {
            let first = number * rank;
            let rows: Vec<&[f32]> = a.chunks_exact(self.inputs).skip(first).take(rank).collect();
            let gram: Vec<f64> =
                rows.iter().flat_map(|one| rows.iter().map(move |other| dot(one, other))).collect();
            let b = placed.matrix.to_f32();
            for (place, b) in b.chunks_exact(rank).enumerate() {
                let output = segment.start + place;
                let mut square = f64::from(magnitude.base[output]);
                for (k, &own) in b.iter().enumerate() {
                    let cross = f64::from(crossed[(first + k) * self.outputs + output]);
                    let both: f64 = b.iter().zip(&gram[k * rank..]).map(|(&b, g)| f64::from(b) * g).sum();
                    square += scale * f64::from(own) * (2.0 * cross + scale * both);
                }
                // A row of zeros has no direction: PEFT divides by zero there, here it stays as it is.
                let norm = square.max(f64::MIN_POSITIVE).sqrt() as f32;
                magnitude.inverse[output] = 1.0 / norm.max(f32::MIN_POSITIVE);
                magnitude.factors[output] = magnitude.values[number][place] * magnitude.inverse[output];
            }
        }
    }

    /// `y (+)= factors * (x . W^T + change)`. Keeps in `kept` what [`LoraLinear::inner`] keeps, and after it the sum
    /// before it is scaled, `[rows, outputs]`.
    pub(crate) fn forward_scaled(
        &self,
        weights: &Matrix,
        x: &[f32],
        (y, accumulate): (&mut [f32], bool),
        kept: &mut Buffer,
    ) {
        self.plain(weights, x, kept);
        let Some(magnitude) = &self.magnitude else { return };
        let rows = x.len() / self.inputs;
        let plain = &kept[rows * self.width()..];
        for (y, plain) in y.chunks_exact_mut(self.outputs).zip(plain.chunks_exact(self.outputs)) {
            for ((y, plain), factor) in y.iter_mut().zip(plain).zip(&magnitude.factors) {
                *y = if accumulate { *y + factor * plain } else { factor * plain };
            }
        }
    }

    /// What [`LoraLinear::forward_scaled`] keeps.
    pub(crate) fn plain(&self, weights: &Matrix, x: &[f32], kept: &mut Buffer) {
        let (rows, width) = (x.len() / self.inputs, self.width());
        self.inner(x, kept);
        kept.resize(rows * (width + self.outputs));
        let (inner, plain) = kept.split_at_mut(rows * width);
        let narrow = Narrow { left: View::new(inner, rows, width), right: Right::Forward(&self.b) };
        let to = ViewMut::new(plain, rows, self.outputs);
        weights.forward_with(View::new(x, rows, self.inputs), to, false, Some(narrow));
    }

    /// As [`LoraLinear::backward`] where outputs are scaled, `kept` from [`LoraLinear::forward_scaled`]. Gives also the
    /// gradient of the sum before it was scaled, which takes the place of `dy` in the product with the weights.
    pub(crate) fn backward_scaled<'a>(
        &'a self,
        (x, kept): (&[f32], &[f32]),
        dy: &[f32],
        (gradients, first): (&mut Gradients, usize),
        scratch: &'a mut Buffer,
    ) -> (&'a [f32], Narrow<'a>) {
        let (rows, width) = (dy.len() / self.outputs, self.width());
        let (inner, plain) = kept.split_at(rows * width);
        scratch.resize(rows * (width + self.outputs));
        let (dinner, scaled) = scratch.split_at_mut(rows * width);
        let magnitude = self.magnitude.as_ref().expect("asked only where there are magnitudes");
        for (scaled, dy) in scaled.chunks_exact_mut(self.outputs).zip(dy.chunks_exact(self.outputs)) {
            for ((scaled, dy), factor) in scaled.iter_mut().zip(dy).zip(&magnitude.factors) {
                *scaled = factor * dy;
            }
        }
        for (number, segment) in self.segments.iter().enumerate() {
            let range = segment.start..segment.start + segment.len;
            let dmagnitude = gradients.values_mut(first + 1 + self.segments.len() + number);
            for (dy, plain) in dy.chunks_exact(self.outputs).zip(plain.chunks_exact(self.outputs)) {
                let terms = dy[range.clone()].iter().zip(&plain[range.clone()]);
                for ((sum, (dy, plain)), inverse) in
                    dmagnitude.iter_mut().zip(terms).zip(&magnitude.inverse[range.clone()])
                {
                    *sum += dy * plain * inverse;
                }
            }
        }
        let scaled: &'a [f32] = scaled;
        (scaled, self.backward_into((x, inner), scaled, (gradients, first), dinner))
    }

    /// Multiplies the rows of the changed weights `[outputs, inputs]` as the magnitudes say.
    pub(super) fn rescale(&self, weights: &mut [f32]) {
        let Some(magnitude) = &self.magnitude else { return };
        for (segment, values) in self.segments.iter().zip(&magnitude.values) {
            let rows = weights[segment.start * self.inputs..].chunks_exact_mut(self.inputs);
            for (row, value) in rows.zip(values) {
                let norm = dot(row, row).sqrt();
                let factor = if norm > 0.0 { f64::from(*value) / norm } else { 1.0 };
                row.iter_mut().for_each(|weight| *weight = (f64::from(*weight) * factor) as f32);
            }
        }
    }
}
