//! A transformer from named tensors, or from random numbers.

use std::collections::BTreeMap;
use std::sync::Arc;

use rand::{Rng, SeedableRng};
use rand_pcg::Pcg64;

use super::layout::{Layout, ParameterGroup, ParameterPart, ParameterSpec};
use super::linear::Linear;
use super::rotary::Rotary;
use super::{Layer, Transformer, embedding_storage};
use crate::Error;
use crate::config::ModelConfig;
use crate::random::normal_pair;
use crate::weights::{PartReader, Tensors, in_memory};
use kernels::blocks::Blocks;
use kernels::matrix::{Matrix, Precision, Use};

/// Standard deviation of a random embedding, as in GPT-2 and its successors.
const EMBEDDING_DEVIATION: f32 = 0.02;

impl Transformer {
    /// Takes the weights from `tensors`, by their Hugging Face names.
    ///
    /// # Errors
    /// [`Error::Shape`] for a tensor that is absent or has another shape than `config` says; whatever reading
    /// returns; [`Error::Unsupported`] for a configuration that contradicts itself.
    pub fn new(
        config: ModelConfig,
        tensors: &dyn Tensors,
        precision: Precision,
        usage: Use,
    ) -> Result<Self, Error> {
        check_config(&config)?;
        Self::build(config, precision, usage, &mut |spec| parts(tensors, spec), &mut |spec| {
            read_blocks(tensors, spec)
        })
    }

    /// Random weights to train from: matrices normal with deviation `1/sqrt(inputs)`, those that write to the
    /// residual stream smaller by `sqrt(2 * layers)` (Radford et al. 2019), embeddings 0.02, norms 1, biases 0.
    ///
    /// # Errors
    /// [`Error::Unsupported`] for a configuration that contradicts itself.
    pub fn random(config: ModelConfig, seed: u64, precision: Precision) -> Result<Self, Error> {
        check_config(&config)?;
        let mut random = Pcg64::seed_from_u64(seed);
        let depth = (2.0 * config.layers as f32).sqrt();
        Self::build(
            config,
            precision,
            Use::Trainable,
            &mut |spec| Ok(Parts(vec![(spec.len(), in_memory(draw(spec, depth, &mut random)))])),
            &mut |_| Ok(None),
        )
    }

    fn build<'a>(
        config: ModelConfig,
        precision: Precision,
        usage: Use,
        parts: &mut OpenParts<'a>,
        blocks: &mut ReadBlocks<'a>,
    ) -> Result<Self, Error> {
        let layout = Layout::new(&config);
        let mut builder = Builder { layout: &layout, parts, blocks, precision, usage };
        let (embedding_precision, embedding_usage) = embedding_storage(&config, precision, usage);
        let embedding = builder.stored(layout.embedding, embedding_precision, embedding_usage)?;
        let layers =
            (0..config.layers).map(|index| builder.layer(index)).collect::<Result<Vec<_>, Error>>()?;
        let norm = builder.vector(layout.norm)?;
        let head = layout.head.map(|slot| builder.stored(slot, precision, usage)).transpose()?;
        let rotary = Rotary::new(config.rotary.clone(), config.head_dim);
        Ok(Self {
            config: Arc::new(config),
            layout: Arc::new(layout),
            precision,
            usage,
            embedding,
            layers,
            norm,
            head,
            rotary,
        })
    }
}

/// What no choice of weights could repair.
fn check_config(config: &ModelConfig) -> Result<(), Error> {
    let refuse = |reason: String| Err(Error::Unsupported { place: "model configuration".into(), reason });
    let sizes = [
        ("vocabulary", config.vocabulary),
        ("hidden", config.hidden),
        ("intermediate", config.intermediate),
        ("layers", config.layers),
        ("heads", config.heads),
        ("kv_heads", config.kv_heads),
        ("head_dim", config.head_dim),
        ("context", config.context),
    ];
    if let Some((name, _)) = sizes.iter().find(|(_, size)| *size == 0) {
        return refuse(format!("{name} is 0"));
    }
    if !config.heads.is_multiple_of(config.kv_heads) {
        return refuse(format!("{} heads do not share {} key/value heads", config.heads, config.kv_heads));
    }
    if !config.head_dim.is_multiple_of(2) {
        return refuse(format!("rotary embedding of a head of odd width {}", config.head_dim));
    }
    if config.windows.len() != config.layers {
        return refuse(format!("{} sliding windows for {} layers", config.windows.len(), config.layers));
    }
    if config.windows.contains(&Some(0)) {
        return refuse("a sliding window of 0".into());
    }
    Ok(())
}

/// The values of a parameter: the number of each part's, and who reads them.
struct Parts<'a>(Vec<(usize, PartReader<'a>)>);

impl Parts<'_> {
    /// Fills `out` with the values from `first` on.
    fn read(&self, first: usize, out: &mut [f32]) -> Result<(), Error> {
        let (mut begin, mut out) = (first, out);
        for (length, reader) in &self.0 {
            if begin >= *length {
                begin -= length;
                continue;
            }
            let (own, rest) = out.split_at_mut(out.len().min(length - begin));
            if own.is_empty() {
                break;
            }
            reader(begin, own)?;
            (begin, out) = (0, rest);
        }
        Ok(())
    }
}

/// Opens a parameter's values.
type OpenParts<'a> = dyn FnMut(&ParameterSpec) -> Result<Parts<'a>, Error> + 'a;
/// The blocks of a parameter that has them.
type ReadBlocks<'a> = dyn FnMut(&ParameterSpec) -> Result<Option<Blocks>, Error> + 'a;

struct Builder<'a, 'b> {
    layout: &'a Layout,
    parts: &'a mut OpenParts<'b>,
    blocks: &'a mut ReadBlocks<'b>,
    precision: Precision,
    usage: Use,
}

impl Builder<'_, '_> {
    fn vector(&mut self, slot: usize) -> Result<Vec<f32>, Error> {
        let spec = &self.layout.specs[slot];
        let mut values = vec![0.0; spec.len()];
        (self.parts)(spec)?.read(0, &mut values).map(|()| values)
    }

    fn stored(&mut self, slot: usize, precision: Precision, usage: Use) -> Result<Matrix, Error> {
        let spec = &self.layout.specs[slot];
        if precision == Precision::Stored
            && usage != Use::Trainable
            && let Some(blocks) = (self.blocks)(spec)?
        {
            return Ok(Matrix::from_blocks(&blocks, usage));
        }
        let parts = (self.parts)(spec)?;
        Matrix::read(spec.rows(), spec.columns.unwrap_or(1), precision, usage, |range, out| {
            parts.read(range.start, out)
        })
    }

    fn linear(&mut self, slot: usize, bias: Option<usize>) -> Result<Linear, Error> {
        let matrix = self.stored(slot, self.precision, self.usage)?;
        let bias = bias.map(|slot| self.vector(slot)).transpose()?;
        Ok(Linear { matrix, bias })
    }

    /// In the order of the layout, so that random weights depend on the seed alone.
    fn layer(&mut self, index: usize) -> Result<Layer, Error> {
        let slots = &self.layout.layers[index];
        Ok(Layer {
            input_norm: self.vector(slots.input_norm)?,
            qkv: self.linear(slots.qkv, slots.qkv_bias)?,
            query_norm: slots.query_norm.map(|slot| self.vector(slot)).transpose()?,
            key_norm: slots.key_norm.map(|slot| self.vector(slot)).transpose()?,
            output: self.linear(slots.output, slots.output_bias)?,
            post_norm: self.vector(slots.post_norm)?,
            gate_up: self.linear(slots.gate_up, slots.gate_up_bias)?,
            down: self.linear(slots.down, slots.down_bias)?,
        })
    }
}

/// The shape of a part; an error where the tensor is absent or has another one.
fn expected_shape(
    tensors: &dyn Tensors,
    spec: &ParameterSpec,
    part: &ParameterPart,
) -> Result<Vec<usize>, Error> {
    let expected = spec.shape_of(part);
    let found = tensors.shape(&part.name);
    if found.as_deref() == Some(expected.as_slice()) {
        return Ok(expected);
    }
    Err(Error::Shape { name: part.name.clone(), expected, found })
}

/// `None` where a part is not in blocks.
fn read_blocks(tensors: &dyn Tensors, spec: &ParameterSpec) -> Result<Option<Blocks>, Error> {
    let mut all: Option<Blocks> = None;
    for part in &spec.parts {
        let expected = expected_shape(tensors, spec, part)?;
        let Some(own) = tensors.read_blocks(&part.name)? else { return Ok(None) };
        if [own.outputs, own.inputs] != expected[..] {
            let found = Some(vec![own.outputs, own.inputs]);
            return Err(Error::Shape { name: part.name.clone(), expected, found });
        }
        match &mut all {
            Some(all) => all.append(own),
            None => all = Some(own),
        }
    }
    Ok(all)
}

fn parts<'a>(tensors: &'a dyn Tensors, spec: &ParameterSpec) -> Result<Parts<'a>, Error> {
    let open = |part: &ParameterPart| {
        let expected = expected_shape(tensors, spec, part)?;
        Ok((expected.iter().product(), tensors.parts(&part.name)?))
    };
    spec.parts.iter().map(open).collect::<Result<_, Error>>().map(Parts)
}

fn draw(spec: &ParameterSpec, depth: f32, random: &mut impl Rng) -> Vec<f32> {
    let name = spec.parts[0].name.as_str();
    let deviation = match (spec.group, spec.columns) {
        (ParameterGroup::Embedding, _) => EMBEDDING_DEVIATION,
        (_, Some(inputs)) => {
            let residual = name.contains("o_proj") || name.contains("down_proj");
            (1.0 / inputs as f32).sqrt() / if residual { depth } else { 1.0 }
        }
        (_, None) => return vec![if name.ends_with(".bias") { 0.0 } else { 1.0 }; spec.len()],
    };
    let mut values = Vec::with_capacity(spec.len() + 1);
    while values.len() < spec.len() {
        let (first, second) = normal_pair(random);
        values.extend([first * deviation, second * deviation]);
    }
    values.truncate(spec.len());
    values
}

/// Named tensors in memory: weights made by a program, a model to be changed and loaded again.
#[derive(Clone, Debug, Default)]
pub struct TensorMap {
    tensors: BTreeMap<String, (Vec<usize>, Vec<f32>)>,
}

impl TensorMap {
    /// No tensor.
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds or replaces a tensor.
    ///
    /// # Panics
    /// Where `values` does not have the size of `shape`.
    pub fn insert(&mut self, name: impl Into<String>, shape: Vec<usize>, values: Vec<f32>) {
        assert_eq!(shape.iter().product::<usize>(), values.len(), "values of the shape");
        self.tensors.insert(name.into(), (shape, values));
    }

    /// The values of a tensor, to be changed in place.
    pub fn values_mut(&mut self, name: &str) -> Option<&mut [f32]> {
        self.tensors.get_mut(name).map(|(_, values)| values.as_mut_slice())
    }
}

impl FromIterator<(String, Vec<usize>, Vec<f32>)> for TensorMap {
    fn from_iter<I: IntoIterator<Item = (String, Vec<usize>, Vec<f32>)>>(named: I) -> Self {
        let mut map = Self::new();
        for (name, shape, values) in named {
            map.insert(name, shape, values);
        }
        map
    }
}

impl Tensors for TensorMap {
    fn names(&self) -> Vec<String> {
        self.tensors.keys().cloned().collect()
    }

    fn shape(&self, name: &str) -> Option<Vec<usize>> {
        self.tensors.get(name).map(|(shape, _)| shape.clone())
    }

    fn read(&self, name: &str) -> Result<Vec<f32>, Error> {
        match self.tensors.get(name) {
            Some((_, values)) => Ok(values.clone()),
            None => Err(Error::Shape { name: name.into(), expected: Vec::new(), found: None }),
        }
    }
}
