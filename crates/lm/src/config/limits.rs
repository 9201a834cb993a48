//! The largest sizes that a configuration may state: generous against every published model of the family, small
//! enough that no product of them overflows and no damaged file asks for the whole memory.

use super::{ModelConfig, RotaryScaling};
use crate::Error;

/// Upper bounds of the sizes in a configuration.
pub(crate) struct Limits;

impl Limits {
    /// Tokens in the embedding.
    pub(crate) const VOCABULARY: usize = 1 << 22;
    /// Width of the residual stream.
    pub(crate) const HIDDEN: usize = 1 << 16;
    /// Width of the feed-forward layer.
    pub(crate) const INTERMEDIATE: usize = 1 << 20;
    /// Number of layers.
    pub(crate) const LAYERS: usize = 1 << 10;
    /// Number of query heads.
    pub(crate) const HEADS: usize = 1 << 10;
    /// Width of a head.
    pub(crate) const HEAD_DIM: usize = 1 << 10;
    /// Positions.
    pub(crate) const CONTEXT: usize = 1 << 27;
}

/// Checks what one key alone cannot show: divisibility, lengths, finite numbers. Keys are named as in `config.json`.
pub(super) fn check(config: &ModelConfig, place: &str) -> Result<(), Error> {
    let refuse = |key: &str, reason: String| Err(Error::format(format!("{place}: {key}"), reason));
    if !config.heads.is_multiple_of(config.kv_heads) {
        let reason = format!("{} does not divide num_attention_heads {}", config.kv_heads, config.heads);
        return refuse("num_key_value_heads", reason);
    }
    if !config.head_dim.is_multiple_of(2) {
        return refuse("head_dim", format!("{} is odd: rotary embedding turns pairs", config.head_dim));
    }
    if !(config.norm_epsilon.is_finite() && config.norm_epsilon > 0.0 && config.norm_epsilon < 1.0) {
        return refuse("rms_norm_eps", format!("{} is not between 0 and 1", config.norm_epsilon));
    }
    if config.windows.len() != config.layers {
        return refuse(
            "layer_types",
            format!("{} entries for {} layers", config.windows.len(), config.layers),
        );
    }
    let token = config
        .bos
        .iter()
        .map(|id| ("bos_token_id", id))
        .chain(config.eos.iter().map(|id| ("eos_token_id", id)));
    for (key, &id) in token {
        if id as usize >= config.vocabulary {
            return refuse(key, format!("{id} is outside the vocabulary of {}", config.vocabulary));
        }
    }
    check_rotary(config, &|key, reason| Error::format(format!("{place}: {key}"), reason))
}

/// Checks the numbers of the rotary embedding.
fn check_rotary(config: &ModelConfig, refuse: &dyn Fn(&str, String) -> Error) -> Result<(), Error> {
    let positive = |key: &str, value: f64| {
        if value.is_finite() && value > 0.0 && value < 1e12 {
            Ok(())
        } else {
            Err(refuse(key, format!("{value} is not a positive number")))
        }
    };
    positive("rope_theta", config.rotary.theta)?;
    let original = |context: usize| positive("original_max_position_embeddings", context as f64);
    match &config.rotary.scaling {
        RotaryScaling::Default => Ok(()),
        RotaryScaling::Linear { factor } => positive("factor", *factor),
        RotaryScaling::Dynamic { factor, original_context } => {
            if config.head_dim < 4 {
                return Err(refuse("head_dim", "dynamic scaling needs at least 4".to_owned()));
            }
            positive("factor", *factor).and(original(*original_context))
        }
        RotaryScaling::Llama3 { factor, low_frequency_factor, high_frequency_factor, original_context } => {
            positive("factor", *factor)?;
            positive("low_freq_factor", *low_frequency_factor)?;
            positive("high_freq_factor", *high_frequency_factor)?;
            if high_frequency_factor <= low_frequency_factor {
                return Err(refuse("high_freq_factor", "must be above low_freq_factor".to_owned()));
            }
            original(*original_context)
        }
        RotaryScaling::Yarn { factor, beta_fast, beta_slow, attention_factor, original_context, .. } => {
            positive("factor", *factor)?;
            positive("beta_fast", *beta_fast)?;
            positive("beta_slow", *beta_slow)?;
            positive("attention_factor", attention_factor.unwrap_or(1.0))?;
            if config.rotary.theta <= 1.0 {
                return Err(refuse("rope_theta", "must be above 1 for yarn".to_owned()));
            }
            original(*original_context)
        }
        RotaryScaling::LongRope { short, long, attention_factor, original_context } => {
            positive("attention_factor", attention_factor.unwrap_or(1.0))?;
            for (key, factors) in [("short_factor", short), ("long_factor", long)] {
                if factors.len() != config.head_dim / 2 {
                    let reason = format!("{} factors for {} frequencies", factors.len(), config.head_dim / 2);
                    return Err(refuse(key, reason));
                }
                factors.iter().try_for_each(|&factor| positive(key, factor))?;
            }
            original(*original_context)
        }
    }
}
