//! Prompt tuning (Lester et al. 2021): trained embeddings of tokens that stand before every sequence, on frozen weights.
//!
//! They are the smallest artefact there is: `tokens * hidden` values. To the transformer they are tokens beyond its
//! vocabulary, so that they are cached, packed and continued as any other beginning is.

use std::collections::BTreeMap;
use std::io::Write as _;
use std::path::Path;

use rand::{Rng, SeedableRng};
use rand_pcg::Pcg64;
use serde_json::{Value, json};

use super::{LARGEST_CONFIG, Lora, LoraConfig};
use crate::Error;
use crate::config::ModelConfig;
use crate::transformer::{Batch, Gradients, ParameterGroup, ParameterSpec, Transformer};
use crate::weights::{
    Dtype, SafetensorsFile, Source, Tensors, read_limited, write_atomically, write_safetensors,
};

/// The name of their tensor in PEFT's files.
pub(super) const NAME: &str = "prompt_embeddings";

/// The parameter that they are.
pub(super) fn spec(tokens: usize, hidden: usize) -> ParameterSpec {
    ParameterSpec::new(vec![(NAME.to_owned(), tokens)], Some(hidden), ParameterGroup::Embedding)
}

impl LoraConfig {
    /// Prompt tuning with so many virtual tokens, and no adapter on any layer.
    pub fn virtual_tokens(tokens: usize) -> Self {
        Self { virtual_tokens: tokens, targets: Vec::new(), ..Self::with_rank(1) }
    }

    /// The ids of the virtual tokens on a model of `vocabulary` tokens: those after its own. None without any.
    pub fn virtual_ids(&self, vocabulary: usize) -> impl Iterator<Item = u32> + use<> {
        (vocabulary..vocabulary + self.virtual_tokens).map(|id| id as u32)
    }
}

impl Lora {
    /// Starts every virtual token as a random token of the vocabulary (Lester et al. 2021, section 3.2).
    pub(super) fn start_virtual(&mut self, base: &Transformer) {
        let hidden = base.config().hidden;
        let mut random = Pcg64::seed_from_u64(self.config().seed);
        for row in self.embeddings.chunks_exact_mut(hidden) {
            base.embedding_row((random.next_u64() % base.config().vocabulary as u64) as usize, row);
        }
    }

    /// The embedding of the virtual token `id`, on a model of `vocabulary` tokens.
    pub(crate) fn embedding(&self, id: u32, vocabulary: usize, hidden: usize) -> &[f32] {
        &self.embeddings[(id as usize - vocabulary) * hidden..][..hidden]
    }

    /// Adds the gradients of the virtual tokens of `batch`, given those of its embedded rows.
    pub(crate) fn virtual_gradient(
        &self,
        batch: &Batch,
        dx: &[f32],
        gradients: &mut Gradients,
        model: &ModelConfig,
    ) {
        let Some(slot) = self.embeddings_slot() else { return };
        let sums = gradients.values_mut(slot);
        for (own, &token) in dx.chunks_exact(model.hidden).zip(&batch.tokens) {
            if let Some(number) = (token as usize).checked_sub(model.vocabulary) {
                let sum = &mut sums[number * model.hidden..][..model.hidden];
                sum.iter_mut().zip(own).for_each(|(sum, value)| *sum += value);
            }
        }
    }

    /// Writes PEFT's folder of a prompt tuning.
    pub(super) fn save_virtual(&self, folder: &Path, base_model: &str) -> Result<(), Error> {
        std::fs::create_dir_all(folder).map_err(|error| Error::io(folder, error))?;
        let tokens = self.config().virtual_tokens;
        let hidden = self.embeddings.len() / tokens;
        let shape = vec![tokens, hidden];
        let metadata = BTreeMap::from([("format".to_owned(), "pt".to_owned())]);
        let tensors = [(NAME.to_owned(), shape, self.embeddings.as_slice())];
        write_safetensors(&folder.join("adapter_model.safetensors"), &tensors, Dtype::F32, &metadata)?;
        let config = json!({
            "base_model_name_or_path": base_model,
            "inference_mode": true,
            "num_attention_heads": self.heads(),
            "num_layers": self.layers(),
            "num_transformer_submodules": 1,
            "num_virtual_tokens": tokens,
            "peft_type": "PROMPT_TUNING",
            "prompt_tuning_init": "RANDOM",
            "task_type": "CAUSAL_LM",
            "token_dim": hidden,
        });
        let config = format!("{config:#}\n");
        write_atomically(&folder.join("adapter_config.json"), |file| file.write_all(config.as_bytes()))
    }

    /// Reads what [`Lora::save_virtual`] or PEFT wrote; `None` where the folder holds another kind of adapter.
    pub(super) fn load_virtual(folder: &Path, model: &ModelConfig) -> Result<Option<Self>, Error> {
        let place = folder.join("adapter_config.json");
        let at = |key: &str| format!("{}: {key}", place.display());
        let config: Value = serde_json::from_slice(&read_limited(&place, LARGEST_CONFIG)?)
            .map_err(|error| Error::format(place.display().to_string(), error.to_string()))?;
        if config.get("peft_type").and_then(Value::as_str) != Some("PROMPT_TUNING") {
            return Ok(None);
        }
        if config.get("num_transformer_submodules").and_then(Value::as_u64).is_some_and(|count| count != 1) {
            return Err(Error::unsupported(at("num_transformer_submodules"), "a prompt of an encoder too"));
        }
        let file = SafetensorsFile::new(Source::open(&folder.join("adapter_model.safetensors"))?)?;
        let shape = file.shape(NAME).unwrap_or_default();
        let stated = config.get("num_virtual_tokens").and_then(Value::as_u64).unwrap_or(0) as usize;
        if stated == 0 || shape != [stated, model.hidden] {
            let expected = vec![stated, model.hidden];
            return Err(Error::Shape { name: NAME.to_owned(), expected, found: Some(shape) });
        }
        let mut lora = Self::new(LoraConfig::virtual_tokens(stated), model)?;
        lora.embeddings = file.read(NAME)?;
        Ok(Some(lora))
    }
}
