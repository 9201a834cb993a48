//! Tokens that stand before every sequence, on frozen weights: of them the embeddings are trained (prompt tuning, Lester et al.
//! 2021) or the keys and values of every layer (prefix tuning, Li and Liang 2021).
//!
//! They are the smallest artefacts there are: `tokens * hidden` values, and `tokens * layers * 2 * kv_heads * head_dim`. To the
//! transformer they are tokens beyond its vocabulary, so that they are cached, packed and continued as any other beginning is.

use std::collections::BTreeMap;
use std::io::Write as _;
use std::path::Path;

use rand::{Rng, SeedableRng};
use rand_pcg::Pcg64;
use serde_json::{Value, json};

use super::{LARGEST_CONFIG, Lora, LoraConfig, VirtualPart, virtual_past};
use crate::Error;
use crate::config::ModelConfig;
use crate::transformer::{Batch, Gradients, ParameterGroup, ParameterSpec, Transformer};
use crate::weights::{
    Dtype, SafetensorsFile, Source, Tensors, read_limited, write_atomically, write_safetensors,
};

/// The name of their tensor in PEFT's files.
pub(super) const NAME: &str = "prompt_embeddings";
/// What PEFT calls the two.
pub(super) const PROMPT_TUNING: &str = "PROMPT_TUNING";
pub(super) const PREFIX_TUNING: &str = "PREFIX_TUNING";

/// The parameter that they are.
pub(super) fn spec(tokens: usize, hidden: usize) -> ParameterSpec {
    ParameterSpec::new(vec![(NAME.to_owned(), tokens)], Some(hidden), ParameterGroup::Embedding)
}

impl LoraConfig {
    /// Prompt tuning with so many virtual tokens, and no adapter on any layer.
    pub fn virtual_tokens(tokens: usize) -> Self {
        Self { virtual_tokens: tokens, targets: Vec::new(), ..Self::with_rank(1) }
    }

    /// Prefix tuning with so many virtual tokens, and no adapter on any layer.
    pub fn prefix(tokens: usize) -> Self {
        Self { virtual_part: VirtualPart::KeysAndValues, ..Self::virtual_tokens(tokens) }
    }

    /// The ids of the virtual tokens on a model of `vocabulary` tokens: those after its own. None without any.
    pub fn virtual_ids(&self, vocabulary: usize) -> impl Iterator<Item = u32> + use<> {
        (vocabulary..vocabulary + self.virtual_tokens).map(|id| id as u32)
    }
}

impl Lora {
    /// Starts the virtual tokens as those of the configuration, the rest as random tokens of the vocabulary (Lester et al.
    /// 2021, section 3.2; Li and Liang 2021, section 7.4: what real words activate is a far better start than noise).
    pub(super) fn start_virtual(&mut self, base: &Transformer) -> Result<(), Error> {
        let LoraConfig { virtual_tokens: count, virtual_start, seed, .. } = self.config();
        let (hidden, vocabulary) = (base.config().hidden, base.config().vocabulary as u64);
        let mut random = Pcg64::seed_from_u64(*seed);
        let others = std::iter::repeat_with(|| (random.next_u64() % vocabulary) as u32);
        let tokens: Vec<u32> = virtual_start.iter().copied().chain(others).take(*count).collect();
        if tokens.is_empty() {
            return Ok(());
        }
        if self.trains_embeddings() {
            for (row, &token) in self.embeddings.chunks_exact_mut(hidden).zip(&tokens) {
                base.embedding_row(token as usize, row);
            }
            return Ok(());
        }
        let started = base.keys_and_values(&tokens)?;
        self.pasts_mut().zip(started).for_each(|(past, values)| past.values = values);
        Ok(())
    }

    /// The embedding of the virtual token `id`, on a model of `vocabulary` tokens.
    pub(crate) fn embedding(&self, id: u32, vocabulary: usize, hidden: usize) -> &[f32] {
        let number = if self.trains_embeddings() { id as usize - vocabulary } else { 0 };
        &self.embeddings[number * hidden..][..hidden]
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

    /// Writes PEFT's folder of a prompt or prefix tuning.
    pub(super) fn save_virtual(&self, folder: &Path, base_model: &str) -> Result<(), Error> {
        std::fs::create_dir_all(folder).map_err(|error| Error::io(folder, error))?;
        let tokens = self.config().virtual_tokens;
        let [heads, kv_heads] = self.heads();
        let metadata = BTreeMap::from([("format".to_owned(), "pt".to_owned())]);
        let mut config = json!({
            "base_model_name_or_path": base_model,
            "inference_mode": true,
            "num_layers": self.layers(),
            "num_transformer_submodules": 1,
            "num_virtual_tokens": tokens,
            "task_type": "CAUSAL_LM",
        });
        let (values, own) = match self.config().virtual_part {
            VirtualPart::Embeddings => {
                let own = json!({
                    "num_attention_heads": heads,
                    "peft_type": PROMPT_TUNING,
                    "prompt_tuning_init": "RANDOM",
                    "token_dim": self.embeddings.len() / tokens,
                });
                (self.embeddings.clone(), own)
            }
            VirtualPart::KeysAndValues => {
                let values = self.past_rows();
                let width = values.len() / tokens / self.layers() / 2;
                let own = json!({
                    "encoder_hidden_size": width,
                    "num_attention_heads": kv_heads,
                    "peft_type": PREFIX_TUNING,
                    "prefix_projection": false,
                    "token_dim": width,
                });
                (values, own)
            }
        };
        if let (Some(config), Value::Object(own)) = (config.as_object_mut(), own) {
            config.extend(own);
        }
        let tensors = [(NAME.to_owned(), vec![tokens, values.len() / tokens], values.as_slice())];
        write_safetensors(&folder.join("adapter_model.safetensors"), &tensors, Dtype::F32, &metadata)?;
        let config = format!("{config:#}\n");
        write_atomically(&folder.join("adapter_config.json"), |file| file.write_all(config.as_bytes()))
    }

    /// Keys and values as PEFT keeps them: `[tokens, layers, 2, kv_heads * head_dim]`.
    fn past_rows(&self) -> Vec<f32> {
        let tokens = self.config().virtual_tokens;
        let row = |token: usize| {
            self.pasts().flat_map(move |past| {
                let width = past.values.len() / tokens;
                past.values[token * width..][..width].iter().copied()
            })
        };
        (0..tokens).flat_map(row).collect()
    }

    /// Reads what [`Lora::save_virtual`] or PEFT wrote; `None` where the folder holds another kind of adapter.
    pub(super) fn load_virtual(folder: &Path, model: &ModelConfig) -> Result<Option<Self>, Error> {
        let place = folder.join("adapter_config.json");
        let at = |key: &str| format!("{}: {key}", place.display());
        let config: Value = serde_json::from_slice(&read_limited(&place, LARGEST_CONFIG)?)
            .map_err(|error| Error::format(place.display().to_string(), error.to_string()))?;
        let (make, row): (fn(usize) -> LoraConfig, usize) =
            match config.get("peft_type").and_then(Value::as_str) {
                Some(PROMPT_TUNING) => (LoraConfig::virtual_tokens, model.hidden),
                Some(PREFIX_TUNING) => (LoraConfig::prefix, model.layers * virtual_past::width(model)),
                _ => return Ok(None),
            };
        if config.get("num_transformer_submodules").and_then(Value::as_u64).is_some_and(|count| count != 1) {
            return Err(Error::unsupported(at("num_transformer_submodules"), "a prompt of an encoder too"));
        }
        let file = SafetensorsFile::new(Source::open(&folder.join("adapter_model.safetensors"))?)?;
        let shape = file.shape(NAME).unwrap_or_default();
        let stated = config.get("num_virtual_tokens").and_then(Value::as_u64).unwrap_or(0) as usize;
        if stated == 0 || shape != [stated, row] {
            let expected = vec![stated, row];
            return Err(Error::Shape { name: NAME.to_owned(), expected, found: Some(shape) });
        }
        let mut lora = Self::new(make(stated), model)?;
        let values = file.read(NAME)?;
        if lora.trains_embeddings() {
            lora.embeddings = values;
        } else {
            let width = virtual_past::width(model);
            for (index, past) in lora.pasts_mut().enumerate() {
                let rows = past.values.chunks_exact_mut(width).zip(values.chunks_exact(row));
                rows.for_each(|(own, all)| own.copy_from_slice(&all[index * width..][..width]));
            }
        }
        Ok(Some(lora))
    }
}
