//! A model with everything needed to use it.

use std::path::{Path, PathBuf};

use crate::Error;
use crate::config::ModelConfig;
use crate::tokenizer::Tokenizer;
use crate::transformer::Transformer;
use crate::weights::gguf::{self, GgufWriter};
use crate::weights::{Checkpoint, Dtype, WeightsHash};
use kernels::matrix::{Precision, Use};

/// Where a model comes from.
#[derive(Clone, Debug)]
pub enum ModelSource {
    /// A Hugging Face folder: `config.json`, `tokenizer.json`, safetensors (single or sharded).
    Folder(PathBuf),
    /// A GGUF file.
    Gguf(PathBuf),
    /// Files held in memory (the embedded model).
    Memory {
        /// A name for messages and reports.
        name: &'static str,
        /// `config.json`.
        config: &'static [u8],
        /// `tokenizer.json`.
        tokenizer: &'static [u8],
        /// `model.safetensors`.
        weights: &'static [u8],
    },
}

/// A loaded model.
#[derive(Clone)]
pub struct Model {
    /// Its shape.
    pub config: ModelConfig,
    /// Its tokenizer.
    pub tokenizer: Tokenizer,
    /// Its chat template, in Jinja; `None` where it has none.
    pub chat_template: Option<String>,
    /// Its weights.
    pub transformer: Transformer,
    /// SHA-256 of the weights' file.
    pub hash: WeightsHash,
    /// Name of the folder, file or embedded model.
    pub name: String,
}

impl Model {
    /// Reads a model, its weights stored for `precision` and `usage`.
    ///
    /// # Errors
    /// What a file lacks, by name: see [`Error`].
    pub fn load(source: &ModelSource, precision: Precision, usage: Use) -> Result<Self, Error> {
        let (checkpoint, transformer) = Checkpoint::open_beside(source, |config, tensors| {
            Transformer::new(config.clone(), tensors, precision, usage)
        })?;
        Ok(Self {
            config: checkpoint.config,
            tokenizer: checkpoint.tokenizer,
            chat_template: checkpoint.chat_template,
            transformer,
            hash: checkpoint.hash,
            name: checkpoint.name,
        })
    }

    /// Writes `tuned`, weights of this model's shape, as the GGUF model `path` with this model's tokenizer and chat template:
    /// vectors in 32 bits, matrices as `dtype`. Of a model that came as GGUF, [`Transformer::save_gguf`] keeps all metadata.
    ///
    /// # Errors
    /// [`Error::Unsupported`] names what llama.cpp does not have: a tokenizer that is no byte-level BPE, a sliding window, a
    /// rotary scaling; [`Error::Io`] names the file.
    pub fn save_gguf(&self, tuned: &Transformer, path: &Path, dtype: Dtype) -> Result<(), Error> {
        let config = gguf::in_gguf(&self.config)?;
        let mut file = GgufWriter::new();
        gguf::describe(&config, &self.name, &mut file)?;
        file.file_type(dtype);
        self.tokenizer.describe(config.vocabulary, &config.eos, &mut file)?;
        if let Some(template) = &self.chat_template {
            file.text("tokenizer.chat_template", template);
        }
        tuned.put_weights(&config.architecture, dtype, &mut file)?;
        file.write(path)
    }

    /// Parameters in all; a tied embedding counts once.
    pub fn parameters(&self) -> u64 {
        self.transformer.parameters()
    }
}
