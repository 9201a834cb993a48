//! A model's shape as GGUF metadata: the inverse of [`read_config`](super::read_config).

use super::writer::GgufWriter;
use crate::Error;
use crate::config::{ModelConfig, RotaryConfig, RotaryScaling};
use crate::weights::Dtype;

/// The architecture of llama.cpp that has the parts of `config`: everything with Llama's layout is `llama` there, and its
/// query and key rows are kept as interleaved pairs.
///
/// # Errors
/// [`Error::Unsupported`] where llama.cpp would compute something else: sliding windows.
pub(crate) fn in_gguf(config: &ModelConfig) -> Result<ModelConfig, Error> {
    if config.windows.iter().flatten().any(|&window| window < config.context) {
        return Err(Error::unsupported("GGUF", "a sliding window shorter than the context"));
    }
    let architecture = match () {
        () if config.qk_norm => "qwen3",
        () if config.qkv_bias && !config.output_bias => "qwen2",
        () => "llama",
    };
    Ok(ModelConfig { architecture: architecture.to_owned(), ..config.clone() })
}

/// Adds the keys that say what `config` (of [`in_gguf`]) is, and the tensors of factors that its rotary embedding needs.
///
/// # Errors
/// [`Error::Unsupported`] names a rotary scaling that the format has no keys for.
pub(crate) fn describe(config: &ModelConfig, name: &str, file: &mut GgufWriter) -> Result<(), Error> {
    let architecture = config.architecture.as_str();
    let key = |part: &str| format!("{architecture}.{part}");
    file.text("general.architecture", architecture);
    file.text("general.type", "model");
    file.text("general.name", name);
    for (part, size) in [
        ("block_count", config.layers),
        ("context_length", config.context),
        ("embedding_length", config.hidden),
        ("feed_forward_length", config.intermediate),
        ("attention.head_count", config.heads),
        ("attention.head_count_kv", config.kv_heads),
        ("attention.key_length", config.head_dim),
        ("attention.value_length", config.head_dim),
        ("rope.dimension_count", config.head_dim),
        ("vocab_size", config.vocabulary),
    ] {
        file.unsigned(&key(part), whole(size)?);
    }
    file.float(&key("attention.layer_norm_rms_epsilon"), config.norm_epsilon);
    file.float(&key("rope.freq_base"), config.rotary.theta as f32);
    describe_scaling(config, &|part| key(&format!("rope.scaling.{part}")), file)
}

fn describe_scaling(
    config: &ModelConfig,
    key: &dyn Fn(&str) -> String,
    file: &mut GgufWriter,
) -> Result<(), Error> {
    let unsupported = |what: &str| Err(Error::unsupported("GGUF", format!("rotary scaling: {what}")));
    match &config.rotary.scaling {
        RotaryScaling::Default => {}
        RotaryScaling::Linear { factor } => {
            file.text(&key("type"), "linear");
            file.float(&key("factor"), *factor as f32);
        }
        RotaryScaling::Llama3 { .. } => {
            put_factors(file, "rope_freqs.weight", &divisors(config));
        }
        RotaryScaling::Yarn { truncate: false, .. } => return unsupported("YaRN without truncation"),
        RotaryScaling::Yarn { factor, beta_fast, beta_slow, attention_factor, original_context, .. } => {
            file.text(&key("type"), "yarn");
            file.float(&key("factor"), *factor as f32);
            file.unsigned(&key("original_context_length"), whole(*original_context)?);
            file.float(&key("yarn_beta_fast"), *beta_fast as f32);
            file.float(&key("yarn_beta_slow"), *beta_slow as f32);
            if let Some(attention) = attention_factor {
                // In GGUF the key multiplies YaRN's own factor; in transformers it replaces it.
                file.float(&key("attn_factor"), (attention / (0.1 * factor.max(1.0).ln() + 1.0)) as f32);
            }
        }
        RotaryScaling::LongRope { short, long, attention_factor, original_context } => {
            file.unsigned(&key("original_context_length"), whole(*original_context)?);
            file.float(&key("attn_factor"), attention_factor.unwrap_or(1.0) as f32);
            put_factors(file, "rope_factors_long.weight", long);
            put_factors(file, "rope_factors_short.weight", short);
        }
        RotaryScaling::Dynamic { .. } => return unsupported("dynamic NTK"),
    }
    Ok(())
}

/// What Llama 3's scaling divides each frequency by.
fn divisors(config: &ModelConfig) -> Vec<f64> {
    let of = |rotary: &RotaryConfig| rotary.inverse_frequencies(config.head_dim, config.context).0;
    let plain = of(&RotaryConfig { scaling: RotaryScaling::Default, ..config.rotary.clone() });
    plain.into_iter().zip(of(&config.rotary)).map(|(plain, scaled)| plain / scaled).collect()
}

fn put_factors(file: &mut GgufWriter, name: &str, factors: &[f64]) {
    let values = factors.iter().map(|&factor| factor as f32).collect();
    file.tensor(name.to_owned(), vec![factors.len()], Dtype::F32, values);
}

fn whole(size: usize) -> Result<u32, Error> {
    u32::try_from(size).map_err(|_| Error::unsupported("GGUF", format!("a size of {size}")))
}
