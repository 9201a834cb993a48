//! Training: the loop, its schedule, checkpoints.

use super::dice::Dice;
use super::export::{self, Folder};
use super::objective::Objective;
use super::sequence::{Generator, Sequence};
use super::{initial, replace};
use anyhow::{Context, Result, ensure};
use kernels::matrix::Use;
use lm::Precision;
use lm::config::ModelConfig;
use lm::train::{GroupRule, Optimizer, OptimizerConfig};
use lm::transformer::{Batch, Gradients, ParameterGroup, Parameters, Transformer, Workspace};
use serde_json::{Value, json};
use std::path::{Path, PathBuf};
use std::time::Instant;

/// Learning rate of matrices at its peak. Three times as much destroys the initial structure within 200 steps.
const LEARNING_RATE: f64 = 3e-4;
/// Norms learn faster by this factor, embeddings slower: every step moves all tokens, seen or not, and what must work for
/// words that training never uses as labels is that embeddings stay nearly at right angles.
const NORMS: f32 = 2.0;
const EMBEDDINGS: f32 = 0.2;
/// Lengths of sequences, drawn for each batch, and the tokens of a batch.
const LENGTHS: [usize; 4] = [256, 512, 512, 1024];
const BATCH: usize = 3072;
/// From this step on some sequences have answers that are written instead of chosen: copying, which they need most, is
/// there by then.
const WRITTEN_FROM: u32 = 4500;
/// Their share.
const WRITTEN: f64 = 0.2;
/// Weight of the newest accuracy in the running mean.
const NEWEST: f64 = 0.03;
/// Steps of the warm-up.
const WARMUP: f64 = 100.0;
/// Share of the run over which the learning rate falls to zero. Before it nothing depends on the length of the run, so
/// that a run can be made longer or shorter until then and still is the run of its seed and number of steps.
const DECAY: f64 = 0.3;

/// What a run is asked to do.
pub(super) struct Plan {
    /// Seed of weights and corpus.
    pub(super) seed: u64,
    /// Length by the clock, over all resumed parts; ignored where `steps` is given.
    pub(super) seconds: f64,
    /// Length in steps: the same seed then gives the same model.
    pub(super) steps: Option<u32>,
    /// Where the checkpoint is.
    pub(super) checkpoint: PathBuf,
    /// Seconds between checkpoints.
    pub(super) pause: f64,
    /// Arithmetic.
    pub(super) precision: Precision,
}

/// Everything that changes during a run.
pub(super) struct Run<'l> {
    plan: Plan,
    generator: Generator<'l>,
    transformer: Transformer,
    optimizer: Optimizer,
    gradients: Gradients,
    workspace: Workspace,
    /// Running mean of the restricted accuracy.
    accuracy: f64,
    step: u32,
    /// Tokens seen.
    tokens: u64,
    /// Seconds of the parts of the run before this one.
    before: f64,
    started: Instant,
}

fn optimizer(transformer: &Transformer) -> Optimizer {
    let rule = |learning_rate| GroupRule { learning_rate, weight_decay: 0.0 };
    let config = OptimizerConfig {
        beta1: 0.9,
        beta2: 0.98,
        weight_decay: 0.05,
        groups: vec![(ParameterGroup::Embedding, rule(EMBEDDINGS)), (ParameterGroup::Vector, rule(NORMS))],
        ..OptimizerConfig::default()
    };
    Optimizer::new(config, transformer)
}

impl<'l> Run<'l> {
    /// A new run, or the one that the checkpoint holds.
    pub(super) fn open(plan: Plan, config: ModelConfig, generator: Generator<'l>) -> Result<Self> {
        let initial = initial::weights(&config, generator.families.vocabulary, plan.seed);
        let transformer = Transformer::new(config, &initial, plan.precision, Use::Trainable)?;
        let mut run = Self {
            optimizer: optimizer(&transformer),
            gradients: Gradients::new(&transformer),
            transformer,
            generator,
            workspace: Workspace::new(),
            accuracy: 0.0,
            step: 0,
            tokens: 0,
            before: 0.0,
            started: Instant::now(),
            plan,
        };
        if run.plan.checkpoint.exists() {
            run.resume()?;
        }
        Ok(run)
    }

    /// The model as it is.
    pub(super) fn transformer(&self) -> &Transformer {
        &self.transformer
    }

    fn seconds(&self) -> f64 {
        self.before + self.started.elapsed().as_secs_f64()
    }

    /// How much of the run is done, 0 ..= 1.
    fn done(&self) -> f64 {
        match self.plan.steps {
            Some(steps) => f64::from(self.step) / f64::from(steps.max(1)),
            None => self.seconds() / self.plan.seconds,
        }
    }

    /// Trains to the end, calling `saved` after every checkpoint.
    pub(super) fn train(&mut self, mut saved: impl FnMut(&mut Self) -> Result<()>) -> Result<()> {
        let mut last = Instant::now();
        let mut window = Instant::now();
        let mut window_tokens = self.tokens;
        let mut means = (0.0, 0.0);
        while self.done() < 1.0 {
            let (loss, restricted) = self.one_step()?;
            means = (means.0 + 0.03 * (loss - means.0), means.1 + 0.03 * (restricted - means.1));
            if self.step.is_multiple_of(50) {
                let rate = (self.tokens - window_tokens) as f64 / window.elapsed().as_secs_f64();
                (window, window_tokens) = (Instant::now(), self.tokens);
                println!(
                    "step {} done {:.3} loss {:.3} restricted {:.3} accuracy {:.3} tokens {:.2}M \
                     {:.0}/s",
                    self.step,
                    self.done(),
                    means.0,
                    means.1,
                    self.accuracy,
                    self.tokens as f64 / 1e6,
                    rate
                );
            }
            if last.elapsed().as_secs_f64() > self.plan.pause {
                self.save()?;
                saved(self)?;
                last = Instant::now();
                (window, window_tokens) = (Instant::now(), self.tokens);
            }
        }
        self.save()?;
        saved(self)
    }

    fn batch(&self, dice: &mut Dice) -> Result<Vec<Sequence>> {
        let length = *dice.pick(&LENGTHS);
        let one = |_| match self.step >= WRITTEN_FROM && dice.chance(WRITTEN) {
            true => self.generator.written(length, dice),
            false => self.generator.sequence(length, dice),
        };
        (0..(BATCH / length).max(2)).map(one).collect()
    }

    /// One step; its loss and its mean restricted loss.
    fn one_step(&mut self) -> Result<(f64, f64)> {
        let done = self.done();
        let mut dice = Dice::new(self.plan.seed, 1_000_000 + u64::from(self.step));
        let sequences = self.batch(&mut dice)?;
        let tokens: Vec<&[u32]> = sequences.iter().map(|sequence| sequence.tokens.as_slice()).collect();
        let batch = Batch::of(&tokens);
        let mut objective = Objective::new(&sequences, &mut dice);
        let rows = objective.rows();
        let vocabulary = self.transformer.config().vocabulary;
        self.gradients.renew();
        let loss = self.transformer.train_step(
            &batch,
            &rows,
            None,
            &mut |first, logits| objective.loss(first, logits, vocabulary),
            &mut self.gradients,
            &mut self.workspace,
        )?;
        let warm = (f64::from(self.step + 1) / WARMUP).min(1.0);
        let rate = LEARNING_RATE * warm * ((1.0 - done) / DECAY).clamp(0.0, 1.0);
        self.optimizer.step(&mut self.transformer, &self.gradients, rate as f32)?;
        self.step += 1;
        self.tokens += batch.len() as u64;
        if let Some(accuracy) = objective.accuracy() {
            let weight = if self.step == 1 { 1.0 } else { NEWEST };
            self.accuracy += weight * (accuracy - self.accuracy);
        }
        Ok((loss, objective.mean_restricted()))
    }

    /// What the model card tells of the run.
    pub(super) fn facts(&self) -> Value {
        json!({
            "seed": self.plan.seed,
            "steps": self.step,
            "tokens": self.tokens,
            "seconds": self.seconds().round(),
        })
    }

    /// Writes the model to `folder` as others load it.
    pub(super) fn export(&mut self, folder: &Folder) -> Result<()> {
        export::model(&mut self.transformer, folder)
    }

    /// Writes everything that the run needs to go on, in one file: length and text of a JSON header, values of the
    /// parameters, state of the optimiser.
    fn save(&mut self) -> Result<()> {
        let head = json!({
            "facts": self.facts(),
            "step": self.step,
            "tokens": self.tokens,
            "seconds": self.seconds(),
            "accuracy": self.accuracy,
        })
        .to_string();
        let mut bytes = (head.len() as u64).to_le_bytes().to_vec();
        bytes.extend_from_slice(head.as_bytes());
        for value in self.transformer.snapshot().iter().flatten() {
            bytes.extend_from_slice(&value.to_le_bytes());
        }
        bytes.extend(self.optimizer.write_state());
        if let Some(folder) = self.plan.checkpoint.parent() {
            std::fs::create_dir_all(folder)?;
        }
        replace(&self.plan.checkpoint, &bytes)
    }

    fn resume(&mut self) -> Result<()> {
        let place = self.plan.checkpoint.clone();
        let bytes = std::fs::read(&place).with_context(|| place.display().to_string())?;
        self.read(&bytes).with_context(|| format!("{}: not a checkpoint of this model", place.display()))?;
        println!("goes on at step {} ({:.0} s, {} tokens)", self.step, self.before, self.tokens);
        Ok(())
    }

    fn read(&mut self, bytes: &[u8]) -> Result<()> {
        let (length, rest) = bytes.split_first_chunk::<8>().context("too short")?;
        let length = usize::try_from(u64::from_le_bytes(*length))?;
        ensure!(rest.len() > length, "too short");
        let (head, rest) = rest.split_at(length);
        let head: Value = serde_json::from_slice(head)?;
        let mut snapshot = self.transformer.snapshot();
        let values: usize = snapshot.iter().map(Vec::len).sum();
        ensure!(rest.len() >= 4 * values, "too short");
        let (weights, state) = rest.split_at(4 * values);
        let mut stored = weights.chunks_exact(4).map(|b| f32::from_le_bytes([b[0], b[1], b[2], b[3]]));
        for value in snapshot.iter_mut().flatten() {
            *value = stored.next().context("too short")?;
        }
        self.optimizer.read_state(state)?;
        self.transformer.restore(&snapshot);
        self.step = u32::try_from(head["step"].as_u64().context("step")?)?;
        self.tokens = head["tokens"].as_u64().context("tokens")?;
        self.before = head["seconds"].as_f64().context("seconds")?;
        self.accuracy = head["accuracy"].as_f64().context("accuracy")?;
        Ok(())
    }
}

/// Where the checkpoint of a run in `work` is.
pub(super) fn checkpoint(work: &Path) -> PathBuf {
    work.join("checkpoint.bin")
}

#[cfg(test)]
mod tests {
    use super::super::family::{Families, Part};
    use super::super::lexicon::Lexicon;
    use super::super::tokenizer;
    use super::super::vocabulary::Vocabulary;
    use super::*;

    /// Two steps at once, and one step, a checkpoint and another step: the same weights, bit for bit.
    #[test]
    fn a_resumed_run_is_the_run() {
        let lexicon = Lexicon::load().unwrap();
        let tokenizer = Path::new(env!("CARGO_MANIFEST_DIR")).join("../models/micro/tokenizer.json");
        let common = tokenizer::texts(&lexicon, Part::Training, 2000, 1);
        let vocabulary = Vocabulary::open(&tokenizer, &lexicon, &common).unwrap();
        let families = Families { lexicon: &lexicon, vocabulary: &vocabulary, part: Part::Training };
        let folder = tempfile::tempdir().unwrap();
        let open = |work: &str| {
            let checkpoint = checkpoint(&folder.path().join(work));
            let precision = Precision::F32;
            let plan = Plan { seed: 3, seconds: 0.0, steps: Some(2), checkpoint, pause: 1e9, precision };
            Run::open(plan, export::config(vocabulary.size()), Generator { families }).unwrap()
        };
        let mut whole = open("whole");
        whole.train(|_| Ok(())).unwrap();
        let mut begun = open("parts");
        begun.one_step().unwrap();
        begun.save().unwrap();
        let mut resumed = open("parts");
        assert_eq!((resumed.step, resumed.tokens), (1, begun.tokens));
        resumed.train(|_| Ok(())).unwrap();
        assert!(
            whole.transformer.snapshot() == resumed.transformer.snapshot(),
            "the parts gave other weights"
        );
    }
}
