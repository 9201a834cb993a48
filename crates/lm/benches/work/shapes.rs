//! Transformers with random weights, at shapes that need no file.

use lm::config::ModelConfig;
use lm::transformer::Transformer;
use lm::weights::Tensors;
use lm::{Error, Precision, Use};

/// The shape of SmolLM2-135M.
pub(crate) fn smollm2_135m() -> Result<ModelConfig, Error> {
    ModelConfig::from_hf_json(
        br#"{"model_type": "llama", "vocab_size": 49152, "hidden_size": 576, "intermediate_size": 1536,
             "num_hidden_layers": 30, "num_attention_heads": 9, "num_key_value_heads": 3,
             "max_position_embeddings": 8192, "rms_norm_eps": 1e-5, "rope_theta": 100000.0,
             "tie_word_embeddings": true}"#,
        "the shape of SmolLM2-135M",
    )
}

/// A shape of the same kind, with 2.4 million parameters, for quick runs.
pub(crate) fn small() -> Result<ModelConfig, Error> {
    ModelConfig::from_hf_json(
        br#"{"model_type": "llama", "vocab_size": 4096, "hidden_size": 192, "intermediate_size": 512,
             "num_hidden_layers": 4, "num_attention_heads": 3, "num_key_value_heads": 1,
             "max_position_embeddings": 4096, "rms_norm_eps": 1e-5, "rope_theta": 100000.0,
             "tie_word_embeddings": true}"#,
        "the small shape",
    )
}

/// A transformer with random weights: matrices uniform with variance `1/inputs`, embeddings with deviation 0.02,
/// norms 1. Tensor by tensor, so that it takes no more memory than loading a file does.
pub(crate) fn random(config: ModelConfig, precision: Precision, usage: Use) -> Result<Transformer, Error> {
    let tensors = Random(config.tensor_shapes());
    Transformer::new(config, &tensors, precision, usage)
}

/// Tensors that are drawn when they are read.
struct Random(Vec<(String, Vec<usize>)>);

impl Tensors for Random {
    fn names(&self) -> Vec<String> {
        let mut names: Vec<String> = self.0.iter().map(|(name, _)| name.clone()).collect();
        names.sort();
        names
    }

    fn shape(&self, name: &str) -> Option<Vec<usize>> {
        self.0.iter().find(|(own, _)| own == name).map(|(_, shape)| shape.clone())
    }

    fn read(&self, name: &str) -> Result<Vec<f32>, Error> {
        let index = self.0.iter().position(|(own, _)| own == name);
        let (Some(index), Some(shape)) = (index, self.shape(name)) else {
            return Err(Error::Invalid(format!("no tensor {name}")));
        };
        let deviation = match shape.as_slice() {
            [length] => return Ok(vec![1.0; *length]),
            [_, inputs] if !name.contains("embed") => 1.0 / (*inputs as f32).sqrt(),
            _ => 0.02,
        };
        Ok(uniform(index as u32 + 1, shape.iter().product(), deviation))
    }
}

/// Uniform numbers of mean 0 and the given deviation (Marsaglia's xorshift, 32 bits).
fn uniform(seed: u32, count: usize, deviation: f32) -> Vec<f32> {
    let mut state = seed.wrapping_mul(0x9E37_79B9) | 1;
    let width = 12f32.sqrt() * deviation / u32::MAX as f32;
    let mut draw = || {
        state ^= state << 13;
        state ^= state >> 17;
        state ^= state << 5;
        (state as f32 - 0.5 * u32::MAX as f32) * width
    };
    (0..count).map(|_| draw()).collect()
}
