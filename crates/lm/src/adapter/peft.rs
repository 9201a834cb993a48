//! Adapters in the format of the PEFT library: `adapter_config.json` and `adapter_model.safetensors`.

mod settings;

use std::collections::{BTreeMap, BTreeSet};
use std::io::Write;
use std::path::Path;

use serde_json::json;

use super::LARGEST_CONFIG;
use crate::Error;
use crate::weights::{
    Dtype, SafetensorsFile, Source, Tensors, read_limited, write_atomically, write_safetensors,
};
use settings::Settings;

/// What PEFT puts before the names of a model's modules.
const PREFIX: &str = "base_model.model.";
/// The endings of the two matrices' names.
const DOWN: &str = ".lora_A.weight";
const UP: &str = ".lora_B.weight";
/// The ending of the name of DoRA's magnitudes.
const MAGNITUDE: &str = ".lora_magnitude_vector";

/// A LoRA adapter as PEFT stores it: for a linear layer `y = x Wᵀ`, the change is `scale (x Aᵀ) Bᵀ`.
#[derive(Clone, Debug, PartialEq)]
pub struct PeftAdapter {
    /// `r`: rows of every A that `rank_pattern` does not name.
    pub rank: usize,
    /// `lora_alpha`.
    pub alpha: f64,
    /// `use_rslora`: the scale is `alpha / sqrt(rank)` instead of `alpha / rank`.
    pub rank_stabilized: bool,
    /// The last parts of the adapted modules' names (`q_proj`), sorted.
    pub target_modules: Vec<String>,
    /// `use_dora`: every output has a trained magnitude.
    pub magnitudes: bool,
    /// Name of the model that it was trained on.
    pub base_model: Option<String>,
    /// `rank_pattern`: ranks of modules by full name or its last parts.
    pub rank_pattern: BTreeMap<String, usize>,
    /// `alpha_pattern`: alphas of modules by full name or its last parts.
    pub alpha_pattern: BTreeMap<String, f64>,
    /// The matrices by name without PEFT's prefix: `model.layers.0.self_attn.q_proj.lora_A.weight` `[r, in]` and
    /// `....lora_B.weight` `[out, r]`, row-major; with magnitudes also `....lora_magnitude_vector` `[out]`.
    pub tensors: BTreeMap<String, (Vec<usize>, Vec<f32>)>,
}

/// One adapted module.
#[derive(Clone, Copy, Debug)]
pub struct PeftModule<'a> {
    /// Name in the base model (`model.layers.0.self_attn.q_proj`).
    pub name: &'a str,
    /// Width of the bottleneck.
    pub rank: usize,
    /// What the change is multiplied by.
    pub scale: f64,
    /// Inputs of the layer.
    pub inputs: usize,
    /// Outputs of the layer.
    pub outputs: usize,
    /// A, `[rank, inputs]`.
    pub down: &'a [f32],
    /// B, `[outputs, rank]`.
    pub up: &'a [f32],
    /// DoRA's magnitudes, `[outputs]`.
    pub magnitude: Option<&'a [f32]>,
}

impl PeftAdapter {
    /// Reads an adapter's folder.
    ///
    /// # Errors
    /// [`Error::Unsupported`] names what the engine does not run (biases, saved modules, ...): nothing is left out
    /// in silence. [`Error::Format`] names a tensor without its pair, or one that contradicts the configuration.
    pub fn read(folder: &Path) -> Result<Self, Error> {
        let path = folder.join("adapter_config.json");
        let settings = Settings::read(&read_limited(&path, LARGEST_CONFIG)?, &path.display().to_string())?;
        let path = folder.join("adapter_model.safetensors");
        if !path.exists() && folder.join("adapter_model.bin").exists() {
            let reason = "pickled weights; save the adapter as safetensors";
            return Err(Error::unsupported(folder.join("adapter_model.bin").display().to_string(), reason));
        }
        let file = SafetensorsFile::new(Source::open(&path)?)?;
        Self::from_parts(settings, &file, &path.display().to_string())
    }

    /// Joins the configuration and the tensors, and checks that they agree.
    fn from_parts(settings: Settings, file: &dyn Tensors, place: &str) -> Result<Self, Error> {
        let mut tensors = BTreeMap::new();
        for full in file.names() {
            let at = || format!("{place}: {full}");
            let name = full
                .strip_prefix(PREFIX)
                .ok_or_else(|| Error::format(at(), format!("a name that does not begin with {PREFIX}")))?;
            let magnitude = settings.magnitudes && name.ends_with(MAGNITUDE);
            if !name.ends_with(DOWN) && !name.ends_with(UP) && !magnitude {
                return Err(Error::unsupported(at(), "a tensor other than lora_A and lora_B"));
            }
            let shape = file.shape(&full).unwrap_or_default();
            if shape.len() != if magnitude { 1 } else { 2 } || shape.contains(&0) {
                return Err(Error::format(at(), format!("shape {shape:?} is no matrix")));
            }
            tensors.insert(name.to_owned(), (shape, file.read(&full)?));
        }
        let mut adapter = Self {
            rank: settings.rank,
            alpha: settings.alpha,
            rank_stabilized: settings.rank_stabilized,
            magnitudes: settings.magnitudes,
            target_modules: Vec::new(),
            base_model: settings.base_model,
            rank_pattern: settings.rank_pattern,
            alpha_pattern: settings.alpha_pattern,
            tensors,
        };
        let names: BTreeSet<String> =
            adapter.modules(place)?.iter().map(|module| short(module.name).to_owned()).collect();
        if names.is_empty() {
            return Err(Error::format(place, "no tensors"));
        }
        adapter.target_modules = names.into_iter().collect();
        Ok(adapter)
    }

    /// Every adapted module, sorted by name; `place` names the adapter in errors.
    ///
    /// # Errors
    /// [`Error::Format`] where a matrix lacks its pair, or their shapes do not fit each other or the configured rank.
    pub fn modules(&self, place: &str) -> Result<Vec<PeftModule<'_>>, Error> {
        let mut modules = Vec::new();
        for (full, (shape, down)) in &self.tensors {
            let Some(name) = full.strip_suffix(DOWN) else {
                let module = full.strip_suffix(UP).or_else(|| full.strip_suffix(MAGNITUDE));
                let pair = module.map(|name| format!("{name}{DOWN}")).unwrap_or_default();
                if !self.tensors.contains_key(&pair) {
                    return Err(Error::format(format!("{place}: {full}"), "no lora_A to go with it"));
                }
                continue;
            };
            let at = || format!("{place}: {name}");
            let refuse = |reason: String| Err(Error::format(at(), reason));
            let Some((up_shape, up)) = self.tensors.get(&format!("{name}{UP}")) else {
                return refuse("no lora_B to go with its lora_A".to_owned());
            };
            let (&[rank, inputs], &[outputs, up_rank]) = (&shape[..], &up_shape[..]) else {
                return refuse(format!("shapes {shape:?} and {up_shape:?} are not matrices"));
            };
            let stated = matching(&self.rank_pattern, name, place)?.unwrap_or(self.rank);
            if rank != up_rank || rank != stated {
                let reason =
                    format!("lora_A {shape:?} and lora_B {up_shape:?} for a configured rank of {stated}");
                return refuse(reason);
            }
            if down.len() != rank * inputs || up.len() != outputs * rank {
                return refuse(format!(
                    "{} and {} values for {shape:?} and {up_shape:?}",
                    down.len(),
                    up.len()
                ));
            }
            let magnitude = match self.tensors.get(&format!("{name}{MAGNITUDE}")) {
                Some((_, values)) if values.len() == outputs => Some(values.as_slice()),
                Some((shape, _)) => return refuse(format!("magnitudes {shape:?} for {outputs} outputs")),
                None if self.magnitudes => return refuse("no lora_magnitude_vector for use_dora".to_owned()),
                None => None,
            };
            let alpha = matching(&self.alpha_pattern, name, place)?.unwrap_or(self.alpha);
            let width = if self.rank_stabilized { (rank as f64).sqrt() } else { rank as f64 };
            let scale = alpha / width;
            modules.push(PeftModule { name, rank, scale, inputs, outputs, down, up, magnitude });
        }
        Ok(modules)
    }

    /// Writes the adapter's folder so that every reader of the format gives the same logits: the scale is folded into B
    /// (`lora_alpha` = `r`, no patterns, no rsLoRA), modules of a smaller rank are filled up with zeros, and the weights
    /// (f32) are in place before the configuration.
    ///
    /// # Errors
    /// [`Error::Io`] names the file that cannot be written; [`Error::Format`] as [`PeftAdapter::modules`].
    pub fn write(&self, folder: &Path) -> Result<(), Error> {
        std::fs::create_dir_all(folder).map_err(|error| Error::io(folder, error))?;
        let modules = self.modules(&folder.display().to_string())?;
        let rank = modules.iter().map(|module| module.rank).max().unwrap_or(self.rank);
        let mut folded = Vec::with_capacity(2 * modules.len());
        for module in &modules {
            let (down, up) = fold(module, rank);
            folded.push((format!("{PREFIX}{}{DOWN}", module.name), vec![rank, module.inputs], down));
            folded.push((format!("{PREFIX}{}{UP}", module.name), vec![module.outputs, rank], up));
            if let Some(values) = module.magnitude {
                let name = format!("{PREFIX}{}{MAGNITUDE}", module.name);
                folded.push((name, vec![module.outputs], values.to_vec()));
            }
        }
        let views: Vec<_> = folded
            .iter()
            .map(|(name, shape, values)| (name.clone(), shape.clone(), values.as_slice()))
            .collect();
        let metadata = BTreeMap::from([("format".to_owned(), "pt".to_owned())]);
        write_safetensors(&folder.join("adapter_model.safetensors"), &views, Dtype::F32, &metadata)?;
        let names: Vec<&str> = modules.iter().map(|module| module.name).collect();
        let config = format!("{:#}\n", self.folded_config(rank, &targets(&names)));
        write_atomically(&folder.join("adapter_config.json"), |file| file.write_all(config.as_bytes()))
    }

    /// The configuration of the folded adapter: keys that every version of PEFT knows.
    fn folded_config(&self, rank: usize, targets: &[String]) -> serde_json::Value {
        json!({
            "alpha_pattern": {},
            "base_model_name_or_path": self.base_model,
            "bias": "none",
            "fan_in_fan_out": false,
            "inference_mode": true,
            "init_lora_weights": true,
            "lora_alpha": rank,
            "lora_dropout": 0.0,
            "modules_to_save": null,
            "peft_type": "LORA",
            "r": rank,
            "rank_pattern": {},
            "target_modules": targets,
            "task_type": "CAUSAL_LM",
            "use_dora": self.magnitudes,
            "use_rslora": false,
        })
    }
}

/// A and B at `rank`, with the scale in B.
pub(super) fn fold(module: &PeftModule<'_>, rank: usize) -> (Vec<f32>, Vec<f32>) {
    let mut down = module.down.to_vec();
    down.resize(rank * module.inputs, 0.0);
    let mut up = Vec::with_capacity(module.outputs * rank);
    for row in module.up.chunks_exact(module.rank) {
        up.extend(row.iter().map(|&value| (f64::from(value) * module.scale) as f32));
        up.resize(up.len() + rank - module.rank, 0.0);
    }
    (down, up)
}

/// The last part of a module's name.
pub(super) fn short(name: &str) -> &str {
    name.rsplit('.').next().unwrap_or(name)
}

/// `target_modules`: the last parts of the names, or the full names where not every layer has the same modules, since
/// a short name stands for the module in every layer.
fn targets(names: &[&str]) -> Vec<String> {
    let shorts: BTreeSet<&str> = names.iter().map(|name| short(name)).collect();
    let layers: BTreeSet<&str> = names.iter().filter_map(|name| layer(name)).collect();
    let last = layers.iter().filter_map(|layer| layer.parse::<usize>().ok()).max();
    let complete =
        names.len() == shorts.len() * layers.len() && last.map(|last| last + 1) == Some(layers.len());
    let chosen: BTreeSet<&str> = if complete { shorts } else { names.iter().copied().collect() };
    chosen.into_iter().map(str::to_owned).collect()
}

/// The number of a module's layer, as its name has it.
fn layer(name: &str) -> Option<&str> {
    name.split_once("layers.")?.1.split('.').next()
}

/// The value of the patterns that name the module: in full, or by its last parts.
fn matching<T: Copy + PartialEq>(
    patterns: &BTreeMap<String, T>,
    name: &str,
    place: &str,
) -> Result<Option<T>, Error> {
    let names =
        |pattern: &str| name == pattern || name.strip_suffix(pattern).is_some_and(|rest| rest.ends_with('.'));
    let mut found = None;
    for (pattern, &value) in patterns.iter().filter(|(pattern, _)| names(pattern)) {
        // PEFT takes the first in the file's order, which is no property of a JSON object.
        if found.is_some_and(|found| found != value) {
            return Err(Error::unsupported(
                format!("{place}: {pattern}"),
                format!("another pattern also names {name}"),
            ));
        }
        found = Some(value);
    }
    Ok(found)
}
