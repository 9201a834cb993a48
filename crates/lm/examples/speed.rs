//! Speed of the engine on a real model: `cargo run --release -p weigh-lm --example speed -- MODEL.gguf [f32|bf16|stored|int8] [what]`.
//!
//! The same work as the table of `docs/bench` compares: a LoRA step and a full step on 8 sequences of 64 tokens with a
//! loss on the last 3, prefill of 1 x 512 and 8 x 256 tokens, decoding 1, 8 and 16 sequences at context 256. Prints the
//! median and the best of several runs, in tokens per second, and the peak memory where the system tells it.

#![expect(clippy::print_stdout, reason = "a measurement prints its result")]

use std::path::PathBuf;
use std::time::Instant;

use kernels::loss::cross_entropy;
use lm::adapter::{Lora, LoraConfig};
use lm::score::Scorer;
use lm::train::{Optimizer, OptimizerConfig};
use lm::transformer::{Batch, Gradients, Transformer, Workspace};
use lm::{Error, Model, ModelSource, Precision, Use};

fn main() -> Result<(), Error> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let path = PathBuf::from(arguments.first().map_or("model", String::as_str));
    let precision = match arguments.get(1).map(String::as_str) {
        Some("f32") => Precision::F32,
        Some("stored") => Precision::Stored,
        Some("int8") => Precision::Int8,
        _ => Precision::Bf16,
    };
    let what = arguments.get(2).map_or("all", String::as_str);
    let source = if path.is_dir() { ModelSource::Folder(path) } else { ModelSource::Gguf(path) };
    let wanted = |name: &str| what == "all" || what == name;
    let started = Instant::now();
    if wanted("prefill") || wanted("decode") {
        let model = Model::load(&source, precision, Use::Inference)?;
        println!(
            "loaded {} parameters in {:.1} s, {} MiB of weights",
            model.parameters(),
            started.elapsed().as_secs_f64(),
            model.transformer.bytes() >> 20
        );
        if wanted("prefill") {
            prefill(&model.transformer)?;
        }
        if wanted("decode") {
            decode(&model.transformer)?;
        }
    }
    if wanted("lora") {
        let model = Model::load(&source, precision, Use::Frozen)?;
        println!("{} MiB of frozen weights", model.transformer.bytes() >> 20);
        let mut lora = Lora::new(LoraConfig::default(), &model.config)?.converted(precision);
        let mut optimizer = Optimizer::new(OptimizerConfig::default(), &lora);
        let mut gradients = Gradients::new(&lora);
        let mut workspace = Workspace::new();
        measure("LoRA step 8 x 64", 8 * 64, 7, || {
            backward(&model.transformer, Some(&lora), &mut gradients, &mut workspace)?;
            optimizer.step(&mut lora, &gradients, 1e-4).map(drop)
        })?;
    }
    if wanted("full") {
        let model = Model::load(&source, precision, Use::Trainable)?;
        let mut transformer = model.transformer;
        let mut optimizer = Optimizer::new(OptimizerConfig::default(), &transformer);
        let mut gradients = Gradients::new(&transformer);
        let mut workspace = Workspace::new();
        let mut stepping = 0.0;
        measure("full step 8 x 64", 8 * 64, 5, || {
            backward(&transformer, None, &mut gradients, &mut workspace)?;
            let before = Instant::now();
            optimizer.step(&mut transformer, &gradients, 1e-6)?;
            stepping = before.elapsed().as_secs_f64();
            Ok(())
        })?;
        println!("  of which the optimiser {:.0} ms", stepping * 1e3);
    }
    Ok(())
}

/// Tokens that spread over the vocabulary.
fn tokens(transformer: &Transformer, count: usize) -> Vec<u32> {
    (0..count).map(|index| ((index * 7919 + 13) % transformer.config().vocabulary) as u32).collect()
}

fn backward(
    transformer: &Transformer,
    lora: Option<&Lora>,
    gradients: &mut Gradients,
    workspace: &mut Workspace,
) -> Result<(), Error> {
    let sequences: Vec<Vec<u32>> = tokens(transformer, 512).chunks(64).map(<[u32]>::to_vec).collect();
    let batch = Batch::of(&sequences);
    let rows: Vec<usize> = (0..8).flat_map(|sequence| (60..63).map(move |row| sequence * 64 + row)).collect();
    let targets: Vec<u32> = rows.iter().map(|&row| batch.tokens[row + 1]).collect();
    let weights = vec![1.0 / rows.len() as f32; rows.len()];
    let vocabulary = transformer.config().vocabulary;
    let mut loss = |_: usize, logits: &mut [f32]| cross_entropy(logits, vocabulary, &targets, &weights);
    gradients.clear();
    transformer.train_step(&batch, &rows, lora, &mut loss, gradients, workspace).map(drop)
}

fn prefill(transformer: &Transformer) -> Result<(), Error> {
    let mut workspace = Workspace::new();
    for (sequences, length) in [(1, 512), (1, 2048), (8, 64), (8, 256)] {
        let all = tokens(transformer, sequences * length);
        let batch = Batch::of(&all.chunks(length).collect::<Vec<_>>());
        let rows: Vec<usize> = (1..=sequences).map(|end| end * length - 1).collect();
        measure(&format!("prefill {sequences} x {length}"), sequences * length, 7, || {
            let states = transformer.hidden_states(&batch, &rows, None, None, &mut workspace)?;
            std::hint::black_box(transformer.logits(&states));
            Ok(())
        })?;
    }
    Ok(())
}

fn decode(transformer: &Transformer) -> Result<(), Error> {
    let scorer = Scorer::new(transformer, None);
    for sequences in [1, 8, 16] {
        let prefix = scorer.prefill(&tokens(transformer, 255))?;
        let queries = vec![vec![5u32]; sequences];
        let new = 24;
        measure(&format!("decode {sequences} at 256"), sequences * new, 5, || {
            scorer.generate(Some(&prefix), &queries, new, &[]).map(drop)
        })?;
    }
    Ok(())
}

fn measure(
    name: &str,
    tokens: usize,
    runs: usize,
    mut work: impl FnMut() -> Result<(), Error>,
) -> Result<(), Error> {
    work()?;
    let mut seconds = Vec::with_capacity(runs);
    for _ in 0..runs {
        let started = Instant::now();
        work()?;
        seconds.push(started.elapsed().as_secs_f64());
    }
    seconds.sort_by(f64::total_cmp);
    let (median, best) = (seconds[runs / 2], seconds[0]);
    println!(
        "{name}: median {:.0} tok/s, best {:.0} tok/s ({:.1} ms); peak {}",
        tokens as f64 / median,
        tokens as f64 / best,
        median * 1e3,
        peak_memory()
    );
    Ok(())
}

/// Peak resident memory, as Linux reports it.
fn peak_memory() -> String {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
    line.map_or_else(|| "unknown".to_owned(), |value| value.trim().to_owned())
}
