//! Parity with transformers on SmolLM2-135M-Instruct, from its Hugging Face folder and from the GGUF file that the
//! folder was made of.
//!
//! Expected values: `fixtures/scripts/parity_smollm2.py`, computed in 64 bits. The tests need the model: they run where
//! `WEIGH_SMOLLM2_HF` (the folder) or `WEIGH_SMOLLM2_GGUF` (the file) is set, and say so where it is not.

mod parity_support;

use std::env;
use std::path::PathBuf;

use kernels::matrix::{Precision, Use};
use lm::score::{LabelTree, Scorer};
use lm::transformer::{Batch, Workspace};
use lm::{Model, ModelSource};
use parity_support::{fixtures, largest_difference, read_json, read_tensors, tokens};

/// Largest difference of logits and of a label's log-probability.
const TOLERANCE: f32 = 1e-3;

/// The models that are at hand, in 32 bits.
#[expect(clippy::print_stderr, reason = "a test that is skipped says so")]
fn models(test: &str) -> Vec<Model> {
    let path = |variable: &str| env::var_os(variable).filter(|path| !path.is_empty()).map(PathBuf::from);
    let sources = [
        path("WEIGH_SMOLLM2_HF").map(ModelSource::Folder),
        path("WEIGH_SMOLLM2_GGUF").map(ModelSource::Gguf),
    ];
    if sources.iter().all(Option::is_none) {
        eprintln!("{test}: skipped, neither WEIGH_SMOLLM2_HF nor WEIGH_SMOLLM2_GGUF is set");
    }
    let load =
        |source| Model::load(&source, Precision::F32, Use::Inference).unwrap_or_else(|e| panic!("{e}"));
    sources.into_iter().flatten().map(load).collect()
}

#[test]
fn tokens_and_logits_agree() {
    let facts = read_json(&fixtures().join("parity_smollm2.json"));
    let expected = read_tensors(&fixtures().join("parity_smollm2.safetensors"));
    for model in models("tokens_and_logits_agree") {
        assert_eq!(model.parameters(), 134_515_008, "{}", model.name);
        for (name, prompt) in facts["prompts"].as_object().expect("prompts") {
            let ids =
                model.tokenizer.encode_plain(prompt["text"].as_str().expect("a text")).expect("token ids");
            assert_eq!(ids, tokens(&prompt["tokens"]), "{}: {name}", model.name);
            let batch = Batch::of(&[&ids]);
            let rows: Vec<usize> = (0..ids.len()).collect();
            let hidden = model
                .transformer
                .hidden_states(&batch, &rows, None, None, &mut Workspace::new())
                .expect("a forward pass");
            let logits = model.transformer.logits(&hidden);
            let vocabulary = model.config.vocabulary;
            let every = |stride: usize, rows: &[f32]| -> Vec<f32> {
                rows.chunks(vocabulary).flat_map(|row| row.iter().step_by(stride).copied()).collect()
            };
            let last = &logits[logits.len() - vocabulary..];
            let worst_last = largest_difference(&every(4, last), &expected[&format!("last.{name}")].1);
            let worst_all = largest_difference(&every(256, &logits), &expected[&format!("all.{name}")].1);
            eprintln!("{}, {name}, {} tokens: last {worst_last:e}, all {worst_all:e}", model.name, ids.len());
            assert!(worst_last < TOLERANCE && worst_all < TOLERANCE, "{}: {name}", model.name);
            let best = (0..vocabulary).max_by(|&a, &b| last[a].total_cmp(&last[b])).expect("a vocabulary");
            assert_eq!(best as u64, prompt["argmax"].as_u64().expect("a token"), "{}: {name}", model.name);
        }
    }
}

/// All labels in one pass as a tree, after a shared prefix or without, against one call per label in transformers.
#[test]
fn label_scores_agree_with_one_call_per_label() {
    let facts = read_json(&fixtures().join("parity_smollm2.json"));
    for model in models("label_scores_agree_with_one_call_per_label") {
        let scorer = Scorer::new(&model.transformer, None);
        for case in facts["label_scores"].as_array().expect("cases") {
            let prompt = tokens(&case["tokens"]);
            let labels = case["labels"].as_array().expect("labels");
            let sequences: Vec<Vec<u32>> = labels.iter().map(|label| tokens(&label["tokens"])).collect();
            for (label, sequence) in labels.iter().zip(&sequences) {
                let text = label["label"].as_str().expect("a label");
                let mut ids = model.tokenizer.encode_plain(&format!(" {text}")).expect("token ids");
                ids.extend(model.tokenizer.encode_plain("\n").expect("token ids"));
                assert_eq!(&ids, sequence, "{text}");
            }
            let tree = LabelTree::new(&sequences).expect("labels that end in a newline");
            for shared in [0, 1, prompt.len() / 2, prompt.len() - 1] {
                let prefix = scorer.prefill(&prompt[..shared]).expect("a prefix");
                // Twice, packed: the second query must not see the first.
                let queries = [&prompt[shared..], &prompt[shared..]];
                let found = scorer.score(Some(&prefix), &queries, &tree, 4096).expect("scores");
                for scores in &found {
                    for (score, label) in scores.iter().zip(labels) {
                        let expected = label["sum"].as_f64().expect("a score");
                        let difference = (score - expected).abs();
                        assert!(
                            difference < f64::from(TOLERANCE),
                            "{}, {}: {score}, expected {expected}",
                            model.name,
                            label["label"]
                        );
                    }
                }
            }
        }
    }
}
