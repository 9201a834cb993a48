//! A model's files, opened and checked, its weights not yet read.

use std::collections::HashSet;
use std::path::Path;

use serde_json::Value;
use sha2::{Digest, Sha256};

use super::gguf::{Container, GgufTensors, read_config};
use super::safetensors::Shards;
use super::{SafetensorsFile, Source, Tensors, read_limited};
use crate::config::ModelConfig;
use crate::config::keys::Keys;
use crate::tokenizer::Tokenizer;
use crate::{Error, ModelSource};

/// The largest JSON file beside the weights, in bytes.
const LARGEST_JSON: usize = 256 << 20;
/// Most shards of one model.
const MOST_SHARDS: usize = 4096;

/// A model's files.
pub struct Checkpoint {
    /// The shape of the model.
    pub config: ModelConfig,
    /// Its tokenizer.
    pub tokenizer: Tokenizer,
    /// Its chat template, in Jinja; `None` where the model has none.
    pub chat_template: Option<String>,
    /// Its tensors, by their Hugging Face names.
    pub tensors: Box<dyn Tensors + Send + Sync>,
    /// SHA-256 of the weights in hexadecimal: of the file, or of the shards one after another in the order of their
    /// names.
    pub sha256: String,
    /// Name of the folder, file or embedded model.
    pub name: String,
}

impl Checkpoint {
    /// Opens a model, checks that every tensor that its configuration needs is there in the right shape, and hashes the
    /// weights. No tensor is read yet.
    ///
    /// # Errors
    /// What a file lacks, by name: see [`Error`].
    pub fn open(source: &ModelSource) -> Result<Self, Error> {
        let checkpoint = match source {
            ModelSource::Folder(path) => open_folder(path)?,
            ModelSource::Gguf(path) => open_gguf(Source::open(path)?, name_of(path))?,
            ModelSource::Memory { name, config, tokenizer, weights } => {
                let config = ModelConfig::from_hf_json(config, &format!("{name}: config.json"))?;
                let file =
                    SafetensorsFile::new(Source::memory(&format!("{name}: model.safetensors"), *weights))?;
                let sha256 = hash([file.source()])?;
                let tokenizer =
                    Tokenizer::from_json(tokenizer)?.with_ends(config.bos, config.eos.first().copied());
                Self {
                    config,
                    tokenizer,
                    chat_template: None,
                    tensors: Box::new(file),
                    sha256,
                    name: (*name).to_owned(),
                }
            }
        };
        checkpoint.check_shapes()?;
        Ok(checkpoint)
    }

    /// Checks every tensor's shape against the configuration, and that no layer has a tensor that it does not know: one
    /// left out in silence (a bias, a scale) would be another model.
    fn check_shapes(&self) -> Result<(), Error> {
        let mut known = HashSet::new();
        for (name, expected) in self.config.tensor_shapes() {
            let found = self.tensors.shape(&name);
            if found.as_ref() != Some(&expected) {
                return Err(Error::Shape { name, expected, found });
            }
            known.insert(name);
        }
        let of_a_layer =
            |name: &String| name.starts_with("model.layers.") && !name.ends_with("rotary_emb.inv_freq");
        match self.tensors.names().into_iter().find(|name| of_a_layer(name) && !known.contains(name)) {
            Some(name) => Err(Error::unsupported(
                format!("{}: {name}", self.name),
                "a tensor that the configuration does not speak of",
            )),
            None => Ok(()),
        }
    }
}

/// Opens a GGUF model.
pub(crate) fn open_gguf(source: Source, name: String) -> Result<Checkpoint, Error> {
    let container = Container::new(source)?;
    let config = read_config(&container)?;
    let tokenizer = Tokenizer::from_gguf(&container.metadata)?;
    let chat_template = container.metadata.text("tokenizer.chat_template")?.map(str::to_owned);
    let tensors = GgufTensors::new(container, &config)?;
    let sha256 = hash([tensors.source()])?;
    Ok(Checkpoint { config, tokenizer, chat_template, tensors: Box::new(tensors), sha256, name })
}

/// Opens a Hugging Face folder.
fn open_folder(folder: &Path) -> Result<Checkpoint, Error> {
    let place = folder.join("config.json");
    let mut config =
        ModelConfig::from_hf_json(&read_limited(&place, LARGEST_JSON)?, &place.display().to_string())?;
    if let Some(generation) = json_beside(folder, "generation_config.json")? {
        let place = folder.join("generation_config.json").display().to_string();
        let ends = Keys::new(&generation, &place)?.tokens("eos_token_id")?;
        let new: Vec<u32> = ends.into_iter().filter(|id| !config.eos.contains(id)).collect();
        config.eos.extend(new.into_iter().filter(|&id| (id as usize) < config.vocabulary));
    }
    let settings = json_beside(folder, "tokenizer_config.json")?.unwrap_or_default();
    let tokenizer = Tokenizer::from_json(&read_limited(&folder.join("tokenizer.json"), LARGEST_JSON)?)?;
    let named = |key: &str| token_text(settings.get(key)?).and_then(|token| tokenizer.id(token));
    let bos = named("bos_token").or(config.bos);
    let eos = named("eos_token").or(config.eos.first().copied());
    let files = weight_files(folder)?;
    let sha256 = hash(files.iter().map(SafetensorsFile::source))?;
    let tensors: Box<dyn Tensors + Send + Sync> = match <[SafetensorsFile; 1]>::try_from(files) {
        Ok([file]) => Box::new(file),
        Err(files) => Box::new(Shards::new(files)?),
    };
    Ok(Checkpoint {
        config,
        tokenizer: tokenizer.with_ends(bos, eos),
        chat_template: chat_template(folder, &settings)?,
        tensors,
        sha256,
        name: name_of(folder),
    })
}

/// The safetensors files of a folder, in the order of their names: the one file, or the shards of the index.
fn weight_files(folder: &Path) -> Result<Vec<SafetensorsFile>, Error> {
    let single = folder.join("model.safetensors");
    let Some(index) = json_beside(folder, "model.safetensors.index.json")?.filter(|_| !single.exists())
    else {
        return Ok(vec![SafetensorsFile::new(Source::open(&single)?)?]);
    };
    let place = folder.join("model.safetensors.index.json").display().to_string();
    let keys = Keys::new(&index, &place)?;
    let map = keys.value("weight_map").and_then(Value::as_object);
    let map = map.ok_or_else(|| Error::format(keys.place("weight_map"), "absent"))?;
    let mut shards: Vec<&str> = map.values().filter_map(Value::as_str).collect();
    shards.sort_unstable();
    shards.dedup();
    if shards.is_empty() || shards.len() > MOST_SHARDS {
        return Err(Error::format(keys.place("weight_map"), format!("{} shards", shards.len())));
    }
    let open = |name: &&str| {
        // A shard lies beside its index; a name that leads elsewhere is none.
        if Path::new(name).file_name() != Some(name.as_ref()) {
            return Err(Error::format(keys.place("weight_map"), format!("{name:?} is no file name")));
        }
        SafetensorsFile::new(Source::open(&folder.join(name))?)
    };
    shards.iter().map(open).collect()
}

/// The chat template: a file of its own, or a key of `tokenizer_config.json` (a string, or a list of named ones).
fn chat_template(folder: &Path, settings: &Value) -> Result<Option<String>, Error> {
    let path = folder.join("chat_template.jinja");
    if path.exists() {
        let bytes = read_limited(&path, 1 << 20)?;
        let text =
            String::from_utf8(bytes).map_err(|_| Error::format(path.display().to_string(), "not UTF-8"))?;
        return Ok(Some(text));
    }
    let template = match settings.get("chat_template") {
        Some(Value::String(template)) => Some(template.as_str()),
        Some(Value::Array(templates)) => {
            let default =
                templates.iter().find(|entry| entry.get("name").is_some_and(|name| name == "default"));
            default.and_then(|entry| entry.get("template")?.as_str())
        }
        _ => None,
    };
    Ok(template.map(str::to_owned))
}

/// A JSON file that need not be there.
fn json_beside(folder: &Path, name: &str) -> Result<Option<Value>, Error> {
    let path = folder.join(name);
    if !path.exists() {
        return Ok(None);
    }
    let bytes = read_limited(&path, LARGEST_JSON)?;
    let value = serde_json::from_slice(&bytes);
    value.map(Some).map_err(|error| Error::format(path.display().to_string(), error.to_string()))
}

/// A token that is written as a string, or as an object with its content.
fn token_text(value: &Value) -> Option<&str> {
    value.as_str().or_else(|| value.get("content")?.as_str())
}

/// SHA-256 of the sources, one after another.
fn hash<'a>(sources: impl IntoIterator<Item = &'a Source>) -> Result<String, Error> {
    let mut hasher = Sha256::new();
    sources.into_iter().try_for_each(|source| source.hash(&mut hasher))?;
    Ok(hasher.finalize().iter().map(|byte| format!("{byte:02x}")).collect())
}

/// The last part of a path, without the extension of a file.
fn name_of(path: &Path) -> String {
    let canonical = path.canonicalize().unwrap_or_else(|_| path.to_path_buf());
    let name = if path.is_file() { canonical.file_stem() } else { canonical.file_name() };
    name.unwrap_or_default().to_string_lossy().into_owned()
}
