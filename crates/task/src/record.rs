//! The record of a run: everything the verdict is computed from, and nothing else.

mod experiment;

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

pub use experiment::{
    Answer, Artefact, Calls, Experiment, Family, Prediction, RECIPE_SEARCH, Setup, TimedRequest,
    TokensPerRequest,
};

use crate::probe::Probes;
use crate::prompt_search::PromptSearch;
use crate::search_budget::SearchBudget;

/// A part of the split.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Part {
    /// Demonstrations and training rows.
    Train,
    /// Every choice is made here.
    Dev,
    /// Opened once, when every choice is made.
    Test,
}

/// Which model was used.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ModelIdentity {
    /// As the task file names it.
    pub source: String,
    /// Number of parameters (tied ones once).
    pub parameters: u64,
    /// SHA-256 of the weights file(s), hexadecimal.
    pub sha256: String,
}

/// Facts of the task, as far as the verdict needs them.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct TaskFacts {
    /// Name.
    pub name: String,
    /// `classify`, `extract` or `generate`.
    pub kind: String,
    /// What texts are scored by, the main metric first: `token_f1`, `rouge_l`, ... Empty for labels, which are right or wrong.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub metrics: Vec<String>,
    /// Examples in each part.
    pub items: PartSizes,
    /// SHA-256 over the split's examples in order: the identity of the locked split.
    pub data_sha256: String,
}

/// Examples in each part.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct PartSizes {
    /// Training examples.
    pub train: usize,
    /// Dev examples.
    pub dev: usize,
    /// Test examples.
    pub test: usize,
}

/// What a user told about volume and prices. `None` is unknown, never zero.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Economics {
    /// Expected requests a month.
    pub requests_per_month: Option<f64>,
    /// Months for which the labels and the input will stay as they are.
    pub task_life_months: Option<f64>,
    /// Money for a million uncached prompt tokens (any currency, one throughout).
    pub input_price: Option<f64>,
    /// Money for a million cached prompt tokens.
    pub cached_input_price: Option<f64>,
    /// Money for a million completion tokens.
    pub output_price: Option<f64>,
    /// Money for a million training tokens.
    pub training_price: Option<f64>,
    /// Price of a tuned model's token over the base's; 1 on own hardware.
    pub tuned_multiplier: Option<f64>,
    /// Money a month for keeping a tuned model deployed.
    pub hosting_per_month: Option<f64>,
    /// Money for labelling one example.
    pub price_per_label: Option<f64>,
    /// Money for a million prompt tokens that are written to the cache; the price of uncached ones where a provider asks nothing more.
    pub cache_write_price: Option<f64>,
    /// Prompts below so many tokens are not cached.
    pub cache_minimum_tokens: Option<f64>,
    /// Price of a request in a batch over that of one by itself.
    pub batch_multiplier: Option<f64>,
    /// Day on which the base model is shut down, and every adapter of it with it: `2027-01-14`.
    pub base_shutdown: Option<String>,
    /// File of prices that fills in what is not given here; relative to the task file.
    pub prices: Option<String>,
    /// Name of the model in that file.
    pub priced_as: Option<String>,
}

/// Where prices come from.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct PriceSource {
    /// The price file, as it was named.
    pub file: String,
    /// The model in it.
    pub model: String,
    /// What the prices are in.
    pub currency: Option<String>,
    /// Where they stand, as the file says.
    pub source: Option<String>,
    /// When they were read there, as the file says.
    pub read_on: Option<String>,
}

/// How the verdict is to be decided; set before any result is seen.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Decision {
    /// Smallest difference that matters (delta), in accuracy or in the task's main metric, in (0, 1).
    pub margin: f64,
    /// Confidence of intervals, in (0.5, 1).
    pub confidence: f64,
    /// Whether the test set may be left before its end, once the finalists are told apart.
    pub early_stopping: bool,
}

impl Default for Decision {
    fn default() -> Self {
        Self { margin: 0.02, confidence: 0.95, early_stopping: true }
    }
}

/// What a run was to be judged by when its test set was opened.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Terms {
    /// `[decision]`.
    pub decision: Decision,
    /// `[economics]`, prices of a file included.
    pub economics: Economics,
}

/// The experiments that the choice on dev sent to the test set.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Finalists {
    /// The in-context configuration chosen on dev (its test experiment's id).
    pub in_context: String,
    /// The fine-tuned configuration chosen on dev.
    pub fine_tune: String,
    /// The floor chosen on dev.
    pub floor: String,
}

/// A test set that was not answered to its end: the finalists were told apart before it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct TestStop {
    /// Examples that every experiment on test answered.
    pub answered: usize,
    /// Examples that the test set has.
    pub available: usize,
}

/// A finalist's method again, with a share of its training labels (or its demonstrations' labels) flipped; answered on test.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct NoisyRun {
    /// Share of the labels that are wrong, in (0, 1).
    pub rate: f64,
    /// What it answered, under the finalist's settings.
    pub experiment: Experiment,
}

/// Everything that a run left behind, read back from the store.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct RunRecord {
    /// The task.
    pub task: TaskFacts,
    /// The model.
    pub model: ModelIdentity,
    /// The labels, in order.
    pub labels: Vec<String>,
    /// Every stored experiment, dev and test, in the order in which they ended.
    pub experiments: Vec<Experiment>,
    /// The finalists, once the test set was opened.
    pub finalists: Option<Finalists>,
    /// What the run was to be judged by when the test set was opened; `None` before that, and in runs before it was kept.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub terms: Option<Terms>,
    /// Settings of the verdict.
    pub decision: Decision,
    /// Volume and prices.
    pub economics: Economics,
    /// Seconds of all sessions of this run together.
    pub wall_seconds: f64,
    /// Seconds that each arm spent on search and training, failed runs included.
    pub seconds_by_family: BTreeMap<String, f64>,
    /// What each arm computed, its evaluations included; empty for runs before it was counted.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub work_by_family: BTreeMap<String, Work>,
    /// Energy that the processor took while each arm worked, in joules; empty where the machine does not tell.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub joules_by_family: BTreeMap<String, f64>,
    /// Day of the decision (`2026-11-24`), from which the life of the base model counts; `None` where nobody asked.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub decided_on: Option<String>,
    /// Where the prices come from, if from a file.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub prices: Option<PriceSource>,
    /// Where the test set was left before its end; `None` where it was answered whole.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub test_stop: Option<TestStop>,
    /// The source that each test example shares with others (`data.cluster`); empty where they are independent.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub clusters: BTreeMap<String, String>,
    /// The finalists again with flipped labels (`probes.label_noise`).
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub label_noise: Vec<NoisyRun>,
    /// What the finalists were asked beside the test set; `None` where nothing was, as in runs before there were probes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub probes: Option<Probes>,
    /// What the search of the prompting arm's instruction and format tried; `None` where there was none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub prompt_search: Option<PromptSearch>,
    /// What each arm took to search, and why it tried no more; `None` where the search has not ended, and in runs before it was kept.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub search_budget: Option<SearchBudget>,
}

/// What a model computed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Work {
    /// Tokens that went through it: read, written and trained on.
    pub tokens: u64,
    /// Floating-point operations of that: two for each parameter and token of a forward pass, and what a training step counts.
    pub flops: f64,
}

impl Work {
    /// Both together.
    #[must_use]
    pub fn plus(self, other: Self) -> Self {
        Self { tokens: self.tokens.saturating_add(other.tokens), flops: self.flops + other.flops }
    }

    /// What came after `before`.
    #[must_use]
    pub fn less(self, before: Self) -> Self {
        Self {
            tokens: self.tokens.saturating_sub(before.tokens),
            flops: (self.flops - before.flops).max(0.0),
        }
    }
}
