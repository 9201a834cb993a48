//! The training loop, one step at a time.

use super::batches::{epoch_batches, steps_per_epoch};
use super::packed::{Packed, total_weight};
use super::{Method, Optimizer, Schedule, TrainingConfig, TrainingExample};
use crate::Error;
use crate::adapter::Lora;
use crate::transformer::{Flops, Gradients, Parameters, Transformer, Workspace};
use kernels::loss::cross_entropy;
use kernels::matrix::Use;

/// What one step did.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct StepReport {
    /// Number of the step, from 1.
    pub step: u32,
    /// Steps of the run.
    pub steps_total: u32,
    /// Epoch of the step, from 0.
    pub epoch: u32,
    /// Mean loss of the supervised tokens, in nats, before the step.
    pub loss: f64,
    /// Tokens that went through the model.
    pub tokens: usize,
    /// Tokens with a loss.
    pub supervised: usize,
    /// Learning rate of the step.
    pub learning_rate: f64,
    /// Norm of the gradients before clipping.
    pub gradient_norm: f64,
    /// Operations of the step.
    pub flops: Flops,
}

/// Trained values at one moment of a run, to come back to.
#[derive(Clone, Debug, PartialEq)]
pub struct Snapshot {
    values: Vec<Vec<f32>>,
}

/// A run over a list of examples: batches of like length, completion-only loss averaged over the batch's supervised
/// tokens, AdamW. The same base, configuration and examples give the same bits at any number of threads.
pub struct Trainer<'a> {
    config: TrainingConfig,
    examples: &'a [TrainingExample],
    /// Of each example's loss; empty where all are alike.
    weights: Vec<f32>,
    model: Tuned<'a>,
    optimizer: Optimizer,
    gradients: Gradients,
    workspace: Workspace,
    schedule: Schedule,
    epoch_batches: Vec<Vec<usize>>,
    packed: Packed,
    step: u32,
}

/// The weights, and which of them change.
enum Tuned<'a> {
    Lora { base: Base<'a>, adapter: Box<Lora> },
    Full(Box<Transformer>),
}

enum Base<'a> {
    Borrowed(&'a Transformer),
    Owned(Box<Transformer>),
}

impl Base<'_> {
    fn get(&self) -> &Transformer {
        match self {
            Self::Borrowed(transformer) => transformer,
            Self::Owned(transformer) => transformer,
        }
    }
}

impl<'a> Trainer<'a> {
    /// Gets ready to train from `base`, which is only read. An adapter uses it in place where it is stored in the
    /// precision asked for and not for inference only; otherwise a copy is made.
    ///
    /// # Errors
    /// [`Error::Invalid`] for an impossible configuration, no examples, or an example (named by its index) without
    /// prompt or supervised token or with a token outside the vocabulary; [`Error::Context`] for one that is too long.
    pub fn new(
        base: &'a Transformer,
        config: TrainingConfig,
        examples: &'a [TrainingExample],
    ) -> Result<Self, Error> {
        config.check()?;
        let virtual_tokens = match &config.method {
            Method::Lora(lora) => lora.virtual_tokens,
            Method::Full => 0,
        };
        check_examples(base, virtual_tokens, examples)?;
        let model = match &config.method {
            Method::Lora(lora) => {
                let ready = base.precision() == config.precision && base.usage() != Use::Inference;
                let base = if ready {
                    Base::Borrowed(base)
                } else {
                    Base::Owned(Box::new(base.converted(config.precision, Use::Frozen)))
                };
                let adapter = Box::new(Lora::for_base(lora.clone(), base.get())?);
                Tuned::Lora { base, adapter }
            }
            Method::Full => Tuned::Full(Box::new(base.converted(config.precision, Use::Trainable))),
        };
        let (optimizer, gradients) = match &model {
            Tuned::Lora { adapter, .. } => {
                (Optimizer::new(config.optimizer(), &**adapter), Gradients::new(&**adapter))
            }
            Tuned::Full(transformer) => {
                (Optimizer::new(config.optimizer(), &**transformer), Gradients::new(&**transformer))
            }
        };
        let per_epoch = steps_per_epoch(examples.len(), config.batch_examples);
        let steps = u32::try_from(per_epoch).ok().and_then(|steps| steps.checked_mul(config.epochs));
        let steps = steps.ok_or_else(|| Error::Invalid("more than 2^32 training steps".into()))?;
        let schedule = Schedule::with_warmup_share(steps, config.warmup_share, config.decay);
        let workspace = if config.recompute { Workspace::recomputing() } else { Workspace::new() };
        Ok(Self {
            config,
            examples,
            weights: Vec::new(),
            model,
            optimizer,
            gradients,
            workspace,
            schedule,
            epoch_batches: Vec::new(),
            packed: Packed::default(),
            step: 0,
        })
    }

    /// Gives each example a weight: a step's loss is the mean over its supervised tokens, each weighted as its example.
    ///
    /// # Errors
    /// [`Error::Invalid`] for another number of weights than examples, or one that is not above 0.
    pub fn weighted(mut self, weights: Vec<f32>) -> Result<Self, Error> {
        let sound = |weight: &f32| weight.is_finite() && *weight > 0.0;
        if weights.len() != self.examples.len() || !weights.iter().all(sound) {
            let (weights, examples) = (weights.len(), self.examples.len());
            return Err(Error::Invalid(format!(
                "{weights} weights, not all above 0, for {examples} examples"
            )));
        }
        self.weights = weights;
        Ok(self)
    }

    /// Steps of the whole run.
    pub fn steps_total(&self) -> u32 {
        self.schedule.steps
    }

    /// Steps of one epoch.
    pub fn steps_per_epoch(&self) -> u32 {
        self.schedule.steps / self.config.epochs
    }

    /// Whether all steps are made.
    pub fn finished(&self) -> bool {
        self.step >= self.schedule.steps
    }

    /// One step.
    ///
    /// # Errors
    /// [`Error::Diverged`] where the loss or the gradients are not finite: the parameters are as before the step.
    /// [`Error::Invalid`] after the last step.
    pub fn step(&mut self) -> Result<StepReport, Error> {
        if self.finished() {
            return Err(Error::Invalid(format!("all {} training steps are made", self.schedule.steps)));
        }
        let per_epoch = self.steps_per_epoch();
        let (epoch, number) = (self.step / per_epoch, self.step % per_epoch);
        if number == 0 || self.epoch_batches.is_empty() {
            let lengths: Vec<usize> = self.examples.iter().map(|example| example.tokens.len()).collect();
            let (batch, seed) = (self.config.batch_examples, self.config.seed);
            self.epoch_batches = epoch_batches(&lengths, batch, seed, epoch);
        }
        let learning_rate = self.config.learning_rate * self.schedule.factor(self.step);
        let batch = std::mem::take(&mut self.epoch_batches[number as usize]);
        let passed = self.passes(&batch);
        self.epoch_batches[number as usize] = batch;
        let Passed { loss, tokens, supervised, flops } = passed?;
        if !loss.is_finite() {
            return Err(Error::Diverged { step: self.step + 1, loss });
        }
        let rate = learning_rate as f32;
        let gradient_norm = match &mut self.model {
            Tuned::Lora { base, adapter } => {
                adapter.hold(&mut self.gradients);
                let stepped = self.optimizer.step(&mut **adapter, &self.gradients, rate);
                adapter.refresh(base.get());
                stepped?
            }
            Tuned::Full(transformer) => self.optimizer.step(&mut **transformer, &self.gradients, rate)?,
        };
        self.step += 1;
        Ok(StepReport {
            step: self.step,
            steps_total: self.schedule.steps,
            epoch,
            loss,
            tokens,
            supervised,
            learning_rate,
            gradient_norm,
            flops,
        })
    }

    /// The gradients of a step, pass after pass.
    fn passes(&mut self, batch: &[usize]) -> Result<Passed, Error> {
        let total = total_weight(self.examples, &self.weights, batch);
        let mut passed = Passed::default();
        self.gradients.renew();
        let most = self.config.pass_examples.unwrap_or(batch.len()).max(1);
        for (number, indices) in batch.chunks(most).enumerate() {
            self.packed.fill(self.examples, &self.weights, indices, total);
            // A step has fewer than 2^16 passes, a run fewer than 2^32 steps.
            let pass = (u64::from(self.step) << 16) + number as u64;
            let drop = self.config.seed.wrapping_mul(0x2545_f491_4f6c_dd1d).wrapping_add(pass);
            if let Tuned::Lora { adapter, .. } = &mut self.model {
                adapter.drop_inputs(Some(drop));
            }
            let loss = self.backward();
            if let Tuned::Lora { adapter, .. } = &mut self.model {
                adapter.drop_inputs(None);
            }
            let (transformer, adapter) = self.parts();
            let (batch, rows) = (&self.packed.batch, self.packed.rows.len());
            let flops = transformer.training_flops(batch, rows, adapter);
            passed = Passed {
                loss: passed.loss + loss?,
                tokens: passed.tokens + batch.len(),
                supervised: passed.supervised + rows,
                flops: passed.flops.plus(&flops),
            };
        }
        Ok(passed)
    }

    fn backward(&mut self) -> Result<f64, Error> {
        let (transformer, adapter) = match &self.model {
            Tuned::Lora { base, adapter } => (base.get(), Some(&**adapter)),
            Tuned::Full(transformer) => (&**transformer, None),
        };
        let vocabulary = transformer.config().vocabulary;
        let packed = &self.packed;
        let mut loss = |first: usize, logits: &mut [f32]| {
            let tile = first..first + logits.len() / vocabulary;
            cross_entropy(logits, vocabulary, &packed.targets[tile.clone()], &packed.weights[tile])
        };
        let (gradients, workspace) = (&mut self.gradients, &mut self.workspace);
        transformer.train_step(&packed.batch, &packed.rows, adapter, &mut loss, gradients, workspace)
    }

    fn parts(&self) -> (&Transformer, Option<&Lora>) {
        match &self.model {
            Tuned::Lora { base, adapter } => (base.get(), Some(adapter)),
            Tuned::Full(transformer) => (transformer, None),
        }
    }

    /// The weights and the adapter as they are now: what a [`Scorer`](crate::score::Scorer) takes for an evaluation
    /// between steps.
    pub fn model(&self) -> (&Transformer, Option<&Lora>) {
        self.parts()
    }

    /// The adapter as it is now; `None` where all weights are trained.
    pub fn adapter(&self) -> Option<&Lora> {
        self.parts().1
    }

    /// Values that are trained.
    pub fn trained_parameters(&self) -> u64 {
        let (transformer, adapter) = self.parts();
        transformer.trained_parameters(adapter)
    }

    /// A copy of the trained values.
    pub fn snapshot(&mut self) -> Snapshot {
        let values = match &mut self.model {
            Tuned::Lora { base, adapter } => {
                let values = adapter.snapshot();
                adapter.refresh(base.get());
                values
            }
            Tuned::Full(transformer) => transformer.snapshot(),
        };
        Snapshot { values }
    }

    /// Goes back to the values of a snapshot of this run (the best epoch's); the optimiser's moments stay.
    pub fn restore(&mut self, snapshot: &Snapshot) {
        match &mut self.model {
            Tuned::Lora { base, adapter } => {
                adapter.restore(&snapshot.values);
                adapter.refresh(base.get());
            }
            Tuned::Full(transformer) => transformer.restore(&snapshot.values),
        }
    }

    /// Ends the run: what was trained.
    pub fn into_trained(self) -> Trained {
        match self.model {
            Tuned::Lora { adapter, .. } => Trained::Lora(adapter),
            Tuned::Full(transformer) => Trained::Full(transformer),
        }
    }
}

/// What a run leaves behind.
#[derive(Clone, Debug)]
pub enum Trained {
    /// An adapter for the base.
    Lora(Box<Lora>),
    /// A transformer of its own.
    Full(Box<Transformer>),
}

/// What the passes of a step found and took.
#[derive(Default)]
struct Passed {
    loss: f64,
    tokens: usize,
    supervised: usize,
    flops: Flops,
}

fn check_examples(base: &Transformer, more: usize, examples: &[TrainingExample]) -> Result<(), Error> {
    if examples.is_empty() {
        return Err(Error::Invalid("no training examples".into()));
    }
    let config = base.config();
    for (index, example) in examples.iter().enumerate() {
        if example.supervised_from == 0 || example.supervised_from >= example.tokens.len() {
            return Err(Error::Invalid(format!(
                "training example {index}: supervised from token {} of {}; it needs a prompt and a completion",
                example.supervised_from,
                example.tokens.len()
            )));
        }
        if let Some(token) = example.tokens.iter().find(|&&token| token as usize >= config.vocabulary + more)
        {
            return Err(Error::Invalid(format!(
                "training example {index}: token {token} is outside the vocabulary of {}",
                config.vocabulary
            )));
        }
        let needed = example.tokens.len() - 1;
        if needed > config.context {
            return Err(Error::Context { needed, limit: config.context });
        }
    }
    Ok(())
}
