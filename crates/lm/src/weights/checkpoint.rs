//! A model's files, opened and checked, its weights not yet read.

use std::collections::HashSet;
use std::path::Path;

use serde_json::Value;

use super::gguf::{Container, GgufTensors, Metadata, read_config};
use super::safetensors::Shards;
use super::{SafetensorsFile, Source, Tensors, WeightsHash, read_limited};
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
    /// SHA-256 of the weights.
    pub hash: WeightsHash,
    /// Name of the folder, file or embedded model.
    pub name: String,
}

impl Checkpoint {
    /// Opens a model, checks that every tensor that its configuration needs is there in the right shape, and begins to hash
    /// the weights. No tensor is read yet.
    ///
    /// # Errors
    /// What a file lacks, by name: see [`Error`].
    pub fn open(source: &ModelSource) -> Result<Self, Error> {
        Self::open_beside(source, |_, _| Ok(())).map(|(checkpoint, ())| checkpoint)
    }

    /// As [`Checkpoint::open`]; meanwhile `work` is done with the configuration and the tensors.
    pub(crate) fn open_beside<T>(
        source: &ModelSource,
        work: impl FnOnce(&ModelConfig, &dyn Tensors) -> Result<T, Error>,
    ) -> Result<(Self, T), Error> {
        let files = match source {
            ModelSource::Folder(path) => Files::open_folder(path)?,
            ModelSource::Gguf(path) => Files::open_gguf(Source::open(path)?, name_of(path))?,
            ModelSource::Memory { name, config, tokenizer, weights } => {
                let weights = Source::memory(&format!("{name}: model.safetensors"), *weights);
                Files {
                    config: ModelConfig::from_hf_json(config, &format!("{name}: config.json"))?,
                    tokenizer: TokenizerFile::Json(tokenizer.to_vec(), Value::Null),
                    chat_template: None,
                    sources: vec![weights.clone()],
                    tensors: Box::new(SafetensorsFile::new(weights)?),
                    name: (*name).to_owned(),
                }
            }
        };
        files.finish(work)
    }
}

/// A model's files, opened and parsed, but for the tokenizer.
struct Files {
    config: ModelConfig,
    tokenizer: TokenizerFile,
    chat_template: Option<String>,
    /// The weights' bytes, to be hashed in this order.
    sources: Vec<Source>,
    tensors: Box<dyn Tensors + Send + Sync>,
    name: String,
}

/// What a tokenizer is made of.
enum TokenizerFile {
    /// `tokenizer.json` and, where there is one, `tokenizer_config.json`.
    Json(Vec<u8>, Value),
    Gguf(Metadata),
}

impl TokenizerFile {
    fn read(&self, config: &ModelConfig) -> Result<Tokenizer, Error> {
        match self {
            Self::Gguf(metadata) => Tokenizer::from_gguf(metadata),
            Self::Json(bytes, settings) => {
                let tokenizer = Tokenizer::from_json(bytes)?;
                let named = |key: &str| token_text(settings.get(key)?).and_then(|token| tokenizer.id(token));
                let bos = named("bos_token").or(config.bos);
                let eos = named("eos_token").or(config.eos.first().copied());
                Ok(tokenizer.with_ends(bos, eos))
            }
        }
    }
}

impl Files {
    /// Makes the tokenizer and does `work`, at the same time. Errors come in this order.
    fn finish<T>(
        self,
        work: impl FnOnce(&ModelConfig, &dyn Tensors) -> Result<T, Error>,
    ) -> Result<(Checkpoint, T), Error> {
        let shapes = self.check_shapes();
        let (tokenizer, hash, made) = std::thread::scope(|scope| {
            let beside = scope.spawn(|| self.tokenizer.read(&self.config));
            let made = shapes.and_then(|()| work(&self.config, &*self.tensors));
            let tokenizer = beside.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic));
            (tokenizer, WeightsHash::begin(self.name.clone(), self.sources.clone()), made)
        });
        let Self { config, chat_template, tensors, name, .. } = self;
        let checkpoint = Checkpoint { config, tokenizer: tokenizer?, chat_template, tensors, hash, name };
        Ok((checkpoint, made?))
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

impl Files {
    fn open_gguf(source: Source, name: String) -> Result<Self, Error> {
        let container = Container::new(source.clone())?;
        let config = read_config(&container)?;
        let chat_template = container.metadata.text("tokenizer.chat_template")?.map(str::to_owned);
        let (tensors, metadata) = GgufTensors::new(container, &config)?;
        Ok(Self {
            config,
            tokenizer: TokenizerFile::Gguf(metadata),
            chat_template,
            sources: vec![source],
            tensors: Box::new(tensors),
            name,
        })
    }

    /// Opens a Hugging Face folder.
    fn open_folder(folder: &Path) -> Result<Self, Error> {
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
        let chat_template = chat_template(folder, &settings)?;
        let bytes = read_limited(&folder.join("tokenizer.json"), LARGEST_JSON)?;
        let files = weight_files(folder)?;
        let sources = files.iter().map(SafetensorsFile::source).cloned().collect();
        let tensors: Box<dyn Tensors + Send + Sync> = match <[SafetensorsFile; 1]>::try_from(files) {
            Ok([file]) => Box::new(file),
            Err(files) => Box::new(Shards::new(files)?),
        };
        Ok(Self {
            config,
            tokenizer: TokenizerFile::Json(bytes, settings),
            chat_template,
            sources,
            tensors,
            name: name_of(folder),
        })
    }
}

/// Opens a GGUF model.
#[cfg(test)]
pub(crate) fn open_gguf(source: Source, name: String) -> Result<Checkpoint, Error> {
    Files::open_gguf(source, name)?.finish(|_, _| Ok(())).map(|(checkpoint, ())| checkpoint)
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

/// The last part of a path, without the extension of a file.
fn name_of(path: &Path) -> String {
    let canonical = path.canonicalize().unwrap_or_else(|_| path.to_path_buf());
    let name = if path.is_file() { canonical.file_stem() } else { canonical.file_name() };
    name.unwrap_or_default().to_string_lossy().into_owned()
}
