//! The forms in which tuned weights leave the run.

use std::path::{Path, PathBuf};

use lm::weights::Dtype;
use task::predictor::{PredictError, Trainer as _, Tuned};

use super::refused;
use crate::Error;
use crate::local::{LocalModel, is_adapter};

/// What is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Weights {
    /// The adapter as a PEFT folder.
    Adapter,
    /// The adapter as a GGUF file for llama.cpp: `adapter.gguf`.
    AdapterGguf,
    /// The whole model as a Hugging Face folder, an adapter merged into it in 32 bits and rounded once.
    Model(Dtype),
    /// The same as a GGUF file: `model.gguf`, with the metadata of the base where it came as one, else written from its
    /// configuration and tokenizer.
    ModelGguf(Dtype),
}

/// Something written, to be read back.
pub(super) struct Written {
    pub(super) path: PathBuf,
    form: Weights,
}

impl Weights {
    /// Writes the weights in the run's folder `source` into `folder`.
    pub(super) fn write(self, engine: &LocalModel, source: &Path, folder: &Path) -> Result<Written, Error> {
        let what = source.display().to_string();
        if matches!(self, Self::Adapter | Self::AdapterGguf) && !is_adapter(source) {
            return Err(refused(source, "all weights were tuned: there is no adapter; ship the model"));
        }
        let path = match self {
            Self::Adapter | Self::Model(_) => folder.to_path_buf(),
            Self::AdapterGguf => folder.join("adapter.gguf"),
            Self::ModelGguf(_) => folder.join("model.gguf"),
        };
        match self {
            Self::Adapter => copy_files(source, folder)?,
            Self::AdapterGguf => engine.adapter_to_gguf(source, &path).map_err(Error::model(&what))?,
            Self::Model(dtype) => {
                engine.merged_to_folder(source, folder, dtype).map_err(Error::model(&what))?
            }
            Self::ModelGguf(dtype) => {
                engine.merged_to_gguf(source, &path, dtype).map_err(Error::model(&what))?
            }
        }
        Ok(Written { path, form: self })
    }
}

impl Written {
    /// What it is called in the shipment.
    pub(super) fn name(&self) -> &'static str {
        match self.form {
            Weights::Adapter => "adapter_model.safetensors",
            Weights::AdapterGguf => "adapter.gguf",
            Weights::Model(_) => "model.safetensors",
            Weights::ModelGguf(_) => "model.gguf",
        }
    }

    /// Reads it back on the engine's base.
    pub(super) fn open<'e>(&self, engine: &'e LocalModel) -> Result<Box<dyn Tuned + 'e>, PredictError> {
        match self.form {
            Weights::Adapter | Weights::Model(_) => engine.load(&self.path),
            Weights::AdapterGguf => engine.load_adapter_gguf(&self.path),
            Weights::ModelGguf(_) => engine.load_model_gguf(&self.path),
        }
    }
}

/// Copies the files of one folder into another.
fn copy_files(from: &Path, to: &Path) -> Result<(), Error> {
    let io = |path: &Path| {
        let path = path.to_path_buf();
        move |source| task::Error::Io { path, source }
    };
    for entry in std::fs::read_dir(from).map_err(io(from))? {
        let path = entry.map_err(io(from))?.path();
        let Some(name) = path.file_name().filter(|_| path.is_file()) else { continue };
        task::atomic::write(&to.join(name), &std::fs::read(&path).map_err(io(&path))?)?;
    }
    Ok(())
}
