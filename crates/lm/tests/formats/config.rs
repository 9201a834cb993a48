//! `config.json`, and the rotary embedding that follows from it.

use lm::Error;
use lm::config::{ModelConfig, RotaryScaling};
use serde_json::{Value, json};

use super::json as fixture;

/// A small valid configuration with some keys replaced (or taken out, where null stands for the key).
fn configuration(changes: Value) -> Value {
    let mut value = json!({
        "model_type": "llama", "vocab_size": 64, "hidden_size": 32, "intermediate_size": 48, "num_hidden_layers": 3,
        "num_attention_heads": 4, "num_key_value_heads": 2, "max_position_embeddings": 128, "rms_norm_eps": 1e-5,
        "hidden_act": "silu", "tie_word_embeddings": true, "bos_token_id": 1, "eos_token_id": 2
    });
    for (key, change) in changes.as_object().unwrap() {
        value[key] = change.clone();
    }
    value
}

fn read(value: &Value) -> Result<ModelConfig, Error> {
    ModelConfig::from_hf_json(value.to_string().as_bytes(), "config.json")
}

fn changed(changes: Value) -> ModelConfig {
    read(&configuration(changes)).unwrap()
}

/// The message of the error that the changes cause.
fn refused(changes: Value) -> String {
    let error = read(&configuration(changes.clone())).expect_err(&changes.to_string());
    assert!(matches!(error, Error::Format { .. } | Error::Unsupported { .. }), "{error:?}");
    error.to_string()
}

#[test]
fn inverse_frequencies_are_those_of_transformers() {
    // fixtures/scripts/formats_rope.py
    for case in fixture("formats_rope.json").as_array().unwrap() {
        let config = read(&case["config"]).unwrap();
        let positions = case["positions"].as_u64().unwrap() as usize;
        let (frequencies, factor) = config.rotary.inverse_frequencies(config.head_dim, positions);
        let expected: Vec<f64> = serde_json::from_value(case["inverse_frequencies"].clone()).unwrap();
        assert_eq!(frequencies.len(), expected.len(), "{}", case["name"]);
        for (found, expected) in frequencies.iter().zip(&expected) {
            // Two units in the last place of f32: the power function of PyTorch differs by one from ours at times.
            assert!((found / expected - 1.0).abs() < 2.5e-7, "{}: {found} for {expected}", case["name"]);
        }
        let expected = case["attention_factor"].as_f64().unwrap();
        assert!((factor - expected).abs() < 1e-12, "{}: {factor} for {expected}", case["name"]);
    }
}

#[test]
fn what_is_written_reads_as_the_same() {
    for case in fixture("formats_rope.json").as_array().unwrap() {
        let config = read(&case["config"]).unwrap();
        let written = ModelConfig::from_hf_json(config.to_hf_json().as_bytes(), "written").unwrap();
        assert_eq!(written, config, "{}", case["name"]);
    }
    for changes in [
        json!({"model_type": "mistral", "sliding_window": 16}),
        json!({"model_type": "mistral", "sliding_window": null, "head_dim": 16}),
        json!({"model_type": "qwen2", "use_sliding_window": true, "sliding_window": 8, "max_window_layers": 1}),
        json!({"model_type": "qwen3", "head_dim": 16, "attention_bias": true, "eos_token_id": [2, 5]}),
        json!({"attention_bias": true, "mlp_bias": true, "tie_word_embeddings": false, "bos_token_id": null}),
    ] {
        let config = changed(changes);
        assert_eq!(ModelConfig::from_hf_json(config.to_hf_json().as_bytes(), "written").unwrap(), config);
    }
}

#[test]
fn architectures_differ_as_in_transformers() {
    let llama = changed(json!({"attention_bias": true, "mlp_bias": true, "sliding_window": 8}));
    assert!(llama.qkv_bias && llama.output_bias && llama.mlp_bias && !llama.qk_norm);
    assert_eq!(llama.windows, [None; 3]);
    let qwen2 = changed(json!({"model_type": "qwen2", "sliding_window": 8}));
    assert!(qwen2.qkv_bias && !qwen2.output_bias && !qwen2.qk_norm);
    assert_eq!(qwen2.windows, [None; 3], "use_sliding_window is absent");
    let qwen3 = changed(json!({"model_type": "qwen3"}));
    assert!(!qwen3.qkv_bias && qwen3.qk_norm);
    assert_eq!(qwen3.head_dim, 128, "the default of Qwen3Config");
    let mistral = changed(json!({"model_type": "mistral", "attention_bias": true}));
    assert!(!mistral.qkv_bias && !mistral.output_bias);
    assert_eq!(mistral.windows, [Some(4096); 3], "the default of MistralConfig");
}

#[test]
fn windows_follow_layer_types_or_the_first_windowed_layer() {
    let by_number = json!({"model_type": "qwen2", "use_sliding_window": true, "sliding_window": 8, "max_window_layers": 2});
    assert_eq!(changed(by_number).windows, [None, None, Some(8)]);
    let types = json!(["sliding_attention", "full_attention", "sliding_attention"]);
    let by_type =
        json!({"model_type": "qwen3", "use_sliding_window": true, "sliding_window": 8, "layer_types": types});
    assert_eq!(changed(by_type).windows, [Some(8), None, Some(8)]);
    let unused = json!({"model_type": "qwen3", "use_sliding_window": false, "sliding_window": 8, "layer_types": types});
    assert_eq!(changed(unused).windows, [None; 3]);
}

#[test]
fn absent_keys_take_the_defaults_of_transformers() {
    let mut value = configuration(json!({}));
    let object = value.as_object_mut().unwrap();
    for key in [
        "num_key_value_heads",
        "tie_word_embeddings",
        "bos_token_id",
        "eos_token_id",
        "rms_norm_eps",
        "hidden_act",
    ] {
        object.remove(key);
    }
    object.remove("max_position_embeddings");
    object.insert("model_type".to_owned(), Value::Null);
    object.insert("architectures".to_owned(), json!(["LlamaForCausalLM"]));
    let config = read(&value).unwrap();
    assert_eq!((config.kv_heads, config.head_dim, config.context), (4, 8, 2048));
    assert_eq!((config.tied, config.bos, config.eos), (false, Some(1), vec![2]));
    assert_eq!((config.norm_epsilon, config.rotary.theta), (1e-6, 10_000.0));
    assert_eq!(config.architecture, "llama");
}

#[test]
fn nested_rotary_parameters_are_one_embedding_where_they_are_equal() {
    let one = json!({"rope_type": "default", "rope_theta": 5e5});
    let equal = json!({"rope_parameters": {"full_attention": one, "sliding_attention": one}});
    assert_eq!(changed(equal).rotary.theta, 5e5);
    let other = json!({"rope_type": "linear", "factor": 2.0, "rope_theta": 5e5});
    let nested = json!({"full_attention": one, "sliding_attention": other});
    assert!(refused(json!({"rope_parameters": nested})).contains("rope_parameters"));
    let types = json!(["full_attention", "full_attention", "full_attention"]);
    let config = changed(json!({"rope_parameters": nested, "layer_types": types, "model_type": "qwen2"}));
    assert_eq!(config.rotary.scaling, RotaryScaling::Default);
}

#[test]
fn shapes_and_the_count_of_parameters_agree() {
    let config = changed(json!({"model_type": "qwen2", "tie_word_embeddings": false, "head_dim": 16}));
    let shapes = config.tensor_shapes();
    let sum: usize = shapes.iter().map(|(_, shape)| shape.iter().product::<usize>()).sum();
    assert_eq!(sum as u64, config.parameters());
    assert!(shapes.contains(&("model.layers.2.self_attn.k_proj.weight".to_owned(), vec![32, 32])));
    assert!(shapes.contains(&("model.layers.0.self_attn.q_proj.bias".to_owned(), vec![64])));
    assert_eq!(shapes.last().unwrap().0, "lm_head.weight");
}

#[test]
fn every_bad_value_is_refused_by_the_name_of_its_key() {
    let sizes = [
        "vocab_size",
        "hidden_size",
        "intermediate_size",
        "num_hidden_layers",
        "num_attention_heads",
        "num_key_value_heads",
        "max_position_embeddings",
        "head_dim",
    ];
    for key in sizes {
        for bad in [
            json!(0),
            json!(-1),
            json!(1.5),
            json!("8"),
            json!([8]),
            json!(1u64 << 40),
            json!(u64::MAX),
            json!({}),
        ] {
            let message = refused(json!({key: bad}));
            assert!(message.contains(key), "{message}");
        }
    }
    for key in ["vocab_size", "hidden_size", "intermediate_size", "num_hidden_layers", "num_attention_heads"]
    {
        assert!(refused(json!({key: null})).contains(&format!("{key}: absent")));
    }
    let cases = [
        ("num_key_value_heads", json!({"num_key_value_heads": 3})),
        ("num_attention_heads", json!({"num_attention_heads": 5, "num_key_value_heads": 5})),
        ("head_dim", json!({"head_dim": 7})),
        ("hidden_act", json!({"hidden_act": "gelu"})),
        ("model_type", json!({"model_type": "gemma2"})),
        ("model_type", json!({"model_type": null})),
        ("rms_norm_eps", json!({"rms_norm_eps": 0.0})),
        ("rms_norm_eps", json!({"rms_norm_eps": "small"})),
        ("rope_theta", json!({"rope_theta": -1.0})),
        ("rope_theta", json!({"rope_theta": 1e300})),
        ("eos_token_id", json!({"eos_token_id": 64})),
        ("eos_token_id", json!({"eos_token_id": [1, -1]})),
        ("bos_token_id", json!({"bos_token_id": "<s>"})),
        ("quantization_config", json!({"quantization_config": {"bits": 4}})),
        ("partial_rotary_factor", json!({"partial_rotary_factor": 0.5})),
        (
            "partial_rotary_factor",
            json!({"rope_parameters": {"rope_type": "default", "partial_rotary_factor": 0.5}}),
        ),
        ("rope_type", json!({"rope_scaling": {"rope_type": "axial"}})),
        ("rope_scaling", json!({"rope_scaling": [1]})),
        ("factor", json!({"rope_scaling": {"type": "linear"}})),
        ("factor", json!({"rope_scaling": {"type": "linear", "factor": 0.0}})),
        ("low_freq_factor", json!({"rope_scaling": {"rope_type": "llama3", "factor": 8.0}})),
        (
            "high_freq_factor",
            json!({"rope_scaling": {"rope_type": "llama3", "factor": 8.0, "low_freq_factor": 4.0, "high_freq_factor": 4.0}}),
        ),
        (
            "short_factor",
            json!({"rope_scaling": {"rope_type": "longrope", "factor": 8.0, "short_factor": [1.0], "long_factor": [1.0]}}),
        ),
        ("layer_types", json!({"model_type": "qwen3", "layer_types": ["full_attention"]})),
        ("layer_types", json!({"model_type": "qwen3", "layer_types": ["a", "b", "c"]})),
        ("max_window_layers", json!({"model_type": "qwen2", "max_window_layers": "all"})),
        ("tie_word_embeddings", json!({"tie_word_embeddings": 1})),
    ];
    for (key, changes) in cases {
        let message = refused(changes);
        assert!(message.contains(key), "{message} does not name {key}");
    }
}

#[test]
fn what_is_no_configuration_is_refused() {
    for text in ["", "{", "[]", "null", "3", "\"x\"", "{}", "{\"vocab_size\": NaN}", "{\"a\":1}}"] {
        let error = ModelConfig::from_hf_json(text.as_bytes(), "some/config.json").expect_err(text);
        assert!(error.to_string().starts_with("some/config.json"), "{error}");
    }
    assert!(ModelConfig::from_hf_json(&[0xff, 0xfe], "x").is_err());
    assert!(ModelConfig::from_hf_json("[".repeat(100_000).as_bytes(), "x").is_err());
    assert!(ModelConfig::from_hf_json(&vec![b' '; 8 << 20], "x").is_err());
}

proptest::proptest! {
    #[test]
    fn no_change_of_bytes_panics(position in 0usize..2000, byte: u8, cut in 0usize..2000) {
        let mut bytes = configuration(json!({"rope_scaling": {"type": "yarn", "factor": 4.0}})).to_string().into_bytes();
        let position = position % bytes.len();
        bytes[position] = byte;
        if let Ok(config) = ModelConfig::from_hf_json(&bytes, "x") {
            let (frequencies, factor) = config.rotary.inverse_frequencies(config.head_dim, config.context);
            assert!(factor.is_finite() && frequencies.iter().all(|frequency| frequency.is_finite()));
        }
        let _ = ModelConfig::from_hf_json(&bytes[..cut % bytes.len()], "x");
    }
}
