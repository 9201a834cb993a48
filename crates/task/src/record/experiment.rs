//! One unit of work and its result: what was asked, what was answered, and what it took.

use std::collections::BTreeMap;

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use super::Part;

/// Which side of the comparison an experiment belongs to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Family {
    /// Prompting: nothing is trained.
    InContext,
    /// Weights are adapted.
    FineTune,
    /// No language model: majority, nearest neighbour, linear model.
    Floor,
    /// Both at once.
    Hybrid,
}

impl Family {
    /// As records write it.
    pub fn name(self) -> &'static str {
        match self {
            Self::InContext => "in_context",
            Self::FineTune => "fine_tune",
            Self::Floor => "floor",
            Self::Hybrid => "hybrid",
        }
    }
}

/// The method of trainings on a part of the rows that only choose a recipe: they stand for no result of their own.
pub const RECIPE_SEARCH: &str = "recipe_search";

/// Mean tokens of one request.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct TokensPerRequest {
    /// Tokens of the whole prompt.
    pub prompt: f64,
    /// Of these, tokens found in a warm prefix cache.
    pub cached: f64,
    /// Tokens of the answer.
    pub completion: f64,
}

/// What it took until the first request could be answered.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Setup {
    /// Wall-clock seconds.
    pub seconds: f64,
    /// Tokens processed (for training, each token of each epoch once).
    pub tokens: u64,
    /// Floating-point operations (2N a forward token, 6N a fully trained one: Liu et al. 2022).
    pub flops: f64,
}

/// One example's answer.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Prediction {
    /// The example's id.
    pub example: String,
    /// What was answered.
    #[serde(flatten)]
    pub answer: Answer,
}

/// What was answered, and how good it is.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(untagged)]
pub enum Answer {
    /// One of the labels.
    Label {
        /// Index of the true label in `RunRecord::labels`.
        gold: usize,
        /// Index of the predicted label.
        predicted: usize,
        /// Natural-log score of every label after calibration; empty where the method gives none, or where the answer was found
        /// without those of the others.
        scores: Vec<f32>,
    },
    /// A text: free, or JSON.
    Text {
        /// The answer, without what ends it.
        text: String,
        /// Its value by each of `TaskFacts::metrics`, in 0..=1.
        values: Vec<f64>,
        /// For JSON: how many fields are right, how many the answer has, how many the target has.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        fields: Option<[u32; 3]>,
    },
}

impl Prediction {
    /// How good the answer is by the task's main metric, in 0..=1: of a label, whether it is right; of a text, the first of
    /// its values.
    pub fn score(&self) -> f64 {
        match &self.answer {
            Answer::Label { gold, predicted, .. } => f64::from(u8::from(gold == predicted)),
            Answer::Text { values, .. } => values.first().copied().unwrap_or(0.0),
        }
    }
}

impl Experiment {
    /// Mean of its answers' scores; 0 without answers.
    pub fn mean_score(&self) -> f64 {
        self.predictions.iter().map(Prediction::score).sum::<f64>() / self.predictions.len().max(1) as f64
    }

    /// A setting of its configuration; `None` where it is absent or of another type.
    pub fn setting<T: DeserializeOwned>(&self, key: &str) -> Option<T> {
        self.configuration.get(key).and_then(|value| T::deserialize(value).ok())
    }
}

/// What has to be kept to use a result.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Artefact {
    /// `prompt`, `adapter`, `model`, `linear`, ...
    pub kind: String,
    /// Size on disk (of the prompt: its UTF-8 text).
    pub bytes: u64,
    /// SHA-256, hexadecimal.
    pub sha256: String,
    /// Tokens that it adds to every request (a prompt's instruction and demonstrations); 0 for weights.
    pub prompt_tokens: u64,
    /// Where it was written, relative to the run folder.
    pub path: Option<String>,
}

/// One unit of work and its result: one configuration, evaluated on one part.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Experiment {
    /// Stable name, made of what was asked: `in_context/random/k8/s1/contextual@dev`.
    pub id: String,
    /// Side of the comparison.
    pub family: Family,
    /// `zero_shot`, `random`, `bm25`, `embedding`, `diverse`, `hybrid`, `searched`, `lora`, `full`, `majority`, `nearest_neighbour`, `logistic_regression`.
    pub method: String,
    /// Labelled training examples that the method could see.
    pub labels_used: usize,
    /// Demonstrations in a prompt.
    pub shots: Option<usize>,
    /// Seed of the draw or the training.
    pub seed: Option<u64>,
    /// Every other setting, resolved: calibration, learning rate, epochs, ...
    pub configuration: BTreeMap<String, serde_json::Value>,
    /// The part that was answered.
    pub part: Part,
    /// One answer an example, in the part's order.
    pub predictions: Vec<Prediction>,
    /// Mean tokens of a request; zeros for floors.
    pub tokens: TokensPerRequest,
    /// Cost of getting ready.
    pub setup: Setup,
    /// Mean wall-clock seconds of one request, in a batch with a warm prefix.
    pub seconds_per_request: f64,
    /// What would be shipped.
    pub artefact: Option<Artefact>,
    /// Why this run counts as collapsed (diverged, or one label for everything); `None` for a healthy run.
    pub collapse: Option<String>,
    /// What was asked of the model, for the audit, and how long single requests took. Empty for floors and in records of
    /// versions that did not keep it.
    #[serde(default, skip_serializing_if = "Calls::is_empty")]
    pub calls: Calls,
}

/// The requests behind an experiment.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Calls {
    /// SHA-256, hexadecimal, of the exact text of each request, in the order of the predictions.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub sha256: Vec<String>,
    /// Requests that were sent one by one, to be timed; of the finalists only.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub timed: Vec<TimedRequest>,
}

impl Calls {
    /// Whether nothing was kept.
    pub fn is_empty(&self) -> bool {
        self.sha256.is_empty() && self.timed.is_empty()
    }
}

/// One request on its own, not in a batch.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct TimedRequest {
    /// Its tokens; `cached` are those that a warm prefix cache holds.
    pub tokens: TokensPerRequest,
    /// Seconds with nothing cached.
    pub cold_seconds: f64,
    /// Seconds with the common prefix cached.
    pub warm_seconds: f64,
}
