//! The Python peers' recipes on this engine: the same prompts, rows, order, schedule and evaluation.
//!
//! `cargo run --release -p weigh-lm --example peer_recipe -- MODEL RECIPE.json [JOB]...` where MODEL is a Hugging Face
//! folder or a GGUF file, RECIPE.json comes from `fixtures/scripts/parity_recipe.py`, and a JOB is
//!
//! * `icl`: every prompt of the recipe, labels scored as a tree after the cached prompt; accuracy raw, with contextual
//!   calibration (Zhao et al. 2021) and with batch calibration (Zhou et al. 2024);
//! * `lora:N` or `lora:N:SEED`: LoRA of rank 16 and alpha 32 on N rows, AdamW at 1e-3, betas 0.9 and 0.99, warm-up over a
//!   tenth, linear decay, gradients clipped to norm 1, frozen weights in bfloat16; merged, then evaluated on the test rows;
//! * `init=FOLDER`: later runs start from the adapter `FOLDER/NAME_N_SEED` that PEFT wrote, not from our own random A;
//! * `draw=D`: later runs draw their random A with another seed (the order of the rows stays);
//! * `f32`: later jobs compute in 32 bits.
//!
//! Prints each accuracy beside what the peer recorded. No job stands for `icl lora:64`.

#![expect(clippy::print_stdout, reason = "an example prints its results")]

use std::collections::BTreeMap;
use std::error::Error;
use std::path::{Path, PathBuf};
use std::time::Instant;

use kernels::loss::cross_entropy;
use lm::adapter::peft::PeftAdapter;
use lm::adapter::{Lora, LoraConfig};
use lm::score::{LabelTree, Scorer};
use lm::tokenizer::Tokenizer;
use lm::train::{Decay, Optimizer, OptimizerConfig, Schedule};
use lm::transformer::{Batch, Gradients, Transformer, Workspace};
use lm::{Model, ModelSource, Precision, Use};
use serde::Deserialize;

/// Rows of a batch of scored queries.
const BUDGET: usize = 1024;

#[derive(Deserialize)]
struct Recipe {
    name: String,
    instruction: String,
    input_word: String,
    output_word: String,
    labels: Vec<String>,
    content_free: Vec<String>,
    pool: Vec<Row>,
    test: Vec<Row>,
    fine_tune: Vec<FineTune>,
    in_context: Vec<InContext>,
    recorded: Recorded,
}

#[derive(Deserialize)]
struct Row {
    text: String,
    label: String,
}

#[derive(Deserialize)]
struct FineTune {
    n: usize,
    seed: u64,
    batches: Vec<Vec<usize>>,
}

#[derive(Deserialize)]
struct InContext {
    k: usize,
    seed: u64,
    rows: Vec<usize>,
}

#[derive(Deserialize)]
struct Recorded {
    fine_tune: Vec<RecordedFineTune>,
    in_context: Vec<RecordedInContext>,
}

#[derive(Deserialize)]
struct RecordedFineTune {
    n: usize,
    seed: u64,
    accuracy: f64,
    losses: Option<Vec<f64>>,
}

#[derive(Deserialize)]
struct RecordedInContext {
    k: usize,
    seed: u64,
    sum: f64,
    cc: f64,
    bc: f64,
    prefix_tokens: usize,
}

/// Where an adapter's random A comes from.
enum Start {
    /// Our own, from the run's seed and this number.
    Random(u64),
    /// The adapters that PEFT began with, in a folder.
    Peft(PathBuf),
}

/// The peers' words as tokens: each piece is tokenized alone, newlines stand between.
struct Prompts<'a> {
    recipe: &'a Recipe,
    tokenizer: &'a Tokenizer,
    newline: Vec<u32>,
}

impl<'a> Prompts<'a> {
    fn new(recipe: &'a Recipe, tokenizer: &'a Tokenizer) -> Result<Self, lm::Error> {
        Ok(Self { recipe, tokenizer, newline: tokenizer.encode_plain("\n")? })
    }

    fn query(&self, text: &str) -> Result<Vec<u32>, lm::Error> {
        let mut tokens = self.tokenizer.encode_plain(&format!("{}: {text}", self.recipe.input_word))?;
        tokens.extend(&self.newline);
        tokens.extend(self.tokenizer.encode_plain(&format!("{}:", self.recipe.output_word))?);
        Ok(tokens)
    }

    fn answer(&self, label: &str) -> Result<Vec<u32>, lm::Error> {
        let mut tokens = self.tokenizer.encode_plain(&format!(" {label}"))?;
        tokens.extend(&self.newline);
        Ok(tokens)
    }

    /// Instruction and demonstrations.
    fn prefix(&self, rows: &[usize]) -> Result<Vec<u32>, lm::Error> {
        let mut tokens = self.tokenizer.encode_plain(&self.recipe.instruction)?;
        tokens.extend(&self.newline);
        tokens.extend(&self.newline);
        for row in rows.iter().map(|&row| &self.recipe.pool[row]) {
            tokens.extend(self.query(&row.text)?);
            tokens.extend(self.answer(&row.label)?);
            tokens.extend(&self.newline);
        }
        Ok(tokens)
    }

    fn tree(&self) -> Result<LabelTree, lm::Error> {
        let labels: Result<Vec<_>, _> = self.recipe.labels.iter().map(|label| self.answer(label)).collect();
        LabelTree::new(&labels?)
    }

    fn test_queries(&self) -> Result<Vec<Vec<u32>>, lm::Error> {
        self.recipe.test.iter().map(|row| self.query(&row.text)).collect()
    }

    /// Share of the test rows whose label has the highest score.
    fn accuracy(&self, scores: &[Vec<f64>]) -> f64 {
        let right = scores.iter().zip(&self.recipe.test).filter(|(scores, row)| {
            let best = (0..scores.len()).max_by(|&a, &b| scores[a].total_cmp(&scores[b]).then(b.cmp(&a)));
            best.is_some_and(|best| self.recipe.labels[best] == row.label)
        });
        right.count() as f64 / scores.len() as f64
    }
}

fn main() -> Result<(), Box<dyn Error>> {
    let mut arguments = std::env::args().skip(1);
    let (Some(model), Some(recipe)) = (arguments.next().map(PathBuf::from), arguments.next()) else {
        return Err("usage: peer_recipe MODEL RECIPE.json [JOB]...".into());
    };
    let source = if model.is_dir() { ModelSource::Folder(model) } else { ModelSource::Gguf(model) };
    let recipe: Recipe = serde_json::from_slice(&std::fs::read(recipe)?)?;
    let mut jobs: Vec<String> = arguments.collect();
    if jobs.is_empty() {
        jobs = vec!["icl".into(), "lora:64".into()];
    }
    let (mut precision, mut start) = (Precision::Bf16, Start::Random(0));
    for job in &jobs {
        let parts: Vec<&str> = job.split(':').collect();
        match (job.split_once('='), parts.as_slice()) {
            (Some(("init", folder)), _) => start = Start::Peft(PathBuf::from(folder)),
            (Some(("draw", draw)), _) => start = Start::Random(draw.parse()?),
            (_, ["f32"]) => precision = Precision::F32,
            (_, ["icl"]) => in_context(&recipe, &source, precision)?,
            (_, ["lora", n]) => fine_tune(&recipe, &source, (n.parse()?, None), &start, precision)?,
            (_, ["lora", n, seed]) => {
                let run = (n.parse()?, Some(seed.parse()?));
                fine_tune(&recipe, &source, run, &start, precision)?;
            }
            _ => return Err(format!("no such job: {job}").into()),
        }
    }
    Ok(())
}

/// `x - log(sum(exp(x)))`.
fn log_softmax(scores: &[f64]) -> Vec<f64> {
    let largest = scores.iter().copied().fold(f64::NEG_INFINITY, f64::max);
    let total = scores.iter().map(|score| (score - largest).exp()).sum::<f64>().ln() + largest;
    scores.iter().map(|score| score - total).collect()
}

/// Log of the mean probability of each label over `scores`.
fn mean_probability(scores: &[Vec<f64>]) -> Vec<f64> {
    let mut mean = vec![0.0; scores[0].len()];
    for row in scores.iter().map(|row| log_softmax(row)) {
        for (mean, value) in mean.iter_mut().zip(row) {
            *mean += value.exp() / scores.len() as f64;
        }
    }
    mean.into_iter().map(f64::ln).collect()
}

fn calibrated(scores: &[Vec<f64>], prior: &[f64]) -> Vec<Vec<f64>> {
    let subtract =
        |row: &Vec<f64>| log_softmax(row).iter().zip(prior).map(|(score, prior)| score - prior).collect();
    scores.iter().map(subtract).collect()
}

fn in_context(recipe: &Recipe, source: &ModelSource, precision: Precision) -> Result<(), Box<dyn Error>> {
    let model = Model::load(source, precision, Use::Inference)?;
    let prompts = Prompts::new(recipe, &model.tokenizer)?;
    let scorer = Scorer::new(&model.transformer, None);
    let tree = prompts.tree()?;
    let mut queries = prompts.test_queries()?;
    for text in &recipe.content_free {
        queries.push(prompts.query(text)?);
    }
    println!("{} in context, {precision:?}: raw / cc / bc (peer)", recipe.name);
    for case in &recipe.in_context {
        let begun = Instant::now();
        let tokens = prompts.prefix(&case.rows)?;
        let prefix = scorer.prefill(&tokens)?;
        let scores = scorer.score(Some(&prefix), &queries, &tree, BUDGET)?;
        let seconds = begun.elapsed().as_secs_f64();
        let (scores, content_free) = scores.split_at(recipe.test.len());
        let raw = prompts.accuracy(scores);
        let contextual = prompts.accuracy(&calibrated(scores, &mean_probability(content_free)));
        let batch = prompts.accuracy(&calibrated(scores, &mean_probability(scores)));
        let found = recipe.recorded.in_context.iter().find(|peer| (peer.k, peer.seed) == (case.k, case.seed));
        let peer = found.map_or("not recorded".into(), |peer| {
            assert_eq!(peer.prefix_tokens, tokens.len(), "tokens of the same prompt");
            format!("{:.3} / {:.3} / {:.3}", peer.sum, peer.cc, peer.bc)
        });
        println!(
            "k={} seed {} ({} tokens): {raw:.3} / {contextual:.3} / {batch:.3} ({peer}) {seconds:.1} s",
            case.k,
            case.seed,
            tokens.len()
        );
    }
    Ok(())
}

fn fine_tune(
    recipe: &Recipe,
    source: &ModelSource,
    (n, seed): (usize, Option<u64>),
    start: &Start,
    precision: Precision,
) -> Result<(), Box<dyn Error>> {
    let model = Model::load(source, precision, Use::Frozen)?;
    let prompts = Prompts::new(recipe, &model.tokenizer)?;
    let (tree, queries) = (prompts.tree()?, prompts.test_queries()?);
    let (mut own, mut peers) = (Vec::new(), Vec::new());
    for run in recipe.fine_tune.iter().filter(|run| run.n == n && seed.is_none_or(|seed| seed == run.seed)) {
        let config = LoraConfig::with_rank(16);
        let mut adapter = match start {
            Start::Peft(folder) => {
                begun_by_peft(&folder.join(format!("{}_{n}_{}", recipe.name, run.seed)), config, &model)?
            }
            Start::Random(draw) => {
                Lora::new(LoraConfig { seed: run.seed + 1000 * draw, ..config }, &model.config)?
            }
        };
        let begun = Instant::now();
        let (losses, tokens) = train(&prompts, &model.transformer, &mut adapter, &run.batches)?;
        let seconds = begun.elapsed().as_secs_f64();
        let merged = adapter.merge_into(&model.transformer)?;
        let scores = Scorer::new(&merged, None).score(None, &queries, &tree, BUDGET)?;
        let accuracy = prompts.accuracy(&scores);
        own.push(accuracy);
        let peer = recipe.recorded.fine_tune.iter().find(|peer| (peer.n, peer.seed) == (n, run.seed));
        println!(
            "{} LoRA n={n} seed {} {precision:?}: accuracy {accuracy:.3} (peer {}), {} steps, {tokens} tokens, {:.0} tokens/s",
            recipe.name,
            run.seed,
            peer.map_or("not recorded".into(), |peer| format!("{:.3}", peer.accuracy)),
            losses.len(),
            tokens as f64 / seconds
        );
        peers.extend(peer.map(|peer| peer.accuracy));
        print_losses(&losses, peer.and_then(|peer| peer.losses.as_deref()));
    }
    let mean = |values: &[f64]| values.iter().sum::<f64>() / values.len() as f64;
    println!(
        "{} LoRA n={n}: mean {:.3} of {} seeds, peer {:.3} of {}",
        recipe.name,
        mean(&own),
        own.len(),
        mean(&peers),
        peers.len()
    );
    Ok(())
}

fn print_losses(losses: &[f64], peer: Option<&[f64]>) {
    for (step, loss) in
        losses.iter().enumerate().filter(|(step, _)| [0, 1, 2, 4, 9, 15, 23, 31, 47, 63].contains(step))
    {
        let beside =
            peer.and_then(|peer| peer.get(step)).map_or(String::new(), |loss| format!(" ({loss:.4})"));
        print!("  {}: {loss:.4}{beside}", step + 1);
    }
    println!();
}

/// The random adapter that PEFT began with, its scale left where it is.
fn begun_by_peft(folder: &Path, config: LoraConfig, model: &Model) -> Result<Lora, Box<dyn Error>> {
    let peft = PeftAdapter::read(folder)?;
    if (peft.rank, peft.alpha) != (config.rank, config.alpha) {
        return Err(format!("{}: rank {}, alpha {}", folder.display(), peft.rank, peft.alpha).into());
    }
    let tensors: BTreeMap<String, Vec<f32>> = peft
        .tensors
        .into_iter()
        .map(|(name, (_, values))| (format!("base_model.model.{name}"), values))
        .collect();
    let adapter = Lora::from_named(config, &model.config, |name, _| {
        Ok(tensors.get(name).cloned().unwrap_or_default())
    })?;
    Ok(adapter)
}

/// Trains on the batches in their order; the losses before each step, and the tokens seen.
fn train(
    prompts: &Prompts<'_>,
    transformer: &Transformer,
    adapter: &mut Lora,
    batches: &[Vec<usize>],
) -> Result<(Vec<f64>, usize), Box<dyn Error>> {
    let config = OptimizerConfig { beta2: 0.99, ..OptimizerConfig::default() };
    let mut optimizer = Optimizer::new(config, &*adapter);
    let mut gradients = Gradients::new(&*adapter);
    let mut workspace = Workspace::new();
    let schedule = Schedule::with_warmup_share(u32::try_from(batches.len())?, 0.1, Decay::Linear);
    let vocabulary = transformer.config().vocabulary;
    let (mut losses, mut tokens) = (Vec::new(), 0);
    for (step, indices) in (0..).zip(batches) {
        let (mut batch, mut rows, mut targets) = (Batch::new(), Vec::new(), Vec::new());
        for row in indices.iter().map(|&index| &prompts.recipe.pool[index]) {
            let (mut sequence, answer) = (prompts.query(&row.text)?, prompts.answer(&row.label)?);
            let first = sequence.len() - 1;
            sequence.extend(&answer[..answer.len() - 1]);
            let start = batch.push(&sequence);
            rows.extend(start + first..start + sequence.len());
            targets.extend(answer);
        }
        tokens += batch.len();
        let weights = vec![1.0 / rows.len() as f32; rows.len()];
        let mut loss = |first: usize, logits: &mut [f32]| {
            let tile = first..first + logits.len() / vocabulary;
            cross_entropy(logits, vocabulary, &targets[tile.clone()], &weights[tile])
        };
        gradients.clear();
        losses.push(transformer.train_step(
            &batch,
            &rows,
            Some(&*adapter),
            &mut loss,
            &mut gradients,
            &mut workspace,
        )?);
        optimizer.step(adapter, &gradients, (1e-3 * schedule.factor(step)) as f32)?;
    }
    Ok((losses, tokens))
}
