//! The shape of a GGUF model, from its metadata and from which tensors are there.

use super::container::{Container, Metadata};
use super::model::read_place;
use crate::Error;
use crate::config::{Limits, ModelConfig, RotaryConfig, RotaryScaling};

/// The architectures that are read.
const ARCHITECTURES: [&str; 3] = ["llama", "qwen2", "qwen3"];

/// Reads the configuration.
///
/// # Errors
/// [`Error::Format`] names the key that is absent or out of bounds; [`Error::Unsupported`] another architecture.
pub(crate) fn read_config(container: &Container) -> Result<ModelConfig, Error> {
    let metadata = &container.metadata;
    let architecture = metadata.text("general.architecture")?;
    let architecture = architecture
        .ok_or_else(|| Error::format(metadata.place("general.architecture"), "absent"))?
        .to_owned();
    if !ARCHITECTURES.contains(&architecture.as_str()) {
        let reason = format!("{architecture:?} (this engine reads {})", ARCHITECTURES.join(", "));
        return Err(Error::unsupported(metadata.place("general.architecture"), reason));
    }
    let key = |name: &str| format!("{architecture}.{name}");
    if metadata.number(&key("expert_count"))?.is_some_and(|count| count != 0.0) {
        return Err(Error::unsupported(metadata.place(&key("expert_count")), "a mixture of experts"));
    }
    let heads = metadata.required_size(&key("attention.head_count"), Limits::HEADS)?;
    let hidden = metadata.required_size(&key("embedding_length"), Limits::HIDDEN)?;
    let layers = metadata.required_size(&key("block_count"), Limits::LAYERS)?;
    let context = metadata.required_size(&key("context_length"), Limits::CONTEXT)?;
    let head_dim = head_dim(metadata, &architecture, hidden, heads)?;
    let vocabulary = vocabulary(container)?;
    let window = metadata.number(&key("attention.sliding_window"))?.filter(|&window| window > 0.0);
    let has = |name: &str| container.places.contains_key(name);
    let config = ModelConfig {
        vocabulary,
        hidden,
        intermediate: metadata.required_size(&key("feed_forward_length"), Limits::INTERMEDIATE)?,
        layers,
        heads,
        kv_heads: metadata.size(&key("attention.head_count_kv"), Limits::HEADS)?.unwrap_or(heads),
        head_dim,
        context,
        norm_epsilon: metadata.number(&key("attention.layer_norm_rms_epsilon"))?.unwrap_or(1e-6) as f32,
        rotary: rotary(container, &architecture, context)?,
        tied: !has("output.weight"),
        qkv_bias: has("blk.0.attn_q.bias"),
        output_bias: has("blk.0.attn_output.bias"),
        mlp_bias: has("blk.0.ffn_down.bias"),
        qk_norm: has("blk.0.attn_q_norm.weight"),
        windows: vec![window.map(|window| (window as usize).clamp(1, Limits::CONTEXT)); layers],
        bos: metadata.token("tokenizer.ggml.bos_token_id", vocabulary)?,
        eos: ends(metadata, vocabulary)?,
        architecture,
    };
    config.check(metadata.place("configuration").as_str())?;
    Ok(config)
}

/// Width of a head; parts of a head that are not rotated are refused.
fn head_dim(metadata: &Metadata, architecture: &str, hidden: usize, heads: usize) -> Result<usize, Error> {
    let key = format!("{architecture}.attention.key_length");
    let head_dim = match metadata.size(&key, Limits::HEAD_DIM)? {
        Some(size) => size,
        None if hidden.is_multiple_of(heads) && hidden / heads <= Limits::HEAD_DIM => hidden / heads,
        None => {
            let reason = format!("absent, and {heads} heads do not share a width of {hidden}");
            return Err(Error::format(metadata.place(&key), reason));
        }
    };
    for name in ["attention.value_length", "rope.dimension_count"] {
        let key = format!("{architecture}.{name}");
        if metadata.size(&key, Limits::HEAD_DIM)?.is_some_and(|size| size != head_dim) {
            return Err(Error::unsupported(
                metadata.place(&key),
                format!("another size than the head's {head_dim}"),
            ));
        }
    }
    Ok(head_dim)
}

/// Rows of the embedding.
fn vocabulary(container: &Container) -> Result<usize, Error> {
    let place = || container.metadata.place("token_embd.weight");
    let embedding =
        container.places.get("token_embd.weight").ok_or_else(|| Error::format(place(), "absent"))?;
    match embedding.shape[..] {
        [rows, _] if (1..=Limits::VOCABULARY).contains(&rows) => Ok(rows),
        _ => Err(Error::format(place(), format!("shape {:?} is no embedding", embedding.shape))),
    }
}

/// Every token that ends a generation.
fn ends(metadata: &Metadata, vocabulary: usize) -> Result<Vec<u32>, Error> {
    let mut ends = Vec::new();
    for key in ["tokenizer.ggml.eos_token_id", "tokenizer.ggml.eot_token_id", "tokenizer.ggml.eom_token_id"] {
        ends.extend(metadata.token(key, vocabulary)?.filter(|id| !ends.contains(id)));
    }
    Ok(ends)
}

/// The rotary embedding: from `rope.scaling` keys, or from tensors of factors.
fn rotary(container: &Container, architecture: &str, context: usize) -> Result<RotaryConfig, Error> {
    let metadata = &container.metadata;
    let key = |name: &str| format!("{architecture}.rope.{name}");
    let theta = metadata.number(&key("freq_base"))?.unwrap_or(10_000.0);
    let factor = metadata.number(&key("scaling.factor"))?;
    let factor =
        factor.or(metadata.number(&key("scale_linear"))?).filter(|&factor| factor > 0.0).unwrap_or(1.0);
    let original = metadata.size(&key("scaling.original_context_length"), Limits::CONTEXT)?;
    let original_context = original.unwrap_or(context);
    let attention = metadata.number(&key("scaling.attn_factor"))?;
    // Llama 3's scaling comes as a tensor of divisors, one per frequency.
    if let Some(factors) = factors(container, "rope_freqs.weight")? {
        let scaling = RotaryScaling::LongRope {
            long: factors.clone(),
            short: factors,
            attention_factor: Some(1.0),
            original_context,
        };
        return Ok(RotaryConfig { theta, scaling });
    }
    let long = factors(container, "rope_factors_long.weight")?;
    let short = factors(container, "rope_factors_short.weight")?;
    if let (Some(long), Some(short)) = (long, short) {
        let attention_factor = Some(attention.unwrap_or(1.0));
        let scaling = RotaryScaling::LongRope { short, long, attention_factor, original_context };
        return Ok(RotaryConfig { theta, scaling });
    }
    let kind = metadata.text(&key("scaling.type"))?;
    let scaling = match kind.unwrap_or(if factor == 1.0 { "none" } else { "linear" }) {
        "none" => RotaryScaling::Default,
        "linear" if factor == 1.0 => RotaryScaling::Default,
        "linear" => RotaryScaling::Linear { factor },
        "yarn" => RotaryScaling::Yarn {
            factor,
            beta_fast: metadata.number(&key("scaling.yarn_beta_fast"))?.unwrap_or(32.0),
            beta_slow: metadata.number(&key("scaling.yarn_beta_slow"))?.unwrap_or(1.0),
            // In GGUF the key multiplies YaRN's own factor; in transformers it replaces it.
            attention_factor: attention.map(|own| own * (0.1 * factor.max(1.0).ln() + 1.0)),
            original_context,
            truncate: true,
        },
        other => {
            return Err(Error::unsupported(
                metadata.place(&key("scaling.type")),
                format!("rotary scaling {other:?}"),
            ));
        }
    };
    Ok(RotaryConfig { theta, scaling })
}

/// A tensor of factors, unless absent.
fn factors(container: &Container, name: &str) -> Result<Option<Vec<f64>>, Error> {
    let Some(place) = container.places.get(name) else { return Ok(None) };
    if place.shape.iter().product::<usize>() > Limits::HEAD_DIM {
        return Err(Error::format(container.metadata.place(name), format!("shape {:?}", place.shape)));
    }
    let values = read_place(&container.source, name, place)?;
    Ok(Some(values.into_iter().map(f64::from).collect()))
}
