//! DoRA, PiSSA and LoRA+ against PEFT: `fixtures/scripts/parity_adapters.py` made the expected values.

mod parity_support;

use std::path::Path;

use kernels::loss::cross_entropy;
use kernels::matrix::Use;
use lm::adapter::{Lora, LoraConfig, LoraStart};
use lm::train::{GroupRule, Optimizer, OptimizerConfig};
use lm::transformer::{Batch, Gradients, ParameterGroup, Transformer, Workspace};
use parity_support::{
    Sequence, Variant, fixtures, largest_difference, read_json, read_tensors, relative_difference, supervised,
};

const LOGITS: f32 = 2e-4;
const GRADIENT: f64 = 2e-4;
const LOSS: f64 = 3e-4;

fn logits(transformer: &Transformer, adapter: Option<&Lora>, sequence: &Sequence) -> Vec<f32> {
    let mut batch = Batch::new();
    batch.push(&sequence.tokens);
    let rows: Vec<usize> = (0..batch.len()).collect();
    let hidden = transformer
        .hidden_states(&batch, &rows, adapter, None, &mut Workspace::new())
        .expect("a pass over the fixture's tokens");
    transformer.logits(&hidden)
}

/// One pass over the fixture's batch: the mean loss, and gradients added to `gradients`.
fn backward(
    variant: &Variant,
    transformer: &Transformer,
    adapter: &Lora,
    gradients: &mut Gradients,
    workspace: &mut Workspace,
) -> f64 {
    let sequences: Vec<&Sequence> = variant.sequences.iter().collect();
    let (batch, rows, targets) = supervised(&sequences);
    let weights = vec![1.0 / rows.len() as f32; rows.len()];
    let vocabulary = variant.config.vocabulary;
    let mut loss = |first: usize, logits: &mut [f32]| {
        let tile = first..first + logits.len() / vocabulary;
        cross_entropy(logits, vocabulary, &targets[tile.clone()], &weights[tile])
    };
    transformer.train_step(&batch, &rows, Some(adapter), &mut loss, gradients, workspace).expect("a step")
}

/// Ten steps as the script makes them, against its losses.
fn descend(key: &str, variant: &Variant, transformer: &Transformer, mut adapter: Lora, ratio: f32) {
    let facts = read_json(&fixtures().join("parity_adapters.json"));
    let step = &facts["step"];
    let number = |value: &serde_json::Value| value.as_f64().expect("a number") as f32;
    let config = OptimizerConfig {
        beta1: number(&step["betas"][0]),
        beta2: number(&step["betas"][1]),
        epsilon: number(&step["eps"]),
        clip_norm: None,
        weight_decay: 0.0,
        groups: vec![(ParameterGroup::AdapterB, GroupRule { learning_rate: ratio, weight_decay: 0.0 })],
    };
    let trained = adapter.config().rank;
    let mut optimizer = Optimizer::new(config, &adapter);
    let mut gradients = Gradients::new(&adapter);
    for (number_of, expected) in facts[key].as_array().expect("losses").iter().enumerate() {
        gradients.clear();
        let mut workspace = if number_of % 2 == 0 { Workspace::new() } else { Workspace::recomputing() };
        let found = backward(variant, transformer, &adapter, &mut gradients, &mut workspace);
        let expected = expected.as_f64().expect("a loss");
        assert!((found - expected).abs() < LOSS, "{key} after {number_of} steps: {found}, not {expected}");
        if adapter.config().start == LoraStart::Principal {
            freeze(&mut gradients, trained);
        }
        optimizer.step(&mut adapter, &gradients, number(&step["lr"])).expect("a step");
        adapter.refresh(transformer);
    }
}

/// Zeros where PiSSA's second half of directions is, as the trainer sets them.
fn freeze(gradients: &mut Gradients, trained: usize) {
    for index in 0..gradients.specs().len() {
        let spec = gradients.specs()[index].clone();
        let columns = spec.columns.expect("matrices only");
        let values = gradients.values_mut(index);
        match spec.group {
            ParameterGroup::AdapterA => values
                .chunks_exact_mut(2 * trained * columns)
                .for_each(|part| part[trained * columns..].fill(0.0)),
            _ => values.chunks_exact_mut(columns).for_each(|row| row[trained..].fill(0.0)),
        }
    }
}

#[test]
fn dora_agrees() {
    let expected = read_tensors(&fixtures().join("parity_adapters.safetensors"));
    for name in ["llama", "llama_bias"] {
        let variant = Variant::read(name);
        let transformer = variant.transformer(Use::Frozen);
        let folder = fixtures().join(format!("parity_adapters/dora_{name}"));
        let mut adapter = Lora::load(&folder, &variant.config).expect("PEFT's adapter");
        assert!(adapter.config().magnitudes);
        let refused = transformer.prefill(&[3, 4], Some(&adapter), &mut Workspace::new());
        assert!(refused.is_err_and(|error| error.to_string().contains("not attached")));
        adapter.attach(&transformer);
        let sequence = &variant.sequences[2];
        let difference = largest_difference(
            &logits(&transformer, Some(&adapter), sequence),
            &expected[&format!("dora_{name}.logits")].1,
        );
        assert!(difference < LOGITS, "{name}: {difference}");
        let merged = adapter.merge_into(&transformer).expect("the same shape");
        let difference =
            largest_difference(&logits(&merged, None, sequence), &expected[&format!("dora_{name}.merged")].1);
        assert!(difference < LOGITS, "{name}, merged: {difference}");
        let mut gradients = Gradients::new(&adapter);
        backward(&variant, &transformer, &adapter, &mut gradients, &mut Workspace::new());
        let scale = adapter.config().scale();
        assert!((scale - 1.0).abs() < 1e-12, "PEFT's scale is folded into B when it is read");
        for (tensor, _, values) in gradients.named() {
            let key = format!("dora_{name}.gradient.{tensor}");
            // With the scale of 2 in B, its gradient is half of PEFT's.
            let factor = if tensor.contains("lora_B") { 2.0 } else { 1.0 };
            let found: Vec<f32> = values.iter().map(|value| factor * value).collect();
            let difference = relative_difference(&found, &expected[&key].1);
            assert!(difference < GRADIENT, "{key}: {difference:e}");
        }
        // What is written reads back as the same adapter.
        let folder = tempfile::tempdir().expect("a folder");
        adapter.save(folder.path(), "base").expect("written");
        let mut again = Lora::load(folder.path(), &variant.config).expect("our own");
        again.attach(&transformer);
        assert_eq!(again.named_tensors(), adapter.named_tensors());
        assert!(adapter.to_peft("base").write_gguf(&folder.path().join("a.gguf"), &variant.config).is_err());
        let unfolded = unfolded(&adapter, &variant, &transformer);
        descend(&format!("dora_{name}"), &variant, &transformer, unfolded, 1.0);
    }
}

/// The same adapter with PEFT's scale of 2 outside of B, as it is trained.
fn unfolded(folded: &Lora, variant: &Variant, transformer: &Transformer) -> Lora {
    let config = LoraConfig { alpha: 8.0, magnitudes: true, ..LoraConfig::with_rank(4) };
    let tensors = folded.named_tensors();
    let mut lora = Lora::from_named(config, &variant.config, |name, _| {
        let (_, _, values) = tensors.iter().find(|(known, ..)| known == name).expect("every tensor");
        let factor = if name.contains("lora_B") { 0.5 } else { 1.0 };
        Ok(values.iter().map(|value| factor * value).collect())
    })
    .expect("the same shape");
    lora.attach(transformer);
    lora
}

#[test]
fn pissa_agrees() {
    let expected = read_tensors(&fixtures().join("parity_adapters.safetensors"));
    let variant = Variant::read("llama");
    let transformer = variant.transformer(Use::Frozen);
    let config = LoraConfig { alpha: 8.0, start: LoraStart::Principal, ..LoraConfig::with_rank(4) };
    let adapter = Lora::for_base(config, &transformer).expect("an adapter");
    let sequence = &variant.sequences[2];
    let plain = logits(&transformer, None, sequence);
    let difference = largest_difference(&logits(&transformer, Some(&adapter), sequence), &plain);
    assert!(difference < LOGITS, "it changes something before training: {difference}");
    let tensors = adapter.named_tensors();
    let part = |module: &str, which: &str| {
        let name = format!("base_model.model.{module}.{which}.weight");
        tensors.iter().find(|(known, ..)| *known == name).expect("every tensor")
    };
    let mut compared = 0;
    for (key, (shape, values)) in expected.iter().filter(|(key, _)| key.starts_with("pissa.principal.")) {
        let module = key.trim_start_matches("pissa.principal.");
        let (a, b) = (&part(module, "lora_A").2, &part(module, "lora_B").2);
        let product: Vec<f32> = (0..shape[0] * shape[1])
            .map(|place| {
                let (row, column) = (place / shape[1], place % shape[1]);
                2.0 * (0..4).map(|k| b[row * 8 + k] * a[k * shape[1] + column]).sum::<f32>()
            })
            .collect();
        let difference = relative_difference(&product, values);
        assert!(difference < 2e-3, "{key}: {difference:e}");
        compared += 1;
    }
    assert_eq!(compared, 14);
    descend("pissa", &variant, &transformer, adapter, 1.0);
    // PEFT's own conversion is a plain adapter of twice the rank, which gives what its trained model gave.
    let converted = Lora::load(&fixtures().join("parity_adapters/pissa"), &variant.config).expect("PEFT's");
    assert_eq!(converted.config().rank, 8);
    let difference =
        largest_difference(&logits(&transformer, Some(&converted), sequence), &expected["pissa.logits"].1);
    assert!(difference < 5.0 * LOGITS, "converted: {difference}");
}

/// The fixture's sequences after the adapter's virtual tokens.
fn after_virtual(variant: &Variant, adapter: &Lora) -> Vec<Sequence> {
    let ids: Vec<u32> = adapter.config().virtual_ids(variant.config.vocabulary).collect();
    let moved = |sequence: &Sequence| Sequence {
        tokens: [ids.as_slice(), &sequence.tokens].concat(),
        prompt: sequence.prompt + ids.len(),
    };
    variant.sequences.iter().map(moved).collect()
}

/// What PEFT made of virtual tokens (`name` in the fixtures): logits, gradients (`rows` puts ours into PEFT's order), ten steps,
/// and the folder.
fn virtual_tokens_agree(name: &str, parameters: u64, rows: impl Fn(Vec<&[f32]>) -> Vec<f32>) {
    let expected = read_tensors(&fixtures().join("parity_adapters.safetensors"));
    let expected = |what: &str| &expected[&format!("{name}.{what}")].1;
    let mut variant = Variant::read("llama");
    let transformer = variant.transformer(Use::Frozen);
    let folder = fixtures().join("parity_adapters").join(name);
    let adapter = Lora::load(&folder, &variant.config).expect("PEFT's virtual tokens");
    assert_eq!((adapter.config().virtual_tokens, adapter.parameters()), (5, parameters));
    variant.sequences = after_virtual(&variant, &adapter);
    let found = logits(&transformer, Some(&adapter), &variant.sequences[2]);
    let own = &found[5 * variant.config.vocabulary..];
    let difference = largest_difference(own, expected("logits"));
    assert!(difference < LOGITS, "{difference}");
    // A cached beginning of virtual tokens gives the same.
    let mut workspace = Workspace::new();
    let tokens = &variant.sequences[2].tokens;
    let prefix = transformer.prefill(&tokens[..5], Some(&adapter), &mut workspace).expect("virtual tokens");
    let mut batch = Batch::new();
    batch.push_after(Some(&prefix), &tokens[5..], &[], &[]);
    let all: Vec<usize> = (0..batch.len()).collect();
    let hidden = transformer
        .hidden_states(&batch, &all, Some(&adapter), None, &mut workspace)
        .expect("a pass after the prefix");
    assert!(largest_difference(&transformer.logits(&hidden), own) < LOGITS);
    assert!(transformer.prefill(&tokens[..5], None, &mut workspace).is_err(), "no such tokens without it");
    let mut gradients = Gradients::new(&adapter);
    backward(&variant, &transformer, &adapter, &mut gradients, &mut Workspace::new());
    let values = gradients.values().iter().map(|values| &values[..]).collect();
    let difference = relative_difference(&rows(values), expected("gradient"));
    assert!(difference < GRADIENT, "{difference:e}");
    let written = tempfile::tempdir().expect("a folder");
    adapter.save(written.path(), "base").expect("written");
    let again = Lora::load(written.path(), &variant.config).expect("our own");
    assert_eq!(again.named_tensors(), adapter.named_tensors());
    assert_eq!(written_tensor(written.path()), written_tensor(&folder));
    assert!(adapter.merge_into(&transformer).is_err());
    descend(name, &variant, &transformer, adapter, 1.0);
}

/// The one tensor of virtual tokens in a folder.
fn written_tensor(folder: &Path) -> (Vec<usize>, Vec<f32>) {
    read_tensors(&folder.join("adapter_model.safetensors")).remove("prompt_embeddings").expect("is there")
}

#[test]
fn prompt_tuning_agrees() {
    virtual_tokens_agree("prompt_tuning", 5 * 48, |values| values[0].to_vec());
}

#[test]
fn prefix_tuning_agrees() {
    // Two layers, two heads of 12 for keys, and as many for values.
    let width = 2 * 2 * 12;
    let rows = |values: Vec<&[f32]>| {
        let row =
            |token: usize| values.iter().flat_map(move |layer| &layer[token * width..][..width]).copied();
        (0..5).flat_map(row).collect()
    };
    virtual_tokens_agree("prefix_tuning", 5 * 2 * width as u64, rows);
}

/// Virtual tokens that begin as tokens of a text give what the text gives, before any training.
#[test]
fn a_prefix_that_starts_as_a_text_is_that_text() {
    let variant = Variant::read("llama");
    let transformer = variant.transformer(Use::Frozen);
    let text = [3, 1, 4, 1, 5];
    for config in [LoraConfig::virtual_tokens(5), LoraConfig::prefix(5)] {
        let config = LoraConfig { virtual_start: text.to_vec(), ..config };
        let adapter = Lora::for_base(config, &transformer).expect("an adapter");
        let original = variant.sequences[2].tokens.clone();
        let plain = Sequence { tokens: [&text[..], &original].concat(), prompt: 6 };
        let expected = logits(&transformer, None, &plain);
        let moved = after_virtual(&variant, &adapter);
        let found = logits(&transformer, Some(&adapter), &moved[2]);
        let after = 5 * variant.config.vocabulary;
        assert!(largest_difference(&found[after..], &expected[after..]) < LOGITS);
    }
}

#[test]
fn a_faster_b_agrees() {
    let variant = Variant::read("llama");
    let transformer = variant.transformer(Use::Frozen);
    // The same random matrices as the DoRA fixture, whose names PEFT gives them.
    let folder = fixtures().join("parity_adapters/dora_llama");
    let folded = Lora::load(&folder, &variant.config).expect("PEFT's adapter");
    let tensors = folded.named_tensors();
    let config = LoraConfig { alpha: 8.0, ..LoraConfig::with_rank(4) };
    let adapter = Lora::from_named(config, &variant.config, |name, _| {
        let (_, _, values) = tensors.iter().find(|(known, ..)| known == name).expect("every tensor");
        let factor = if name.contains("lora_B") { 0.5 } else { 1.0 };
        Ok(values.iter().map(|value| factor * value).collect())
    })
    .expect("the same shape");
    descend("lora_plus", &variant, &transformer, adapter, 16.0);
}
