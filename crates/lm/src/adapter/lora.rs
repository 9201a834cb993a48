//! LoRA (Hu et al. 2021): `y = x . W^T + scale * (x . A^T) . B^T`, with W frozen.

use rand::SeedableRng;
use rand_pcg::Pcg64;

use super::magnitude::Magnitude;
use super::principal::principal;
use super::virtual_tokens;
use crate::Error;
use crate::config::ModelConfig;
use crate::random::uniform;
use crate::transformer::layout::{fused_linears, linear_inputs};
use crate::transformer::{Gradients, Parameter, ParameterGroup, ParameterSpec, Parameters, Transformer};
use kernels::matrix::{Matrix, Precision, Use};
use kernels::narrow::{Narrow, Placed, Right};
use kernels::outer::{add_outer, add_outer_transposed};
use kernels::product::{View, ViewMut, multiply_nn};

/// A linear layer of a block that an adapter can change.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum LoraTarget {
    /// `self_attn.q_proj`.
    Query,
    /// `self_attn.k_proj`.
    Key,
    /// `self_attn.v_proj`.
    Value,
    /// `self_attn.o_proj`.
    Output,
    /// `mlp.gate_proj`.
    Gate,
    /// `mlp.up_proj`.
    Up,
    /// `mlp.down_proj`.
    Down,
}

impl LoraTarget {
    /// All linear layers of a block.
    pub const ALL: [Self; 7] =
        [Self::Query, Self::Key, Self::Value, Self::Output, Self::Gate, Self::Up, Self::Down];
    /// Those of attention.
    pub const ATTENTION: [Self; 4] = [Self::Query, Self::Key, Self::Value, Self::Output];
    /// Those of the feed-forward layer.
    pub const FEED_FORWARD: [Self; 3] = [Self::Gate, Self::Up, Self::Down];

    /// The last part of the module's name, as `target_modules` in PEFT has it.
    pub fn module(self) -> &'static str {
        match self {
            Self::Query => "q_proj",
            Self::Key => "k_proj",
            Self::Value => "v_proj",
            Self::Output => "o_proj",
            Self::Gate => "gate_proj",
            Self::Up => "up_proj",
            Self::Down => "down_proj",
        }
    }

    /// The target whose module is called `name`.
    pub fn from_module(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|target| target.module() == name)
    }
}

/// How to make a [`Lora`].
#[derive(Clone, Debug, PartialEq)]
pub struct LoraConfig {
    /// Width of the bottleneck. Default 16.
    pub rank: usize,
    /// The change is multiplied by `alpha / rank`. Default twice the rank.
    pub alpha: f64,
    /// The change is multiplied by `alpha / sqrt(rank)` instead (Kalajdzievski 2023). Default no.
    pub rank_stabilized: bool,
    /// Seed of the A matrices. Default 0.
    pub seed: u64,
    /// Layers that get an adapter. Default all seven.
    pub targets: Vec<LoraTarget>,
    /// Whether a magnitude of every output is trained beside the direction (DoRA, Liu et al. 2024). Default no.
    pub magnitudes: bool,
    /// What A and B are at first. Default [`LoraStart::Uniform`].
    pub start: LoraStart,
    /// Trained tokens before every sequence (prompt tuning, Lester et al. 2021), whose ids are
    /// [`Lora::virtual_ids`]. Default none.
    pub virtual_tokens: usize,
}

/// What the two matrices of an adapter are before training.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum LoraStart {
    /// A uniform in `+-1/sqrt(inputs)`, B zero.
    #[default]
    Uniform,
    /// The principal singular directions of the weights (PiSSA, Meng et al. 2024), which are taken away from the weights at
    /// the same time, so that nothing is changed yet. The weights stay as they are: the part taken away is kept as as many
    /// frozen directions more, so that the adapter is a plain one of twice the rank, as PEFT's conversion makes it.
    Principal,
}

impl Default for LoraConfig {
    fn default() -> Self {
        Self::with_rank(16)
    }
}

impl LoraConfig {
    /// The defaults at another rank.
    pub fn with_rank(rank: usize) -> Self {
        Self {
            rank,
            alpha: 2.0 * rank as f64,
            rank_stabilized: false,
            seed: 0,
            targets: LoraTarget::ALL.to_vec(),
            magnitudes: false,
            start: LoraStart::Uniform,
            virtual_tokens: 0,
        }
    }

    /// Directions of each module that are held: those that are trained, and as many frozen ones after
    /// [`LoraStart::Principal`].
    pub(super) fn held_rank(&self) -> usize {
        match self.start {
            LoraStart::Uniform => self.rank,
            LoraStart::Principal => 2 * self.rank,
        }
    }

    /// What the change is multiplied by.
    pub fn scale(&self) -> f64 {
        if self.rank_stabilized {
            self.alpha / (self.rank as f64).sqrt()
        } else {
            self.alpha / self.rank as f64
        }
    }
}

/// An adapter for every block of one transformer. Its products are computed in 32 bits beside weights of any
/// precision: its matrices are too narrow for bfloat16 to win time on them.
#[derive(Clone, Debug)]
pub struct Lora {
    config: LoraConfig,
    layers: Vec<LoraLayer>,
    specs: Vec<ParameterSpec>,
    slots: Vec<LoraSlots>,
    /// Layers, inputs and rows of every linear layer of the model it was made for.
    shape: (usize, [usize; 4], [usize; 4]),
    /// Whether the norms that magnitudes are divided by are those of the present values.
    current: bool,
    /// Of the virtual tokens, `[tokens, hidden]`.
    pub(super) embeddings: Vec<f32>,
    heads: usize,
}

/// The adapters of one block, on its four fused linear layers.
#[derive(Clone, Debug)]
pub(crate) struct LoraLayer {
    pub(crate) qkv: Option<LoraLinear>,
    pub(crate) output: Option<LoraLinear>,
    pub(crate) gate_up: Option<LoraLinear>,
    pub(crate) down: Option<LoraLinear>,
}

impl LoraLayer {
    fn linears(&self) -> [Option<&LoraLinear>; 4] {
        [self.qkv.as_ref(), self.output.as_ref(), self.gate_up.as_ref(), self.down.as_ref()]
    }

    fn linears_mut(&mut self) -> [Option<&mut LoraLinear>; 4] {
        [self.qkv.as_mut(), self.output.as_mut(), self.gate_up.as_mut(), self.down.as_mut()]
    }
}

/// Where the A of each fused linear layer is in the list of parameters; its Bs follow it. Order: qkv, output,
/// gate and up, down.
#[derive(Clone, Debug, Default)]
pub(crate) struct LoraSlots {
    pub(crate) first: [Option<usize>; 4],
}

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
}

/// Outputs `start .. start + len` of a fused layer: one module of the checkpoint.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Segment {
    module: &'static str,
    pub(super) start: usize,
    pub(super) len: usize,
}

impl Lora {
    /// A new adapter for `base`, started as `config` says: it changes nothing yet.
    ///
    /// # Errors
    /// As [`Lora::new`], and for more principal directions than a module has.
    pub fn for_base(config: LoraConfig, base: &Transformer) -> Result<Self, Error> {
        let mut lora = Self::new(config, base.config())?;
        if lora.config.start == LoraStart::Principal {
            lora.start_principal(base)?;
        }
        lora.start_virtual(base);
        lora.see(base, true);
        Ok(lora)
    }

    /// A new adapter, A uniform in `+-1/sqrt(inputs)` as PEFT starts it, B zero: it changes nothing yet. One with magnitudes
    /// has to be attached ([`Lora::attach`]) before it is used; [`Lora::for_base`] does all that.
    ///
    /// # Errors
    /// [`Error::Invalid`] for rank 0, no target, or an alpha that is not finite.
    pub fn new(config: LoraConfig, model: &ModelConfig) -> Result<Self, Error> {
        let nothing = config.targets.is_empty() && config.virtual_tokens == 0;
        if config.rank == 0 || nothing || !config.alpha.is_finite() {
            return Err(Error::Invalid(format!(
                "an adapter needs a rank, a target and a finite alpha: rank {}, alpha {}, {} targets",
                config.rank,
                config.alpha,
                config.targets.len()
            )));
        }
        let mut random = Pcg64::seed_from_u64(config.seed);
        let mut lora = Self::zeros(config, model);
        for linear in lora.layers.iter_mut().flat_map(LoraLayer::linears_mut).flatten() {
            let bound = 1.0 / (linear.inputs as f32).sqrt();
            linear.a.update(|values| {
                values.iter_mut().for_each(|value| *value = uniform(&mut random, bound));
            });
        }
        Ok(lora)
    }

    /// An adapter of zeros, to be filled.
    fn zeros(config: LoraConfig, model: &ModelConfig) -> Self {
        let (mut layers, mut specs, mut slots) = (Vec::new(), Vec::new(), Vec::new());
        let fused = fused_linears(model);
        let inputs = linear_inputs(model);
        for layer in 0..model.layers {
            let mut own = LoraSlots::default();
            let mut linears = [None, None, None, None];
            for (number, linear) in linears.iter_mut().enumerate() {
                let Some(made) = LoraLinear::zeros(&fused[number], inputs[number], &config) else { continue };
                own.first[number] = Some(specs.len());
                made.append_specs(layer, &mut specs);
                *linear = Some(made);
            }
            let [qkv, output, gate_up, down] = linears;
            layers.push(LoraLayer { qkv, output, gate_up, down });
            slots.push(own);
        }
        let current = !config.magnitudes;
        let embeddings = vec![0.0; config.virtual_tokens * model.hidden];
        if config.virtual_tokens > 0 {
            specs.push(virtual_tokens::spec(config.virtual_tokens, model.hidden));
        }
        let heads = model.heads;
        Self { config, layers, specs, slots, shape: shape_of(model), current, embeddings, heads }
    }

    /// Sets A and B to the square-root-weighted principal directions of the weights, and the frozen directions to what
    /// takes them away again.
    fn start_principal(&mut self, base: &Transformer) -> Result<(), Error> {
        let mut random = Pcg64::seed_from_u64(self.config.seed);
        for (index, layer) in self.layers.iter_mut().enumerate() {
            for (number, linear) in layer.linears_mut().into_iter().enumerate() {
                if let Some(linear) = linear {
                    linear.start_principal(&base.linear(index, number).to_f32(), &mut random)?;
                }
            }
        }
        Ok(())
    }

    /// Makes the adapter ready for `base`: its magnitudes, where it has any, are divided by norms of the changed weights.
    /// Needed once where an adapter with magnitudes was read from a file or changed from outside.
    pub fn attach(&mut self, base: &Transformer) {
        self.see(base, false);
    }

    fn see(&mut self, base: &Transformer, start: bool) {
        self.each_scaled(base, |linear, weights| linear.see(weights, start));
    }

    /// As [`Lora::attach`] after values were changed, on the same `base`.
    pub fn refresh(&mut self, base: &Transformer) {
        self.each_scaled(base, LoraLinear::renorm);
    }

    fn each_scaled(&mut self, base: &Transformer, act: impl Fn(&mut LoraLinear, &Matrix)) {
        if self.config.magnitudes {
            for (index, layer) in self.layers.iter_mut().enumerate() {
                for (number, linear) in layer.linears_mut().into_iter().enumerate() {
                    if let Some(linear) = linear {
                        act(linear, base.linear(index, number));
                    }
                }
            }
        }
        self.current = true;
    }

    /// Where the virtual tokens are in the list of parameters: last.
    pub(super) fn embeddings_slot(&self) -> Option<usize> {
        (self.config.virtual_tokens > 0).then(|| self.specs.len() - 1)
    }

    /// Attention heads of the model.
    pub(super) fn heads(&self) -> usize {
        self.heads
    }

    /// Layers of the model.
    pub(super) fn layers(&self) -> usize {
        self.layers.len()
    }

    /// Whether it can be used: see [`Lora::attach`].
    pub fn is_ready(&self) -> bool {
        self.current
    }

    /// Sets the gradients of directions that are not trained to zero.
    pub(crate) fn hold(&self, gradients: &mut Gradients) {
        if self.config.start == LoraStart::Uniform {
            return;
        }
        for (layer, slots) in self.layers.iter().zip(&self.slots) {
            for (linear, first) in layer.linears().into_iter().zip(slots.first) {
                if let Some((linear, first)) = linear.zip(first) {
                    linear.hold(gradients, first);
                }
            }
        }
    }

    /// An adapter from named tensors: `read` returns the values of a tensor by its PEFT name
    /// (`base_model.model.model.layers.0.self_attn.q_proj.lora_A.weight`) if it is there, given its shape.
    ///
    /// # Errors
    /// What `read` returns; [`Error::Invalid`] as in [`Lora::new`].
    pub fn from_named(
        config: LoraConfig,
        model: &ModelConfig,
        mut read: impl FnMut(&str, &[usize]) -> Result<Vec<f32>, Error>,
    ) -> Result<Self, Error> {
        let mut lora = Self::new(config, model)?;
        let specs = lora.specs.clone();
        for (spec, mut parameter) in specs.iter().zip(lora.parameters_mut()) {
            let mut values = Vec::with_capacity(spec.len());
            for part in &spec.parts {
                let shape = spec.shape_of(part);
                let read_values = read(&part.name, &shape)?;
                if read_values.len() != shape.iter().product::<usize>() {
                    return Err(Error::Shape {
                        name: part.name.clone(),
                        expected: shape,
                        found: Some(vec![read_values.len()]),
                    });
                }
                values.extend_from_slice(&read_values);
            }
            parameter.update(|own| own.copy_from_slice(&values));
        }
        Ok(lora)
    }

    /// How it was made.
    pub fn config(&self) -> &LoraConfig {
        &self.config
    }

    /// Values in all; with [`LoraStart::Principal`] half of those of the matrices are frozen.
    pub fn parameters(&self) -> u64 {
        self.specs.iter().map(|spec| spec.len() as u64).sum()
    }

    /// The tensors by their PEFT names: name, shape, values.
    pub fn named_tensors(&self) -> Vec<(String, Vec<usize>, Vec<f32>)> {
        let mut named = Vec::new();
        let parameters =
            self.layers.iter().flat_map(LoraLayer::linears).flatten().flat_map(LoraLinear::values);
        for (spec, values) in self.specs.iter().zip(parameters.chain([self.embeddings.clone()])) {
            named
                .extend(spec.split(&values).map(|(name, shape, own)| (name.to_owned(), shape, own.to_vec())));
        }
        named
    }

    /// The transformer with the change added to its weights, in 32 bits before they are stored in the
    /// transformer's own precision: removing the adapter later means going back to the base.
    ///
    /// # Errors
    /// [`Error::Invalid`] where the adapter was made for another shape of model.
    pub fn merge_into(&self, base: &Transformer) -> Result<Transformer, Error> {
        if !self.fits(base.config()) {
            return Err(Error::Invalid("the adapter was made for a model of another shape".into()));
        }
        if self.config.virtual_tokens > 0 {
            return Err(Error::Invalid("virtual tokens cannot be merged into weights".into()));
        }
        Ok(base.with_changed_linears(|layer, number, outputs, values| {
            if let Some(linear) = self.layers[layer].linears()[number] {
                debug_assert_eq!(linear.outputs, outputs);
                linear.add_to(values);
            }
        }))
    }

    /// Whether the shapes are those of `model`.
    pub fn fits(&self, model: &ModelConfig) -> bool {
        self.shape == shape_of(model)
    }

    pub(crate) fn layer(&self, index: usize) -> &LoraLayer {
        &self.layers[index]
    }

    pub(crate) fn slots(&self, layer: usize) -> &LoraSlots {
        &self.slots[layer]
    }
}

impl Parameters for Lora {
    fn specs(&self) -> &[ParameterSpec] {
        &self.specs
    }

    fn for_each_parameter<'s>(&'s mut self, visit: &mut dyn FnMut(usize, Parameter<'s>)) {
        self.current = !self.config.magnitudes;
        let linears = self.layers.iter_mut().flat_map(LoraLayer::linears_mut).flatten();
        let parameters = linears.flat_map(|linear| {
            let matrices = std::iter::once(&mut linear.a).chain(linear.b.iter_mut().map(|b| &mut b.matrix));
            let magnitudes = linear.magnitude.iter_mut().flat_map(|magnitude| &mut magnitude.values);
            matrices.map(Parameter::Matrix).chain(magnitudes.map(|values| Parameter::Slice(values)))
        });
        let embeddings = std::iter::once(Parameter::Slice(&mut self.embeddings));
        let held = if self.config.virtual_tokens > 0 { 1 } else { 0 };
        for (number, parameter) in parameters.chain(embeddings.take(held)).enumerate() {
            visit(number, parameter);
        }
    }
}

fn shape_of(model: &ModelConfig) -> (usize, [usize; 4], [usize; 4]) {
    let key = model.kv_heads * model.head_dim;
    (
        model.layers,
        linear_inputs(model),
        [model.heads * model.head_dim, key, model.intermediate, model.hidden],
    )
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
    fn zeros(parts: &[(&'static str, usize)], inputs: usize, config: &LoraConfig) -> Option<Self> {
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

    fn append_specs(&self, layer: usize, specs: &mut Vec<ParameterSpec>) {
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
    fn values(&self) -> impl Iterator<Item = Vec<f32>> {
        let matrices = std::iter::once(&self.a).chain(self.b.iter().map(|b| &b.matrix)).map(Matrix::to_f32);
        matrices.chain(self.magnitude.iter().flat_map(|magnitude| magnitude.values.iter().cloned()))
    }

    /// See [`Lora::start_principal`]; `weights` are the layer's own, `[outputs, inputs]`.
    fn start_principal(&mut self, weights: &[f32], random: &mut Pcg64) -> Result<(), Error> {
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
    fn hold(&self, gradients: &mut Gradients, first: usize) {
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
    pub(crate) fn forward<'a>(&'a self, x: &[f32], inner: &'a mut Vec<f32>) -> Narrow<'a> {
        self.inner(x, inner);
        let left = View::new(inner, x.len() / self.inputs, self.width());
        Narrow { left, right: Right::Forward(&self.b) }
    }

    /// `inner = scale * (x . A^T)`, `[rows, segments * rank]`.
    pub(crate) fn inner(&self, x: &[f32], inner: &mut Vec<f32>) {
        let (rows, width) = (x.len() / self.inputs, self.width());
        inner.resize(rows * width, 0.0);
        self.a.forward(View::new(x, rows, self.inputs), ViewMut::new(inner, rows, width), false);
        inner.iter_mut().for_each(|value| *value *= self.scale);
    }

    /// Adds the gradients of A and the Bs to `gradients` from `first` on, and gives what is added to `dx`.
    /// `inner` is what [`LoraLinear::forward`] kept.
    pub(crate) fn backward<'a>(
        &'a self,
        (x, inner): (&[f32], &[f32]),
        dy: &[f32],
        (gradients, first): (&mut Gradients, usize),
        dinner: &'a mut Vec<f32>,
    ) -> Narrow<'a> {
        dinner.resize(dy.len() / self.outputs * self.width(), 0.0);
        self.backward_into((x, inner), dy, (gradients, first), dinner)
    }

    /// As [`LoraLinear::backward`], with `dinner` of the right size.
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
        add_outer(da, dinner, View::new(x, rows, self.inputs));
        Narrow { left: dinner, right: Right::Backward(&self.a) }
    }

    /// `weights[outputs, inputs] += scale * B . A`, then as the magnitudes say.
    fn add_to(&self, weights: &mut [f32]) {
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
