//! The shape of a model, from `config.json` (old and new keys) or GGUF metadata.

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
    /// Sliding window per layer; `None` is full attention. Length `layers`.
    pub windows: Vec<Option<usize>>,
    /// Beginning-of-sequence token.
    pub bos: Option<u32>,
    /// Every token that ends a generation.
    pub eos: Vec<u32>,
}

/// Rotary embedding and its scaling variants.
#[derive(Clone, Debug, PartialEq)]
pub struct RotaryConfig {
    /// Base of the geometric series of frequencies.
    pub theta: f64,
    /// How frequencies are stretched beyond the trained context.
    pub scaling: RotaryScaling,
}

/// `rope_type` of transformers, with the parameters each needs.
#[derive(Clone, Debug, PartialEq)]
pub enum RotaryScaling {
    /// None.
    Default,
    /// Positions divided by `factor`.
    Linear { factor: f64 },
    /// Dynamic NTK: as `Default` up to the original context.
    Dynamic { factor: f64, original_context: usize },
    /// Llama 3.
    Llama3 { factor: f64, low_frequency_factor: f64, high_frequency_factor: f64, original_context: usize },
    /// YaRN (Peng et al. 2023).
    Yarn { factor: f64, beta_fast: f64, beta_slow: f64, attention_factor: Option<f64>, original_context: usize },
    /// LongRoPE: one factor per frequency, short or long by context length.
    LongRope { short: Vec<f64>, long: Vec<f64>, attention_factor: Option<f64>, original_context: usize },
}
