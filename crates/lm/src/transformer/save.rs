//! Writing a transformer as a Hugging Face folder.

use std::collections::BTreeMap;
use std::io::Write;
use std::path::Path;

use super::{Layer, Parameters, Transformer};
use crate::Error;
use crate::config::ModelConfig;
use crate::weights::gguf::{
    Container, FileTensor, GgufWriter, ROTARY, gguf_name, interleaved_heads, join_pairs, read_config,
};
use crate::weights::{Dtype, Source, write_atomically, write_safetensors};

impl Transformer {
    /// All weights by their Hugging Face names: name, shape, values. A tied output projection is not among them.
    /// From bfloat16 storage one gets the rounded weights.
    pub fn named_tensors(&self) -> Vec<(String, Vec<usize>, Vec<f32>)> {
        let mut named = Vec::new();
        for (spec, values) in self.specs().iter().zip(self.stored_values()) {
            named
                .extend(spec.split(&values).map(|(name, shape, own)| (name.to_owned(), shape, own.to_vec())));
        }
        named
    }

    /// Writes `config.json` and `model.safetensors` into `folder`, which is made where it is absent. The weights come
    /// last: a folder with weights is complete. The tokenizer is not the transformer's to write.
    ///
    /// # Errors
    /// [`Error::Io`] names the file that could not be written.
    pub fn save(&self, folder: &Path, dtype: Dtype) -> Result<(), Error> {
        std::fs::create_dir_all(folder).map_err(|error| Error::io(folder, error))?;
        let config = self.config.to_hf_json();
        write_atomically(&folder.join("config.json"), |file| file.write_all(config.as_bytes()))?;
        let named = self.named_tensors();
        let tensors: Vec<(String, Vec<usize>, &[f32])> = named
            .iter()
            .map(|(name, shape, values)| (name.clone(), shape.clone(), values.as_slice()))
            .collect();
        let metadata = BTreeMap::from([("format".to_owned(), "pt".to_owned())]);
        write_safetensors(&folder.join("model.safetensors"), &tensors, dtype, &metadata)
    }

    /// Writes `path` as a GGUF model: these weights (vectors in 32 bits, matrices as `dtype`) with the metadata, tokenizer
    /// and chat template of `original`, the GGUF file that the model came from.
    ///
    /// # Errors
    /// [`Error::Format`] or [`Error::Shape`] where `original` is not of this model's shape; [`Error::Io`] names the file.
    pub fn save_gguf(&self, path: &Path, original: &Path, dtype: Dtype) -> Result<(), Error> {
        let container = Container::new(Source::open(original)?)?;
        let config = read_config(&container)?;
        if config.tensor_shapes() != self.config.tensor_shapes() {
            return Err(Error::format(original.display().to_string(), "a model of another shape"));
        }
        let mut file = GgufWriter::like(&container, dtype)?;
        self.put_weights(&config.architecture, dtype, &mut file)?;
        for name in ROTARY {
            if let Some(FileTensor { shape, values }) = container.tensor(name)? {
                file.tensor(name.to_owned(), shape, Dtype::F32, values);
            }
        }
        file.write(path)
    }

    /// Adds the weights as a GGUF model of `architecture` has them.
    pub(crate) fn put_weights(
        &self,
        architecture: &str,
        dtype: Dtype,
        file: &mut GgufWriter,
    ) -> Result<(), Error> {
        let config =
            ModelConfig { architecture: architecture.to_owned(), ..ModelConfig::clone(&self.config) };
        for (name, shape, values) in self.named_tensors() {
            let own = gguf_name(&name)
                .ok_or_else(|| Error::unsupported(name.as_str(), "GGUF has no name for this tensor"))?;
            let values = match interleaved_heads(&config, &name) {
                Some(heads) => join_pairs(&values, shape[0], heads),
                None => values,
            };
            file.tensor(own, shape, dtype, values);
        }
        Ok(())
    }

    /// The values of every parameter, in the order of the specs.
    fn stored_values(&self) -> Vec<Vec<f32>> {
        let mut values = vec![self.embedding.to_f32()];
        values.extend(self.layers.iter().flat_map(Layer::stored_values));
        values.push(self.norm.clone());
        values.extend(self.head.iter().map(|head| head.to_f32()));
        values
    }
}

impl Layer {
    /// In the order of the layout.
    fn stored_values(&self) -> Vec<Vec<f32>> {
        let mut values = vec![self.input_norm.clone(), self.qkv.matrix.to_f32()];
        values.extend(self.qkv.bias.clone());
        values.extend(self.query_norm.clone());
        values.extend(self.key_norm.clone());
        values.push(self.output.matrix.to_f32());
        values.extend(self.output.bias.clone());
        values.push(self.post_norm.clone());
        values.push(self.gate_up.matrix.to_f32());
        values.extend(self.gate_up.bias.clone());
        values.push(self.down.matrix.to_f32());
        values.extend(self.down.bias.clone());
        values
    }
}
