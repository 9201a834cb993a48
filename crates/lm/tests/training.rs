//! The trainer: it learns, repeats itself bit by bit, and comes back to what it saved.

mod tiny;

use lm::adapter::{Lora, LoraConfig, LoraStart, LoraTarget};
use lm::score::{LabelTree, Scorer};
use lm::train::{Method, Optimizer, OptimizerConfig, Trained, Trainer, TrainingConfig, TrainingExample};
use lm::transformer::{Batch, Gradients, Parameters, TensorMap, Transformer, Workspace};
use lm::weights::{Dtype, Tensors};
use lm::{Error, Precision, Use};

/// The completion is decided by whether the prompt holds token 20.
fn examples(count: usize) -> Vec<TrainingExample> {
    (0..count)
        .map(|index| {
            let mut tokens = tiny::tokens(4 + index % 5, index as u64);
            tokens.iter_mut().for_each(|token| *token = *token % 16 + 3);
            let yes = index % 2 == 0;
            if yes {
                tokens[index % 4] = 20;
            }
            let supervised_from = tokens.len();
            tokens.extend(if yes { [30, 31] } else { [30, 32] });
            TrainingExample { tokens, supervised_from }
        })
        .collect()
}

fn lora_config() -> TrainingConfig {
    TrainingConfig { learning_rate: 5e-3, epochs: 12, ..TrainingConfig::lora(LoraConfig::with_rank(8)) }
}

fn full_config() -> TrainingConfig {
    TrainingConfig { learning_rate: 3e-3, epochs: 12, ..TrainingConfig::full() }
}

fn accuracy(transformer: &Transformer, adapter: Option<&Lora>, examples: &[TrainingExample]) -> f64 {
    let tree = LabelTree::new(&[vec![30, 31], vec![30, 32]]).expect("two labels");
    let queries: Vec<&[u32]> = examples.iter().map(|e| &e.tokens[..e.supervised_from]).collect();
    let scores = Scorer::new(transformer, adapter).score(None, &queries, &tree, 512).expect("sound queries");
    let right = scores
        .iter()
        .zip(examples)
        .filter(|(scores, example)| (scores[0] > scores[1]) == example.tokens.ends_with(&[31]));
    right.count() as f64 / examples.len() as f64
}

#[test]
fn training_learns_a_rule() {
    let mut base = tiny::random(tiny::llama(), 1);
    // A frozen output projection must be able to tell tokens apart.
    base.parameters_mut()[0].update(|embedding| embedding.iter_mut().for_each(|value| *value *= 6.0));
    let examples = examples(96);
    for precision in [Precision::F32, Precision::Bf16] {
        for config in [lora_config(), full_config()] {
            let config = TrainingConfig { precision, ..config };
            let name = format!("{:?} {precision:?}", config.method);
            let mut trainer = Trainer::new(&base, config, &examples).expect("sound examples");
            let first = trainer.step().expect("a step");
            assert_eq!((first.step, first.steps_total, first.epoch, first.supervised), (1, 144, 0, 16));
            let mut last = first;
            while !trainer.finished() {
                last = trainer.step().expect("a step");
            }
            assert!(last.loss < 0.3 * first.loss, "{name}: {} to {}", first.loss, last.loss);
            assert_eq!((last.step, last.epoch), (144, 11));
            assert!(matches!(trainer.step(), Err(Error::Invalid(_))), "after the end");
            let (transformer, adapter) = trainer.model();
            let share = accuracy(transformer, adapter, &examples);
            assert!(share > 0.95, "{name}: accuracy {share}");
        }
    }
}

/// Every kind of adapter learns the rule, and its snapshot, merged, answers as it does.
#[test]
fn every_kind_of_adapter_learns() {
    let mut base = tiny::random(tiny::llama(), 1);
    base.parameters_mut()[0].update(|embedding| embedding.iter_mut().for_each(|value| *value *= 6.0));
    let examples = examples(96);
    let plain = LoraConfig::with_rank(8);
    let kinds = [
        (LoraConfig { magnitudes: true, ..plain.clone() }, 1.0),
        (LoraConfig { start: LoraStart::Principal, ..plain.clone() }, 1.0),
        (LoraConfig { targets: LoraTarget::FEED_FORWARD.to_vec(), ..plain.clone() }, 1.0),
        (plain, 16.0),
    ];
    for (lora, b_rate) in kinds {
        let learning_rate = if b_rate > 1.0 { 1e-3 } else { 5e-3 };
        let method = Method::Lora(lora.clone());
        let config = TrainingConfig { method, b_rate, learning_rate, ..lora_config() };
        let mut trainer = Trainer::new(&base, config, &examples).expect("sound examples");
        while !trainer.finished() {
            trainer.step().expect("a step");
        }
        let best = trainer.snapshot();
        trainer.restore(&best);
        let (transformer, adapter) = trainer.model();
        let share = accuracy(transformer, adapter, &examples);
        // Guessing gives half of them.
        assert!(share > 0.9, "{lora:?}: accuracy {share}");
        let merged = adapter.expect("an adapter").merge_into(&base).expect("the same shape");
        assert_eq!(accuracy(&merged, None, &examples), share, "{lora:?}");
    }
    let config = TrainingConfig {
        method: Method::Lora(LoraConfig { start: LoraStart::Principal, ..LoraConfig::with_rank(30) }),
        ..lora_config()
    };
    let refused = Trainer::new(&base, config, &examples).err().expect("more directions than there are");
    assert!(refused.to_string().contains("principal directions"), "{refused}");
}

#[test]
fn the_same_seed_gives_the_same_bits() {
    let base = tiny::random(tiny::llama(), 2);
    let examples = examples(20);
    let run = |seed: u64| {
        let config = TrainingConfig { seed, epochs: 2, ..lora_config() };
        let mut trainer = Trainer::new(&base, config, &examples).expect("sound examples");
        while !trainer.finished() {
            trainer.step().expect("a step");
        }
        trainer.snapshot()
    };
    assert_eq!(run(1), run(1));
    assert_ne!(run(1), run(2));
}

/// An example of weight 2 is the example twice: both are half of the loss of three rows and more.
#[test]
fn a_weight_of_two_is_an_example_twice() {
    let base = tiny::random(tiny::llama(), 2);
    let pair = examples(2);
    let thrice = vec![pair[0].clone(), pair[0].clone(), pair[1].clone()];
    let first = |examples: &[TrainingExample], weights: Option<Vec<f32>>| {
        let mut trainer = Trainer::new(&base, lora_config(), examples).expect("sound examples");
        if let Some(weights) = weights {
            trainer = trainer.weighted(weights).expect("sound weights");
        }
        trainer.step().expect("a step")
    };
    let (weighted, repeated) = (first(&pair, Some(vec![2.0, 1.0])), first(&thrice, None));
    assert!((weighted.loss - repeated.loss).abs() < 1e-6, "{weighted:?} {repeated:?}");
    assert!((weighted.gradient_norm - repeated.gradient_norm).abs() < 1e-5);
    assert!((first(&pair, None).loss - repeated.loss).abs() > 1e-6, "weights change the loss");
    let trainer = Trainer::new(&base, lora_config(), &pair).expect("sound examples");
    assert!(matches!(trainer.weighted(vec![1.0]), Err(Error::Invalid(_))));
}

/// Gradients of several passes add up to those of one, but for the order of the sums.
#[test]
fn a_step_in_several_passes_is_a_step() {
    let base = tiny::random(tiny::llama(), 2);
    let examples = examples(16);
    let weights: Vec<f32> = (0..16).map(|index| 1.0 + index as f32 / 8.0).collect();
    for method in [Method::Lora(LoraConfig::with_rank(8)), Method::Full] {
        let steps = |pass_examples: Option<usize>| {
            let config = TrainingConfig { method: method.clone(), pass_examples, ..lora_config() };
            let config = TrainingConfig { precision: Precision::F32, ..config };
            let trainer = Trainer::new(&base, config, &examples).expect("sound examples");
            let mut trainer = trainer.weighted(weights.clone()).expect("sound weights");
            [trainer.step().expect("a step"), trainer.step().expect("a step")]
        };
        let whole = steps(None);
        assert_eq!(steps(Some(8)), whole, "a pass holds the step");
        for pass in [1, 3] {
            for (parts, whole) in steps(Some(pass)).iter().zip(&whole) {
                assert_eq!((parts.tokens, parts.supervised), (whole.tokens, whole.supervised));
                assert!((parts.loss - whole.loss).abs() < 1e-5, "{parts:?} {whole:?}");
                assert!((parts.gradient_norm - whole.gradient_norm).abs() < 1e-4 * whole.gradient_norm);
                assert!((parts.flops.total() / whole.flops.total() - 1.0).abs() < 1e-9);
            }
        }
    }
}

/// Dropout is of training alone, and of its seed.
#[test]
fn a_run_with_dropout_repeats_itself_and_answers_with_all_its_inputs() {
    let base = tiny::random(tiny::llama(), 2);
    let examples = examples(16);
    let run = |dropout: f64, seed: u64| {
        let method = Method::Lora(LoraConfig { dropout, ..LoraConfig::with_rank(8) });
        let config = TrainingConfig { method, seed, epochs: 2, ..lora_config() };
        let mut trainer = Trainer::new(&base, config, &examples).expect("sound examples");
        while !trainer.finished() {
            trainer.step().expect("a step");
        }
        let (transformer, adapter) = trainer.model();
        let first = accuracy(transformer, adapter, &examples);
        assert_eq!(first, accuracy(transformer, adapter, &examples));
        trainer.snapshot()
    };
    assert_eq!(run(0.3, 1), run(0.3, 1));
    assert_ne!(run(0.3, 1), run(0.0, 1));
    let refused =
        Lora::new(LoraConfig { dropout: 0.1, magnitudes: true, ..LoraConfig::default() }, &tiny::llama());
    assert!(refused.is_err_and(|error| error.to_string().contains("dropout")));
}

#[test]
fn a_snapshot_brings_the_parameters_back() {
    let base = tiny::random(tiny::llama(), 3);
    let examples = examples(32);
    for config in [lora_config(), full_config()] {
        let mut trainer = Trainer::new(&base, config, &examples).expect("sound examples");
        for _ in 0..3 {
            trainer.step().expect("a step");
        }
        let best = trainer.snapshot();
        trainer.step().expect("a step");
        assert_ne!(trainer.snapshot(), best);
        trainer.restore(&best);
        assert_eq!(trainer.snapshot(), best);
    }
}

#[test]
fn impossible_runs_are_refused() {
    let base = tiny::random(tiny::llama(), 4);
    let message = |config: TrainingConfig, examples: &[TrainingExample]| {
        let made = Trainer::new(&base, config, examples);
        made.err().expect("refused").to_string()
    };
    let example =
        |length: usize, supervised_from| TrainingExample { tokens: vec![3; length], supervised_from };
    assert!(message(lora_config(), &[]).contains("no training examples"));
    for wrong in [example(5, 5), example(5, 9), example(5, 0), example(0, 0)] {
        assert!(message(lora_config(), &[example(4, 2), wrong]).contains("training example 1"));
    }
    assert!(message(lora_config(), &[example(66, 3)]).contains("65 tokens do not fit"));
    let outside = TrainingExample { tokens: vec![1, 40], supervised_from: 1 };
    assert!(message(lora_config(), &[outside]).contains("token 40"));
    let sound = [example(4, 2)];
    assert!(message(TrainingConfig { epochs: 0, ..full_config() }, &sound).contains("0 epochs"));
    assert!(
        message(TrainingConfig { learning_rate: f64::NAN, ..full_config() }, &sound)
            .contains("learning rate")
    );
    let rankless = TrainingConfig { method: Method::Lora(LoraConfig::with_rank(0)), ..lora_config() };
    assert!(message(rankless, &sound).contains("rank 0"));
}

#[test]
fn a_loss_that_is_not_finite_ends_the_run() {
    let base = tiny::random(tiny::llama(), 5);
    let examples = examples(16);
    let config = TrainingConfig { learning_rate: 1e30, clip_norm: None, ..full_config() };
    let mut trainer = Trainer::new(&base, config, &examples).expect("sound examples");
    let failed = (0..10).find_map(|_| trainer.step().err()).expect("it diverges");
    assert!(matches!(failed, Error::Diverged { .. }), "{failed}");
}

#[test]
fn merging_an_adapter_gives_its_logits() {
    for (name, config) in tiny::variants() {
        let base = tiny::random(config, 6);
        let mut adapter = Lora::new(LoraConfig::with_rank(4), base.config()).expect("an adapter");
        tiny::disturb(&mut adapter, 7, 0.1);
        let merged = adapter.merge_into(&base).expect("the same shape");
        let batch = Batch::of(&[tiny::tokens(9, 1), tiny::tokens(4, 2)]);
        let rows: Vec<usize> = (0..batch.len()).collect();
        let logits = |transformer: &Transformer, adapter: Option<&Lora>| {
            let states = transformer.hidden_states(&batch, &rows, adapter, None, &mut Workspace::new());
            transformer.logits(&states.expect("a sound batch"))
        };
        let (with, without) = (logits(&base, Some(&adapter)), logits(&base, None));
        for ((merged, with), without) in logits(&merged, None).iter().zip(&with).zip(&without) {
            assert!((merged - with).abs() < 1e-5 * (1.0 + with.abs()), "{name}: {merged} and {with}");
            assert!(with != without, "{name}: the adapter changes nothing");
        }
    }
}

#[test]
fn a_new_adapter_changes_nothing() {
    let base = tiny::random(tiny::llama(), 7);
    let adapter = Lora::new(LoraConfig::default(), base.config()).expect("an adapter");
    let batch = Batch::of(&[tiny::tokens(9, 1)]);
    let states = |adapter| base.hidden_states(&batch, &[3, 8], adapter, None, &mut Workspace::new());
    assert_eq!(states(Some(&adapter)).expect("sound"), states(None).expect("sound"));
}

#[test]
fn tensors_come_back_by_their_names() {
    for (name, config) in tiny::variants() {
        let transformer = tiny::random(config.clone(), 8);
        let map: TensorMap = transformer.named_tensors().into_iter().collect();
        let expected: Vec<String> = {
            let mut names: Vec<String> = config.tensor_shapes().into_iter().map(|(name, _)| name).collect();
            names.sort();
            names
        };
        assert_eq!(map.names(), expected, "{name}");
        for (tensor, shape) in config.tensor_shapes() {
            assert_eq!(map.shape(&tensor), Some(shape), "{name}: {tensor}");
        }
        assert_eq!(transformer.parameters(), config.parameters(), "{name}");
        let again = Transformer::new(config, &map, Precision::F32, Use::Inference).expect("all tensors");
        assert_eq!(again.named_tensors(), transformer.named_tensors(), "{name}");
    }
}

#[test]
fn an_absent_or_misshapen_tensor_is_named() {
    let config = tiny::llama();
    let transformer = tiny::random(config.clone(), 9);
    let without = "model.layers.1.mlp.up_proj.weight";
    let map: TensorMap =
        transformer.named_tensors().into_iter().filter(|(name, ..)| name != without).collect();
    let error = Transformer::new(config.clone(), &map, Precision::F32, Use::Inference).expect_err("absent");
    assert!(matches!(&error, Error::Shape { name, found: None, .. } if name == without), "{error}");
    let mut map: TensorMap = transformer.named_tensors().into_iter().collect();
    map.insert(without, vec![24, 40], vec![0.0; 24 * 40]);
    let error = Transformer::new(config, &map, Precision::F32, Use::Inference).expect_err("transposed");
    assert!(matches!(&error, Error::Shape { name, found: Some(_), .. } if name == without), "{error}");
}

#[test]
fn a_saved_folder_loads_again() {
    let folder = tempfile::tempdir().expect("a folder");
    for (name, config) in tiny::variants() {
        let transformer = tiny::random(config, 10);
        transformer.save(folder.path(), Dtype::F32).expect("written");
        let json = std::fs::read(folder.path().join("config.json")).expect("written");
        let config = lm::config::ModelConfig::from_hf_json(&json, "config.json").expect("a configuration");
        let bytes = std::fs::read(folder.path().join("model.safetensors")).expect("written");
        let file = safetensors::SafeTensors::deserialize(&bytes).expect("safetensors");
        let map: TensorMap = file
            .tensors()
            .into_iter()
            .map(|(name, view)| {
                let values =
                    view.data().chunks_exact(4).map(|b| f32::from_le_bytes([b[0], b[1], b[2], b[3]]));
                (name, view.shape().to_vec(), values.collect())
            })
            .collect();
        let again = Transformer::new(config, &map, Precision::F32, Use::Inference).expect("all tensors");
        assert_eq!(again.named_tensors(), transformer.named_tensors(), "{name}");
        let shape = |t: &Transformer| (t.config().qk_norm, t.config().tied, t.config().windows.clone());
        assert_eq!(shape(&again), shape(&transformer), "{name}");
    }
}

#[test]
fn an_adapter_comes_back_by_its_names() {
    let config = tiny::llama();
    let targets = vec![LoraTarget::Query, LoraTarget::Value, LoraTarget::Up];
    let mut adapter =
        Lora::new(LoraConfig { targets, ..LoraConfig::with_rank(3) }, &config).expect("an adapter");
    tiny::disturb(&mut adapter, 1, 0.3);
    let named = adapter.named_tensors();
    assert_eq!(named.len(), 2 * 3 * 2);
    let (_, shape, _) = named
        .iter()
        .find(|(name, ..)| name == "base_model.model.model.layers.0.mlp.up_proj.lora_B.weight")
        .expect("a B of up");
    assert_eq!(shape, &[40, 3]);
    let again = Lora::from_named(adapter.config().clone(), &config, |name, shape| {
        let (_, found, values) = named.iter().find(|(own, ..)| own == name).expect("a tensor");
        assert_eq!(found, shape);
        Ok(values.clone())
    });
    assert_eq!(again.expect("all tensors").named_tensors(), named);
}

/// One step of the optimiser under test, on its own gradients.
fn step(transformer: &mut Transformer, optimizer: &mut Optimizer, seed: u64) {
    let batch = Batch::of(&[tiny::tokens(9, seed), tiny::tokens(5, seed + 100)]);
    let vocabulary = transformer.config().vocabulary;
    let mut gradients = Gradients::new(transformer);
    let mut loss =
        |_: usize, logits: &mut [f32]| kernels::loss::cross_entropy(logits, vocabulary, &[4, 9], &[0.5, 0.5]);
    transformer
        .train_step(&batch, &[7, 12], None, &mut loss, &mut gradients, &mut Workspace::new())
        .expect("a step");
    optimizer.step(transformer, &gradients, 1e-2).expect("finite");
}

#[test]
fn a_run_that_is_stored_goes_on_bit_by_bit() {
    let mut through = tiny::random(tiny::llama(), 11);
    let config = OptimizerConfig { weight_decay: 0.1, ..OptimizerConfig::default() };
    let mut optimizer = Optimizer::new(config.clone(), &through);
    for seed in 0..3 {
        step(&mut through, &mut optimizer, seed);
    }
    let stored: TensorMap = through.named_tensors().into_iter().collect();
    let state = optimizer.write_state();
    let mut resumed =
        Transformer::new(tiny::llama(), &stored, Precision::F32, Use::Trainable).expect("all tensors");
    let mut second = Optimizer::new(config.clone(), &resumed);
    second.read_state(&state).expect("its own state");
    for seed in 3..6 {
        step(&mut through, &mut optimizer, seed);
        step(&mut resumed, &mut second, seed);
    }
    assert_eq!(through.named_tensors(), resumed.named_tensors());
    assert_eq!(optimizer.write_state(), second.write_state());
    for wrong in [&state[..state.len() - 1], &state[1..], &[]] {
        assert!(matches!(second.read_state(wrong), Err(Error::Format { .. })));
    }
    let mut other = Optimizer::new(config, &tiny::random(tiny::variants()[1].1.clone(), 1));
    assert!(matches!(other.read_state(&state), Err(Error::Format { .. })));
}

#[test]
fn what_is_not_stored_for_training_is_not_trained() {
    let base = tiny::random(tiny::llama(), 12);
    let batch = Batch::of(&[tiny::tokens(4, 1)]);
    let mut loss = |_: usize, _: &mut [f32]| 0.0;
    let mut workspace = Workspace::new();
    let frozen = base.converted(Precision::F32, Use::Frozen);
    let mut gradients = Gradients::new(&base);
    let mut refused = |transformer: &Transformer, rows: &[usize]| {
        let step = transformer.train_step(&batch, rows, None, &mut loss, &mut gradients, &mut workspace);
        assert!(matches!(step, Err(Error::Invalid(_))), "{step:?}");
    };
    refused(&frozen, &[1]);
    refused(&base, &[]);
    refused(&base, &[2, 1]);
    refused(&base, &[4]);
}

#[test]
fn an_inference_base_is_converted_for_an_adapter() {
    let base = tiny::random(tiny::llama(), 13).converted(Precision::Bf16, Use::Inference);
    let examples = examples(8);
    let mut trainer = Trainer::new(&base, lora_config(), &examples).expect("sound examples");
    trainer.step().expect("a step");
    let Trained::Lora(adapter) = trainer.into_trained() else { panic!("an adapter was asked for") };
    assert!(adapter.fits(base.config()));
}

#[test]
fn computing_activations_again_changes_no_bit() {
    for (name, model) in tiny::variants() {
        let base = tiny::random(model, 14);
        let examples = examples(16);
        for precision in [Precision::F32, Precision::Bf16] {
            for config in [lora_config(), full_config()] {
                let run = |recompute| {
                    let config = TrainingConfig { precision, recompute, epochs: 1, ..config.clone() };
                    let mut trainer = Trainer::new(&base, config, &examples).expect("sound examples");
                    let reports: Vec<_> = (0..2).map(|_| trainer.step().expect("a step")).collect();
                    (reports, trainer.snapshot())
                };
                assert_eq!(run(true), run(false), "{name} {precision:?}");
            }
        }
    }
}
