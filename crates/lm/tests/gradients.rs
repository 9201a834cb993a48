//! Gradients of the whole model against finite differences, for every variant, for all weights and for an adapter.

mod tiny;

use kernels::loss::{cross_entropy, cross_entropy_value};
use lm::adapter::{Lora, LoraConfig, LoraTarget};
use lm::transformer::{Batch, Gradients, Parameters, Transformer, Workspace};
use lm::{Precision, Use};

/// Three sequences of unequal lengths with a loss at some rows of each.
fn batch() -> (Batch, Vec<usize>, Vec<u32>, Vec<f32>) {
    let mut batch = Batch::new();
    for (length, seed) in [(7, 1), (1, 2), (11, 3)] {
        batch.push(&tiny::tokens(length, seed));
    }
    (
        batch,
        vec![2, 5, 6, 7, 10, 17, 18],
        vec![3, 30, 11, 0, 36, 2, 3],
        vec![0.3, 1.0, 0.2, 0.5, 0.7, 1.1, 0.1],
    )
}

fn loss_of(transformer: &Transformer, adapter: Option<&Lora>) -> f64 {
    let (batch, rows, targets, weights) = batch();
    let states = transformer
        .hidden_states(&batch, &rows, adapter, None, &mut Workspace::new())
        .expect("a sound batch");
    let vocabulary = transformer.config().vocabulary;
    cross_entropy_value(&transformer.logits(&states), vocabulary, &targets, &weights)
}

fn gradients_of(transformer: &Transformer, adapter: Option<&Lora>) -> (f64, Gradients) {
    let (batch, rows, targets, weights) = batch();
    let mut gradients = match adapter {
        Some(adapter) => Gradients::new(adapter),
        None => Gradients::new(transformer),
    };
    let vocabulary = transformer.config().vocabulary;
    let mut loss = |first: usize, logits: &mut [f32]| {
        let tile = first..first + logits.len() / vocabulary;
        cross_entropy(logits, vocabulary, &targets[tile.clone()], &weights[tile])
    };
    let mut workspace = Workspace::new();
    let total = transformer
        .train_step(&batch, &rows, adapter, &mut loss, &mut gradients, &mut workspace)
        .expect("a sound step");
    (total, gradients)
}

/// Compares each parameter's gradient with the slope of the loss along it. The direction is the gradient itself, so
/// the expected slope is its norm; the central difference's error is of order step squared.
fn check_slopes<P: Parameters>(name: &str, trained: &mut P, gradients: &Gradients, loss: impl Fn(&P) -> f64) {
    for (index, own) in gradients.values().iter().enumerate() {
        let tensor = &gradients.specs()[index].parts[0].name;
        let norm = own.iter().map(|g| f64::from(*g).powi(2)).sum::<f64>().sqrt();
        assert!(norm > 1e-5, "{name}: {tensor} has no gradient");
        // A change of the loss of about 0.02: above rounding, below curvature.
        let step = (0.02 / norm).min(1e-2) as f32;
        let mut shift = |step: f32| {
            let scale = step / norm as f32;
            trained.parameters_mut()[index]
                .update(|values| values.iter_mut().zip(own).for_each(|(value, g)| *value += scale * g));
            loss(trained)
        };
        let above = shift(step);
        let below = shift(-2.0 * step);
        shift(step);
        let slope = (above - below) / (2.0 * f64::from(step));
        assert!(
            (slope - norm).abs() < 4e-3 * norm.max(0.05),
            "{name}: {tensor}: slope {slope:.6}, gradient {norm:.6}"
        );
    }
}

#[test]
fn gradients_of_all_weights_are_slopes() {
    for (name, config) in tiny::variants() {
        let mut transformer = tiny::random(config, 11);
        let (total, gradients) = gradients_of(&transformer, None);
        assert!((total - loss_of(&transformer, None)).abs() < 1e-5, "{name}");
        check_slopes(name, &mut transformer, &gradients, |changed| loss_of(changed, None));
    }
}

#[test]
fn gradients_of_an_adapter_are_slopes() {
    for (name, config) in tiny::variants() {
        let transformer = tiny::random(config, 12);
        let mut adapter = Lora::new(LoraConfig::with_rank(3), transformer.config()).expect("an adapter");
        tiny::disturb(&mut adapter, 5, 0.2);
        let (total, gradients) = gradients_of(&transformer, Some(&adapter));
        assert!((total - loss_of(&transformer, Some(&adapter))).abs() < 1e-5, "{name}");
        check_slopes(name, &mut adapter, &gradients, |changed| loss_of(&transformer, Some(changed)));
    }
}

/// The loss of a pass in which some inputs of the adapter are dropped, always the same ones.
#[test]
fn gradients_with_dropout_are_slopes() {
    let transformer = tiny::random(tiny::llama(), 12);
    let config = LoraConfig { dropout: 0.4, ..LoraConfig::with_rank(3) };
    let mut adapter = Lora::new(config, transformer.config()).expect("an adapter");
    tiny::disturb(&mut adapter, 5, 0.2);
    let (whole, _) = gradients_of(&transformer, Some(&adapter));
    assert!(
        (whole - loss_of(&transformer, Some(&adapter))).abs() < 1e-5,
        "nothing is dropped without a seed"
    );
    adapter.drop_inputs(Some(3));
    let (total, gradients) = gradients_of(&transformer, Some(&adapter));
    assert!((total - whole).abs() > 1e-4, "{total} and {whole}");
    check_slopes("dropout", &mut adapter, &gradients, |changed| gradients_of(&transformer, Some(changed)).0);
    adapter.drop_inputs(Some(4));
    let (other, _) = gradients_of(&transformer, Some(&adapter));
    assert!((total - other).abs() > 1e-4, "another seed drops others");
    adapter.drop_inputs(None);
    // The slopes moved the values there and back, which rounds.
    assert!((gradients_of(&transformer, Some(&adapter)).0 - whole).abs() < 1e-5);
}

#[test]
fn an_adapter_on_some_layers_has_the_same_gradients_there() {
    let transformer = tiny::random(tiny::llama(), 12);
    let targets = vec![LoraTarget::Query, LoraTarget::Value, LoraTarget::Down];
    let config = LoraConfig { targets, ..LoraConfig::with_rank(2) };
    let mut adapter = Lora::new(config, transformer.config()).expect("an adapter");
    tiny::disturb(&mut adapter, 5, 0.2);
    let (_, gradients) = gradients_of(&transformer, Some(&adapter));
    let names: Vec<String> = gradients.named().into_iter().map(|(name, ..)| name).collect();
    assert_eq!(names.len(), 2 * 3 * 2);
    assert!(names.contains(&"base_model.model.model.layers.1.self_attn.v_proj.lora_B.weight".to_owned()));
    check_slopes("some", &mut adapter, &gradients, |changed| loss_of(&transformer, Some(changed)));
}

#[test]
fn gradients_accumulate() {
    let transformer = tiny::random(tiny::llama(), 13);
    let (batch, rows, targets, weights) = batch();
    let vocabulary = transformer.config().vocabulary;
    let mut gradients = Gradients::new(&transformer);
    let mut workspace = Workspace::new();
    let mut loss = |_: usize, logits: &mut [f32]| cross_entropy(logits, vocabulary, &targets, &weights);
    for _ in 0..2 {
        transformer
            .train_step(&batch, &rows, None, &mut loss, &mut gradients, &mut workspace)
            .expect("a sound step");
    }
    let (_, once) = gradients_of(&transformer, None);
    for (twice, once) in gradients.values().iter().flatten().zip(once.values().iter().flatten()) {
        assert!((twice - 2.0 * once).abs() < 1e-5 * (1.0 + once.abs()), "{twice} {once}");
    }
    gradients.clear();
    assert_eq!(gradients.norm(), 0.0);
}

/// bfloat16 keeps 8 bits: each product's relative error is of order 2^-8, that of a gradient a few times as much.
#[test]
fn bfloat16_gradients_are_those_of_32_bits_roughly() {
    let compare = |name: &str, rounded: &Gradients, exact: &Gradients| {
        for ((spec, rounded), exact) in exact.specs().iter().zip(rounded.values()).zip(exact.values()) {
            let norm =
                |values: &mut dyn Iterator<Item = f32>| values.map(|v| f64::from(v * v)).sum::<f64>().sqrt();
            let difference = norm(&mut rounded.iter().zip(exact).map(|(a, b)| a - b));
            let size = norm(&mut exact.iter().copied());
            let tensor = &spec.parts[0].name;
            assert!(difference < 0.05 * size, "{name}: {tensor}: {difference} of {size}");
            assert!(difference > 0.0, "{name}: {tensor}: not rounded at all");
        }
    };
    for (name, config) in tiny::variants() {
        let exact = tiny::random(config, 14);
        let rounded = exact.converted(Precision::Bf16, Use::Trainable);
        compare(name, &gradients_of(&rounded, None).1, &gradients_of(&exact, None).1);
        let mut adapter = Lora::new(LoraConfig::with_rank(4), exact.config()).expect("an adapter");
        tiny::disturb(&mut adapter, 6, 0.2);
        let rounded = gradients_of(&rounded, Some(&adapter)).1;
        compare(name, &rounded, &gradients_of(&exact, Some(&adapter)).1);
    }
}
