//! Writing `config.json`, in the newer form of transformers.

use serde_json::{Map, Value, json};

use super::{ModelConfig, RotaryConfig, RotaryScaling};

/// Writes a `config.json`.
pub(super) fn write(config: &ModelConfig) -> String {
    let architecture = model_type(config);
    let class = match architecture {
        "mistral" => "MistralForCausalLM",
        "qwen2" => "Qwen2ForCausalLM",
        "qwen3" => "Qwen3ForCausalLM",
        _ => "LlamaForCausalLM",
    };
    let eos = match config.eos.as_slice() {
        [] => Value::Null,
        [only] => json!(only),
        several => json!(several),
    };
    let positions = match config.rotary.scaling {
        RotaryScaling::Dynamic { original_context, .. } => original_context,
        _ => config.context,
    };
    let mut value = json!({
        "architectures": [class],
        "attention_bias": config.qkv_bias && architecture != "qwen2",
        "attention_dropout": 0.0,
        "bos_token_id": config.bos,
        "dtype": "float32",
        "eos_token_id": eos,
        "head_dim": config.head_dim,
        "hidden_act": "silu",
        "hidden_size": config.hidden,
        "initializer_range": 0.02,
        "intermediate_size": config.intermediate,
        "max_position_embeddings": positions,
        "mlp_bias": config.mlp_bias,
        "model_type": architecture,
        "num_attention_heads": config.heads,
        "num_hidden_layers": config.layers,
        "num_key_value_heads": config.kv_heads,
        "rms_norm_eps": shortest(config.norm_epsilon),
        "rope_parameters": rope_parameters(&config.rotary),
        "tie_word_embeddings": config.tied,
        "use_cache": true,
        "vocab_size": config.vocabulary,
    });
    let object = value.as_object_mut().expect("the literal above is an object");
    write_windows(config, architecture, object);
    format!("{value:#}\n")
}

/// The architecture of transformers that has the parts of this model: a GGUF file calls everything with Llama's layout
/// `llama`.
fn model_type(config: &ModelConfig) -> &str {
    let windowed = config.windows.iter().any(Option::is_some);
    match config.architecture.as_str() {
        _ if config.qk_norm => "qwen3",
        _ if config.qkv_bias && !config.output_bias => "qwen2",
        "llama" if windowed && !config.qkv_bias && !config.mlp_bias => "mistral",
        other => other,
    }
}

/// The f64 whose shortest decimal form is that of the f32, so that 1e-5 is not written as 9.99999974e-6.
fn shortest(number: f32) -> f64 {
    number.to_string().parse().expect("a printed number parses")
}

/// Adds the keys of the sliding windows that the architecture has.
fn write_windows(config: &ModelConfig, architecture: &str, object: &mut Map<String, Value>) {
    let window = config.windows.iter().flatten().next().copied();
    match architecture {
        "mistral" => {
            object.insert("sliding_window".to_owned(), json!(window));
        }
        "qwen2" | "qwen3" => {
            let kind = |window: &Option<usize>| window.map_or("full_attention", |_| "sliding_attention");
            let types: Vec<_> = config.windows.iter().map(kind).collect();
            object.insert("layer_types".to_owned(), json!(types));
            object.insert("sliding_window".to_owned(), json!(window));
            object.insert("use_sliding_window".to_owned(), json!(window.is_some()));
        }
        _ => {}
    }
}

/// The newer form of the rotary parameters.
fn rope_parameters(rotary: &RotaryConfig) -> Value {
    let mut value = match &rotary.scaling {
        RotaryScaling::Default => json!({"rope_type": "default"}),
        RotaryScaling::Linear { factor } => json!({"rope_type": "linear", "factor": factor}),
        RotaryScaling::Dynamic { factor, .. } => json!({"rope_type": "dynamic", "factor": factor}),
        RotaryScaling::Llama3 { factor, low_frequency_factor, high_frequency_factor, original_context } => {
            json!({
                "rope_type": "llama3",
                "factor": factor,
                "low_freq_factor": low_frequency_factor,
                "high_freq_factor": high_frequency_factor,
                "original_max_position_embeddings": original_context,
            })
        }
        RotaryScaling::Yarn {
            factor,
            beta_fast,
            beta_slow,
            attention_factor,
            original_context,
            truncate,
        } => json!({
            "rope_type": "yarn",
            "factor": factor,
            "beta_fast": beta_fast,
            "beta_slow": beta_slow,
            "attention_factor": attention_factor,
            "original_max_position_embeddings": original_context,
            "truncate": truncate,
        }),
        RotaryScaling::LongRope { short, long, attention_factor, original_context } => json!({
            "rope_type": "longrope",
            "short_factor": short,
            "long_factor": long,
            "attention_factor": attention_factor.unwrap_or(1.0),
            "original_max_position_embeddings": original_context,
        }),
    };
    let object = value.as_object_mut().expect("each literal above is an object");
    object.retain(|_, value| !value.is_null());
    object.insert("rope_theta".to_owned(), json!(rotary.theta));
    value
}
