//! The shape of a model, from `config.json` (old and new keys) or GGUF metadata.

mod huggingface;
pub(crate) mod keys;
mod limits;
mod rotary;
mod writer;

pub use rotary::{RotaryConfig, RotaryScaling};

pub(crate) use limits::Limits;

use crate::Error;

/// Everything the forward pass needs to know beside the weights.
#[derive(Clone, Debug, PartialEq)]
pub struct ModelConfig {
    /// `llama`, `mistral`, `qwen2`, `qwen3`, ... as the file names it.
    pub architecture: String,
    /// Tokens in the embedding.
    pub vocabulary: usize,
    /// Width of the residual stream.
    pub hidden: usize,
    /// Width of the feed-forward layer.
    pub intermediate: usize,
    /// Number of layers.
    pub layers: usize,
    /// Query heads.
    pub heads: usize,
    /// Key/value heads.
    pub kv_heads: usize,
    /// Width of a head.
    pub head_dim: usize,
    /// Longest context, in tokens.
    pub context: usize,
    /// Epsilon of every RMSNorm.
    pub norm_epsilon: f32,
    /// Rotary embedding.
    pub rotary: RotaryConfig,
    /// The output projection is the embedding.
    pub tied: bool,
    /// q, k and v have a bias (Qwen2).
    pub qkv_bias: bool,
    /// The output projection of attention has a bias (Llama's `attention_bias: true` gives both).
    pub output_bias: bool,
    /// The feed-forward layer's products have a bias (`mlp_bias`).
    pub mlp_bias: bool,
    /// RMSNorm over each head of q and k before rotation (Qwen3).
    pub qk_norm: bool,
    /// Sliding window per layer: a position sees itself and the `window - 1` before it. `None` is full attention.
    /// Length `layers`.
    pub windows: Vec<Option<usize>>,
    /// Beginning-of-sequence token.
    pub bos: Option<u32>,
    /// Every token that ends a generation.
    pub eos: Vec<u32>,
}

impl ModelConfig {
    /// The configuration in a `config.json`; `place` names the file in errors.
    ///
    /// Keys that transformers has a default for may be absent; sizes may not. Both the older keys (`rope_theta`,
    /// `rope_scaling`) and the newer (`rope_parameters`) are read.
    ///
    /// # Errors
    /// [`Error::Format`] names the key that is absent, of the wrong type, beyond its limit or inconsistent with
    /// another; [`Error::Unsupported`] names an architecture, activation or variant that this engine does not run.
    pub fn from_hf_json(bytes: &[u8], place: &str) -> Result<Self, Error> {
        huggingface::read(bytes, place)
    }

    /// The `config.json` that transformers reads as this model: new keys (`rope_parameters`), `dtype` float32.
    pub fn to_hf_json(&self) -> String {
        writer::write(self)
    }

    /// Checks every relation between the sizes; `place` names the file in errors.
    pub(crate) fn check(&self, place: &str) -> Result<(), Error> {
        limits::check(self, place)
    }

    /// Every tensor that this model has, by its Hugging Face name, with its shape (`[out, in]` for a matrix), in the
    /// order of the forward pass.
    pub fn tensor_shapes(&self) -> Vec<(String, Vec<usize>)> {
        let mut shapes = vec![("model.embed_tokens.weight".to_owned(), vec![self.vocabulary, self.hidden])];
        for layer in 0..self.layers {
            for (part, shape) in self.layer_shapes() {
                shapes.push((format!("model.layers.{layer}.{part}"), shape));
            }
        }
        shapes.push(("model.norm.weight".to_owned(), vec![self.hidden]));
        if !self.tied {
            shapes.push(("lm_head.weight".to_owned(), vec![self.vocabulary, self.hidden]));
        }
        shapes
    }

    /// Parameters of the model, counting a tied output projection once.
    pub fn parameters(&self) -> u64 {
        let count = |shape: &[usize]| shape.iter().map(|&size| size as u64).product::<u64>();
        let layer: u64 = self.layer_shapes().iter().map(|(_, shape)| count(shape)).sum();
        let embedding = self.vocabulary as u64 * self.hidden as u64;
        let output = if self.tied { 0 } else { embedding };
        embedding + output + self.hidden as u64 + layer * self.layers as u64
    }

    /// The tensors of one layer, without the `model.layers.N.` before their names.
    fn layer_shapes(&self) -> Vec<(&'static str, Vec<usize>)> {
        let (hidden, intermediate) = (self.hidden, self.intermediate);
        let query = self.heads * self.head_dim;
        let key = self.kv_heads * self.head_dim;
        let mut shapes = vec![
            ("input_layernorm.weight", vec![hidden]),
            ("self_attn.q_proj.weight", vec![query, hidden]),
            ("self_attn.k_proj.weight", vec![key, hidden]),
            ("self_attn.v_proj.weight", vec![key, hidden]),
            ("self_attn.o_proj.weight", vec![hidden, query]),
            ("post_attention_layernorm.weight", vec![hidden]),
            ("mlp.gate_proj.weight", vec![intermediate, hidden]),
            ("mlp.up_proj.weight", vec![intermediate, hidden]),
            ("mlp.down_proj.weight", vec![hidden, intermediate]),
        ];
        if self.qkv_bias {
            shapes.push(("self_attn.q_proj.bias", vec![query]));
            shapes.push(("self_attn.k_proj.bias", vec![key]));
            shapes.push(("self_attn.v_proj.bias", vec![key]));
        }
        if self.output_bias {
            shapes.push(("self_attn.o_proj.bias", vec![hidden]));
        }
        if self.mlp_bias {
            shapes.push(("mlp.gate_proj.bias", vec![intermediate]));
            shapes.push(("mlp.up_proj.bias", vec![intermediate]));
            shapes.push(("mlp.down_proj.bias", vec![hidden]));
        }
        if self.qk_norm {
            shapes.push(("self_attn.q_norm.weight", vec![self.head_dim]));
            shapes.push(("self_attn.k_norm.weight", vec![self.head_dim]));
        }
        shapes
    }
}
