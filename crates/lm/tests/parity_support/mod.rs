//! The fixtures of `fixtures/scripts/parity_models.py`, read without the code under test.

#![allow(dead_code, reason = "each test program uses a part")]

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use kernels::matrix::{Precision, Use};
use lm::adapter::{Lora, LoraConfig};
use lm::config::ModelConfig;
use lm::transformer::{Batch, TensorMap, Transformer};
use safetensors::SafeTensors;
use serde_json::Value;

/// Where the fixtures are.
pub(crate) fn fixtures() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures")
}

/// Every variant that transformers was asked about.
pub(crate) const VARIANTS: [&str; 11] = [
    "llama",
    "llama_bias",
    "llama_linear",
    "llama_dynamic",
    "llama_llama3",
    "llama_yarn",
    "llama_longrope",
    "mistral",
    "qwen2",
    "qwen2_window",
    "qwen3",
];

/// Name, shape and values of every tensor of a safetensors file of 32-bit numbers.
pub(crate) fn read_tensors(path: &Path) -> BTreeMap<String, (Vec<usize>, Vec<f32>)> {
    let bytes = fs::read(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    let file = SafeTensors::deserialize(&bytes).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    let tensor = |(name, view): (String, safetensors::tensor::TensorView<'_>)| {
        assert_eq!(view.dtype(), safetensors::Dtype::F32, "{name}");
        let values = view.data().chunks_exact(4).map(|b| f32::from_le_bytes([b[0], b[1], b[2], b[3]]));
        (name, (view.shape().to_vec(), values.collect()))
    };
    file.tensors().into_iter().map(tensor).collect()
}

/// A JSON file.
pub(crate) fn read_json(path: &Path) -> Value {
    let bytes = fs::read(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    serde_json::from_slice(&bytes).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

/// A token sequence; the tokens from `prompt` on have a loss.
#[derive(Clone, Debug)]
pub(crate) struct Sequence {
    pub(crate) tokens: Vec<u32>,
    pub(crate) prompt: usize,
}

/// One variant and what PyTorch says about it.
pub(crate) struct Variant {
    pub(crate) name: String,
    pub(crate) config: ModelConfig,
    /// The Hugging Face folder of its weights; its `config.json` may be another variant's.
    pub(crate) weights: PathBuf,
    pub(crate) sequences: Vec<Sequence>,
    /// This variant's part of `parity_models.json`.
    pub(crate) facts: Value,
    /// The whole of it.
    pub(crate) all: Value,
    pub(crate) expected: BTreeMap<String, (Vec<usize>, Vec<f32>)>,
}

impl Variant {
    pub(crate) fn read(name: &str) -> Self {
        let all = read_json(&fixtures().join("parity_models.json"));
        let facts = all["variants"][name].clone();
        let config = config(name, "");
        let sequences = all["sequences"].as_array().expect("a list").iter().map(|sequence| Sequence {
            tokens: tokens(&sequence["tokens"]),
            prompt: sequence["prompt"].as_u64().expect("a number") as usize,
        });
        Self {
            name: name.to_owned(),
            config,
            weights: fixtures().join(facts["weights"].as_str().expect("a folder")),
            sequences: sequences.collect(),
            expected: read_tensors(&fixtures().join(format!("parity_{name}.safetensors"))),
            facts,
            all,
        }
    }

    /// The transformer, its tensors read by the safetensors crate.
    pub(crate) fn transformer(&self, usage: Use) -> Transformer {
        let mut map = TensorMap::new();
        for entry in fs::read_dir(&self.weights).expect("the folder of weights") {
            let path = entry.expect("an entry").path();
            if path.extension().is_some_and(|extension| extension == "safetensors") {
                for (name, (shape, values)) in read_tensors(&path) {
                    map.insert(name, shape, values);
                }
            }
        }
        Transformer::new(self.config.clone(), &map, Precision::F32, usage).expect("the fixture's weights")
    }

    /// The adapter that PEFT wrote, its tensors read by the safetensors crate.
    pub(crate) fn adapter(&self) -> Lora {
        let tensors = read_tensors(&self.weights.join("adapter/adapter_model.safetensors"));
        let mut config =
            LoraConfig::with_rank(self.all["adapter"]["rank"].as_u64().expect("a rank") as usize);
        config.alpha = self.all["adapter"]["alpha"].as_f64().expect("an alpha");
        let read = |name: &str, shape: &[usize]| {
            let (found, values) = tensors.get(name).unwrap_or_else(|| panic!("no tensor {name}"));
            assert_eq!(found, shape, "{name}");
            Ok(values.clone())
        };
        Lora::from_named(config, &self.config, read).expect("the fixture's adapter")
    }

    /// The batches to run: all sequences packed together, or, where the rotary frequencies depend on the length of
    /// the longest sequence beside it, one by one (so were the fixtures made).
    pub(crate) fn batches(&self) -> Vec<Vec<usize>> {
        match self.name.as_str() {
            "llama_dynamic" | "llama_longrope" => {
                (0..self.sequences.len()).map(|index| vec![index]).collect()
            }
            _ => vec![(0..self.sequences.len()).collect()],
        }
    }

    pub(crate) fn number(&self, key: &str) -> f64 {
        self.facts[key].as_f64().unwrap_or_else(|| panic!("{key} is no number"))
    }

    pub(crate) fn numbers(&self, key: &str) -> Vec<f64> {
        let list = self.facts[key].as_array().unwrap_or_else(|| panic!("{key} is no list"));
        list.iter().map(|value| value.as_f64().expect("a number")).collect()
    }
}

/// The configuration of a variant; `form` is empty, or `.old` for the keys of transformers 4.
pub(crate) fn config(variant: &str, form: &str) -> ModelConfig {
    let path = fixtures().join(format!("parity_configs/{variant}{form}.json"));
    let bytes = fs::read(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    ModelConfig::from_hf_json(&bytes, &path.display().to_string()).unwrap_or_else(|error| panic!("{error}"))
}

/// Token ids in JSON.
pub(crate) fn tokens(value: &Value) -> Vec<u32> {
    value.as_array().expect("a list").iter().map(|token| token.as_u64().expect("a token") as u32).collect()
}

/// The loss that the fixtures have: rows that predict the completions, and the tokens after them.
pub(crate) fn supervised(sequences: &[&Sequence]) -> (Batch, Vec<usize>, Vec<u32>) {
    let (mut batch, mut rows, mut targets) = (Batch::new(), Vec::new(), Vec::new());
    for sequence in sequences {
        let start = batch.push(&sequence.tokens);
        rows.extend((sequence.prompt..sequence.tokens.len()).map(|position| start + position - 1));
        targets.extend_from_slice(&sequence.tokens[sequence.prompt..]);
    }
    (batch, rows, targets)
}

/// The largest difference of two lists of the same length.
pub(crate) fn largest_difference(found: &[f32], expected: &[f32]) -> f32 {
    assert_eq!(found.len(), expected.len());
    assert!(found.iter().all(|value| value.is_finite()));
    found.iter().zip(expected).map(|(a, b)| (a - b).abs()).fold(0.0, f32::max)
}

/// Norm of the difference over the norm of what is expected.
pub(crate) fn relative_difference(found: &[f32], expected: &[f32]) -> f64 {
    assert_eq!(found.len(), expected.len());
    let norm = |values: &mut dyn Iterator<Item = f64>| values.map(|value| value * value).sum::<f64>().sqrt();
    let difference = norm(&mut found.iter().zip(expected).map(|(a, b)| f64::from(*a) - f64::from(*b)));
    difference / norm(&mut expected.iter().map(|value| f64::from(*value)))
}
