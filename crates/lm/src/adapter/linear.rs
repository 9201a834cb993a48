//! The adapter of one fused linear layer: forward, backward, merging.

use rand_pcg::Pcg64;

use super::LoraConfig;
use super::magnitude::Magnitude;
use super::principal::principal;
use crate::Error;
use crate::transformer::{Gradients, ParameterGroup, ParameterSpec};
use kernels::buffer::Buffer;
use kernels::dropout::Dropout;
use kernels::matrix::{Matrix, Precision, Use};
use kernels::narrow::{Narrow, Placed, Right};
use kernels::outer::{add_outer, add_outer_transposed};
use kernels::product::{View, ViewMut, multiply_nn};

/// The adapter of one fused linear layer: each segment of its outputs has an A and a B of its own.
#[derive(Clone, Debug)]
pub(crate) struct LoraLinear {
    pub(super) inputs: usize,
    pub(super) outputs: usize,
    /// Directions held a segment.
    pub(super) rank: usize,
    /// Of these, the last ones that are not trained.
    frozen: usize,
    pub(super) scale: f32,
    pub(super) segments: Vec<Segment>,
    /// The As of all segments on top of each other: `[segments * rank, inputs]`.
    pub(super) a: Matrix,
    /// The B of each segment: `[segment length, rank]`.
    pub(super) b: Vec<Placed>,
    /// Trained magnitudes, where there are.
    pub(super) magnitude: Option<Magnitude>,
    /// What is dropped of the inputs in the present pass of a training.
    pub(super) dropout: Option<Dropout>,
}

/// Outputs `start .. start + len` of a fused layer: one module of the checkpoint.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Segment {
    module: &'static str,
    pub(super) start: usize,
    pub(super) len: usize,
}

fn segments_of(parts: &[(&'static str, usize)], config: &LoraConfig) -> Vec<Segment> {
    let mut start = 0;
    let mut segments = Vec::new();
    for &(module, len) in parts {
        let last = module.rsplit('.').next().unwrap_or(module);
        if config.targets.iter().any(|target| target.module() == last) {
            segments.push(Segment { module, start, len });
        }
        start += len;
    }
    segments
}

fn zeros(outputs: usize, inputs: usize) -> Matrix {
    Matrix::new(outputs, inputs, vec![0.0; outputs * inputs], Precision::F32, Use::Trainable)
}

impl LoraLinear {
    pub(super) fn zeros(parts: &[(&'static str, usize)], inputs: usize, config: &LoraConfig) -> Option<Self> {
        let segments = segments_of(parts, config);
        if segments.is_empty() {
            return None;
        }
        let rank = config.held_rank();
        let lengths = segments.iter().map(|segment| segment.len);
        Some(Self {
            inputs,
            outputs: parts.iter().map(|(_, rows)| rows).sum(),
            magnitude: config.magnitudes.then(|| Magnitude::zeros(lengths)),
            dropout: None,
            rank,
            frozen: rank - config.rank,
            scale: config.scale() as f32,
            a: zeros(segments.len() * rank, inputs),
            b: segments
                .iter()
                .map(|segment| Placed { matrix: zeros(segment.len, rank), start: segment.start })
                .collect(),
            segments,
        })
    }

    pub(super) fn append_specs(&self, layer: usize, specs: &mut Vec<ParameterSpec>) {
        let name = |segment: &Segment, which: &str| {
            format!("base_model.model.model.layers.{layer}.{}.{which}", segment.module)
        };
        let a = self.segments.iter().map(|segment| (name(segment, "lora_A.weight"), self.rank)).collect();
        specs.push(ParameterSpec::new(a, Some(self.inputs), ParameterGroup::AdapterA));
        for segment in &self.segments {
            let b = vec![(name(segment, "lora_B.weight"), segment.len)];
            specs.push(ParameterSpec::new(b, Some(self.rank), ParameterGroup::AdapterB));
        }
        for segment in self.segments.iter().filter(|_| self.magnitude.is_some()) {
            let magnitude = vec![(name(segment, "lora_magnitude_vector"), segment.len)];
            specs.push(ParameterSpec::new(magnitude, None, ParameterGroup::Vector));
        }
    }

    /// Width of the bottleneck of all segments together.
    pub(super) fn width(&self) -> usize {
        self.rank * self.segments.len()
    }

    /// In the order of the specs.
    pub(super) fn values(&self) -> impl Iterator<Item = Vec<f32>> {
        let matrices = std::iter::once(&self.a).chain(self.b.iter().map(|b| &b.matrix)).map(Matrix::to_f32);
        matrices.chain(self.magnitude.iter().flat_map(|magnitude| magnitude.values.iter().cloned()))
    }

    /// See [`Lora::start_principal`]; `weights` are the layer's own, `[outputs, inputs]`.
    pub(super) fn start_principal(&mut self, weights: &[f32], random: &mut Pcg64) -> Result<(), Error> {
        let (trained, inputs, scale) = (self.rank - self.frozen, self.inputs, f64::from(self.scale));
        let mut downs = Vec::with_capacity(self.width() * inputs);
        for (segment, placed) in self.segments.iter().zip(&mut self.b) {
            let own = &weights[segment.start * inputs..][..segment.len * inputs];
            let found = principal(own, (segment.len, inputs), trained, random);
            if found.values.len() < trained {
                let (module, most) = (segment.module, found.values.len());
                return Err(Error::Invalid(format!(
                    "{module} has {most} principal directions, not {trained}"
                )));
            }
            // The scale is taken out, so that scale * B . A is the principal part.
            let roots: Vec<f32> = found.values.iter().map(|value| (value / scale).sqrt() as f32).collect();
            let half: Vec<f32> = found
                .right
                .chunks_exact(inputs)
                .zip(&roots)
                .flat_map(|(row, root)| row.iter().map(move |value| value * root))
                .collect();
            downs.extend_from_slice(&half);
            downs.extend_from_slice(&half);
            placed.matrix.update(|values| {
                for (output, row) in values.chunks_exact_mut(2 * trained).enumerate() {
                    for (k, root) in roots.iter().enumerate() {
                        let value = found.left[k * segment.len + output] * root;
                        (row[k], row[trained + k]) = (value, -value);
                    }
                }
            });
        }
        self.a.update(|values| values.copy_from_slice(&downs));
        Ok(())
    }

    /// See [`Lora::hold`].
    pub(super) fn hold(&self, gradients: &mut Gradients, first: usize) {
        let trained = self.rank - self.frozen;
        for rows in gradients.values_mut(first).chunks_exact_mut(self.rank * self.inputs) {
            rows[trained * self.inputs..].fill(0.0);
        }
        for number in 0..self.segments.len() {
            for row in gradients.values_mut(first + 1 + number).chunks_exact_mut(self.rank) {
                row[trained..].fill(0.0);
            }
        }
    }

    /// What is added to the wide product's result: `scale * (x . A^T) . B^T`. Keeps `scale * (x . A^T)` in `inner`,
    /// `[rows, segments * rank]`.
    pub(crate) fn forward<'a>(&'a self, x: &[f32], inner: &'a mut Buffer) -> Narrow<'a> {
        self.inner(x, inner);
        let left = View::new(inner, x.len() / self.inputs, self.width());
        Narrow { left, right: Right::Forward(&self.b) }
    }

    /// `inner = scale * (x . A^T)`, `[rows, segments * rank]`.
    pub(crate) fn inner(&self, x: &[f32], inner: &mut Buffer) {
        let (rows, width) = (x.len() / self.inputs, self.width());
        inner.resize(rows * width);
        let to = ViewMut::new(inner, rows, width);
        self.with_inputs(x, |x| self.a.forward(View::new(x, rows, self.inputs), to, false));
        inner.iter_mut().for_each(|value| *value *= self.scale);
    }

    /// Calls `work` with the inputs, or what dropout leaves of them.
    fn with_inputs(&self, x: &[f32], work: impl FnOnce(&[f32])) {
        match &self.dropout {
            Some(dropout) => dropout.with_dropped(x, work),
            None => work(x),
        }
    }

    /// Adds to `dx` what comes of what [`LoraLinear::backward`] left in `dinner`, where inputs were dropped.
    pub(crate) fn add_dropped(&self, dinner: &[f32], dx: &mut [f32]) {
        if let Some(dropout) = &self.dropout {
            let (rows, width) = (dx.len() / self.inputs, self.width());
            dropout.add_backward(View::new(dinner, rows, width), &self.a, dx);
        }
    }

    /// Adds the gradients of A and the Bs to `gradients` from `first` on, and gives what is added to `dx`: nothing where inputs are
    /// dropped, which [`LoraLinear::add_dropped`] adds.
    /// `inner` is what [`LoraLinear::forward`] kept.
    pub(crate) fn backward<'a>(
        &'a self,
        (x, inner): (&[f32], &[f32]),
        dy: &[f32],
        (gradients, first): (&mut Gradients, usize),
        dinner: &'a mut Buffer,
    ) -> Option<Narrow<'a>> {
        dinner.resize(dy.len() / self.outputs * self.width());
        let narrow = self.backward_into((x, inner), dy, (gradients, first), dinner);
        self.dropout.is_none().then_some(narrow)
    }

    /// As [`LoraLinear::backward`] where nothing is dropped, with `dinner` of the right size.
    pub(super) fn backward_into<'a>(
        &'a self,
        (x, inner): (&[f32], &[f32]),
        dy: &[f32],
        (gradients, first): (&mut Gradients, usize),
        dinner: &'a mut [f32],
    ) -> Narrow<'a> {
        let rows = dy.len() / self.outputs;
        let width = self.width();
        for (number, (segment, b)) in self.segments.iter().zip(&self.b).enumerate() {
            let columns = number * self.rank;
            let dy = View::columns_of(dy, rows, self.outputs, segment.start, segment.len);
            b.matrix.backward(dy, ViewMut::columns_of(dinner, rows, width, columns, self.rank), false);
            let inner = View::columns_of(inner, rows, width, columns, self.rank);
            let db = gradients.values_mut(first + 1 + number);
            add_outer_transposed(ViewMut::new(db, segment.len, self.rank), dy, inner);
        }
        dinner.iter_mut().for_each(|value| *value *= self.scale);
        let dinner = View::new(dinner, rows, width);
        let da = ViewMut::new(gradients.values_mut(first), width, self.inputs);
        self.with_inputs(x, |x| add_outer(da, dinner, View::new(x, rows, self.inputs)));
        Narrow { left: dinner, right: Right::Backward(&self.a) }
    }

    /// `weights[outputs, inputs] += scale * B . A`, then as the magnitudes say.
    pub(super) fn add_to(&self, weights: &mut [f32]) {
        let a = self.a.to_f32();
        for (number, (segment, b)) in self.segments.iter().zip(&self.b).enumerate() {
            let (a, b) =
                (&a[number * self.rank * self.inputs..][..self.rank * self.inputs], b.matrix.to_f32());
            let weights = &mut weights[segment.start * self.inputs..][..segment.len * self.inputs];
            multiply_nn(
                ViewMut::new(weights, segment.len, self.inputs),
                View::new(&b, segment.len, self.rank),
                View::new(a, self.rank, self.inputs),
                self.scale,
                true,
            );
        }
        self.rescale(weights);
    }
}
