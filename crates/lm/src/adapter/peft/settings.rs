//! `adapter_config.json`: what is understood, and what is refused rather than ignored.

use std::collections::BTreeMap;

use serde_json::Value;

use crate::Error;
use crate::config::keys::Keys;

/// The largest rank.
const LARGEST_RANK: usize = 1 << 16;

/// Keys that change what the adapter computes where they hold anything but null, false, `[]` or `{}`.
const REFUSED: [&str; 13] = [
    "alora_invocation_tokens",
    "arrow_config",
    "fan_in_fan_out",
    "kasa_config",
    "layer_replication",
    "lora_bias",
    "modules_to_save",
    "monteclora_config",
    "target_parameters",
    "trainable_token_indices",
    "use_bdlora",
    "use_qalora",
    "velora_config",
];

/// Initialisations that also change the base model's weights, so that the adapter alone is not the trained change.
const RESIDUAL: [&str; 5] = ["corda", "loftq", "lora_ga", "olora", "pissa"];

/// The part of the configuration that the adapter's computation depends on.
pub(super) struct Settings {
    pub(super) rank: usize,
    pub(super) alpha: f64,
    pub(super) rank_stabilized: bool,
    pub(super) magnitudes: bool,
    pub(super) base_model: Option<String>,
    pub(super) rank_pattern: BTreeMap<String, usize>,
    pub(super) alpha_pattern: BTreeMap<String, f64>,
}

impl Settings {
    /// Reads the file.
    pub(super) fn read(bytes: &[u8], place: &str) -> Result<Self, Error> {
        let value: Value =
            serde_json::from_slice(bytes).map_err(|error| Error::format(place, error.to_string()))?;
        let keys = Keys::new(&value, place)?;
        match keys.text("peft_type")? {
            Some("LORA") => {}
            Some(other) => {
                return Err(Error::unsupported(keys.place("peft_type"), format!("adapters of type {other}")));
            }
            None => return Err(Error::format(keys.place("peft_type"), "absent")),
        }
        refuse_variants(&keys)?;
        let alpha = keys.number("lora_alpha")?.unwrap_or(8.0);
        let rank_pattern = patterns(&keys, "rank_pattern", |entries, name| entries.size(name, LARGEST_RANK))?;
        let alpha_pattern = patterns(&keys, "alpha_pattern", |entries, name| entries.required_number(name))?;
        Ok(Self {
            rank: keys.optional_size("r", LARGEST_RANK)?.unwrap_or(8),
            alpha,
            rank_stabilized: keys.boolean("use_rslora")?.unwrap_or(false),
            magnitudes: keys.boolean("use_dora")?.unwrap_or(false),
            base_model: keys.text("base_model_name_or_path")?.map(str::to_owned),
            rank_pattern,
            alpha_pattern,
        })
    }
}

/// Refuses what would be computed wrongly.
fn refuse_variants(keys: &Keys<'_>) -> Result<(), Error> {
    for key in REFUSED {
        if keys.value(key).is_some_and(|value| !is_empty(value)) {
            return Err(Error::unsupported(keys.place(key), "adapters that use this"));
        }
    }
    if let Some(bias) = keys.text("bias")?.filter(|&bias| bias != "none") {
        return Err(Error::unsupported(keys.place("bias"), format!("trained biases ({bias})")));
    }
    if let Some(Value::String(name)) = keys.value("init_lora_weights")
        && RESIDUAL.iter().any(|residual| name.starts_with(residual))
    {
        let reason = format!("{name} changes the base model too; convert the adapter to plain LoRA");
        return Err(Error::unsupported(keys.place("init_lora_weights"), reason));
    }
    Ok(())
}

/// Whether a value says nothing.
fn is_empty(value: &Value) -> bool {
    match value {
        Value::Null | Value::Bool(false) => true,
        Value::Array(list) => list.is_empty(),
        Value::Object(object) => object.is_empty(),
        _ => false,
    }
}

/// A value per module name. PEFT takes regular expressions; names are what its users write, and anything else is
/// refused.
fn patterns<T>(
    keys: &Keys<'_>,
    key: &str,
    read: impl Fn(&Keys<'_>, &str) -> Result<T, Error>,
) -> Result<BTreeMap<String, T>, Error> {
    let Some(value) = keys.value(key) else { return Ok(BTreeMap::new()) };
    let entries = Keys::new(value, &keys.place(key))?;
    let mut patterns = BTreeMap::new();
    for (name, _) in entries.entries() {
        if !name.chars().all(|character| character.is_ascii_alphanumeric() || "._".contains(character)) {
            return Err(Error::unsupported(entries.place(name), "a regular expression for a module's name"));
        }
        patterns.insert(name.clone(), read(&entries, name)?);
    }
    Ok(patterns)
}
