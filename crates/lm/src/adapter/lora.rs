//! LoRA (Hu et al. 2021): `y = x . W^T + scale * (x . A^T) . B^T`, with W frozen.

use rand::SeedableRng;
use rand_pcg::Pcg64;

use super::virtual_past::VirtualPast;
use super::{LoraConfig, LoraLinear, LoraStart, VirtualPart, virtual_tokens};
use crate::Error;
use crate::config::ModelConfig;
use crate::random::uniform;
use crate::transformer::layout::{fused_linears, linear_inputs};
use crate::transformer::{Gradients, Parameter, ParameterSpec, Parameters, Transformer};
use kernels::dropout::Dropout;
use kernels::matrix::Matrix;

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
    /// Of the virtual tokens, `[tokens, hidden]`; one row of zeros for all of them where their keys and values are trained.
    pub(super) embeddings: Vec<f32>,
    /// Heads of queries, and of keys and values.
    heads: [usize; 2],
}

/// The adapters of one block, on its four fused linear layers.
#[derive(Clone, Debug)]
pub(crate) struct LoraLayer {
    pub(crate) qkv: Option<LoraLinear>,
    pub(crate) output: Option<LoraLinear>,
    pub(crate) gate_up: Option<LoraLinear>,
    pub(crate) down: Option<LoraLinear>,
    /// Keys and values of the virtual tokens, where those are trained.
    pub(crate) past: Option<VirtualPast>,
}

impl LoraLayer {
    fn linears(&self) -> [Option<&LoraLinear>; 4] {
        [self.qkv.as_ref(), self.output.as_ref(), self.gate_up.as_ref(), self.down.as_ref()]
    }

    fn linears_mut(&mut self) -> [Option<&mut LoraLinear>; 4] {
        [self.qkv.as_mut(), self.output.as_mut(), self.gate_up.as_mut(), self.down.as_mut()]
    }

    /// What is trained, in the order of the specs.
    fn parameters_mut(&mut self) -> impl Iterator<Item = Parameter<'_>> {
        let Self { qkv, output, gate_up, down, past } = self;
        let linears = [qkv, output, gate_up, down].into_iter().flatten().flat_map(|linear| {
            let matrices = std::iter::once(&mut linear.a).chain(linear.b.iter_mut().map(|b| &mut b.matrix));
            let magnitudes = linear.magnitude.iter_mut().flat_map(|magnitude| &mut magnitude.values);
            matrices.map(Parameter::Matrix).chain(magnitudes.map(|values| Parameter::Slice(values)))
        });
        linears.chain(past.as_mut().map(|past| Parameter::Slice(&mut past.values)))
    }

    /// The values of what is trained, in the same order.
    fn values(&self) -> impl Iterator<Item = Vec<f32>> {
        let linears = self.linears().into_iter().flatten().flat_map(LoraLinear::values);
        linears.chain(self.past.as_ref().map(|past| past.values.clone()))
    }
}

/// Where the A of each fused linear layer is in the list of parameters; its Bs follow it. Order: qkv, output,
/// gate and up, down.
#[derive(Clone, Debug, Default)]
pub(crate) struct LoraSlots {
    pub(crate) first: [Option<usize>; 4],
    /// Where the keys and values of virtual tokens are.
    pub(crate) past: Option<usize>,
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
        lora.start_virtual(base)?;
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
        if !(0.0..1.0).contains(&config.dropout) || config.dropout > 0.0 && config.magnitudes {
            return Err(Error::Invalid(format!(
                "an adapter's dropout is at least 0, below 1, and 0 beside magnitudes: {}",
                config.dropout
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
            let past = VirtualPast::of(&config, model);
            if let Some(past) = &past {
                own.past = Some(specs.len());
                specs.push(past.spec(layer));
            }
            let [qkv, output, gate_up, down] = linears;
            layers.push(LoraLayer { qkv, output, gate_up, down, past });
            slots.push(own);
        }
        let current = !config.magnitudes;
        let tokens = config.virtual_tokens;
        let embeddings = match config.virtual_part {
            VirtualPart::Embeddings => vec![0.0; tokens * model.hidden],
            VirtualPart::KeysAndValues => vec![0.0; model.hidden],
        };
        if config.trains(VirtualPart::Embeddings) {
            specs.push(virtual_tokens::spec(tokens, model.hidden));
        }
        let heads = [model.heads, model.kv_heads];
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

    /// Drops inputs in the passes that follow, other ones for each seed and linear layer; `None` ends that, as before anything is asked of
    /// the adapter.
    pub fn drop_inputs(&mut self, seed: Option<u64>) {
        let share = self.config.dropout as f32;
        let linears = self.layers.iter_mut().flat_map(LoraLayer::linears_mut);
        for (number, linear) in linears.enumerate() {
            let own = |seed: u64| Dropout::new(share, seed.wrapping_add((number as u64) << 40));
            if let Some(linear) = linear {
                linear.dropout = seed.filter(|_| share > 0.0).map(own);
            }
        }
    }

    /// Where the embeddings of the virtual tokens are in the list of parameters: last.
    pub(super) fn embeddings_slot(&self) -> Option<usize> {
        self.trains_embeddings().then(|| self.specs.len() - 1)
    }

    /// Whether embeddings of virtual tokens are trained.
    pub(crate) fn trains_embeddings(&self) -> bool {
        self.config.trains(VirtualPart::Embeddings)
    }

    /// Heads of the model: of queries, and of keys and values.
    pub(super) fn heads(&self) -> [usize; 2] {
        self.heads
    }

    /// The keys and values of the virtual tokens, by layer.
    pub(super) fn pasts_mut(&mut self) -> impl Iterator<Item = &mut VirtualPast> {
        self.layers.iter_mut().filter_map(|layer| layer.past.as_mut())
    }

    /// The same, to be read.
    pub(super) fn pasts(&self) -> impl Iterator<Item = &VirtualPast> {
        self.layers.iter().filter_map(|layer| layer.past.as_ref())
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
        let parameters = self.layers.iter().flat_map(LoraLayer::values);
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
        let parameters = self.layers.iter_mut().flat_map(LoraLayer::parameters_mut);
        let trained = self.config.trains(VirtualPart::Embeddings);
        let embeddings = trained.then_some(Parameter::Slice(&mut self.embeddings));
        for (number, parameter) in parameters.chain(embeddings).enumerate() {
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
