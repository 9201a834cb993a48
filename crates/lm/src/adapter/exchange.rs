//! Adapters as files: from training to PEFT's format, and back.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use super::peft::{PeftAdapter, fold, short};
use super::{Lora, LoraConfig, LoraTarget};
use crate::Error;
use crate::config::ModelConfig;

/// What PEFT puts before the names of a model's modules.
const PREFIX: &str = "base_model.model.";

impl Lora {
    /// This adapter as PEFT describes it, trained on the model called `base_model`.
    pub fn to_peft(&self, base_model: &str) -> PeftAdapter {
        let config = self.config();
        let mut target_modules: Vec<String> =
            config.targets.iter().map(|target| target.module().to_owned()).collect();
        target_modules.sort_unstable();
        let tensors = self.named_tensors().into_iter().map(|(name, shape, values)| {
            (name.strip_prefix(PREFIX).map_or(name.clone(), str::to_owned), (shape, values))
        });
        let rank = config.held_rank();
        let plain = rank == config.rank;
        PeftAdapter {
            rank,
            // With frozen directions the rank says nothing of the scale any more.
            alpha: if plain { config.alpha } else { config.scale() * rank as f64 },
            rank_stabilized: plain && config.rank_stabilized,
            magnitudes: config.magnitudes,
            target_modules,
            base_model: Some(base_model.to_owned()),
            rank_pattern: BTreeMap::new(),
            alpha_pattern: BTreeMap::new(),
            tensors: tensors.collect(),
        }
    }

    /// The adapter that `peft` describes, for a model of the shape `model`. Its scale is folded into B (`alpha = rank`), modules of
    /// a smaller rank are filled up with zeros, and a module that it does not change is left unchanged. One with magnitudes has to be
    /// attached ([`Lora::attach`]) before it is used.
    ///
    /// # Errors
    /// [`Error::Format`] as [`PeftAdapter::modules`]; [`Error::Unsupported`] for a module that the engine does not adapt;
    /// [`Error::Shape`] for a matrix that does not fit the model.
    pub fn from_peft(peft: &PeftAdapter, model: &ModelConfig) -> Result<Self, Error> {
        let place =
            peft.base_model.as_deref().map_or("adapter".to_owned(), |base| format!("adapter of {base}"));
        let modules = peft.modules(&place)?;
        let rank = modules.iter().map(|module| module.rank).max().unwrap_or(peft.rank);
        let mut targets = BTreeSet::new();
        let mut matrices: BTreeMap<String, (Vec<usize>, Vec<f32>)> = BTreeMap::new();
        for module in &modules {
            let target = LoraTarget::ALL.iter().position(|target| target.module() == short(module.name));
            let Some(target) = target else {
                let reason = "the engine adapts the linear layers of blocks only";
                return Err(Error::unsupported(format!("{place}: {}", module.name), reason));
            };
            targets.insert(target);
            let (down, up) = fold(module, rank);
            matrices
                .insert(format!("{PREFIX}{}.lora_A.weight", module.name), (vec![rank, module.inputs], down));
            matrices
                .insert(format!("{PREFIX}{}.lora_B.weight", module.name), (vec![module.outputs, rank], up));
            if let Some(values) = module.magnitude {
                let name = format!("{PREFIX}{}.lora_magnitude_vector", module.name);
                matrices.insert(name, (vec![module.outputs], values.to_vec()));
            }
        }
        let targets = targets.into_iter().map(|index| LoraTarget::ALL[index]).collect();
        let magnitudes = peft.magnitudes;
        let config = LoraConfig { alpha: rank as f64, targets, magnitudes, ..LoraConfig::with_rank(rank) };
        let lora = Self::from_named(config, model, |name, expected| match matrices.remove(name) {
            Some((shape, values)) if shape == expected => Ok(values),
            Some((shape, _)) => {
                Err(Error::Shape { name: name.to_owned(), expected: expected.to_vec(), found: Some(shape) })
            }
            // Without its base, the norm that leaves a module as it is is unknown.
            None if magnitudes => {
                Err(Error::unsupported(format!("{place}: {name}"), "magnitudes for some layers only"))
            }
            None => Ok(vec![0.0; expected.iter().product()]),
        })?;
        match matrices.into_keys().next() {
            Some(name) => Err(Error::format(format!("{place}: {name}"), "the model has no such layer")),
            None => Ok(lora),
        }
    }

    /// Writes the adapter's folder in PEFT's format: see [`PeftAdapter::write`].
    ///
    /// # Errors
    /// [`Error::Io`] names the file that cannot be written.
    pub fn save(&self, folder: &Path, base_model: &str) -> Result<(), Error> {
        match self.config().virtual_tokens {
            0 => self.to_peft(base_model).write(folder),
            _ => self.save_virtual(folder, base_model),
        }
    }

    /// Reads an adapter's folder for a model of the shape `model`.
    ///
    /// # Errors
    /// As [`PeftAdapter::read`] and [`Lora::from_peft`].
    pub fn load(folder: &Path, model: &ModelConfig) -> Result<Self, Error> {
        match Self::load_virtual(folder, model)? {
            Some(prompt) => Ok(prompt),
            None => Self::from_peft(&PeftAdapter::read(folder)?, model),
        }
    }
}
