//! Settings: the task file with every default resolved and nothing implicit. Only these reach logic.

mod answers;
mod fingerprint;
mod probes;

use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

pub use crate::task_file::{
    Calibration, FineTuneMethod, HybridMethod, InContextSection as InContextSettings, Metric, Order,
    Precision, PromptSection as PromptSettings, PromptStyle, Selection, Shots, TaskKind, Underscores,
};
pub use answers::{AnswerSettings, MetricCommand};
pub use fingerprint::Fingerprint;
pub(crate) use fingerprint::hexadecimal;
pub use probes::ProbeSettings;

use crate::Error;
use crate::predictor::{LoraTargets, LoraVariant};
use crate::record::{Decision, Economics, PriceSource};
use crate::task_file::{self, TaskFile, parse_duration};

/// Everything that a run is told.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Settings {
    /// The task file; its folder is what paths are relative to.
    pub file: PathBuf,
    /// What is asked.
    pub task: TaskSettings,
    /// The labelled rows.
    pub data: DataSettings,
    /// The model.
    pub model: ModelSettings,
    /// How an input becomes text.
    pub prompt: PromptSettings,
    /// What the prompting arm tries.
    pub in_context: InContextSettings,
    /// What the fine-tuning arm tries.
    pub fine_tune: FineTuneSettings,
    /// How long a run may take.
    pub budget: BudgetSettings,
    /// What the finalists are asked beside the test set.
    pub probes: ProbeSettings,
    /// When a difference counts.
    pub decision: Decision,
    /// Volume and prices; those of the price file are filled in.
    pub economics: Economics,
    /// Where the prices come from, if from a file.
    pub prices: Option<PriceSource>,
    /// Paths as the task file writes them, which is how the fingerprint names them: a moved folder is the same run.
    written: WrittenPaths,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
struct WrittenPaths {
    train: Vec<PathBuf>,
    dev: Option<PathBuf>,
    test: Option<PathBuf>,
    model: String,
}

/// What is asked.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct TaskSettings {
    /// Name in reports.
    pub name: String,
    /// Kind of answer.
    pub kind: TaskKind,
    /// The task file's instruction. `None`: the data's system message, else a general sentence (see
    /// [`crate::prompt::PromptFormat`]).
    pub instruction: Option<String>,
    /// What is asked of answers that are not labels; `None` for labels.
    pub answers: Option<AnswerSettings>,
}

/// The labelled rows. Paths are resolved against the task file's folder.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct DataSettings {
    /// Files of training rows; empty only for data given in memory.
    pub train: Vec<PathBuf>,
    /// File of dev rows; `None`: a share of train.
    pub dev: Option<PathBuf>,
    /// File of test rows; `None`: a share of train.
    pub test: Option<PathBuf>,
    /// Column of the input; `None`: found by its name.
    pub input: Option<String>,
    /// Column of the label; `None`: found by its name.
    pub target: Option<String>,
    /// Column of the row's name; `None`: rows are named by content.
    pub id: Option<String>,
    /// Column of the source that rows share; `None`: rows are independent. Left out where absent, as in runs of versions that
    /// did not know it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cluster: Option<String>,
    /// Column of the row's group. Absent from the fingerprint where absent here, as in runs before there was one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub subgroup: Option<String>,
    /// Column of the input in other words; as for the group.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub paraphrase: Option<String>,
    /// All labels in the order wanted, as written; `None`: those found, sorted.
    pub labels: Option<Vec<String>>,
    /// What underscores in labels mean.
    pub label_underscores: Underscores,
    /// Share of train that becomes dev.
    pub dev_share: f64,
    /// Share of train that becomes test.
    pub test_share: f64,
    /// Most rows of train to use.
    pub max_rows: Option<usize>,
    /// Whether near duplicates are looked for.
    pub near_duplicates: bool,
    /// Whether a target may be a JSON object or list of its own, as in `extract`; else it is a text.
    #[serde(skip)]
    pub json_targets: bool,
}

/// The model.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ModelSettings {
    /// Where it comes from.
    pub source: ModelSource,
    /// Numeric type of the frozen weights.
    pub precision: Precision,
    /// Cap on prompt and answer together, in tokens.
    pub context: Option<usize>,
    /// Whether training computes activations again instead of keeping them. No fact of the fingerprint: it changes no result.
    #[serde(skip)]
    pub recompute: bool,
}

/// Where a model comes from.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ModelSource {
    /// The model inside the program.
    Embedded,
    /// A folder in Hugging Face layout.
    Folder(PathBuf),
    /// A GGUF file.
    Gguf(PathBuf),
}

/// What the fine-tuning arm tries.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct FineTuneSettings {
    /// Which weights are adapted.
    pub methods: Vec<FineTuneMethod>,
    /// Numbers of labelled rows to train on; one above the training rows stands for all of them.
    pub labels: Vec<usize>,
    /// Training runs at each number.
    pub seeds: usize,
    /// Peak learning rates of LoRA.
    pub learning_rates: Vec<f64>,
    /// Peak learning rates of full fine-tuning.
    pub full_learning_rates: Vec<f64>,
    /// Most passes over the rows; `None`: see [`FineTuneSettings::epochs_for`].
    pub epochs: Option<usize>,
    /// Rows in an optimiser step.
    pub batch_rows: usize,
    /// Rank of LoRA.
    pub rank: usize,
    /// Scale of LoRA is `alpha / rank`.
    pub alpha: f64,
    /// Kinds of adapters, the default first.
    pub variants: Vec<LoraVariant>,
    /// Layers that get an adapter, the default first.
    pub targets: Vec<LoraTargets>,
    /// Ranks that the search tries, the default first.
    pub ranks: Vec<usize>,
    /// Most of the arm's time that the search for a recipe may take.
    pub search_share: f64,
    /// What combines both arms.
    pub hybrids: Vec<HybridMethod>,
}

impl FineTuneSettings {
    /// Most passes over `rows` training rows: as set, or fewer the more rows there are, so that the steps grow slower
    /// than the rows.
    pub fn epochs_for(&self, rows: usize) -> usize {
        self.epochs.unwrap_or_else(|| default_epochs(rows))
    }

    /// The peak learning rates to try with `method`.
    pub fn rates(&self, method: FineTuneMethod) -> &[f64] {
        match method {
            FineTuneMethod::Lora => &self.learning_rates,
            FineTuneMethod::Full => &self.full_learning_rates,
        }
    }
}

/// Most passes over `rows` training rows where the task file does not say: see [`FineTuneSettings::epochs_for`].
pub fn default_epochs(rows: usize) -> usize {
    match rows {
        0..=16 => 12,
        17..=32 => 8,
        33..=64 => 6,
        65..=128 => 4,
        129..=256 => 3,
        _ => 2,
    }
}

/// How long a run may take.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct BudgetSettings {
    /// Seconds for the whole run, all its sessions together.
    pub seconds: f64,
    /// Whether time that the plan leaves is spent on trials of the reserve.
    pub top_up: bool,
}

/// A task file longer than this is not a task file.
const LONGEST_TASK_FILE: u64 = 1 << 20;

impl Settings {
    /// Reads a task file and resolves it.
    ///
    /// # Errors
    /// [`Error::Io`] where the file cannot be read; [`Error::TaskFileLine`] and [`Error::TaskFile`] where it says what
    /// cannot be: unknown keys, wrong types, a schema that is none, no data, a model that is not there.
    pub fn load(path: &Path) -> Result<Self, Error> {
        let io = |source| Error::Io { path: path.to_path_buf(), source };
        let size = std::fs::metadata(path).map_err(io)?.len();
        if size > LONGEST_TASK_FILE {
            return Err(Error::TaskFile {
                path: path.to_path_buf(),
                reason: format!("{size} bytes are too many for a task file (limit {LONGEST_TASK_FILE})"),
            });
        }
        let bytes = std::fs::read(path).map_err(io)?;
        let text = std::str::from_utf8(&bytes).map_err(|error| Error::TaskFile {
            path: path.to_path_buf(),
            reason: format!("not UTF-8 at byte {}", error.valid_up_to()),
        })?;
        let settings = Self::resolve(text, path)?;
        if settings.data.train.is_empty() {
            return Err(Error::TaskFile {
                path: path.to_path_buf(),
                reason: "data.train is not set: name a JSONL or CSV file of labelled rows under [data]"
                    .to_owned(),
            });
        }
        Ok(settings)
    }

    /// Resolves the text of a task file whose paths are relative to `base_dir`. `data.train` may be absent, for data
    /// that is in memory ([`crate::dataset::Dataset::from_sources`]).
    ///
    /// # Errors
    /// As [`Settings::load`].
    pub fn from_str(text: &str, base_dir: &Path) -> Result<Self, Error> {
        Self::resolve(text, &base_dir.join("weigh.toml"))
    }

    /// The folder that the run keeps its store and artefacts in, beside the task file: `tickets.weigh` for
    /// `tickets.toml`.
    pub fn run_folder(&self) -> PathBuf {
        self.file.with_extension("weigh")
    }

    fn resolve(text: &str, path: &Path) -> Result<Self, Error> {
        let text = text.strip_prefix('\u{feff}').unwrap_or(text);
        let parsed = task_file::parse(text, path)?;
        let wrong = |reason: String| Error::TaskFile { path: path.to_path_buf(), reason };
        let folder = path.parent().unwrap_or(Path::new(""));
        let mut economics = parsed.economics.clone();
        let prices = crate::prices::resolve(&mut economics, folder)?;
        if let Some(day) = economics.base_shutdown.as_ref().filter(|day| crate::date::days(day).is_none()) {
            return Err(wrong(format!(
                "economics.base_shutdown must be a day such as \"2027-01-14\", not \"{day}\""
            )));
        }
        let answers = answers::resolve(&parsed.task, folder).map_err(wrong)?;
        let source = model_source(&parsed.model.source, folder).map_err(wrong)?;
        let data = data_settings(&parsed, folder).map_err(wrong)?;
        let seconds = parse_duration(&parsed.budget.time).expect("checked against the table of keys");
        let name = parsed.task.name.clone().unwrap_or_else(|| stem(path));
        Ok(Self {
            file: path.to_path_buf(),
            task: TaskSettings {
                name,
                kind: parsed.task.kind,
                instruction: parsed.task.instruction.as_deref().map(|text| text.trim().to_owned()),
                answers,
            },
            written: WrittenPaths {
                train: written_train(&parsed),
                dev: parsed.data.dev.clone(),
                test: parsed.data.test.clone(),
                model: parsed.model.source.clone(),
            },
            data,
            model: ModelSettings {
                source,
                precision: parsed.model.precision,
                context: parsed.model.context,
                recompute: parsed.model.recompute,
            },
            fine_tune: fine_tune_settings(&parsed.fine_tune),
            in_context: in_context_settings(parsed.in_context, parsed.task.kind),
            prompt: parsed.prompt,
            budget: BudgetSettings { seconds, top_up: parsed.budget.top_up },
            probes: probes::resolve(&parsed.probes, folder).map_err(wrong)?,
            decision: parsed.decision,
            economics,
            prices,
        })
    }
}

fn stem(path: &Path) -> String {
    path.file_stem().map_or_else(|| "task".to_owned(), |stem| stem.to_string_lossy().into_owned())
}

fn written_train(parsed: &TaskFile) -> Vec<PathBuf> {
    parsed.data.train.as_ref().map(|paths| paths.as_slice().to_vec()).unwrap_or_default()
}

fn data_settings(parsed: &TaskFile, folder: &Path) -> Result<DataSettings, String> {
    let data = &parsed.data;
    let carved = data.dev.as_ref().map_or(data.dev_share, |_| 0.0)
        + data.test.as_ref().map_or(data.test_share, |_| 0.0);
    if carved >= 1.0 {
        return Err(format!(
            "data.dev_share and data.test_share leave nothing to train on (together {carved})"
        ));
    }
    if data.labels.is_some() && parsed.task.kind != TaskKind::Classify {
        return Err("data.labels is for kind \"classify\"".to_owned());
    }
    if let (Some(input), Some(target)) = (&data.input, &data.target)
        && input == target
    {
        return Err(format!("data.input and data.target are the same column `{input}`"));
    }
    Ok(DataSettings {
        train: written_train(parsed).iter().map(|path| resolve_path(path, folder)).collect(),
        dev: data.dev.as_ref().map(|path| resolve_path(path, folder)),
        test: data.test.as_ref().map(|path| resolve_path(path, folder)),
        input: data.input.clone(),
        target: data.target.clone(),
        id: data.id.clone(),
        subgroup: data.subgroup.clone(),
        paraphrase: data.paraphrase.clone(),
        labels: data.labels.clone(),
        label_underscores: data.label_underscores,
        dev_share: data.dev_share,
        test_share: data.test_share,
        max_rows: data.max_rows,
        cluster: data.cluster.clone(),
        near_duplicates: data.near_duplicates,
        json_targets: parsed.task.kind == TaskKind::Extract,
    })
}

fn in_context_settings(mut section: InContextSettings, kind: TaskKind) -> InContextSettings {
    if kind != TaskKind::Classify {
        // There are no label scores to correct.
        section.calibration = vec![Calibration::None];
    }
    sort_and_unite(&mut section.shots);
    unite(&mut section.selection);
    unite(&mut section.calibration);
    section
}

fn fine_tune_settings(section: &task_file::FineTuneSection) -> FineTuneSettings {
    let mut labels = section.labels.clone();
    sort_and_unite(&mut labels);
    let mut methods = section.methods.clone();
    unite(&mut methods);
    let (mut variants, mut targets) = (section.variants.clone(), section.targets.clone());
    unite(&mut variants);
    unite(&mut targets);
    let mut ranks = vec![section.rank];
    ranks.extend(section.ranks.clone().unwrap_or_else(|| vec![(section.rank / 4).max(1)]));
    unite(&mut ranks);
    let mut hybrids = section.hybrids.clone();
    unite(&mut hybrids);
    hybrids.retain(|hybrid| *hybrid != HybridMethod::None);
    // Full fine-tuning wants about a tenth of LoRA's rate (Schulman et al. 2025, "LoRA Without Regret").
    let full = section.full_learning_rates.clone();
    FineTuneSettings {
        methods,
        labels,
        seeds: section.seeds,
        learning_rates: section.learning_rates.clone(),
        full_learning_rates: full
            .unwrap_or_else(|| section.learning_rates.iter().map(|rate| tenth(*rate)).collect()),
        epochs: section.epochs,
        batch_rows: section.batch_rows,
        rank: section.rank,
        alpha: section.alpha.unwrap_or(2.0 * section.rank as f64),
        variants,
        targets,
        ranks,
        search_share: section.search_share,
        hybrids,
    }
}

/// A tenth in decimal: 3e-4 gives 3e-5, where a division gives 2.9999999999999997e-5.
fn tenth(rate: f64) -> f64 {
    let text = format!("{rate:e}");
    let (digits, exponent) = text.split_once('e').expect("a number in this notation has an exponent");
    let exponent: i32 = exponent.parse().expect("the exponent is a whole number");
    format!("{digits}e{}", exponent - 1).parse().expect("it is the same notation")
}

fn sort_and_unite<T: Ord>(numbers: &mut Vec<T>) {
    numbers.sort_unstable();
    numbers.dedup();
}

/// Removes repetitions and keeps the order.
fn unite<T: PartialEq + Copy>(items: &mut Vec<T>) {
    let mut seen = Vec::new();
    items.retain(|item| {
        let new = !seen.contains(item);
        seen.push(*item);
        new
    });
}

/// A path of the task file: `~/` is the home folder, anything else relative is relative to the task file.
pub(crate) fn resolve_path(path: &Path, folder: &Path) -> PathBuf {
    if let Ok(rest) = path.strip_prefix("~")
        && let Some(home) = std::env::home_dir()
    {
        return home.join(rest);
    }
    folder.join(path)
}

fn model_source(source: &str, folder: &Path) -> Result<ModelSource, String> {
    if source == "embedded" {
        return Ok(ModelSource::Embedded);
    }
    let path = resolve_path(Path::new(source), folder);
    if path.is_dir() {
        return Ok(ModelSource::Folder(path));
    }
    let is_gguf = path.extension().is_some_and(|extension| extension.eq_ignore_ascii_case("gguf"));
    if path.is_file() && is_gguf {
        return Ok(ModelSource::Gguf(path));
    }
    if path.is_file() {
        return Err(format!("model.source: {} is a file but not a .gguf file", path.display()));
    }
    if !is_gguf && looks_like_hub_id(source) {
        return Err(format!(
            "model.source: there is no folder {}; \"{source}\" looks like a Hugging Face id, but nothing is \
             downloaded: get its files (config.json, tokenizer.json, *.safetensors) and name their folder",
            path.display()
        ));
    }
    Err(format!("model.source: there is no file or folder {}", path.display()))
}

/// `owner/name`, and nothing that only a path would have.
fn looks_like_hub_id(source: &str) -> bool {
    let plain = |part: &str| {
        !part.is_empty()
            && !part.starts_with('.')
            && !part.starts_with('~')
            && part.chars().all(|c| c.is_ascii_alphanumeric() || "-_.".contains(c))
    };
    source.split_once('/').is_some_and(|(owner, name)| plain(owner) && plain(name))
}
