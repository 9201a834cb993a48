//! The model as a folder that this engine and transformers load.

use super::replace;
use super::vocabulary::{BOUNDARY, PADDING};
use anyhow::Result;
use lm::config::{ModelConfig, RotaryConfig, RotaryScaling};
use lm::transformer::{Parameters, Transformer};
use lm::weights::{Dtype, write_safetensors};
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::path::PathBuf;

/// A folder to write a model to.
pub(super) struct Folder(pub(super) PathBuf);

/// The sizes of the embedded model: 3.95 million parameters, 7.9 MB in 16 bits. More and wider attention than usual at this
/// width, because comparing and copying is all that it is for; few and wide heads, because a comparison in 60 dimensions is
/// worth several in 30; a large rotary base leaves more units that turn slowly and can compare content.
pub(super) fn config(vocabulary: usize) -> ModelConfig {
    let layers = 4;
    ModelConfig {
        architecture: "llama".to_owned(),
        vocabulary,
        hidden: 288,
        intermediate: 288,
        layers,
        heads: 4,
        kv_heads: 4,
        head_dim: 96,
        context: 2048,
        norm_epsilon: 1e-5,
        rotary: RotaryConfig { theta: 100_000_000.0, scaling: RotaryScaling::Default },
        tied: true,
        qkv_bias: false,
        output_bias: false,
        mlp_bias: false,
        qk_norm: false,
        windows: vec![None; layers],
        bos: Some(0),
        eos: vec![0],
    }
}

/// Writes configuration and weights (16 bits) to the folder; the tokenizer is there already.
pub(super) fn model(transformer: &mut Transformer, folder: &Folder) -> Result<()> {
    let Folder(folder) = folder;
    let snapshot = transformer.snapshot();
    let mut tensors = Vec::new();
    for (spec, values) in transformer.specs().iter().zip(&snapshot) {
        tensors.extend(spec.split(values).map(|(name, shape, own)| (name.to_owned(), shape, own)));
    }
    let metadata = BTreeMap::from([("format".to_owned(), "pt".to_owned())]);
    write_safetensors(&folder.join("model.safetensors"), &tensors, Dtype::F16, &metadata)?;
    let mut config: Value = serde_json::from_str(&transformer.config().to_hf_json())?;
    config["dtype"] = json!("float16");
    config["pad_token_id"] = json!(1);
    replace(&folder.join("config.json"), format!("{config:#}\n").as_bytes())?;
    let tokenizer = json!({
        "tokenizer_class": "PreTrainedTokenizerFast",
        "bos_token": BOUNDARY,
        "eos_token": BOUNDARY,
        "pad_token": PADDING,
        "model_max_length": transformer.config().context,
        "clean_up_tokenization_spaces": false,
    });
    replace(&folder.join("tokenizer_config.json"), format!("{tokenizer:#}\n").as_bytes())
}
