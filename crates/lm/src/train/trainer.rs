//! The training loop, one step at a time.

use super::batches::{epoch_batches, steps_per_epoch};
use super::{Method, Optimizer, Schedule, TrainingConfig, TrainingExample};
use crate::Error;
use crate::adapter::Lora;
use crate::transformer::{Batch, Flops, Gradients, Parameters, Transformer, Workspace};
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
        self.packed.fill(self.examples, &self.weights, &self.epoch_batches[number as usize]);
        let learning_rate = self.config.learning_rate * self.schedule.factor(self.step);
        self.gradients.renew();
        let loss = self.backward()?;
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
        let (transformer, adapter) = self.parts();
        let packed = &self.packed;
        Ok(StepReport {
            step: self.step,
            steps_total: self.schedule.steps,
            epoch,
            loss,
            tokens: packed.batch.len(),
            supervised: packed.rows.len(),
            learning_rate,
            gradient_norm,
            flops: transformer.training_flops(&packed.batch, packed.rows.len(), adapter),
        })
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

/// The examples of one step in one batch.
#[derive(Default)]
struct Packed {
    batch: Batch,
    /// Rows that predict a supervised token.
    rows: Vec<usize>,
    targets: Vec<u32>,
    /// Of each target in the loss; they sum to 1.
    weights: Vec<f32>,
}

impl Packed {
    /// Takes other examples into the same memory.
    fn fill(&mut self, examples: &[TrainingExample], weights: &[f32], indices: &[usize]) {
        self.batch.clear();
        self.rows.clear();
        self.targets.clear();
        self.weights.clear();
        for &index in indices {
            let example = &examples[index];
            // The last token is only ever a target.
            let start = self.batch.push(&example.tokens[..example.tokens.len() - 1]);
            let supervised = example.supervised_from..example.tokens.len();
            self.rows.extend(supervised.map(|target| start + target - 1));
            self.targets.extend_from_slice(&example.tokens[example.supervised_from..]);
            self.weights.resize(self.rows.len(), weights.get(index).copied().unwrap_or(1.0));
        }
        if weights.is_empty() {
            self.weights.fill(1.0 / self.rows.len() as f32);
        } else {
            let total: f32 = self.weights.iter().sum();
            self.weights.iter_mut().for_each(|weight| *weight /= total);
        }
    }
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
