//! Training on prompts and their completions: LoRA, or all weights.

mod batches;
mod optimizer;
mod packed;
mod schedule;
mod trainer;

pub use optimizer::{GroupRule, Optimizer, OptimizerConfig};
pub use schedule::{Decay, Schedule};
pub use trainer::{Snapshot, StepReport, Trained, Trainer};

use crate::Error;
use crate::adapter::{LoraConfig, LoraStart};
use crate::transformer::ParameterGroup;
use kernels::matrix::Precision;

/// A prompt with its completion, tokenized.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TrainingExample {
    /// Prompt, then completion.
    pub tokens: Vec<u32>,
    /// Index of the completion's first token: the loss is on `tokens[supervised_from..]`, each predicted from the
    /// position before it. At least 1.
    pub supervised_from: usize,
}

impl TrainingExample {
    /// Tokens with a loss.
    pub fn supervised(&self) -> usize {
        self.tokens.len().saturating_sub(self.supervised_from)
    }
}

/// What is trained.
#[derive(Clone, Debug, PartialEq)]
pub enum Method {
    /// An adapter on frozen weights.
    Lora(LoraConfig),
    /// All weights.
    Full,
}

/// A training run.
#[derive(Clone, Debug, PartialEq)]
pub struct TrainingConfig {
    /// What is trained.
    pub method: Method,
    /// Peak learning rate. Default 1e-3 for LoRA, 1e-4 for all weights.
    pub learning_rate: f64,
    /// Passes over the examples. Default 3.
    pub epochs: u32,
    /// Examples of one step. Default 8.
    pub batch_examples: usize,
    /// Examples that go through the model at once: gradients of several passes add up to a step's, in less memory. Default all of a step's.
    pub pass_examples: Option<usize>,
    /// Share of all steps in which the learning rate rises. Default 0.1 (one step at least).
    pub warmup_share: f64,
    /// What follows the warm-up. Default linear to zero.
    pub decay: Decay,
    /// How many times the learning rate of A that of B is (LoRA+, Hayou et al. 2024, who take 16). Default 1.
    pub b_rate: f32,
    /// Decoupled weight decay of matrices. Default 0; refused with [`LoraStart::Principal`](crate::adapter::LoraStart), whose
    /// frozen directions would decay too.
    pub weight_decay: f32,
    /// Decay of the first moment. Default 0.9.
    pub beta1: f32,
    /// Decay of the second moment. Default 0.99 for LoRA, 0.999 for all weights.
    pub beta2: f32,
    /// Added to the root of the second moment. Default 1e-8.
    pub epsilon: f32,
    /// Norm to which larger gradients are scaled down. Default 1; `None` never.
    pub clip_norm: Option<f32>,
    /// Seed of the order of the examples (an adapter has its own). Default 0.
    pub seed: u64,
    /// Precision of products with the weights. Default bfloat16.
    pub precision: Precision,
    /// Whether activations are computed again in the backward pass instead of being kept (see
    /// [`Workspace::recomputing`](crate::transformer::Workspace::recomputing)). Default no.
    pub recompute: bool,
}

impl TrainingConfig {
    /// The defaults for an adapter.
    pub fn lora(config: LoraConfig) -> Self {
        Self::with(Method::Lora(config), 1e-3, 0.99)
    }

    /// The defaults for all weights.
    pub fn full() -> Self {
        Self::with(Method::Full, 1e-4, 0.999)
    }

    fn with(method: Method, learning_rate: f64, beta2: f32) -> Self {
        Self {
            method,
            learning_rate,
            epochs: 3,
            batch_examples: 8,
            pass_examples: None,
            warmup_share: 0.1,
            decay: Decay::Linear,
            b_rate: 1.0,
            weight_decay: 0.0,
            beta1: 0.9,
            beta2,
            epsilon: 1e-8,
            clip_norm: Some(1.0),
            seed: 0,
            precision: Precision::Bf16,
            recompute: false,
        }
    }

    fn optimizer(&self) -> OptimizerConfig {
        let rule = GroupRule { learning_rate: self.b_rate, weight_decay: self.weight_decay };
        OptimizerConfig {
            beta1: self.beta1,
            beta2: self.beta2,
            epsilon: self.epsilon,
            clip_norm: self.clip_norm,
            weight_decay: self.weight_decay,
            groups: if self.b_rate == 1.0 { Vec::new() } else { vec![(ParameterGroup::AdapterB, rule)] },
        }
    }

    fn check(&self) -> Result<(), Error> {
        let refuse = |what: String| Err(Error::Invalid(format!("training configuration: {what}")));
        let shares = [("beta1", f64::from(self.beta1)), ("beta2", f64::from(self.beta2))];
        if let Some((name, value)) = shares.iter().find(|(_, value)| !(0.0..1.0).contains(value)) {
            return refuse(format!("{name} is {value}, not in [0, 1)"));
        }
        if !(0.0..=1.0).contains(&self.warmup_share) {
            return refuse(format!("the warm-up share is {}, not in [0, 1]", self.warmup_share));
        }
        if !(self.learning_rate.is_finite() && self.learning_rate >= 0.0) {
            return refuse(format!("the learning rate is {}", self.learning_rate));
        }
        if !(self.b_rate.is_finite() && self.b_rate > 0.0) {
            return refuse(format!("the rate of B is {} times that of A", self.b_rate));
        }
        let frozen = matches!(&self.method, Method::Lora(lora) if lora.start == LoraStart::Principal);
        if frozen && self.weight_decay != 0.0 {
            return refuse("weight decay would change the frozen directions".to_owned());
        }
        if self.epochs == 0 || self.batch_examples == 0 {
            return refuse(format!("{} epochs of batches of {}", self.epochs, self.batch_examples));
        }
        if self.pass_examples == Some(0) {
            return refuse("passes of no examples".to_owned());
        }
        Ok(())
    }
}
