//! From the task file's `[model]` to a loaded model.

use adapt::local::LocalModel;
use anyhow::Result;
use lm::{ModelSource, Precision};
use task::settings::{ModelSettings, ModelSource as Source};

/// The embedded model's files.
const EMBEDDED: ModelSource = ModelSource::Memory {
    name: "embedded",
    config: include_bytes!("../../../../models/micro/config.json"),
    tokenizer: include_bytes!("../../../../models/micro/tokenizer.json"),
    weights: include_bytes!("../../../../models/micro/model.safetensors"),
};

/// Loads the model that `settings` name.
pub(crate) fn load(settings: &ModelSettings) -> Result<LocalModel> {
    let precision = match settings.precision {
        task::settings::Precision::F32 => Precision::F32,
        task::settings::Precision::Bf16 => Precision::Bf16,
        task::settings::Precision::Stored => Precision::Stored,
        task::settings::Precision::Int8 => Precision::Int8,
    };
    let (source, name) = match &settings.source {
        Source::Embedded => (EMBEDDED, "embedded".to_owned()),
        Source::Folder(path) => (ModelSource::Folder(path.clone()), path.display().to_string()),
        Source::Gguf(path) => (ModelSource::Gguf(path.clone()), path.display().to_string()),
    };
    Ok(LocalModel::load(&source, &name, precision, settings.context)?.recomputing(settings.recompute))
}
