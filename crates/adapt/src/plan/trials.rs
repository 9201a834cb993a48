//! One prompt or one training, as it is planned.

use serde::{Deserialize, Serialize};
use task::predictor::TrainingMethod;

use crate::demonstrations::hybrid_retrieved;
use crate::recipe;

/// How demonstrations are selected.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Selection {
    /// No demonstrations.
    ZeroShot,
    /// A random balanced draw, the same for every request: the prefix is shared.
    Random,
    /// The training examples most similar to each request by BM25.
    Bm25,
    /// The training examples nearest to each request by the model's hidden states.
    Embedding,
    /// Training examples similar to each request, and unlike each other.
    Diverse,
    /// A random balanced draw that all requests share, and after it some examples similar to each request.
    Hybrid,
}

impl Selection {
    /// As it stands in experiment names and reports.
    pub fn name(self) -> &'static str {
        match self {
            Self::ZeroShot => "zero_shot",
            Self::Random => "random",
            Self::Bm25 => "bm25",
            Self::Embedding => "embedding",
            Self::Diverse => "diverse",
            Self::Hybrid => "hybrid",
        }
    }

    /// Whether the demonstrations differ from request to request.
    pub fn per_request(self) -> bool {
        !matches!(self, Self::ZeroShot | Self::Random)
    }

    /// Demonstrations, of `shots`, that differ from request to request.
    pub(crate) fn retrieved(self, shots: usize) -> usize {
        match self {
            Self::ZeroShot | Self::Random => 0,
            Self::Hybrid => hybrid_retrieved(shots),
            Self::Bm25 | Self::Embedding | Self::Diverse => shots,
        }
    }
}

/// One prompt to be tried on dev, under every calibration.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct PromptTrial {
    /// How demonstrations are chosen.
    pub selection: Selection,
    /// How many.
    pub shots: usize,
    /// Seed of the draw.
    pub seed: u64,
    /// Estimated seconds on dev.
    pub dev_seconds: f64,
    /// Estimated seconds on test, where it is answered there.
    pub test_seconds: f64,
    /// Whether its instruction and format are those that the search found, instead of the task's.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub searched: bool,
    /// Whether it lies beyond the lists of the task file: it is answered on dev, and on test only if it wins there.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub unlisted: bool,
}

impl PromptTrial {
    /// The trial's name: `in_context/random/k8/s1`.
    pub fn name(&self) -> String {
        format!("in_context/{}/k{}/s{}", self.method(), self.shots, self.seed)
    }

    /// Estimated seconds, test included.
    pub fn seconds(&self) -> f64 {
        self.dev_seconds + self.test_seconds
    }

    /// The method that its experiments are told by: how demonstrations are chosen, or `searched`.
    pub fn method(&self) -> &'static str {
        if self.searched { SEARCHED } else { self.selection.name() }
    }
}

/// The method of prompts that were searched for.
const SEARCHED: &str = "searched";

/// The learning rate of a training run.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum LearningRate {
    /// A candidate, given.
    Candidate(f64),
    /// The best candidate on dev at the same method and number of labels (at the nearest searched number, if none was tried there).
    Best,
}

/// One training run.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct TuneTrial {
    /// LoRA or full.
    pub method: TrainingMethod,
    /// Labelled rows.
    pub labels: usize,
    /// Seed of the subset, the initialisation and the order.
    pub seed: u64,
    /// Learning rate.
    pub learning_rate: LearningRate,
    /// Passes over the rows.
    pub epochs: usize,
    /// Estimated seconds, test included.
    pub seconds: f64,
    /// Whether it uses the recipe that the search found.
    #[serde(default)]
    pub searched: bool,
}

impl TuneTrial {
    /// The method that its experiments are of: `lora`, `full`, `lora_recipe`.
    pub fn method_name(&self) -> &'static str {
        if self.searched { recipe::SEARCHED } else { method_name(self.method) }
    }
}

/// `lora` or `full`.
pub fn method_name(method: TrainingMethod) -> &'static str {
    match method {
        TrainingMethod::Lora { .. } => "lora",
        TrainingMethod::Full => "full",
        TrainingMethod::VirtualTokens { .. } => "virtual_tokens",
    }
}
