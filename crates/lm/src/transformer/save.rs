//! Writing a transformer as a Hugging Face folder.

use std::collections::BTreeMap;
use std::io::Write;
use std::path::Path;

use super::{Layer, Parameters, Transformer};
use crate::Error;
use crate::weights::{Dtype, write_atomically, write_safetensors};

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
