//! Trained parameters, as an optimiser sees them: a list in a fixed order.

use super::Transformer;
use super::layout::ParameterSpec;
use kernels::matrix::Matrix;

/// A parameter that can be changed.
#[derive(Debug)]
pub enum Parameter<'a> {
    /// A matrix with packed copies that follow its values.
    Matrix(&'a mut Matrix),
    /// Plain values.
    Slice(&'a mut [f32]),
}

impl Parameter<'_> {
    /// Changes the values in place.
    ///
    /// # Panics
    /// For a matrix that is not stored as trainable.
    pub fn update(&mut self, change: impl FnOnce(&mut [f32])) {
        match self {
            Self::Matrix(matrix) => matrix.update(change),
            Self::Slice(values) => change(values),
        }
    }

    /// A copy of the values.
    pub fn to_f32(&self) -> Vec<f32> {
        match self {
            Self::Matrix(matrix) => matrix.to_f32(),
            Self::Slice(values) => values.to_vec(),
        }
    }
}

/// What an optimiser trains: all weights of a [`Transformer`], or an adapter.
pub trait Parameters {
    /// Names, shapes and kinds, in the order of [`Parameters::for_each_parameter`].
    fn specs(&self) -> &[ParameterSpec];
    /// Calls `visit` with the number of each parameter and the parameter, in the order of [`Parameters::specs`].
    fn for_each_parameter<'s>(&'s mut self, visit: &mut dyn FnMut(usize, Parameter<'s>));

    /// The parameters, in the order of [`Parameters::specs`].
    fn parameters_mut(&mut self) -> Vec<Parameter<'_>> {
        let mut list = Vec::with_capacity(self.specs().len());
        self.for_each_parameter(&mut |_, parameter| list.push(parameter));
        list
    }

    /// A copy of all values, to come back to.
    fn snapshot(&mut self) -> Vec<Vec<f32>> {
        self.parameters_mut().iter().map(Parameter::to_f32).collect()
    }

    /// Sets all values to those of a [`Parameters::snapshot`] of the same shape.
    ///
    /// # Panics
    /// Where the shapes differ.
    fn restore(&mut self, snapshot: &[Vec<f32>]) {
        let mut parameters = self.parameters_mut();
        assert_eq!(parameters.len(), snapshot.len(), "a snapshot of another model");
        for (parameter, values) in parameters.iter_mut().zip(snapshot) {
            parameter.update(|own| own.copy_from_slice(values));
        }
    }
}

impl Parameters for Transformer {
    fn specs(&self) -> &[ParameterSpec] {
        &self.layout.specs
    }

    fn for_each_parameter<'s>(&'s mut self, visit: &mut dyn FnMut(usize, Parameter<'s>)) {
        let mut number = 0;
        let mut next = |parameter: Option<Parameter<'s>>| {
            if let Some(parameter) = parameter {
                visit(number, parameter);
                number += 1;
            }
        };
        next(Some(Parameter::Matrix(&mut self.embedding)));
        for layer in &mut self.layers {
            next(Some(Parameter::Slice(&mut layer.input_norm)));
            next(Some(Parameter::Matrix(&mut layer.qkv.matrix)));
            next(layer.qkv.bias.as_deref_mut().map(Parameter::Slice));
            next(layer.query_norm.as_deref_mut().map(Parameter::Slice));
            next(layer.key_norm.as_deref_mut().map(Parameter::Slice));
            next(Some(Parameter::Matrix(&mut layer.output.matrix)));
            next(layer.output.bias.as_deref_mut().map(Parameter::Slice));
            next(Some(Parameter::Slice(&mut layer.post_norm)));
            next(Some(Parameter::Matrix(&mut layer.gate_up.matrix)));
            next(layer.gate_up.bias.as_deref_mut().map(Parameter::Slice));
            next(Some(Parameter::Matrix(&mut layer.down.matrix)));
            next(layer.down.bias.as_deref_mut().map(Parameter::Slice));
        }
        next(Some(Parameter::Slice(&mut self.norm)));
        next(self.head.as_mut().map(Parameter::Matrix));
    }
}
