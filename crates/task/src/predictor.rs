//! What the arms need of a model, whoever runs it: a local engine, a remote endpoint, or a scripted double.

use crate::prompt::Frame;
use crate::record::{ModelIdentity, TokensPerRequest};

/// Why a model could not answer. Boxed, because each implementation has errors of its own.
pub type PredictError = Box<dyn std::error::Error + Send + Sync>;

/// Requests that begin with the same text. The full prompt of request `i` is `shared + requests[i]`, tokenized as one text.
#[derive(Clone, Copy, Debug)]
pub struct PromptBatch<'a> {
    /// The text that all prompts begin with (instruction and demonstrations); may be empty.
    pub shared: &'a str,
    /// The rest of each prompt.
    pub requests: &'a [String],
    /// The answers to score after every prompt, each with its leading space and its terminator: `" card arrival\n"`.
    pub answers: &'a [String],
    /// Which scores are wanted.
    pub wanted: Wanted<'a>,
}

/// Which scores of a [`PromptBatch`] have to be exact.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub enum Wanted<'a> {
    /// Those of all answers.
    #[default]
    All,
    /// That of the best answer. A model may leave others out, which saves most of the work where answers are many.
    Best {
        /// What a calibration takes off each answer's score before they are compared; `None`: nothing. Where it is not finite nothing
        /// is taken off.
        log_prior: Option<&'a [f64]>,
    },
}

impl Wanted<'_> {
    /// Where answers that were left out have together at most this share of what the others have, shares are taken as known.
    pub const TOLERANCE: f64 = 1e-3;

    /// The best answer, by uncalibrated scores.
    pub const BEST: Self = Self::Best { log_prior: None };
}

/// The scores of a [`PromptBatch`].
#[derive(Clone, Debug, PartialEq)]
pub struct Scored {
    /// `[requests][answers]`: sum over the answer's tokens of their natural-log probabilities. With [`Wanted::Best`] an answer that was
    /// left out has a bound instead, which makes it not the best.
    pub log_probabilities: Vec<Vec<f64>>,
    /// Of each request whether its scores tell the share of every answer within [`Wanted::TOLERANCE`]; with [`Wanted::All`] they do.
    pub complete: Vec<bool>,
    /// What it took.
    pub usage: Usage,
}

/// Requests that begin with the same text and want a written answer, the most probable token at each step.
#[derive(Clone, Copy, Debug)]
pub struct WritingBatch<'a> {
    /// The text that all prompts begin with; may be empty.
    pub shared: &'a str,
    /// The rest of each prompt.
    pub requests: &'a [String],
    /// What stands around an answer.
    pub frame: &'a Frame,
    /// Most tokens of an answer, what stands around it included.
    pub max_tokens: usize,
    /// The JSON schema that answers must follow, written without spaces and in the schema's order of keys; `None` for free text.
    pub schema: Option<&'a serde_json::Value>,
}

/// The answers to a [`WritingBatch`].
#[derive(Clone, Debug, PartialEq)]
pub struct Written {
    /// One text a request, without what stands around it, trimmed.
    pub texts: Vec<String>,
    /// What it took.
    pub usage: Usage,
}

/// What the answers to a batch took.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Usage {
    /// Mean tokens of a request, as a server with a prefix cache would bill them. `cached` are those that all requests begin
    /// with, and beyond them those that a request shares with an earlier one of the batch and that were not processed
    /// again. `completion` is the mean tokens of an answer.
    pub tokens: TokensPerRequest,
    /// Tokens that the model really processed for the whole batch (what requests begin with in common once, of the tree of answers
    /// what was computed for each request).
    pub processed_tokens: u64,
    /// Of these, tokens that all requests begin with.
    pub shared_tokens: u64,
    /// Of the processed tokens, those of given answers. 0 where a model does not process them, or does not say.
    pub answer_tokens: u64,
    /// Seconds for the whole batch, the shared prefix included.
    pub seconds: f64,
    /// Of these, seconds for the shared prefix.
    pub shared_seconds: f64,
}

/// What a model makes of texts by themselves.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Embedded {
    /// The mean of the last layer's hidden states over each text's tokens.
    pub vectors: Vec<Vec<f32>>,
    /// Tokens of each text.
    pub tokens: Vec<u64>,
    /// Seconds for all of them.
    pub seconds: f64,
}

/// A model that scores given answers, and may write its own.
pub trait Predictor {
    /// Which model this is.
    fn identity(&self) -> ModelIdentity;
    /// Longest prompt and answer together, in tokens.
    fn context(&self) -> usize;
    /// Tokens of `text` as this model counts them.
    fn count_tokens(&self, text: &str) -> Result<usize, PredictError>;
    /// Floating-point operations for `tokens` forward tokens (2 x parameters x tokens where nothing better is known).
    fn forward_flops(&self, tokens: u64) -> f64;
    /// Scores every answer after every prompt.
    fn score(&mut self, batch: &PromptBatch<'_>) -> Result<Scored, PredictError>;
    /// Writes an answer to every prompt; an error where the model can only score.
    fn write(&mut self, batch: &WritingBatch<'_>) -> Result<Written, PredictError> {
        let _ = batch;
        Err("this model scores given answers; it does not write its own".into())
    }
    /// The hidden states of each text; an error where the model does not show them.
    fn embed(&mut self, texts: &[&str]) -> Result<Embedded, PredictError> {
        let _ = texts;
        Err("this model does not show its hidden states".into())
    }
}

/// One supervised row: the loss is on the completion only.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TrainingRow {
    /// The text that the model is given.
    pub prompt: String,
    /// The text it should continue with, terminator included.
    pub completion: String,
}

/// How the weights are adapted.
#[derive(Clone, Copy, Debug, PartialEq, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "snake_case", tag = "method")]
pub enum TrainingMethod {
    /// Low-rank adapters (Hu et al. 2021).
    Lora {
        /// Rank.
        rank: usize,
        /// Scale is `alpha / rank`, with [`LoraVariant::RankStabilized`] `alpha / sqrt(rank)`.
        alpha: f64,
        /// Which kind of adapter. Left out where plain, as in records of versions that knew no other.
        #[serde(default, skip_serializing_if = "LoraVariant::is_plain")]
        variant: LoraVariant,
        /// Which layers get one. Left out where all.
        #[serde(default, skip_serializing_if = "LoraTargets::is_all")]
        targets: LoraTargets,
    },
    /// All weights.
    Full,
    /// Keys and values of so many positions before every request, on frozen weights (prefix tuning, Li and Liang 2021).
    VirtualTokens {
        /// How many.
        tokens: usize,
    },
}

impl TrainingMethod {
    /// Plain LoRA on all linear layers.
    pub fn lora(rank: usize, alpha: f64) -> Self {
        Self::Lora { rank, alpha, variant: LoraVariant::Plain, targets: LoraTargets::All }
    }
}

/// Kinds of low-rank adapters.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum LoraVariant {
    /// As Hu et al. (2021) have it.
    #[default]
    Plain,
    /// The scale falls with the root of the rank (Kalajdzievski 2023).
    RankStabilized,
    /// B learns 16 times as fast as A, a quarter and four times the stated rate (LoRA+, Hayou et al. 2024).
    LoraPlus,
    /// A magnitude of every output is trained beside the direction (Liu et al. 2024).
    Dora,
    /// Started from the principal singular directions of the weights (Meng et al. 2024).
    Pissa,
}

impl LoraVariant {
    /// Whether it is the plain one.
    pub fn is_plain(&self) -> bool {
        *self == Self::Plain
    }

    /// As the task file writes it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Plain => "plain",
            Self::RankStabilized => "rank_stabilized",
            Self::LoraPlus => "lora_plus",
            Self::Dora => "dora",
            Self::Pissa => "pissa",
        }
    }
}

/// Layers that get an adapter.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum LoraTargets {
    /// All linear layers of every block.
    #[default]
    All,
    /// The four of attention.
    Attention,
    /// The three of the feed-forward layer.
    Mlp,
}

impl LoraTargets {
    /// Whether all layers have one.
    pub fn is_all(&self) -> bool {
        *self == Self::All
    }

    /// As the task file writes it.
    pub fn name(self) -> &'static str {
        match self {
            Self::All => "all",
            Self::Attention => "attention",
            Self::Mlp => "mlp",
        }
    }
}

/// What the learning rate does after its warm-up.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum RateSchedule {
    /// Straight to zero.
    #[default]
    Linear,
    /// Half a cosine to zero.
    Cosine,
    /// It stays.
    Constant,
}

/// How the optimiser steps: the same in all trainings of a task.
#[derive(Clone, Copy, Debug, PartialEq, serde::Serialize, serde::Deserialize)]
pub struct OptimizerSettings {
    /// Rows in a step.
    pub batch_rows: usize,
    /// Rows that go through the model at once; `None`: all of a step's.
    pub pass_rows: Option<usize>,
    /// What the learning rate does after its warm-up.
    pub schedule: RateSchedule,
    /// Share of the steps in which it rises.
    pub warmup_share: f64,
    /// Decoupled decay of matrices.
    pub weight_decay: f64,
    /// Norm to which larger gradients are scaled down; 0: never.
    pub clip_norm: f64,
    /// Share of an adapter's inputs that training drops.
    pub dropout: f64,
}

impl Default for OptimizerSettings {
    fn default() -> Self {
        Self {
            batch_rows: 8,
            pass_rows: None,
            schedule: RateSchedule::Linear,
            warmup_share: 0.1,
            weight_decay: 0.0,
            clip_norm: 1.0,
            dropout: 0.0,
        }
    }
}

/// A fine-tuning run.
#[derive(Clone, Debug, PartialEq)]
pub struct TrainingJob {
    /// The rows, in a fixed order; the trainer shuffles them by `seed`.
    pub rows: Vec<TrainingRow>,
    /// Weight of each row's loss beside the others; empty where all are alike.
    pub weights: Vec<f32>,
    /// LoRA or full.
    pub method: TrainingMethod,
    /// Peak learning rate.
    pub learning_rate: f64,
    /// Passes over the rows.
    pub epochs: usize,
    /// How the optimiser steps.
    pub optimizer: OptimizerSettings,
    /// Seed of initialisation and order.
    pub seed: u64,
}

/// What one epoch did.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct EpochReport {
    /// Epochs finished, from 1.
    pub epoch: usize,
    /// Mean loss per supervised token over the epoch.
    pub loss: f64,
    /// Tokens processed so far (forward and backward count once).
    pub tokens: u64,
    /// Optimiser steps so far.
    pub steps: u32,
}

/// Whether training goes on after an epoch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Control {
    /// Go on.
    Continue,
    /// Stop here and go back to the weights of the best epoch (the last one for which [`Control::Keep`] was answered).
    Stop,
    /// Go on, and remember these weights as the best so far.
    Keep,
    /// Stop here; these weights are the best.
    KeepAndStop,
}

/// The weights that a run ended with.
pub trait Tuned {
    /// The tuned model, ready to score.
    fn predictor(&mut self) -> Box<dyn Predictor + '_>;
    /// Writes what has to be shipped (a PEFT adapter folder, or a merged model folder); bytes and SHA-256 of it.
    fn save(&self, folder: &std::path::Path) -> Result<crate::record::Artefact, PredictError>;
    /// Tokens processed and floating-point operations of the training.
    fn cost(&self) -> (u64, f64);
}

/// Called after each epoch with its report and the model as it is then.
pub type OnEpoch<'a> = dyn FnMut(EpochReport, &mut dyn Predictor) -> Result<Control, PredictError> + 'a;

/// A model whose weights can be adapted.
pub trait Trainer {
    /// Trains; `on_epoch` decides on early stopping.
    fn train(
        &self,
        job: &TrainingJob,
        on_epoch: &mut OnEpoch<'_>,
    ) -> Result<Box<dyn Tuned + '_>, PredictError>;
    /// Loads what [`Tuned::save`] wrote.
    fn load(&self, folder: &std::path::Path) -> Result<Box<dyn Tuned + '_>, PredictError>;
}
