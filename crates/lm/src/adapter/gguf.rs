//! Adapters as llama.cpp reads them.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use super::Lora;
use super::peft::{PeftAdapter, fold, short};
use crate::Error;
use crate::config::ModelConfig;
use crate::weights::gguf::{
    Container, FileTensor, GgufWriter, gguf_name, huggingface_name, interleaved_heads, join_pairs, part_pairs,
};
use crate::weights::{Dtype, Source};

impl PeftAdapter {
    /// Writes the adapter as a GGUF file for llama.cpp's `--lora`, in 32 bits: the scale is in B, so that it is 1 there, and
    /// queries' and keys' rows are in the order of the base model's own GGUF file. `model` is the base model's shape.
    ///
    /// # Errors
    /// [`Error::Format`] as [`PeftAdapter::modules`]; [`Error::Unsupported`] names a module that GGUF has no name for;
    /// [`Error::Io`] names `path`.
    pub fn write_gguf(&self, path: &Path, model: &ModelConfig) -> Result<(), Error> {
        if self.magnitudes {
            let reason = "llama.cpp reads no magnitudes (DoRA): ship the merged model";
            return Err(Error::unsupported(path.display().to_string(), reason));
        }
        let modules = self.modules(&path.display().to_string())?;
        let rank = modules.iter().map(|module| module.rank).max().unwrap_or(self.rank);
        let mut file = GgufWriter::new();
        file.text("general.architecture", &model.architecture);
        file.text("general.type", "adapter");
        if let Some(base) = &self.base_model {
            file.text("general.base_model.0.name", base);
        }
        file.text("adapter.type", "lora");
        // llama.cpp multiplies by alpha / rank.
        file.float("adapter.lora.alpha", rank as f32);
        for module in &modules {
            let weight = format!("{}.weight", module.name);
            let name = gguf_name(&weight)
                .ok_or_else(|| Error::unsupported(module.name, "GGUF has no name for this module"))?;
            let (down, up) = fold(module, rank);
            let up = match interleaved_heads(model, &weight) {
                Some(heads) => join_pairs(&up, module.outputs, heads),
                None => up,
            };
            file.tensor(format!("{name}.lora_a"), vec![rank, module.inputs], Dtype::F32, down);
            file.tensor(format!("{name}.lora_b"), vec![module.outputs, rank], Dtype::F32, up);
        }
        file.write(path)
    }

    /// Reads what [`PeftAdapter::write_gguf`] or llama.cpp's converter wrote for a model of the shape `model`.
    ///
    /// # Errors
    /// [`Error::Format`] where it is no such adapter; [`Error::Unsupported`] names a tensor that is none of a linear layer's.
    pub fn read_gguf(path: &Path, model: &ModelConfig) -> Result<Self, Error> {
        let container = Container::new(Source::open(path)?)?;
        let place = |what: &str| format!("{}: {what}", path.display());
        if container.metadata.text("adapter.type")? != Some("lora") {
            return Err(Error::format(place("adapter.type"), "not a LoRA adapter"));
        }
        let alpha = container.metadata.number("adapter.lora.alpha")?;
        let alpha = alpha.ok_or_else(|| Error::format(place("adapter.lora.alpha"), "absent"))?;
        let mut tensors = BTreeMap::new();
        let (mut rank, mut targets) = (0, BTreeSet::new());
        let names: Vec<String> = container.places.keys().cloned().collect();
        for own in names {
            let unknown =
                || Error::unsupported(place(&own), "a tensor other than lora_a and lora_b of a layer");
            let (weight, which) = own.rsplit_once('.').ok_or_else(unknown)?;
            let name = huggingface_name(weight).ok_or_else(unknown)?;
            let module = name.strip_suffix(".weight").ok_or_else(unknown)?;
            let Some(FileTensor { shape, values }) = container.tensor(&own)? else { continue };
            let (matrix, values) = match (which, interleaved_heads(model, &name)) {
                ("lora_a", _) => {
                    rank = rank.max(shape.first().copied().unwrap_or(0));
                    ("lora_A", values)
                }
                ("lora_b", Some(heads)) if shape[0].is_multiple_of(2 * heads) => {
                    ("lora_B", part_pairs(&values, shape[0], heads))
                }
                ("lora_b", _) => ("lora_B", values),
                _ => return Err(unknown()),
            };
            targets.insert(short(module).to_owned());
            tensors.insert(format!("{module}.{matrix}.weight"), (shape, values));
        }
        Ok(Self {
            rank,
            alpha,
            rank_stabilized: false,
            magnitudes: false,
            target_modules: targets.into_iter().collect(),
            base_model: None,
            rank_pattern: BTreeMap::new(),
            alpha_pattern: BTreeMap::new(),
            tensors,
        })
    }
}

impl Lora {
    /// Writes the adapter as a GGUF file: see [`PeftAdapter::write_gguf`].
    ///
    /// # Errors
    /// [`Error::Io`] names `path`.
    pub fn save_gguf(&self, path: &Path, base_model: &str, model: &ModelConfig) -> Result<(), Error> {
        self.to_peft(base_model).write_gguf(path, model)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::adapter::LoraConfig;

    /// What is written is read back value for value: queries' and keys' rows through the order of GGUF and back.
    #[test]
    fn an_adapter_survives_the_way_through_gguf() {
        let json = br#"{"model_type":"llama","vocab_size":32,"hidden_size":16,"intermediate_size":24,"num_hidden_layers":2,
            "num_attention_heads":4,"num_key_value_heads":2,"max_position_embeddings":64,"rms_norm_eps":1e-5}"#;
        let model = ModelConfig::from_hf_json(json, "test").unwrap();
        let mut peft = Lora::new(LoraConfig::with_rank(3), &model).unwrap().to_peft("base");
        for (name, (_, values)) in &mut peft.tensors {
            let seed = name.len() as f32;
            values.iter_mut().enumerate().for_each(|(index, value)| *value = (seed + index as f32).sin());
        }
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("adapter.gguf");
        peft.write_gguf(&path, &model).unwrap();
        let read = PeftAdapter::read_gguf(&path, &model).unwrap();
        let (wanted, found) =
            (Lora::from_peft(&peft, &model).unwrap(), Lora::from_peft(&read, &model).unwrap());
        assert_eq!(wanted.named_tensors(), found.named_tensors());
        // In the file, row 1 of the first head's queries is what row 2 of 4 is here: halves become pairs.
        let container = Container::new(Source::open(&path).unwrap()).unwrap();
        let up = container.tensor("blk.0.attn_q.weight.lora_b").unwrap().unwrap();
        let own = &peft.tensors["model.layers.0.self_attn.q_proj.lora_B.weight"].1;
        assert_eq!(up.shape, [16, 3]);
        let folded: Vec<f32> = own[6..9].iter().map(|value| value * 2.0).collect();
        assert_eq!(up.values[3..6], folded[..]);
    }
}
