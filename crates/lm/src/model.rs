//! A model with everything needed to use it.

use std::path::PathBuf;

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
pub struct Model;
