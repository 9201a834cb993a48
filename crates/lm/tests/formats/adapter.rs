//! Adapters of PEFT (`fixtures/scripts/formats_peft.py`).

use std::collections::BTreeMap;
use std::path::Path;

use lm::Error;
use lm::adapter::peft::PeftAdapter;
use safetensors::SafeTensors;
use serde_json::{Value, json};

use super::{fixture, largest_difference, put};

const CASES: [&str; 5] = ["plain", "rslora", "patterns", "one_layer", "full_paths"];

/// The f32 tensors of a safetensors file, read by the reference implementation.
fn tensors(path: &Path) -> BTreeMap<String, (Vec<usize>, Vec<f32>)> {
    let bytes = std::fs::read(path).unwrap();
    let file = SafeTensors::deserialize(&bytes).unwrap();
    let tensor = |(name, view): (String, safetensors::tensor::TensorView<'_>)| {
        let values = view.data().as_chunks().0.iter().map(|&chunk| f32::from_le_bytes(chunk)).collect();
        (name, (view.shape().to_vec(), values))
    };
    file.tensors().into_iter().map(tensor).collect()
}

/// `scale * B * A` of every module.
fn changes(adapter: &PeftAdapter) -> BTreeMap<String, Vec<f32>> {
    let modules = adapter.modules("adapter").unwrap();
    let change = |module: &lm::adapter::peft::PeftModule<'_>| {
        let cell = |row: usize, column: usize| {
            let products = (0..module.rank).map(|index| {
                f64::from(module.up[row * module.rank + index])
                    * f64::from(module.down[index * module.inputs + column])
            });
            (module.scale * products.sum::<f64>()) as f32
        };
        let cells = (0..module.outputs).flat_map(|row| (0..module.inputs).map(move |column| (row, column)));
        (module.name.to_owned(), cells.map(|(row, column)| cell(row, column)).collect())
    };
    modules.iter().map(change).collect()
}

/// Compares an adapter's changes with those of PEFT.
fn check_changes(adapter: &PeftAdapter, case: &str) {
    let expected = tensors(&fixture("formats_peft").join(format!("{case}_expected.safetensors")));
    let found = changes(adapter);
    assert_eq!(found.keys().collect::<Vec<_>>(), expected.keys().collect::<Vec<_>>(), "{case}");
    for (name, (_, expected)) in &expected {
        let difference = largest_difference(&found[name], expected);
        assert!(difference < 1e-6, "{case}: {name} differs by {difference}");
    }
}

fn read(case: &str) -> PeftAdapter {
    PeftAdapter::read(&fixture("formats_peft").join(case)).unwrap()
}

#[test]
fn an_adapter_of_peft_changes_what_it_changes_there() {
    for case in CASES {
        check_changes(&read(case), case);
    }
    assert_eq!(read("rslora").target_modules.len(), 7);
    assert_eq!(read("full_paths").target_modules, ["k_proj", "up_proj"]);
}

#[test]
fn a_written_adapter_means_the_same_with_a_plain_scale() {
    for case in CASES {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("deep/er");
        read(case).write(&path).unwrap();
        let written = PeftAdapter::read(&path).unwrap();
        check_changes(&written, case);
        assert_eq!(written.alpha, written.rank as f64, "{case}");
        assert!(
            !written.rank_stabilized && written.rank_pattern.is_empty() && written.alpha_pattern.is_empty()
        );
        assert!(written.modules("x").unwrap().iter().all(|module| module.scale == 1.0));
        let mut files: Vec<_> = std::fs::read_dir(&path)
            .unwrap()
            .map(|entry| entry.unwrap().file_name().into_string().unwrap())
            .collect();
        files.sort();
        assert_eq!(files, ["adapter_config.json", "adapter_model.safetensors"], "no temporary file stays");
    }
}

#[test]
fn the_layout_is_that_of_peft() {
    let folder = tempfile::tempdir().unwrap();
    let mut adapter = read("rslora");
    adapter.base_model = Some("some/base".to_owned());
    adapter.write(folder.path()).unwrap();
    let theirs = tensors(&fixture("formats_peft/rslora/adapter_model.safetensors"));
    let bytes = std::fs::read(folder.path().join("adapter_model.safetensors")).unwrap();
    let (_, header) = SafeTensors::read_metadata(&bytes).unwrap();
    assert_eq!(header.metadata().as_ref().unwrap()["format"], "pt");
    let ours = tensors(&folder.path().join("adapter_model.safetensors"));
    let layout = |tensors: &BTreeMap<String, (Vec<usize>, Vec<f32>)>| -> Vec<(String, Vec<usize>)> {
        tensors.iter().map(|(name, (shape, _))| (name.clone(), shape.clone())).collect()
    };
    assert_eq!(layout(&ours), layout(&theirs));
    let config: Value =
        serde_json::from_slice(&std::fs::read(folder.path().join("adapter_config.json")).unwrap()).unwrap();
    let expected = json!(["down_proj", "gate_proj", "k_proj", "o_proj", "q_proj", "up_proj", "v_proj"]);
    assert_eq!(config["target_modules"], expected);
    assert_eq!((&config["r"], &config["lora_alpha"]), (&json!(4), &json!(4)));
    assert_eq!(config["base_model_name_or_path"], "some/base");
    assert_eq!((&config["peft_type"], &config["task_type"]), (&json!("LORA"), &json!("CAUSAL_LM")));
    // Every key is one that PEFT writes itself: an unknown one makes it warn of a newer version.
    let theirs = super::json("formats_peft/rslora/adapter_config.json");
    let known = theirs.as_object().unwrap();
    assert!(config.as_object().unwrap().keys().all(|key| known.contains_key(key)), "{config}");
}

#[test]
fn modules_of_some_layers_only_are_named_in_full() {
    for (case, expected) in [
        ("one_layer", json!(["model.layers.1.self_attn.o_proj"])),
        ("full_paths", json!(["model.layers.0.mlp.up_proj", "model.layers.1.self_attn.k_proj"])),
        ("patterns", json!(["down_proj", "q_proj"])),
    ] {
        let folder = tempfile::tempdir().unwrap();
        read(case).write(folder.path()).unwrap();
        let text = std::fs::read(folder.path().join("adapter_config.json")).unwrap();
        let config: Value = serde_json::from_slice(&text).unwrap();
        assert_eq!(config["target_modules"], expected, "{case}");
    }
}

/// Reads the plain adapter with one key of its configuration changed.
fn with_key(key: &str, value: Value) -> Result<PeftAdapter, Error> {
    let folder = tempfile::tempdir().unwrap();
    let mut config = super::json("formats_peft/plain/adapter_config.json");
    config[key] = value;
    put(&folder.path().join("adapter_config.json"), config.to_string());
    let weights = "adapter_model.safetensors";
    std::fs::copy(fixture("formats_peft/plain").join(weights), folder.path().join(weights)).unwrap();
    PeftAdapter::read(folder.path())
}

#[test]
fn what_would_be_computed_wrongly_is_refused_by_name() {
    for (key, value) in [
        ("bias", json!("all")),
        ("lora_bias", json!(true)),
        ("modules_to_save", json!(["lm_head"])),
        ("trainable_token_indices", json!([1])),
        ("layer_replication", json!([[0, 1]])),
        ("init_lora_weights", json!("pissa_niter_4")),
        ("peft_type", json!("LOHA")),
        ("fan_in_fan_out", json!(true)),
        ("rank_pattern", json!({"^model.*q_proj": 4})),
        ("use_qalora", json!(true)),
    ] {
        let error = with_key(key, value).unwrap_err();
        assert!(matches!(error, Error::Unsupported { .. }), "{error:?}");
        assert!(error.to_string().contains(key), "{error}");
    }
    for (key, value) in [
        ("r", json!(0)),
        ("r", json!(5)),
        ("lora_alpha", json!("8")),
        ("peft_type", json!(null)),
        ("rank_pattern", json!({"q_proj": 3})),
        ("rank_pattern", json!({"q_proj": -1})),
        ("alpha_pattern", json!([1])),
    ] {
        let error = with_key(key, value).unwrap_err();
        assert!(matches!(error, Error::Format { .. }), "{error:?}");
    }
    assert!(with_key("init_lora_weights", json!("gaussian")).is_ok());
    assert!(with_key("target_modules", json!("all-linear")).is_ok());
}

#[test]
fn missing_and_broken_files_are_named() {
    let folder = tempfile::tempdir().unwrap();
    let error = PeftAdapter::read(folder.path()).unwrap_err();
    assert!(error.to_string().contains("adapter_config.json"), "{error}");
    put(&folder.path().join("adapter_config.json"), "{\"peft_type\": \"LORA\"");
    assert!(PeftAdapter::read(folder.path()).is_err());
    put(&folder.path().join("adapter_config.json"), "{\"peft_type\": \"LORA\", \"r\": 4}");
    put(&folder.path().join("adapter_model.bin"), "x");
    let error = PeftAdapter::read(folder.path()).unwrap_err();
    assert!(error.to_string().contains("adapter_model.bin"), "{error}");
    let bytes = std::fs::read(fixture("formats_peft/plain/adapter_model.safetensors")).unwrap();
    for length in (0..bytes.len()).step_by(37) {
        put(&folder.path().join("adapter_model.safetensors"), &bytes[..length]);
        assert!(PeftAdapter::read(folder.path()).is_err(), "{length}");
    }
}

#[test]
fn a_matrix_without_its_pair_is_named() {
    for ending in ["lora_A.weight", "lora_B.weight"] {
        let mut adapter = read("plain");
        let name = format!("model.layers.1.self_attn.v_proj.{ending}");
        adapter.tensors.remove(&name).unwrap();
        let error = adapter.modules("adapter").unwrap_err();
        assert!(error.to_string().contains("model.layers.1.self_attn.v_proj"), "{error}");
    }
}
