//! Tuned weights as files that other programs read.

use std::path::Path;

use lm::adapter::Lora;
use lm::adapter::peft::PeftAdapter;
use lm::train::Trained;
use lm::transformer::Transformer;
use lm::weights::Dtype;
use lm::{Model, ModelSource, Precision, Use};
use task::predictor::{PredictError, Tuned};

use super::LocalModel;
use super::training::{LocalTuned, is_adapter};

impl LocalModel {
    /// Writes the adapter in the folder `adapter` as the GGUF file `path`.
    pub(crate) fn adapter_to_gguf(&self, adapter: &Path, path: &Path) -> Result<(), PredictError> {
        let read = PeftAdapter::read(adapter)?;
        make_folder(path.parent())?;
        Ok(read.write_gguf(path, &self.model.config)?)
    }

    /// Writes the tuned model whose weights are in `tuned` as a Hugging Face folder.
    pub(crate) fn merged_to_folder(
        &self,
        tuned: &Path,
        folder: &Path,
        dtype: Dtype,
    ) -> Result<(), PredictError> {
        make_folder(Some(folder))?;
        let tokenizer = self.model.tokenizer.to_json()?;
        task::atomic::write(&folder.join("tokenizer.json"), tokenizer.as_bytes())?;
        if let Some(template) = &self.model.chat_template {
            task::atomic::write(&folder.join("chat_template.jinja"), template.as_bytes())?;
        }
        Ok(self.whole(tuned)?.save(folder, dtype)?)
    }

    /// Writes the tuned model whose weights are in `tuned` as the GGUF file `path`, with the metadata of the base's file where
    /// that is GGUF.
    pub(crate) fn merged_to_gguf(&self, tuned: &Path, path: &Path, dtype: Dtype) -> Result<(), PredictError> {
        make_folder(path.parent())?;
        let whole = self.whole(tuned)?;
        match &self.source {
            ModelSource::Gguf(original) => whole.save_gguf(path, original, dtype)?,
            ModelSource::Folder(_) | ModelSource::Memory { .. } => {
                self.model.save_gguf(&whole, path, dtype)?;
            }
        }
        Ok(())
    }

    /// The tuned model in 32 bits: an adapter merged into the base as its file has it, or all weights as they were saved.
    fn whole(&self, tuned: &Path) -> Result<Transformer, PredictError> {
        let load = |source: &ModelSource| Model::load(source, Precision::F32, Use::Frozen);
        if !is_adapter(tuned) {
            return Ok(load(&ModelSource::Folder(tuned.to_path_buf()))?.transformer);
        }
        let base = load(&self.source)?;
        Ok(Lora::load(tuned, &base.config)?.merge_into(&base.transformer)?)
    }

    /// Reads what [`LocalModel::adapter_to_gguf`] wrote.
    pub(crate) fn load_adapter_gguf(&self, path: &Path) -> Result<Box<dyn Tuned + '_>, PredictError> {
        let peft = PeftAdapter::read_gguf(path, &self.model.config)?;
        Ok(self.tuned(Trained::Lora(Box::new(Lora::from_peft(&peft, &self.model.config)?))))
    }

    /// Reads what [`LocalModel::merged_to_gguf`] wrote.
    pub(crate) fn load_model_gguf(&self, path: &Path) -> Result<Box<dyn Tuned + '_>, PredictError> {
        let source = ModelSource::Gguf(path.to_path_buf());
        let transformer = Model::load(&source, self.precision, Use::Inference)?.transformer;
        Ok(self.tuned(Trained::Full(Box::new(transformer))))
    }

    fn tuned(&self, trained: Trained) -> Box<dyn Tuned + '_> {
        Box::new(LocalTuned { owner: self, trained, tokens: 0, flops: 0.0 })
    }
}

fn make_folder(folder: Option<&Path>) -> std::io::Result<()> {
    folder.map_or(Ok(()), std::fs::create_dir_all)
}
