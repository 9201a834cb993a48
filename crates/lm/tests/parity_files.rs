//! The fixtures' folders, read as a user's model would be: single and sharded weights, old and new configurations, the
//! adapter that PEFT wrote; and what the engine writes, read again.
//!
//! Expected values: `fixtures/scripts/parity_models.py` (torch, transformers and PEFT, 32 bits). That PEFT and
//! transformers read what the engine writes is checked by `fixtures/scripts/parity_check_peft.py`.

mod parity_support;

use std::fs;
use std::path::Path;

use kernels::matrix::{Precision, Use};
use lm::adapter::Lora;
use lm::transformer::{Batch, Transformer, Workspace};
use lm::weights::Dtype;
use lm::{Model, ModelSource};
use parity_support::{Sequence, VARIANTS, Variant, fixtures, largest_difference};
use tempfile::TempDir;

/// Largest difference of logits.
const TOLERANCE: f32 = 1e-4;

/// A folder as it would be downloaded: the variant's configuration, the weights that it shares, a tokenizer.
fn folder(variant: &Variant, form: &str) -> TempDir {
    let folder = TempDir::new().expect("a temporary folder");
    let copy = |from: &Path, name: &str| {
        fs::copy(from, folder.path().join(name))
            .unwrap_or_else(|error| panic!("{}: {error}", from.display()));
    };
    copy(&fixtures().join(format!("parity_configs/{}{form}.json", variant.name)), "config.json");
    copy(&fixtures().join("parity_tokenizer.json"), "tokenizer.json");
    for entry in fs::read_dir(&variant.weights).expect("the weights") {
        let entry = entry.expect("an entry");
        let name = entry.file_name().into_string().expect("a name");
        if name.starts_with("model") {
            copy(&entry.path(), &name);
        }
    }
    folder
}

fn load(folder: &Path) -> Model {
    let source = ModelSource::Folder(folder.to_path_buf());
    Model::load(&source, Precision::F32, Use::Inference).unwrap_or_else(|error| panic!("{error}"))
}

/// Logits at every position of one sequence.
fn logits(transformer: &Transformer, adapter: Option<&Lora>, sequence: &Sequence) -> Vec<f32> {
    let batch = Batch::of(&[&sequence.tokens]);
    let rows: Vec<usize> = (0..batch.len()).collect();
    let hidden = transformer
        .hidden_states(&batch, &rows, adapter, None, &mut Workspace::new())
        .expect("a forward pass");
    transformer.logits(&hidden)
}

#[test]
fn folders_load_and_agree() {
    for name in VARIANTS {
        let variant = Variant::read(name);
        for form in ["", ".old"] {
            let folder = folder(&variant, form);
            let model = load(folder.path());
            let index = variant.sequences.len() - 1;
            let found = logits(&model.transformer, None, &variant.sequences[index]);
            let stride = variant.number("logit_stride") as usize;
            let thinned: Vec<f32> = found
                .chunks(model.config.vocabulary)
                .flat_map(|row| row.iter().step_by(stride).copied())
                .collect();
            let difference = largest_difference(&thinned, &variant.expected[&format!("logits.{index}")].1);
            assert!(difference < TOLERANCE, "{name}{form}: {difference}");
        }
    }
}

#[test]
fn shards_are_two_files() {
    let variant = Variant::read("qwen3");
    let names = |ending: &str| {
        let entries = fs::read_dir(&variant.weights).expect("the folder");
        entries
            .filter(|entry| entry.as_ref().expect("an entry").path().to_string_lossy().ends_with(ending))
            .count()
    };
    assert_eq!((names(".safetensors"), names(".index.json")), (2, 1));
}

#[test]
fn adapters_that_peft_wrote_are_read() {
    for name in ["llama", "llama_bias", "qwen2", "qwen3"] {
        let variant = Variant::read(name);
        let transformer = variant.transformer(Use::Inference);
        let adapter = Lora::load(&variant.weights.join("adapter"), &variant.config).expect("PEFT's adapter");
        for (index, sequence) in variant.sequences.iter().enumerate() {
            let found = logits(&transformer, Some(&adapter), sequence);
            let difference =
                largest_difference(&found, &variant.expected[&format!("adapter_logits.{index}")].1);
            assert!(difference < TOLERANCE, "{name}, sequence {index}: {difference}");
        }
    }
}

#[test]
fn what_is_written_reads_the_same() {
    for name in VARIANTS {
        let variant = Variant::read(name);
        let transformer = variant.transformer(Use::Inference);
        let adapter = variant.adapter();
        let merged = adapter.merge_into(&transformer).expect("an adapter of this model");
        let folder = folder(&variant, "");
        for shard in [
            "model-00001-of-00002.safetensors",
            "model-00002-of-00002.safetensors",
            "model.safetensors.index.json",
        ] {
            drop(fs::remove_file(folder.path().join(shard)));
        }
        merged.save(folder.path(), Dtype::F32).expect("a merged model");
        adapter.save(&folder.path().join("adapter"), name).expect("an adapter");
        let again = load(folder.path());
        let read = Lora::load(&folder.path().join("adapter"), &variant.config).expect("our own adapter");
        let index = variant.sequences.len() - 1;
        let expected = &variant.expected[&format!("adapter_logits.{index}")].1;
        let saved = logits(&again.transformer, None, &variant.sequences[index]);
        let adapted = logits(&transformer, Some(&read), &variant.sequences[index]);
        for (way, found) in [("merged", saved), ("adapter", adapted)] {
            let difference = largest_difference(&found[found.len() - expected.len()..], expected);
            assert!(difference < TOLERANCE, "{name} {way}: {difference}");
        }
    }
}
