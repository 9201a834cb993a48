//! Gradients of everything that is trained, in the order of its parameters.

use super::layout::ParameterSpec;
use super::parameters::Parameters;
use kernels::buffer::Buffer;

/// Accumulated gradients: every training step adds to them; [`Gradients::clear`] sets them to zero.
#[derive(Clone, Debug)]
pub struct Gradients {
    specs: Vec<ParameterSpec>,
    values: Vec<Buffer>,
    /// Which of them are zero whatever their values say: the first gradient replaces them.
    stale: Vec<bool>,
}

impl Gradients {
    /// Zero gradients for all weights of a transformer, or for an adapter.
    pub fn new(parameters: &(impl Parameters + ?Sized)) -> Self {
        let specs = parameters.specs().to_vec();
        let values: Vec<Buffer> = specs.iter().map(|spec| Buffer::zeros(spec.len())).collect();
        let stale = vec![false; values.len()];
        Self { specs, values, stale }
    }

    /// Sets all to zero.
    pub fn clear(&mut self) {
        for values in &mut self.values {
            values.fill(0.0);
        }
        self.stale.fill(false);
    }

    /// As [`Gradients::clear`] for a training step that follows at once, without touching the memory: what the step
    /// writes first replaces the old values, and at its end the others are set to zero.
    pub fn renew(&mut self) {
        self.stale.fill(true);
    }

    /// Sets what was renewed and not written to zero.
    pub(crate) fn settle(&mut self) {
        for index in 0..self.values.len() {
            self.values_mut(index);
        }
    }

    /// The gradient of one parameter, and whether there is something in it to be added to.
    pub(crate) fn target(&mut self, index: usize) -> (&mut [f32], bool) {
        let accumulate = !std::mem::replace(&mut self.stale[index], false);
        (&mut self.values[index], accumulate)
    }

    /// Multiplies all by `factor`.
    pub fn scale(&mut self, factor: f32) {
        for value in self.values.iter_mut().flatten() {
            *value *= factor;
        }
    }

    /// Names, shapes and kinds.
    pub fn specs(&self) -> &[ParameterSpec] {
        &self.specs
    }

    /// The gradient of each parameter, in the order of the specs.
    pub fn values(&self) -> &[Buffer] {
        &self.values
    }

    /// The gradient of one parameter.
    pub fn values_mut(&mut self, index: usize) -> &mut [f32] {
        if std::mem::replace(&mut self.stale[index], false) {
            self.values[index].fill(0.0);
        }
        &mut self.values[index]
    }

    /// Two neighbouring or distant gradients at once, `first < second`.
    pub(crate) fn pair_mut(&mut self, first: usize, second: usize) -> (&mut [f32], &mut [f32]) {
        self.values_mut(first);
        self.values_mut(second);
        let (before, after) = self.values.split_at_mut(second);
        (&mut before[first], &mut after[0])
    }

    /// The gradients by tensor: the name it has in a Hugging Face checkpoint (of the model, or of a PEFT adapter),
    /// shape, values.
    pub fn named(&self) -> Vec<(String, Vec<usize>, Vec<f32>)> {
        let mut named = Vec::new();
        for (spec, values) in self.specs.iter().zip(&self.values) {
            named.extend(spec.split(values).map(|(name, shape, own)| (name.to_owned(), shape, own.to_vec())));
        }
        named
    }

    /// The norm of all gradients together.
    pub fn norm(&self) -> f64 {
        self.values.iter().map(|values| kernels::optimizer::sum_of_squares(values)).sum::<f64>().sqrt()
    }

    /// Whether these are gradients of `parameters`.
    pub(crate) fn match_specs(&self, specs: &[ParameterSpec]) -> bool {
        self.specs == specs
    }
}
