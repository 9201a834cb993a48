//! Tiny random models of every variant.

#![allow(dead_code, reason = "each test file uses a part")]

use lm::Precision;
use lm::config::{ModelConfig, RotaryConfig, RotaryScaling};
use lm::transformer::{Parameters, Transformer};

/// Two layers, grouped-query attention, tied embedding.
pub(crate) fn llama() -> ModelConfig {
    ModelConfig {
        architecture: "llama".into(),
        vocabulary: 37,
        hidden: 24,
        intermediate: 40,
        layers: 2,
        heads: 4,
        kv_heads: 2,
        head_dim: 8,
        context: 64,
        norm_epsilon: 1e-5,
        rotary: RotaryConfig { theta: 10_000.0, scaling: RotaryScaling::Default },
        tied: true,
        qkv_bias: false,
        output_bias: false,
        mlp_bias: false,
        qk_norm: false,
        windows: vec![None; 2],
        bos: None,
        eos: vec![2],
    }
}

/// The variants that the engine has options for, by name.
pub(crate) fn variants() -> Vec<(&'static str, ModelConfig)> {
    let llama = llama();
    vec![
        ("llama", llama.clone()),
        ("qwen2", ModelConfig { architecture: "qwen2".into(), qkv_bias: true, ..llama.clone() }),
        ("qwen3", ModelConfig { architecture: "qwen3".into(), qk_norm: true, tied: false, ..llama.clone() }),
        (
            "mistral",
            ModelConfig {
                architecture: "mistral".into(),
                tied: false,
                windows: vec![Some(3), Some(3)],
                ..llama.clone()
            },
        ),
        (
            "alternating",
            ModelConfig {
                architecture: "qwen2".into(),
                qkv_bias: true,
                windows: vec![Some(4), None],
                ..llama.clone()
            },
        ),
        (
            "biases",
            ModelConfig { qkv_bias: true, output_bias: true, mlp_bias: true, kv_heads: 4, ..llama.clone() },
        ),
        ("wide heads", ModelConfig { heads: 2, kv_heads: 1, head_dim: 20, tied: false, ..llama }),
    ]
}

/// Random weights, where norms and biases are random too, so that a gradient that ignores them shows.
pub(crate) fn random(config: ModelConfig, seed: u64) -> Transformer {
    let mut transformer = Transformer::random(config, seed, Precision::F32).expect("a sound configuration");
    let vectors: Vec<bool> = transformer.specs().iter().map(|spec| spec.columns.is_none()).collect();
    let mut noise = Noise(seed + 1);
    for (mut parameter, vector) in transformer.parameters_mut().into_iter().zip(vectors) {
        let width = if vector { 0.3 } else { 0.1 };
        parameter.update(|values| values.iter_mut().for_each(|value| *value += width * noise.next()));
    }
    transformer
}

/// Adds noise to every parameter.
pub(crate) fn disturb(parameters: &mut dyn Parameters, seed: u64, width: f32) {
    let mut noise = Noise(seed);
    for mut parameter in parameters.parameters_mut() {
        parameter.update(|values| values.iter_mut().for_each(|value| *value += width * noise.next()));
    }
}

/// Tokens that differ.
pub(crate) fn tokens(count: usize, seed: u64) -> Vec<u32> {
    let mut noise = Noise(seed);
    (0..count).map(|_| ((noise.next() + 1.0) * 18.0) as u32).collect()
}

/// Uniform in -1 .. 1 (splitmix64).
pub(crate) struct Noise(pub(crate) u64);

impl Noise {
    pub(crate) fn next(&mut self) -> f32 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        ((z ^ (z >> 31)) >> 40) as f32 / (1u64 << 23) as f32 - 1.0
    }
}
