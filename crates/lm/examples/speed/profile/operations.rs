//! Everything that is not a product with weights.

use kernels::activation::{swiglu, swiglu_backward};
use kernels::attention::{Heads, Segment, attention, attention_backward, attention_rounded};
use kernels::loss::cross_entropy;
use kernels::norm::{rms_norm, rms_norm_backward};
use kernels::optimizer::{AdamW, adamw};
use kernels::rotary::{RotaryTable, rotate};
use lm::adapter::{Lora, LoraConfig};
use lm::train::{Optimizer, OptimizerConfig};
use lm::transformer::Gradients;
use lm::{Error, Precision, Use};

use super::{Bench, Mode, numbers};
use crate::work::random;

pub(super) fn measure(bench: &mut Bench) -> Result<(), Error> {
    attend(bench);
    norms(bench);
    rotations(bench);
    activations(bench);
    match bench.mode {
        Mode::Prefill => Ok(()),
        Mode::Lora => {
            loss(bench);
            let lora = Lora::new(LoraConfig::default(), &bench.config)?;
            optimizer(bench, lora)
        }
        Mode::Full => {
            loss(bench);
            let transformer = random(bench.config.clone(), bench.precision, Use::Trainable)?;
            let gradients = Gradients::new(&transformer);
            drop(transformer);
            plain_optimizer(bench, &gradients);
            Ok(())
        }
    }
}

fn attend(bench: &mut Bench) {
    let config = &bench.config;
    let heads =
        Heads { heads: config.heads, kv_heads: config.kv_heads, head_dim: config.head_dim, window: None };
    let (rows, width, layers) = (bench.rows(), config.heads * config.head_dim, config.layers);
    let pairs: usize = bench.lengths.iter().map(|length| length * (length + 1) / 2).sum();
    let flops = 4.0 * (pairs * width * layers) as f64;
    let mut start = 0;
    let mut segments = Vec::new();
    for &causal in &bench.lengths {
        segments.push(Segment { start, causal, tree: &[], past: &[], held: None });
        start += causal;
    }
    let qkv = bench.kept(rows * heads.row());
    let mut out = bench.kept(rows * width);
    let mut lse = bench.kept(rows * heads.heads);
    let (copies, training) = (qkv.len(), bench.mode != Mode::Prefill);
    let exact = bench.precision == Precision::F32;
    bench.part("attention: forward", flops, || {
        for layer in 0..layers {
            let copy = layer % copies;
            let lse = training.then_some(lse[copy].as_mut_slice());
            // As the engine does: in 32 bits where a backward pass follows.
            match (lse, exact) {
                (None, false) => attention_rounded(heads, &qkv[copy], &segments, &mut out[copy]),
                (lse, _) => attention(heads, &qkv[copy], &segments, &mut out[copy], lse),
            }
        }
    });
    if training {
        let (dout, mut dqkv) = (numbers(rows * width), vec![0f32; rows * heads.row()]);
        bench.part("attention: backward", 2.0 * flops, || {
            for ((qkv, out), lse) in qkv.iter().zip(&out).zip(&lse) {
                attention_backward(heads, qkv, out, &dout, lse, &segments, &mut dqkv);
            }
        });
    }
}

fn norms(bench: &mut Bench) {
    let (rows, hidden, layers) = (bench.rows(), bench.config.hidden, bench.config.layers);
    let (weight, epsilon) = (vec![1f32; hidden], bench.config.norm_epsilon);
    let x = bench.kept(rows * hidden);
    let (mut y, mut inverse) = (numbers(rows * hidden), numbers(rows));
    let (copies, training) = (x.len(), bench.mode != Mode::Prefill);
    // Two a layer; a training step computes them again on the way back.
    let passes = if training { 4 } else { 2 };
    bench.part("norms: forward", 0.0, || {
        for pass in 0..passes * layers {
            rms_norm(&x[pass % copies], &weight, epsilon, &mut y, &mut inverse);
        }
    });
    if !training {
        return;
    }
    let mut dx = numbers(rows * hidden);
    let mut dweight = vec![0f32; hidden];
    let full = bench.mode == Mode::Full;
    bench.part("norms: backward", 0.0, || {
        for pass in 0..2 * layers {
            let dweight = full.then_some(dweight.as_mut_slice());
            rms_norm_backward(&x[pass % copies], &weight, &inverse, &y, &mut dx, true, dweight);
        }
    });
}

fn rotations(bench: &mut Bench) {
    let config = &bench.config;
    let (rows, layers, heads) = (bench.rows(), config.layers, config.heads + config.kv_heads);
    let width = (heads + config.kv_heads) * config.head_dim;
    let frequencies: Vec<f64> =
        (0..config.head_dim / 2).map(|i| 1e5f64.powf(-2.0 * i as f64 / config.head_dim as f64)).collect();
    let longest = bench.lengths.iter().copied().max().unwrap_or(1);
    let table = RotaryTable::new(&frequencies, longest, 1.0);
    let positions: Vec<u32> = bench.lengths.iter().flat_map(|&length| 0..length as u32).collect();
    let mut qkv = bench.kept(rows * width);
    let (copies, passes) = (qkv.len(), if bench.mode == Mode::Prefill { 1 } else { 2 });
    bench.part("rotations", 0.0, || {
        for pass in 0..passes * layers {
            rotate(&mut qkv[pass % copies], width, heads, &positions, &table, pass >= layers);
        }
    });
}

fn activations(bench: &mut Bench) {
    let (rows, width, layers) = (bench.rows(), bench.config.intermediate, bench.config.layers);
    let mut gate_up = bench.kept(rows * 2 * width);
    let mut active = numbers(rows * width);
    let copies = gate_up.len();
    let training = bench.mode != Mode::Prefill;
    let passes = if training { 2 } else { 1 };
    bench.part("SwiGLU: forward", 0.0, || {
        for pass in 0..passes * layers {
            swiglu(&gate_up[pass % copies], width, &mut active);
        }
    });
    if training {
        bench.part("SwiGLU: backward", 0.0, || {
            for gate_up in &mut gate_up {
                swiglu_backward(gate_up, width, &active);
            }
        });
    }
}

fn loss(bench: &mut Bench) {
    let (rows, vocabulary) = (bench.wanted, bench.config.vocabulary);
    let mut logits = numbers(rows * vocabulary);
    let (targets, weights) = (vec![7u32; rows], vec![1.0 / rows as f32; rows]);
    bench.part("loss", 0.0, || {
        std::hint::black_box(cross_entropy(&mut logits, vocabulary, &targets, &weights));
    });
}

/// The optimiser on an adapter, packing included.
fn optimizer(bench: &mut Bench, mut parameters: Lora) -> Result<(), Error> {
    let mut state = Optimizer::new(OptimizerConfig::default(), &parameters);
    let gradients = Gradients::new(&parameters);
    let mut outcome = Ok(());
    bench.part("optimiser, packing included", 0.0, || {
        let norm = state.step(&mut parameters, &gradients, 1e-4);
        outcome = std::mem::replace(&mut outcome, Ok(())).and(norm.map(drop));
    });
    outcome
}

/// AdamW and the norm of the gradients, over as many values as the model has.
fn plain_optimizer(bench: &mut Bench, gradients: &Gradients) {
    let zeros = || -> Vec<Vec<f32>> { gradients.values().iter().map(|own| vec![0.0; own.len()]).collect() };
    let (mut values, mut first, mut second) = (zeros(), zeros(), zeros());
    let rule =
        AdamW { learning_rate: 1e-6, beta1: 0.9, beta2: 0.999, epsilon: 1e-8, weight_decay: 0.0, step: 1 };
    bench.part("optimiser", 0.0, || {
        let norm = gradients.norm();
        let moments = first.iter_mut().zip(&mut second);
        for ((values, gradient), (first, second)) in values.iter_mut().zip(gradients.values()).zip(moments) {
            adamw(&rule, (1.0 / (1.0 + norm)) as f32, values, gradient, first, second);
        }
    });
}
