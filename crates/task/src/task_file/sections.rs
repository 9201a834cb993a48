//! The sections of a task file, with the defaults of their keys.

use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use super::Shots;
use super::choices::{
    Calibration, FineTuneMethod, HybridMethod, Metric, Order, Precision, PromptStyle, Selection, TaskKind,
    Underscores,
};
use crate::predictor::{LoraTargets, LoraVariant, OptimizerSettings, RateSchedule};

/// `[task]`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct TaskSection {
    /// Name; the file's name without extension where it is absent.
    pub name: Option<String>,
    /// Kind of answer.
    pub kind: TaskKind,
    /// What the model is told to do.
    pub instruction: Option<String>,
    /// The JSON schema of the answers: a path, JSON as a text, or a table.
    pub schema: Option<serde_json::Value>,
    /// What every choice and the verdict rest on.
    pub metric: Option<Metric>,
    /// A program as a metric, with its arguments.
    pub metric_command: Option<Vec<String>>,
    /// Time for one run of it.
    pub metric_timeout: String,
    /// Most tokens of an answer.
    pub answer_tokens: Option<usize>,
}

impl Default for TaskSection {
    fn default() -> Self {
        Self {
            name: None,
            kind: TaskKind::default(),
            instruction: None,
            schema: None,
            metric: None,
            metric_command: None,
            metric_timeout: "60s".to_owned(),
            answer_tokens: None,
        }
    }
}

/// One path or several.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(untagged)]
pub enum Paths {
    /// `train = "a.csv"`.
    One(PathBuf),
    /// `train = ["a.csv", "b.csv"]`.
    Many(Vec<PathBuf>),
}

impl Paths {
    /// The paths, in the order in which they were written.
    pub fn as_slice(&self) -> &[PathBuf] {
        match self {
            Self::One(path) => std::slice::from_ref(path),
            Self::Many(paths) => paths,
        }
    }
}

/// `[data]`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct DataSection {
    /// Labelled rows to learn from.
    pub train: Option<Paths>,
    /// Rows for every choice; carved from `train` where absent.
    pub dev: Option<PathBuf>,
    /// Rows for the final figures; carved from `train` where absent.
    pub test: Option<PathBuf>,
    /// Column of the input.
    pub input: Option<String>,
    /// Column of the label.
    pub target: Option<String>,
    /// Column of a stable row name.
    pub id: Option<String>,
    /// Column of the source that rows share.
    pub cluster: Option<String>,
    /// Column of the row's group.
    pub subgroup: Option<String>,
    /// Column of the input in other words.
    pub paraphrase: Option<String>,
    /// All labels, in the order wanted.
    pub labels: Option<Vec<String>>,
    /// Whether `card_arrival` is read as `card arrival`.
    pub label_underscores: Underscores,
    /// Share of `train` that becomes dev.
    pub dev_share: f64,
    /// Share of `train` that becomes test.
    pub test_share: f64,
    /// Most rows to use of `train`.
    pub max_rows: Option<usize>,
    /// Whether near duplicates are looked for.
    pub near_duplicates: bool,
}

impl Default for DataSection {
    fn default() -> Self {
        Self {
            train: None,
            dev: None,
            test: None,
            input: None,
            target: None,
            id: None,
            cluster: None,
            subgroup: None,
            paraphrase: None,
            labels: None,
            label_underscores: Underscores::Space,
            dev_share: 0.15,
            test_share: 0.2,
            max_rows: None,
            near_duplicates: true,
        }
    }
}

/// `[model]`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct ModelSection {
    /// `embedded`, a folder, or a `.gguf` file.
    pub source: String,
    /// Numeric type of the frozen weights.
    pub precision: Precision,
    /// Cap on the context in tokens.
    pub context: Option<usize>,
    /// Whether training computes activations again instead of keeping them.
    pub recompute: bool,
}

impl Default for ModelSection {
    fn default() -> Self {
        Self { source: "embedded".to_owned(), precision: Precision::Bf16, context: None, recompute: false }
    }
}

/// `[prompt]`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct PromptSection {
    /// Layout.
    pub style: PromptStyle,
    /// What the plain style calls the input.
    pub input_name: String,
    /// What the plain style calls the answer.
    pub output_name: String,
    /// Whether the labels are listed where the instruction does not name them all.
    pub list_labels: bool,
}

impl Default for PromptSection {
    fn default() -> Self {
        Self {
            style: PromptStyle::Plain,
            input_name: "Input".to_owned(),
            output_name: "Output".to_owned(),
            list_labels: true,
        }
    }
}

/// `[in_context]`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct InContextSection {
    /// Numbers of demonstrations to try, as far as they fit the context and the training rows.
    pub shots: Vec<Shots>,
    /// Random draws of demonstrations at each number.
    pub seeds: usize,
    /// How demonstrations are chosen.
    pub selection: Vec<Selection>,
    /// In which order demonstrations stand.
    pub order: Order,
    /// How label scores are corrected.
    pub calibration: Vec<Calibration>,
    /// Whether instructions and formats are searched for on dev.
    pub search: bool,
    /// Share of the prompting arm's time that is kept for the search.
    pub search_share: f64,
    /// Instructions of the user's own to try beside the task's.
    pub instructions: Vec<String>,
}

/// Share of the prompting arm's time that its search has where the task file says nothing.
const SEARCH_SHARE: f64 = 0.4;

impl Default for InContextSection {
    fn default() -> Self {
        Self {
            shots: [0, 4, 16, 64].map(Shots::Count).to_vec(),
            seeds: 3,
            selection: vec![Selection::Random, Selection::Bm25],
            order: Order::Similarity,
            calibration: vec![Calibration::None, Calibration::Contextual, Calibration::Batch],
            search: true,
            search_share: SEARCH_SHARE,
            instructions: Vec::new(),
        }
    }
}

/// `[fine_tune]`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct FineTuneSection {
    /// Which weights are adapted.
    pub methods: Vec<FineTuneMethod>,
    /// Numbers of labelled rows to train on.
    pub labels: Vec<usize>,
    /// Training runs at each number.
    pub seeds: usize,
    /// Peak learning rates of LoRA.
    pub learning_rates: Vec<f64>,
    /// Peak learning rates of full fine-tuning; a tenth of LoRA's where absent.
    pub full_learning_rates: Option<Vec<f64>>,
    /// Most passes over the rows; by their number where absent.
    pub epochs: Option<usize>,
    /// Rows in an optimiser step.
    pub batch_rows: usize,
    /// Rows that go through the model at once; all of a step's where absent.
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
    /// Rank of LoRA.
    pub rank: usize,
    /// Scale of LoRA is `alpha / rank`; twice the rank where absent.
    pub alpha: Option<f64>,
    /// Kinds of adapters, the default first.
    pub variants: Vec<LoraVariant>,
    /// Layers that get an adapter, the default first.
    pub targets: Vec<LoraTargets>,
    /// Ranks that the search tries; the default and a quarter of it where absent.
    pub ranks: Option<Vec<usize>>,
    /// Most of the arm's time that the search for a recipe may take.
    pub search_share: f64,
    /// What combines both arms.
    pub hybrids: Vec<HybridMethod>,
}

impl Default for FineTuneSection {
    fn default() -> Self {
        let optimizer = OptimizerSettings::default();
        Self {
            methods: vec![FineTuneMethod::Lora, FineTuneMethod::Full],
            labels: vec![16, 64, 256, 1024],
            seeds: 3,
            learning_rates: vec![1e-3, 3e-4, 3e-3],
            full_learning_rates: None,
            epochs: None,
            batch_rows: optimizer.batch_rows,
            pass_rows: optimizer.pass_rows,
            schedule: optimizer.schedule,
            warmup_share: optimizer.warmup_share,
            weight_decay: optimizer.weight_decay,
            clip_norm: optimizer.clip_norm,
            dropout: optimizer.dropout,
            rank: 16,
            alpha: None,
            variants: vec![LoraVariant::Plain, LoraVariant::LoraPlus, LoraVariant::Dora],
            targets: vec![LoraTargets::All],
            ranks: None,
            search_share: 0.3,
            hybrids: vec![HybridMethod::Distilled, HybridMethod::FewShot, HybridMethod::VirtualTokens],
        }
    }
}

/// `[budget]`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct BudgetSection {
    /// Time for a whole run: `90s`, `10m`, `1h30m`.
    pub time: String,
    /// Whether time that the plan leaves is spent on further trials.
    pub top_up: bool,
}

impl Default for BudgetSection {
    fn default() -> Self {
        Self { time: "10m".to_owned(), top_up: true }
    }
}

/// `[probes]`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct ProbesSection {
    /// Share of the budget's time.
    pub share: f64,
    /// Most items that a probe asks.
    pub items: usize,
    /// Prompt formats to try.
    pub formats: usize,
    /// Share of characters that typos change.
    pub typo_rate: f64,
    /// Words to exchange for each other: `he/she`.
    pub swaps: Option<Vec<String>>,
    /// Questions of the user's own that should or should not be refused.
    pub refusals: Option<PathBuf>,
    /// Shares of labels to flip.
    pub label_noise: Vec<f64>,
}

impl Default for ProbesSection {
    fn default() -> Self {
        Self {
            share: 0.1,
            items: 64,
            formats: 10,
            typo_rate: 0.05,
            swaps: None,
            refusals: None,
            label_noise: Vec::new(),
        }
    }
}
