//! The order, names and shapes of a transformer's parameters: one list serves loading, saving, gradients and optimiser.

use crate::config::ModelConfig;

/// What a parameter is, for learning rates and weight decay that differ by kind.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum ParameterGroup {
    /// The weights of a linear layer.
    Matrix,
    /// The token embedding, and the output projection where it is not the embedding.
    Embedding,
    /// Norm weights, biases, and an adapter's magnitudes.
    Vector,
    /// The A matrix of an adapter (input to rank).
    AdapterA,
    /// The B matrix of an adapter (rank to output).
    AdapterB,
}

/// One named tensor inside a stored parameter: rows of a fused matrix, or a stretch of a fused vector.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ParameterPart {
    /// The tensor's name in Hugging Face checkpoints (of a model, or of a PEFT adapter).
    pub name: String,
    /// Its rows; the length, for a vector.
    pub rows: usize,
}

/// A parameter as the engine stores it: one or several named tensors on top of each other.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ParameterSpec {
    /// The named tensors, in the order of their rows.
    pub parts: Vec<ParameterPart>,
    /// Columns of a matrix; `None` for a vector.
    pub columns: Option<usize>,
    /// Its kind.
    pub group: ParameterGroup,
}

impl ParameterSpec {
    pub(crate) fn new(parts: Vec<(String, usize)>, columns: Option<usize>, group: ParameterGroup) -> Self {
        let parts = parts.into_iter().map(|(name, rows)| ParameterPart { name, rows }).collect();
        Self { parts, columns, group }
    }

    /// All rows.
    pub fn rows(&self) -> usize {
        self.parts.iter().map(|part| part.rows).sum()
    }

    /// Number of values.
    pub fn len(&self) -> usize {
        self.rows() * self.columns.unwrap_or(1)
    }

    /// Whether it holds nothing.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The shape of one part: `[rows, columns]`, or `[rows]` for a vector.
    pub fn shape_of(&self, part: &ParameterPart) -> Vec<usize> {
        match self.columns {
            Some(columns) => vec![part.rows, columns],
            None => vec![part.rows],
        }
    }

    /// Cuts `values` (all rows) into named tensors: name, shape, values.
    pub fn split<'a>(&'a self, values: &'a [f32]) -> impl Iterator<Item = (&'a str, Vec<usize>, &'a [f32])> {
        let width = self.columns.unwrap_or(1);
        let mut rest = values;
        self.parts.iter().map(move |part| {
            let (own, after) = rest.split_at(part.rows * width);
            rest = after;
            (part.name.as_str(), self.shape_of(part), own)
        })
    }
}

/// Where each parameter of one layer is in the list.
#[derive(Clone, Debug)]
pub(crate) struct LayerSlots {
    pub(crate) input_norm: usize,
    pub(crate) qkv: usize,
    pub(crate) qkv_bias: Option<usize>,
    pub(crate) query_norm: Option<usize>,
    pub(crate) key_norm: Option<usize>,
    pub(crate) output: usize,
    pub(crate) output_bias: Option<usize>,
    pub(crate) post_norm: usize,
    pub(crate) gate_up: usize,
    pub(crate) gate_up_bias: Option<usize>,
    pub(crate) down: usize,
    pub(crate) down_bias: Option<usize>,
}

/// All parameters of a transformer, in the order in which everything visits them.
#[derive(Clone, Debug)]
pub(crate) struct Layout {
    pub(crate) specs: Vec<ParameterSpec>,
    pub(crate) embedding: usize,
    pub(crate) layers: Vec<LayerSlots>,
    pub(crate) norm: usize,
    /// `None` where the output projection is the embedding.
    pub(crate) head: Option<usize>,
}

impl Layout {
    pub(crate) fn new(config: &ModelConfig) -> Self {
        let mut list = List { specs: Vec::new() };
        let embedding = list.push(
            vec![("model.embed_tokens.weight".into(), config.vocabulary)],
            Some(config.hidden),
            ParameterGroup::Embedding,
        );
        let layers = (0..config.layers).map(|layer| list.layer(layer, config)).collect();
        let norm = list.vector("model.norm.weight".into(), config.hidden);
        let head = (!config.tied).then(|| {
            list.push(
                vec![("lm_head.weight".into(), config.vocabulary)],
                Some(config.hidden),
                ParameterGroup::Embedding,
            )
        });
        Self { specs: list.specs, embedding, layers, norm, head }
    }

    /// Parameters in all; a tied embedding counts once.
    pub(crate) fn parameters(&self) -> u64 {
        self.specs.iter().map(|spec| spec.len() as u64).sum()
    }
}

/// The linear layers of one block that are stored as one matrix each: name of the tensor (without `.weight`), rows.
pub(crate) fn fused_linears(config: &ModelConfig) -> [Vec<(&'static str, usize)>; 4] {
    let (query, key) = (config.heads * config.head_dim, config.kv_heads * config.head_dim);
    [
        vec![("self_attn.q_proj", query), ("self_attn.k_proj", key), ("self_attn.v_proj", key)],
        vec![("self_attn.o_proj", config.hidden)],
        vec![("mlp.gate_proj", config.intermediate), ("mlp.up_proj", config.intermediate)],
        vec![("mlp.down_proj", config.hidden)],
    ]
}

/// Width of a row of queries, keys and values.
pub(crate) fn qkv_width(config: &ModelConfig) -> usize {
    (config.heads + 2 * config.kv_heads) * config.head_dim
}

/// Outputs of the four fused linear layers.
pub(crate) fn linear_outputs(config: &ModelConfig) -> [usize; 4] {
    [qkv_width(config), config.hidden, 2 * config.intermediate, config.hidden]
}

/// Inputs of the four fused linear layers.
pub(crate) fn linear_inputs(config: &ModelConfig) -> [usize; 4] {
    [config.hidden, config.heads * config.head_dim, config.hidden, config.intermediate]
}

struct List {
    specs: Vec<ParameterSpec>,
}

impl List {
    fn push(&mut self, parts: Vec<(String, usize)>, columns: Option<usize>, group: ParameterGroup) -> usize {
        self.specs.push(ParameterSpec::new(parts, columns, group));
        self.specs.len() - 1
    }

    fn vector(&mut self, name: String, length: usize) -> usize {
        self.push(vec![(name, length)], None, ParameterGroup::Vector)
    }

    /// A fused matrix and, where `bias`, its fused bias.
    fn linear(
        &mut self,
        layer: usize,
        parts: &[(&str, usize)],
        inputs: usize,
        bias: bool,
    ) -> (usize, Option<usize>) {
        let named = |suffix: &str| {
            parts
                .iter()
                .map(|(part, rows)| (format!("model.layers.{layer}.{part}.{suffix}"), *rows))
                .collect()
        };
        let matrix = self.push(named("weight"), Some(inputs), ParameterGroup::Matrix);
        let bias = bias.then(|| self.push(named("bias"), None, ParameterGroup::Vector));
        (matrix, bias)
    }

    fn layer(&mut self, layer: usize, config: &ModelConfig) -> LayerSlots {
        let [qkv_parts, output_parts, gate_up_parts, down_parts] = fused_linears(config);
        let [qkv_in, output_in, gate_up_in, down_in] = linear_inputs(config);
        let name = |rest: &str| format!("model.layers.{layer}.{rest}.weight");
        let input_norm = self.vector(name("input_layernorm"), config.hidden);
        let (qkv, qkv_bias) = self.linear(layer, &qkv_parts, qkv_in, config.qkv_bias);
        let query_norm = config.qk_norm.then(|| self.vector(name("self_attn.q_norm"), config.head_dim));
        let key_norm = config.qk_norm.then(|| self.vector(name("self_attn.k_norm"), config.head_dim));
        let (output, output_bias) = self.linear(layer, &output_parts, output_in, config.output_bias);
        let post_norm = self.vector(name("post_attention_layernorm"), config.hidden);
        let (gate_up, gate_up_bias) = self.linear(layer, &gate_up_parts, gate_up_in, config.mlp_bias);
        let (down, down_bias) = self.linear(layer, &down_parts, down_in, config.mlp_bias);
        LayerSlots {
            input_norm,
            qkv,
            qkv_bias,
            query_norm,
            key_norm,
            output,
            output_bias,
            post_norm,
            gate_up,
            gate_up_bias,
            down,
            down_bias,
        }
    }
}
