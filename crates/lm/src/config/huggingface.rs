//! Reading `config.json`, in the older and the newer form of transformers.

use serde_json::Value;

use super::keys::Keys;
use super::rotary::yarn_attention;
use super::{Limits, ModelConfig, RotaryConfig, RotaryScaling, limits};
use crate::Error;

/// The largest `config.json` that is read, in bytes.
const LARGEST: usize = 4 << 20;

/// What transformers assumes of an architecture where `config.json` is silent.
struct Defaults {
    /// `head_dim`; `None` divides the hidden size by the heads.
    head_dim: Option<usize>,
    /// `num_key_value_heads` where the key is missing; `None` is the number of query heads.
    kv_heads: Option<usize>,
    /// `max_position_embeddings`.
    context: usize,
    /// `sliding_window` where the key is missing.
    window: Option<usize>,
    /// `bos_token_id` and `eos_token_id` where the keys are missing.
    specials: Option<(u32, u32)>,
}

/// The architectures that the engine runs, by `model_type`.
fn defaults(architecture: &str) -> Option<Defaults> {
    let defaults = match architecture {
        "llama" => {
            Defaults { head_dim: None, kv_heads: None, context: 2048, window: None, specials: Some((1, 2)) }
        }
        "mistral" => Defaults {
            head_dim: None,
            kv_heads: Some(8),
            context: 131_072,
            window: Some(4096),
            specials: Some((1, 2)),
        },
        "qwen2" => Defaults {
            head_dim: None,
            kv_heads: Some(32),
            context: 32_768,
            window: Some(4096),
            specials: None,
        },
        "qwen3" => Defaults {
            head_dim: Some(128),
            kv_heads: Some(32),
            context: 32_768,
            window: Some(4096),
            specials: None,
        },
        _ => return None,
    };
    Some(defaults)
}

/// Reads a `config.json`.
pub(super) fn read(bytes: &[u8], place: &str) -> Result<ModelConfig, Error> {
    if bytes.len() > LARGEST {
        return Err(Error::format(place, format!("{} bytes, more than a configuration has", bytes.len())));
    }
    let value: Value =
        serde_json::from_slice(bytes).map_err(|error| Error::format(place, error.to_string()))?;
    let keys = Keys::new(&value, place)?;
    let architecture = architecture(&keys)?;
    let Some(defaults) = defaults(&architecture) else {
        let reason = format!("{architecture:?} (this engine runs llama, mistral, qwen2 and qwen3)");
        return Err(Error::unsupported(keys.place("model_type"), reason));
    };
    refuse_variants(&keys)?;
    let config = read_sizes(&keys, architecture, &defaults)?;
    limits::check(&config, place)?;
    Ok(config)
}

/// The `model_type`, or what `architectures` implies where it is absent.
fn architecture(keys: &Keys<'_>) -> Result<String, Error> {
    if let Some(name) = keys.text("model_type")? {
        return Ok(name.to_owned());
    }
    let classes = keys.texts("architectures")?.unwrap_or_default();
    let class = classes.first().ok_or_else(|| Error::format(keys.place("model_type"), "absent"))?;
    Ok(class.strip_suffix("ForCausalLM").unwrap_or(class).to_lowercase())
}

/// Refuses what would silently compute something else.
fn refuse_variants(keys: &Keys<'_>) -> Result<(), Error> {
    if let Some(activation) = keys.text("hidden_act")?
        && !["silu", "swish"].contains(&activation)
    {
        let reason = format!("activation {activation:?} (this engine has silu)");
        return Err(Error::unsupported(keys.place("hidden_act"), reason));
    }
    if keys.value("quantization_config").is_some() {
        let reason = "quantised safetensors; use the original weights or a GGUF file";
        return Err(Error::unsupported(keys.place("quantization_config"), reason));
    }
    if keys.number("partial_rotary_factor")?.is_some_and(|part| part != 1.0) {
        return Err(Error::unsupported(
            keys.place("partial_rotary_factor"),
            "rotation of a part of each head",
        ));
    }
    Ok(())
}

/// Reads every size, then what depends on them.
fn read_sizes(keys: &Keys<'_>, architecture: String, defaults: &Defaults) -> Result<ModelConfig, Error> {
    let vocabulary = keys.size("vocab_size", Limits::VOCABULARY)?;
    let hidden = keys.size("hidden_size", Limits::HIDDEN)?;
    let layers = keys.size("num_hidden_layers", Limits::LAYERS)?;
    let heads = keys.size("num_attention_heads", Limits::HEADS)?;
    let kv_default = if keys.has("num_key_value_heads") { heads } else { defaults.kv_heads.unwrap_or(heads) };
    let context = keys.optional_size("max_position_embeddings", Limits::CONTEXT)?.unwrap_or(defaults.context);
    let rotary = rotary(keys, layers, context)?;
    let attention_bias = keys.boolean("attention_bias")?.unwrap_or(false);
    let windows = windows(keys, &architecture, layers, defaults)?;
    let (bos, eos) = specials(keys, defaults, vocabulary)?;
    Ok(ModelConfig {
        vocabulary,
        hidden,
        intermediate: keys.size("intermediate_size", Limits::INTERMEDIATE)?,
        layers,
        heads,
        kv_heads: keys.optional_size("num_key_value_heads", Limits::HEADS)?.unwrap_or(kv_default),
        head_dim: head_dim(keys, hidden, heads, defaults)?,
        context: reach(&rotary, context),
        norm_epsilon: keys.number("rms_norm_eps")?.unwrap_or(1e-6) as f32,
        rotary,
        tied: keys.boolean("tie_word_embeddings")?.unwrap_or(false),
        // Qwen2 has its three biases without a key; Mistral has none whatever the key says.
        qkv_bias: architecture == "qwen2" || (attention_bias && architecture != "mistral"),
        output_bias: attention_bias && ["llama", "qwen3"].contains(&architecture.as_str()),
        mlp_bias: keys.boolean("mlp_bias")?.unwrap_or(false) && architecture == "llama",
        qk_norm: architecture == "qwen3",
        windows,
        bos,
        eos,
        architecture,
    })
}

/// The longest context. Dynamic scaling begins where `max_position_embeddings` ends, and is meant for `factor` times as
/// much.
fn reach(rotary: &RotaryConfig, context: usize) -> usize {
    match rotary.scaling {
        RotaryScaling::Dynamic { factor, .. } => {
            ((context as f64 * factor) as usize).clamp(context, Limits::CONTEXT)
        }
        _ => context,
    }
}

/// `head_dim`, or the hidden size shared among the heads.
fn head_dim(keys: &Keys<'_>, hidden: usize, heads: usize, defaults: &Defaults) -> Result<usize, Error> {
    let missing = if keys.has("head_dim") { None } else { defaults.head_dim };
    match keys.optional_size("head_dim", Limits::HEAD_DIM)?.or(missing) {
        Some(size) => Ok(size),
        None if !hidden.is_multiple_of(heads) => {
            let reason = format!("{heads} does not divide hidden_size {hidden}, and head_dim is absent");
            Err(Error::format(keys.place("num_attention_heads"), reason))
        }
        None if hidden / heads > Limits::HEAD_DIM => {
            let reason = format!("heads of {} (at most {})", hidden / heads, Limits::HEAD_DIM);
            Err(Error::format(keys.place("num_attention_heads"), reason))
        }
        None => Ok(hidden / heads),
    }
}

/// The sliding window of each layer.
fn windows(
    keys: &Keys<'_>,
    architecture: &str,
    layers: usize,
    defaults: &Defaults,
) -> Result<Vec<Option<usize>>, Error> {
    let stated = keys.optional_size("sliding_window", Limits::CONTEXT)?;
    let window = if keys.has("sliding_window") { stated } else { defaults.window };
    match architecture {
        "mistral" => Ok(vec![window; layers]),
        "qwen2" | "qwen3" => {
            let window = if keys.boolean("use_sliding_window")?.unwrap_or(false) { window } else { None };
            if let Some(types) = keys.texts("layer_types")? {
                return layer_windows(keys, &types, window);
            }
            let full = keys.value("max_window_layers").map_or(Some(28), Value::as_u64);
            let full =
                full.ok_or_else(|| Error::format(keys.place("max_window_layers"), "not a whole number"))?;
            Ok((0..layers).map(|layer| if layer as u64 >= full { window } else { None }).collect())
        }
        _ => Ok(vec![None; layers]),
    }
}

/// The window of each layer from its entry in `layer_types`.
fn layer_windows(
    keys: &Keys<'_>,
    types: &[&str],
    window: Option<usize>,
) -> Result<Vec<Option<usize>>, Error> {
    let layer = |kind: &&str| match *kind {
        "full_attention" => Ok(None),
        "sliding_attention" => Ok(window),
        other => Err(Error::unsupported(keys.place("layer_types"), format!("layers of type {other:?}"))),
    };
    types.iter().map(layer).collect()
}

/// Beginning and end of sequence. A default outside the vocabulary is no token of this model.
fn specials(
    keys: &Keys<'_>,
    defaults: &Defaults,
    vocabulary: usize,
) -> Result<(Option<u32>, Vec<u32>), Error> {
    let inside = |id: &u32| (*id as usize) < vocabulary;
    let bos = match keys.has("bos_token_id") {
        true => keys.tokens("bos_token_id")?.first().copied(),
        false => defaults.specials.map(|(bos, _)| bos).filter(inside),
    };
    let eos = match keys.has("eos_token_id") {
        true => keys.tokens("eos_token_id")?,
        false => defaults.specials.map(|(_, eos)| eos).filter(inside).into_iter().collect(),
    };
    Ok((bos, eos))
}

/// The rotary embedding from `rope_scaling` or `rope_parameters`; the first wins, as in transformers.
fn rotary(keys: &Keys<'_>, layers: usize, context: usize) -> Result<RotaryConfig, Error> {
    let theta = keys.number("rope_theta")?.unwrap_or(10_000.0);
    let filled = |key: &'static str| {
        let value = keys.value(key)?;
        (value.as_object().is_none_or(|object| !object.is_empty())).then_some((key, value))
    };
    let Some((key, value)) = filled("rope_scaling").or_else(|| filled("rope_parameters")) else {
        return Ok(RotaryConfig { theta, scaling: RotaryScaling::Default });
    };
    let place = keys.place(key);
    let parameters = Keys::new(value, &place)?;
    // A nested form has one object per type of layer; with equal values it is one embedding for all layers.
    let nested: Vec<_> = parameters.entries().filter(|(_, value)| value.is_object()).collect();
    let Some((name, first)) = nested.first() else {
        return flat_rotary(keys, &parameters, theta, context);
    };
    let used = keys.texts("layer_types")?.unwrap_or_default();
    let of_use = |name: &str| used.is_empty() || used.iter().take(layers).any(|kind| *kind == name);
    let relevant: Vec<_> = nested.iter().filter(|(name, _)| of_use(name)).collect();
    let (name, first) = relevant.first().map_or((name, first), |(name, first)| (name, first));
    if relevant.iter().any(|(_, value)| value != first) {
        return Err(Error::unsupported(place, "another rotary embedding for each type of layer"));
    }
    flat_rotary(keys, &Keys::new(first, &format!("{place}: {name}"))?, theta, context)
}

/// One set of rotary parameters.
fn flat_rotary(
    keys: &Keys<'_>,
    parameters: &Keys<'_>,
    theta: f64,
    context: usize,
) -> Result<RotaryConfig, Error> {
    let theta = parameters.number("rope_theta")?.unwrap_or(theta);
    if parameters.number("partial_rotary_factor")?.is_some_and(|part| part != 1.0) {
        return Err(Error::unsupported(
            parameters.place("partial_rotary_factor"),
            "rotation of a part of each head",
        ));
    }
    let kind = match parameters.text("rope_type")? {
        Some(kind) => kind,
        None => parameters.text("type")?.unwrap_or("default"),
    };
    // The model's own key has priority over the one among the parameters, as in transformers.
    const ORIGINAL: &str = "original_max_position_embeddings";
    let inner = parameters.optional_size(ORIGINAL, Limits::CONTEXT)?;
    let original_context = keys.optional_size(ORIGINAL, Limits::CONTEXT)?.or(inner).unwrap_or(context);
    let ratio = context as f64 / original_context as f64;
    let scaling = match kind {
        "default" => RotaryScaling::Default,
        "linear" => RotaryScaling::Linear { factor: parameters.required_number("factor")? },
        "dynamic" => RotaryScaling::Dynamic {
            factor: parameters.required_number("factor")?,
            original_context: context,
        },
        "llama3" => RotaryScaling::Llama3 {
            factor: parameters.required_number("factor")?,
            low_frequency_factor: parameters.required_number("low_freq_factor")?,
            high_frequency_factor: parameters.required_number("high_freq_factor")?,
            original_context,
        },
        "yarn" => yarn(parameters, ratio, original_context)?,
        "longrope" | "su" => longrope(parameters, ratio, original_context)?,
        other => {
            return Err(Error::unsupported(
                parameters.place("rope_type"),
                format!("rotary embedding {other:?}"),
            ));
        }
    };
    Ok(RotaryConfig { theta, scaling })
}

/// YaRN's parameters, `mscale` and `mscale_all_dim` resolved to the attention factor.
fn yarn(parameters: &Keys<'_>, ratio: f64, original_context: usize) -> Result<RotaryScaling, Error> {
    let factor = parameters.number("factor")?.unwrap_or(ratio);
    let nonzero = |key: &str| parameters.number(key).map(|number| number.filter(|&number| number != 0.0));
    let derived = match (nonzero("mscale")?, nonzero("mscale_all_dim")?) {
        (Some(scale), Some(all)) => Some(yarn_attention(factor, scale) / yarn_attention(factor, all)),
        _ => None,
    };
    Ok(RotaryScaling::Yarn {
        factor,
        beta_fast: nonzero("beta_fast")?.unwrap_or(32.0),
        beta_slow: nonzero("beta_slow")?.unwrap_or(1.0),
        attention_factor: parameters.number("attention_factor")?.or(derived),
        original_context,
        truncate: parameters.boolean("truncate")?.unwrap_or(true),
    })
}

/// LongRoPE's parameters, the attention factor resolved.
fn longrope(parameters: &Keys<'_>, ratio: f64, original_context: usize) -> Result<RotaryScaling, Error> {
    let factor = parameters.number("factor")?.unwrap_or(ratio);
    let derived = match factor > 1.0 && original_context > 1 {
        true => (1.0 + factor.ln() / (original_context as f64).ln()).sqrt(),
        false => 1.0,
    };
    Ok(RotaryScaling::LongRope {
        short: parameters.numbers("short_factor")?,
        long: parameters.numbers("long_factor")?,
        attention_factor: Some(parameters.number("attention_factor")?.unwrap_or(derived)),
        original_context,
    })
}
