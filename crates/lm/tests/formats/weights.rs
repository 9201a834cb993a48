//! Weights: GGUF against the gguf package, safetensors against its reference implementation, folders whole and in shards.

use std::collections::BTreeMap;
use std::path::Path;

use lm::config::{ModelConfig, RotaryScaling};
use lm::weights::{Checkpoint, Dtype, write_safetensors};
use lm::{Error, ModelSource};
use safetensors::SafeTensors;
use serde_json::json;

use super::{fixture, given, largest_difference, put};

fn open(source: ModelSource) -> Checkpoint {
    match Checkpoint::open(&source) {
        Ok(checkpoint) => checkpoint,
        Err(error) => panic!("{error}"),
    }
}

fn refused(source: ModelSource) -> Error {
    Checkpoint::open(&source).err().expect("an error")
}

fn gguf(architecture: &str) -> Checkpoint {
    open(ModelSource::Gguf(fixture(&format!("formats_{architecture}.gguf"))))
}

#[test]
fn gguf_tensors_are_those_of_the_gguf_package_in_the_layout_of_transformers() {
    // fixtures/scripts/formats_gguf.py
    for architecture in ["llama", "qwen2", "qwen3"] {
        let checkpoint = gguf(architecture);
        let bytes = std::fs::read(fixture(&format!("formats_{architecture}_expected.safetensors"))).unwrap();
        let expected = SafeTensors::deserialize(&bytes).unwrap();
        let mut names: Vec<_> = expected.names().into_iter().map(str::to_owned).collect();
        names.sort();
        assert_eq!(checkpoint.tensors.names(), names, "{architecture}");
        for name in names {
            let view = expected.tensor(&name).unwrap();
            let values: Vec<f32> =
                view.data().as_chunks().0.iter().map(|&chunk| f32::from_le_bytes(chunk)).collect();
            assert_eq!(checkpoint.tensors.shape(&name).as_deref(), Some(view.shape()), "{name}");
            assert_eq!(checkpoint.tensors.read(&name).unwrap(), values, "{architecture}: {name}");
        }
    }
}

#[test]
fn gguf_metadata_becomes_the_configuration() {
    let llama = gguf("llama").config;
    assert_eq!((llama.vocabulary, llama.hidden, llama.intermediate, llama.layers), (262, 32, 64, 2));
    assert_eq!((llama.heads, llama.kv_heads, llama.head_dim, llama.context), (4, 2, 8, 128));
    assert_eq!((llama.norm_epsilon, llama.tied, llama.qkv_bias, llama.qk_norm), (1e-5, false, false, false));
    assert_eq!((llama.bos, llama.eos), (Some(1), vec![2, 0]));
    // rope_freqs.weight divides each frequency.
    let (frequencies, factor) = llama.rotary.inverse_frequencies(8, 100);
    let expected: Vec<f64> = (0..4)
        .map(|pair| 50_000f64.powf(-f64::from(pair) / 4.0) / [1.0, 1.0, 2.5, 8.0][pair as usize])
        .collect();
    assert!(frequencies.iter().zip(&expected).all(|(found, expected)| (found / expected - 1.0).abs() < 2e-7));
    assert_eq!(factor, 1.0);
    let qwen2 = gguf("qwen2").config;
    assert!(qwen2.qkv_bias && qwen2.tied && !qwen2.output_bias && !qwen2.mlp_bias);
    let RotaryScaling::Yarn { factor, original_context, .. } = qwen2.rotary.scaling else {
        panic!("{:?}", qwen2.rotary);
    };
    assert_eq!((factor, original_context, qwen2.rotary.theta), (4.0, 32, 50_000.0));
    let qwen3 = gguf("qwen3").config;
    assert!(qwen3.qk_norm && !qwen3.qkv_bias);
    assert_eq!(qwen3.head_dim, 16);
}

#[test]
fn a_gguf_file_brings_its_tokenizer_template_and_hash() {
    let checkpoint = gguf("llama");
    assert_eq!(checkpoint.name, "formats_llama");
    assert_eq!(checkpoint.tokenizer.size(), 262);
    // 'abc' by two merges, the digits apart, ' t' by one.
    let tokens: Vec<_> = checkpoint.tokenizer.encode("abc12 t<|im_end|>").unwrap();
    let tokens: Vec<_> = tokens.into_iter().map(|id| checkpoint.tokenizer.token(id).unwrap()).collect();
    assert_eq!(tokens, ["abc", "1", "2", "Ġt", "<|im_end|>"]);
    assert!(checkpoint.chat_template.unwrap().starts_with("{% for message in messages %}"));
    // sha256sum crates/lm/tests/fixtures/formats_llama.gguf
    assert_eq!(checkpoint.hash.hexadecimal().unwrap(), SHA256_OF_FORMATS_LLAMA);
}

const SHA256_OF_FORMATS_LLAMA: &str = "0da8f5a657c2e89e6499649124499535d7c84ac5122544b5214ab0691760a6f6";

/// Tensors that fill the shapes of a configuration with small numbers.
fn numbers(config: &ModelConfig) -> Vec<(String, Vec<usize>, Vec<f32>)> {
    let fill = |(index, (name, shape)): (usize, (String, Vec<usize>))| {
        let count: usize = shape.iter().product();
        let values = (0..count).map(|cell| ((cell * 31 + index * 17) % 255) as f32 / 64.0 - 2.0).collect();
        (name, shape, values)
    };
    config.tensor_shapes().into_iter().enumerate().map(fill).collect()
}

fn small_config() -> ModelConfig {
    let text = json!({
        "model_type": "llama", "vocab_size": 700, "hidden_size": 16, "intermediate_size": 24, "num_hidden_layers": 2,
        "num_attention_heads": 4, "num_key_value_heads": 2, "max_position_embeddings": 64, "eos_token_id": 2
    });
    ModelConfig::from_hf_json(text.to_string().as_bytes(), "test").unwrap()
}

/// Writes a whole folder; the weights in as many shards as `shards`.
fn write_folder(folder: &Path, shards: usize, dtype: Dtype) -> Vec<(String, Vec<usize>, Vec<f32>)> {
    let config = small_config();
    let tensors = numbers(&config);
    put(&folder.join("config.json"), config.to_hf_json());
    std::fs::copy(fixture("formats_tokenizer_gpt2.json"), folder.join("tokenizer.json")).unwrap();
    let views: Vec<_> = tensors
        .iter()
        .map(|(name, shape, values)| (name.clone(), shape.clone(), values.as_slice()))
        .collect();
    if shards == 1 {
        write_safetensors(&folder.join("model.safetensors"), &views, dtype, &BTreeMap::new()).unwrap();
        return tensors;
    }
    let mut map = BTreeMap::new();
    for (index, part) in views.chunks(views.len().div_ceil(shards)).enumerate() {
        let name = format!("model-{:05}-of-{shards:05}.safetensors", index + 1);
        write_safetensors(&folder.join(&name), part, dtype, &BTreeMap::new()).unwrap();
        map.extend(part.iter().map(|(tensor, ..)| (tensor.clone(), name.clone())));
    }
    let index = json!({"metadata": {"total_size": 1}, "weight_map": map});
    put(&folder.join("model.safetensors.index.json"), index.to_string());
    tensors
}

#[test]
fn a_folder_opens_whole_and_in_shards() {
    for shards in [1, 3] {
        let folder = tempfile::tempdir().unwrap();
        let tensors = write_folder(folder.path(), shards, Dtype::F32);
        put(
            &folder.path().join("generation_config.json"),
            json!({"eos_token_id": [5, 2, 70000]}).to_string(),
        );
        let settings = json!({
            "bos_token": {"content": "<|im_start|>"}, "eos_token": "<|im_end|>",
            "chat_template": [{"name": "tool_use", "template": "x"}, {"name": "default", "template": "the one"}]
        });
        put(&folder.path().join("tokenizer_config.json"), settings.to_string());
        let checkpoint = open(ModelSource::Folder(folder.path().to_path_buf()));
        for (name, shape, values) in &tensors {
            assert_eq!(checkpoint.tensors.shape(name).as_ref(), Some(shape));
            assert_eq!(&checkpoint.tensors.read(name).unwrap(), values);
        }
        assert_eq!(checkpoint.config.eos, [2, 5]);
        assert_eq!((checkpoint.tokenizer.bos(), checkpoint.tokenizer.eos()), (Some(1), Some(2)));
        assert_eq!(checkpoint.chat_template.as_deref(), Some("the one"));
        assert_eq!(checkpoint.hash.hexadecimal().unwrap().len(), 64);
        assert!(checkpoint.tensors.read("no.such.tensor").is_err());
        put(&folder.path().join("chat_template.jinja"), "the file");
        let checkpoint = open(ModelSource::Folder(folder.path().to_path_buf()));
        assert_eq!(checkpoint.chat_template.as_deref(), Some("the file"));
    }
}

#[test]
fn memory_opens_as_the_folder_does() {
    let folder = tempfile::tempdir().unwrap();
    write_folder(folder.path(), 1, Dtype::Bf16);
    let leak = |name: &str| -> &'static [u8] { std::fs::read(folder.path().join(name)).unwrap().leak() };
    let memory = open(ModelSource::Memory {
        name: "embedded",
        config: leak("config.json"),
        tokenizer: leak("tokenizer.json"),
        weights: leak("model.safetensors"),
    });
    let on_disk = open(ModelSource::Folder(folder.path().to_path_buf()));
    assert_eq!(
        (memory.name.as_str(), memory.hash.hexadecimal().unwrap(), &memory.config),
        ("embedded", on_disk.hash.hexadecimal().unwrap(), &on_disk.config)
    );
    for name in on_disk.tensors.names() {
        assert_eq!(memory.tensors.read(&name).unwrap(), on_disk.tensors.read(&name).unwrap());
    }
}

#[test]
fn the_reference_implementation_reads_what_is_written() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("t.safetensors");
    let values = [0.0f32, -0.0, 1.0, -1.5, 3.0e-5, 65504.0, 1.0 / 3.0, -2.0e-8, f32::INFINITY];
    let metadata = BTreeMap::from([("format".to_owned(), "pt".to_owned())]);
    for dtype in [Dtype::F32, Dtype::F16, Dtype::Bf16] {
        let tensors = [
            ("b".to_owned(), vec![3, 3], &values[..]),
            ("a".to_owned(), vec![1], &values[2..3]),
            ("c".to_owned(), vec![0], &[]),
        ];
        write_safetensors(&path, &tensors, dtype, &metadata).unwrap();
        let bytes = std::fs::read(&path).unwrap();
        let (header, parsed) = SafeTensors::read_metadata(&bytes).unwrap();
        assert_eq!(parsed.metadata().as_ref().unwrap()["format"], "pt");
        assert!(header.is_multiple_of(8), "the tensors begin at a multiple of eight bytes");
        let file = SafeTensors::deserialize(&bytes).unwrap();
        let expected: Vec<u8> = match dtype {
            Dtype::F32 => values.iter().flat_map(|value| value.to_le_bytes()).collect(),
            Dtype::F16 => values.iter().flat_map(|&value| half::f16::from_f32(value).to_le_bytes()).collect(),
            Dtype::Bf16 => {
                values.iter().flat_map(|&value| half::bf16::from_f32(value).to_le_bytes()).collect()
            }
        };
        let view = file.tensor("b").unwrap();
        assert_eq!((view.shape(), view.data()), (&[3, 3][..], expected.as_slice()));
        assert_eq!(file.tensor("a").unwrap().data().len(), dtype.size());
    }
}

#[test]
fn half_precision_is_widened_exactly() {
    for (dtype, round) in [
        (Dtype::F16, (|value| half::f16::from_f32(value).to_f32()) as fn(f32) -> f32),
        (Dtype::Bf16, |value| half::bf16::from_f32(value).to_f32()),
    ] {
        let folder = tempfile::tempdir().unwrap();
        let tensors = write_folder(folder.path(), 2, dtype);
        let checkpoint = open(ModelSource::Folder(folder.path().to_path_buf()));
        for (name, _, values) in &tensors {
            let rounded: Vec<f32> = values.iter().map(|&value| round(value)).collect();
            assert_eq!(largest_difference(&checkpoint.tensors.read(name).unwrap(), &rounded), 0.0);
        }
    }
}

#[test]
fn writing_refuses_a_wrong_shape_and_a_name_twice_and_keeps_the_old_file() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("t.safetensors");
    put(&path, "old");
    let none = BTreeMap::new();
    let values = [1.0f32, 2.0];
    let wrong = [("a".to_owned(), vec![3], &values[..])];
    assert!(matches!(write_safetensors(&path, &wrong, Dtype::F32, &none), Err(Error::Shape { .. })));
    let twice = [("a".to_owned(), vec![2], &values[..]), ("a".to_owned(), vec![2], &values[..])];
    assert!(write_safetensors(&path, &twice, Dtype::F32, &none).is_err());
    assert_eq!(std::fs::read(&path).unwrap(), b"old");
    let absent = folder.path().join("absent/t.safetensors");
    let error = write_safetensors(&absent, &[], Dtype::F32, &none).unwrap_err();
    assert!(matches!(&error, Error::Io { path, .. } if *path == absent), "{error}");
    assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 1);
}

#[test]
fn an_absent_or_misshapen_tensor_is_named() {
    let folder = tempfile::tempdir().unwrap();
    write_folder(folder.path(), 1, Dtype::F32);
    let source = || ModelSource::Folder(folder.path().to_path_buf());
    let mut config = small_config();
    config.layers = 3;
    config.windows = vec![None; 3];
    put(&folder.path().join("config.json"), config.to_hf_json());
    let error = refused(source());
    assert!(
        matches!(&error, Error::Shape { name, found: None, .. } if name.starts_with("model.layers.2.")),
        "{error}"
    );
    let mut config = small_config();
    config.intermediate = 32;
    put(&folder.path().join("config.json"), config.to_hf_json());
    let error = refused(source());
    assert!(error.to_string().contains("model.layers.0.mlp.gate_proj.weight"), "{error}");
}

#[test]
fn a_tensor_that_the_configuration_does_not_speak_of_is_named() {
    let folder = tempfile::tempdir().unwrap();
    let config = small_config();
    let mut tensors = write_folder(folder.path(), 1, Dtype::F32);
    let path = folder.path().join("model.safetensors");
    let write = |tensors: &[(String, Vec<usize>, Vec<f32>)]| {
        let views: Vec<_> = tensors
            .iter()
            .map(|(name, shape, values)| (name.clone(), shape.clone(), values.as_slice()))
            .collect();
        write_safetensors(&path, &views, Dtype::F32, &BTreeMap::new()).unwrap();
    };
    let old = ["model.layers.0.self_attn.rotary_emb.inv_freq", "extra.head.weight"];
    tensors.extend(old.map(|name| (name.to_owned(), vec![2], vec![1.0, 2.0])));
    write(&tensors);
    open(ModelSource::Folder(folder.path().to_path_buf()));
    let width = config.heads * config.head_dim;
    tensors.push(("model.layers.1.self_attn.q_proj.bias".to_owned(), vec![width], vec![1.0; width]));
    write(&tensors);
    let error = refused(ModelSource::Folder(folder.path().to_path_buf()));
    assert!(error.to_string().contains("model.layers.1.self_attn.q_proj.bias"), "{error}");
}

#[test]
fn missing_files_are_named() {
    let folder = tempfile::tempdir().unwrap();
    let source = || ModelSource::Folder(folder.path().to_path_buf());
    assert!(refused(source()).to_string().contains("config.json"));
    write_folder(folder.path(), 1, Dtype::F32);
    for name in ["model.safetensors", "tokenizer.json", "config.json"] {
        std::fs::remove_file(folder.path().join(name)).unwrap();
        assert!(refused(source()).to_string().contains(name), "{name}");
    }
    assert!(Checkpoint::open(&ModelSource::Gguf(folder.path().join("no.gguf"))).is_err());
    assert!(Checkpoint::open(&ModelSource::Gguf(folder.path().to_path_buf())).is_err());
}

#[test]
fn a_shard_index_leads_nowhere_else() {
    let folder = tempfile::tempdir().unwrap();
    write_folder(folder.path(), 2, Dtype::F32);
    let index = folder.path().join("model.safetensors.index.json");
    for shard in ["../model-00001-of-00002.safetensors", "/etc/hostname", "..", "", "absent.safetensors"] {
        put(&index, json!({"weight_map": {"model.norm.weight": shard}}).to_string());
        assert!(Checkpoint::open(&ModelSource::Folder(folder.path().to_path_buf())).is_err(), "{shard:?}");
    }
    for text in ["{}", "[]", "{\"weight_map\": 3}", "{\"weight_map\": {}}", "{"] {
        put(&index, text);
        assert!(Checkpoint::open(&ModelSource::Folder(folder.path().to_path_buf())).is_err(), "{text}");
    }
}

#[test]
fn the_real_gguf_file_and_its_folder_have_the_same_weights() {
    // The folder is what transformers made of the same GGUF file.
    let (Some(folder), Some(file)) = (given("WEIGH_SMOLLM2_HF"), given("WEIGH_SMOLLM2_GGUF")) else { return };
    let (folder, file) = (open(ModelSource::Folder(folder)), open(ModelSource::Gguf(file)));
    assert_eq!(folder.config.tensor_shapes(), file.config.tensor_shapes());
    assert_eq!(folder.config.rotary, file.config.rotary);
    assert_eq!(file.config.parameters(), 134_515_008);
    for (name, _) in folder.config.tensor_shapes() {
        assert!(folder.tensors.read(&name).unwrap() == file.tensors.read(&name).unwrap(), "{name}");
    }
}
