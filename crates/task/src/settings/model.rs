//! `[model]`, resolved.

use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use super::resolve_path;
use crate::task_file::Precision;

/// The model.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ModelSettings {
    /// Where it comes from.
    pub source: ModelSource,
    /// Numeric type of the frozen weights.
    pub precision: Precision,
    /// Cap on prompt and answer together, in tokens.
    pub context: Option<usize>,
    /// Whether training computes activations again instead of keeping them. No fact of the fingerprint: it changes no result.
    #[serde(skip)]
    pub recompute: bool,
}

/// Where a model comes from.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ModelSource {
    /// The model inside the program.
    Embedded,
    /// A folder in Hugging Face layout.
    Folder(PathBuf),
    /// A GGUF file.
    Gguf(PathBuf),
}

pub(super) fn model_source(source: &str, folder: &Path) -> Result<ModelSource, String> {
    if source == "embedded" {
        return Ok(ModelSource::Embedded);
    }
    let path = resolve_path(Path::new(source), folder);
    if path.is_dir() {
        return Ok(ModelSource::Folder(path));
    }
    let is_gguf = path.extension().is_some_and(|extension| extension.eq_ignore_ascii_case("gguf"));
    if path.is_file() && is_gguf {
        return Ok(ModelSource::Gguf(path));
    }
    if path.is_file() {
        return Err(format!("model.source: {} is a file but not a .gguf file", path.display()));
    }
    if !is_gguf && looks_like_hub_id(source) {
        return Err(format!(
            "model.source: there is no folder {}; \"{source}\" looks like a Hugging Face id, but nothing is \
             downloaded: get its files (config.json, tokenizer.json, *.safetensors) and name their folder",
            path.display()
        ));
    }
    Err(format!("model.source: there is no file or folder {}", path.display()))
}

/// `owner/name`, and nothing that only a path would have.
fn looks_like_hub_id(source: &str) -> bool {
    let plain = |part: &str| {
        !part.is_empty()
            && !part.starts_with('.')
            && !part.starts_with('~')
            && part.chars().all(|c| c.is_ascii_alphanumeric() || "-_.".contains(c))
    };
    source.split_once('/').is_some_and(|(owner, name)| plain(owner) && plain(name))
}
