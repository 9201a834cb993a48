//! Parity with PyTorch on two-layer models of every variant: logits, gradients, ten AdamW steps, adapters.
//!
//! Expected values: `fixtures/scripts/parity_models.py` (torch, transformers and PEFT, 32 bits).

mod parity_support;

use kernels::loss::cross_entropy;
use kernels::matrix::Use;
use lm::adapter::Lora;
use lm::config::RotaryScaling;
use lm::train::{GroupRule, Optimizer, OptimizerConfig};
use lm::transformer::{Batch, Gradients, ParameterGroup, Parameters, Transformer, Workspace};
use parity_support::{
    Sequence, VARIANTS, Variant, config, largest_difference, relative_difference, supervised,
};

/// Largest difference of logits.
const LOGITS: f32 = 1e-4;
/// Norm of a gradient's difference over its norm.
const GRADIENT: f64 = 1e-4;
/// Largest difference of a loss.
const LOSS: f64 = 1e-4;

/// Logits of every position of the sequences, packed into one batch.
fn logits(transformer: &Transformer, adapter: Option<&Lora>, sequences: &[&Sequence]) -> Vec<Vec<f32>> {
    let tokens: Vec<&[u32]> = sequences.iter().map(|sequence| sequence.tokens.as_slice()).collect();
    let batch = Batch::of(&tokens);
    let rows: Vec<usize> = (0..batch.len()).collect();
    let hidden = transformer
        .hidden_states(&batch, &rows, adapter, None, &mut Workspace::new())
        .expect("a forward pass");
    let all = transformer.logits(&hidden);
    let vocabulary = transformer.config().vocabulary;
    let mut rest = all.as_slice();
    let mut split = |sequence: &&Sequence| {
        let (own, others) = rest.split_at(sequence.tokens.len() * vocabulary);
        rest = others;
        own.to_vec()
    };
    sequences.iter().map(&mut split).collect()
}

/// Every `stride`-th entry of each row of `vocabulary` logits.
fn thinned(logits: &[f32], vocabulary: usize, stride: usize) -> Vec<f32> {
    logits.chunks(vocabulary).flat_map(|row| row.iter().step_by(stride).copied()).collect()
}

fn each_variant(check: impl Fn(&Variant)) {
    for name in VARIANTS {
        check(&Variant::read(name));
    }
}

#[test]
fn old_and_new_config_keys_mean_the_same() {
    for name in VARIANTS {
        assert_eq!(config(name, ""), config(name, ".old"), "{name}");
    }
}

#[test]
fn configs_say_what_the_script_built() {
    let windows = |name| config(name, "").windows;
    assert_eq!(windows("mistral"), [Some(8), Some(8)]);
    assert_eq!(windows("qwen2_window"), [None, Some(8)]);
    assert_eq!(windows("qwen2"), [None, None]);
    assert_eq!(windows("llama"), [None, None]);
    let bias = config("llama_bias", "");
    assert!(bias.qkv_bias && bias.output_bias && bias.mlp_bias && !bias.tied);
    let qwen2 = config("qwen2", "");
    assert!(qwen2.qkv_bias && !qwen2.output_bias && !qwen2.mlp_bias && qwen2.tied);
    let qwen3 = config("qwen3", "");
    assert!(qwen3.qk_norm && qwen3.head_dim == 16 && qwen3.hidden == 48 && qwen3.heads == 4);
    assert_eq!(config("llama_linear", "").rotary.scaling, RotaryScaling::Linear { factor: 2.5 });
    assert_eq!(config("llama_linear", "").rotary.theta, 50.0);
}

#[test]
fn logits_agree() {
    each_variant(|variant| {
        let transformer = variant.transformer(Use::Inference);
        let vocabulary = variant.config.vocabulary;
        let stride = variant.number("logit_stride") as usize;
        for batch in variant.batches() {
            let sequences: Vec<&Sequence> = batch.iter().map(|&index| &variant.sequences[index]).collect();
            for (index, found) in batch.iter().zip(logits(&transformer, None, &sequences)) {
                let expected = &variant.expected[&format!("logits.{index}")].1;
                let difference = largest_difference(&thinned(&found, vocabulary, stride), expected);
                assert!(difference < LOGITS, "{}, sequence {index}: {difference}", variant.name);
            }
        }
    });
}

/// Three ways to the last position's logits: packed, alone, and after a prefix computed earlier, token by token.
#[test]
fn logits_do_not_depend_on_how_the_sequence_is_computed() {
    each_variant(|variant| {
        let transformer = variant.transformer(Use::Inference);
        let vocabulary = variant.config.vocabulary;
        let adapter = variant.adapter();
        let sequence = &variant.sequences[2];
        let alone = logits(&transformer, Some(&adapter), &[sequence]).remove(0);
        if variant.batches().len() > 1 {
            return; // Frequencies depend on the length: a prefix has others.
        }
        let mut workspace = Workspace::new();
        for split in [1, 7, sequence.tokens.len() - 1] {
            let prefix = transformer
                .prefill(&sequence.tokens[..split], Some(&adapter), &mut workspace)
                .expect("prefix");
            let mut batch = Batch::new();
            batch.push_after(Some(&prefix), &sequence.tokens[split..], &[], &[]);
            let rows: Vec<usize> = (0..batch.len()).collect();
            let hidden = transformer
                .hidden_states(&batch, &rows, Some(&adapter), None, &mut workspace)
                .expect("a pass");
            let difference = largest_difference(&transformer.logits(&hidden), &alone[split * vocabulary..]);
            assert!(difference < LOGITS, "{} after a prefix of {split}: {difference}", variant.name);
        }
        let mut caches = [transformer.cache(None)];
        for (position, &token) in sequence.tokens.iter().enumerate() {
            let mut batch = Batch::new();
            batch.push_continuation(&caches[0], &[token]);
            let hidden = transformer
                .hidden_states(&batch, &[0], Some(&adapter), Some(&mut caches), &mut workspace)
                .expect("a pass");
            let expected = &alone[position * vocabulary..(position + 1) * vocabulary];
            let difference = largest_difference(&transformer.logits(&hidden), expected);
            assert!(difference < LOGITS, "{} token by token at {position}: {difference}", variant.name);
        }
    });
}

#[test]
fn adapter_and_merged_logits_agree_with_peft() {
    each_variant(|variant| {
        let transformer = variant.transformer(Use::Inference);
        let adapter = variant.adapter();
        let merged = adapter.merge_into(&transformer).expect("an adapter of this model");
        let vocabulary = variant.config.vocabulary;
        for batch in variant.batches() {
            let sequences: Vec<&Sequence> = batch.iter().map(|&index| &variant.sequences[index]).collect();
            for (way, found) in [
                ("adapter", logits(&transformer, Some(&adapter), &sequences)),
                ("merged", logits(&merged, None, &sequences)),
            ] {
                for (index, found) in batch.iter().zip(found) {
                    let expected = &variant.expected[&format!("adapter_logits.{index}")].1;
                    // All positions, or the last alone.
                    let found = &found[found.len() - expected.len()..];
                    let difference = largest_difference(found, expected);
                    assert!(difference < LOGITS, "{} {way}, sequence {index}: {difference}", variant.name);
                    assert!(expected.len() >= vocabulary);
                }
            }
        }
    });
}

/// One pass over the fixture's batch: loss, and gradients added to `gradients`.
fn backward(
    variant: &Variant,
    transformer: &Transformer,
    adapter: Option<&Lora>,
    gradients: &mut Gradients,
    workspace: &mut Workspace,
) -> f64 {
    let all: usize = variant.sequences.iter().map(|sequence| sequence.tokens.len() - sequence.prompt).sum();
    let vocabulary = variant.config.vocabulary;
    let mut total = 0.0;
    for batch in variant.batches() {
        let sequences: Vec<&Sequence> = batch.iter().map(|&index| &variant.sequences[index]).collect();
        let (batch, rows, targets) = supervised(&sequences);
        let weights = vec![1.0 / all as f32; rows.len()];
        let mut loss = |first: usize, logits: &mut [f32]| {
            let tile = first..first + logits.len() / vocabulary;
            cross_entropy(logits, vocabulary, &targets[tile.clone()], &weights[tile])
        };
        total += transformer
            .train_step(&batch, &rows, adapter, &mut loss, gradients, workspace)
            .expect("forward and backward");
    }
    total
}

/// Every gradient against the stored one: whole, or a fixed subset and the norm of the whole.
fn compare_gradients(variant: &Variant, prefix: &str, gradients: &Gradients) {
    let stride = variant.number("gradient_stride") as usize;
    let limit = variant.number("subset_above") as usize;
    let expected = variant.expected.keys().filter(|name| name.starts_with(prefix)).count();
    assert_eq!(gradients.named().len(), expected, "{}: tensors with a gradient", variant.name);
    for (name, _, values) in gradients.named() {
        let key = format!("{prefix}{name}");
        let (_, expected) = variant.expected.get(&key).unwrap_or_else(|| panic!("no {key}"));
        let subset = stride > 1 && values.len() > limit && expected.len() < values.len();
        let found: Vec<f32> = values.iter().step_by(if subset { stride } else { 1 }).copied().collect();
        let difference = relative_difference(&found, expected);
        assert!(difference < GRADIENT, "{} {key}: {difference:e}", variant.name);
        let norm = values.iter().map(|value| f64::from(*value).powi(2)).sum::<f64>().sqrt();
        let expected_norm = variant.facts["gradient_norms"][&key].as_f64().expect("a norm");
        assert!(
            (norm / expected_norm - 1.0).abs() < GRADIENT,
            "{} {key}: norm {norm}, {expected_norm}",
            variant.name
        );
    }
}

#[test]
fn gradients_of_all_weights_agree() {
    each_variant(|variant| {
        let transformer = variant.transformer(Use::Trainable);
        let mut gradients = Gradients::new(&transformer);
        let loss = backward(variant, &transformer, None, &mut gradients, &mut Workspace::new());
        assert!((loss - variant.number("loss")).abs() < LOSS, "{}: loss {loss}", variant.name);
        compare_gradients(variant, "gradient.", &gradients);
    });
}

#[test]
fn gradients_of_the_adapter_agree() {
    each_variant(|variant| {
        let transformer = variant.transformer(Use::Frozen);
        let adapter = variant.adapter();
        let mut gradients = Gradients::new(&adapter);
        let loss = backward(variant, &transformer, Some(&adapter), &mut gradients, &mut Workspace::new());
        assert!((loss - variant.number("adapter_loss")).abs() < LOSS, "{}: loss {loss}", variant.name);
        compare_gradients(variant, "adapter_gradient.", &gradients);
    });
}

/// The options of `torch.optim.AdamW` under `key`: its weight decay is on every parameter.
fn optimizer_config(variant: &Variant, key: &str) -> (OptimizerConfig, f32) {
    let options = &variant.all[key];
    let number = |value: &serde_json::Value| value.as_f64().expect("a number") as f32;
    let decay = number(&options["weight_decay"]);
    let rule = GroupRule { learning_rate: 1.0, weight_decay: decay };
    let config = OptimizerConfig {
        beta1: number(&options["betas"][0]),
        beta2: number(&options["betas"][1]),
        epsilon: number(&options["eps"]),
        clip_norm: None,
        weight_decay: decay,
        groups: vec![(ParameterGroup::Vector, rule), (ParameterGroup::Embedding, rule)],
    };
    (config, number(&options["lr"]))
}

fn compare_losses(variant: &Variant, key: &str, found: &[f64]) {
    let expected = variant.numbers(key);
    assert_eq!(found.len(), expected.len());
    for (step, (found, expected)) in found.iter().zip(&expected).enumerate() {
        let difference = (found - expected).abs();
        assert!(difference < LOSS, "{} {key} after {step} steps: {found}, expected {expected}", variant.name);
    }
}

#[test]
fn ten_steps_on_all_weights_agree() {
    each_variant(|variant| {
        let mut transformer = variant.transformer(Use::Trainable);
        let (config, rate) = optimizer_config(variant, "full_step");
        let mut optimizer = Optimizer::new(config, &transformer);
        let mut gradients = Gradients::new(&transformer);
        let mut workspace = Workspace::new();
        let mut losses = Vec::new();
        for step in 0..=10 {
            gradients.clear();
            losses.push(backward(variant, &transformer, None, &mut gradients, &mut workspace));
            if step < 10 {
                optimizer.step(&mut transformer, &gradients, rate).expect("a step");
            }
        }
        compare_losses(variant, "full_losses", &losses);
    });
}

#[test]
fn ten_steps_on_the_adapter_agree() {
    each_variant(|variant| {
        let transformer = variant.transformer(Use::Frozen);
        let mut adapter = variant.adapter();
        let (config, rate) = optimizer_config(variant, "adapter_step");
        let mut optimizer = Optimizer::new(config, &adapter);
        let mut gradients = Gradients::new(&adapter);
        let mut workspace = Workspace::new();
        let mut losses = Vec::new();
        for step in 0..=10 {
            gradients.clear();
            losses.push(backward(variant, &transformer, Some(&adapter), &mut gradients, &mut workspace));
            if step < 10 {
                optimizer.step(&mut adapter, &gradients, rate).expect("a step");
            }
        }
        compare_losses(variant, "adapter_losses", &losses);
        assert!(
            adapter
                .specs()
                .iter()
                .all(|spec| { matches!(spec.group, ParameterGroup::AdapterA | ParameterGroup::AdapterB) })
        );
    });
}

/// The fixtures can tell the variants apart: an option that was read but not applied would not pass.
#[test]
fn variants_of_the_same_weights_differ() {
    let variants: Vec<Variant> = VARIANTS.iter().map(|name| Variant::read(name)).collect();
    for (index, first) in variants.iter().enumerate() {
        for second in variants[index + 1..].iter().filter(|second| second.weights == first.weights) {
            let last = |variant: &Variant| {
                let (_, logits) = &variant.expected["adapter_logits.2"];
                logits[logits.len() - variant.config.vocabulary..].to_vec()
            };
            let difference = largest_difference(&last(first), &last(second));
            assert!(difference > 100.0 * LOGITS, "{} and {}: {difference}", first.name, second.name);
        }
    }
}
