//! Settings: the task file with every default resolved and nothing implicit. Only these reach logic.

mod answers;
mod data;
mod fine_tune;
mod fingerprint;
mod model;
mod probes;

use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

pub use crate::task_file::{
    Calibration, FineTuneMethod, HybridMethod, InContextSection as InContextSettings, Metric, Order,
    Precision, PromptSection as PromptSettings, PromptStyle, Selection, Shots, TaskKind, Underscores,
};
pub use answers::{AnswerSettings, MetricCommand};
pub use data::DataSettings;
pub use fine_tune::{FineTuneSettings, default_epochs};
pub use fingerprint::Fingerprint;
pub(crate) use fingerprint::hexadecimal;
pub use model::{ModelSettings, ModelSource};
pub use probes::ProbeSettings;

use crate::Error;
use crate::record::{Decision, Economics, PriceSource};
use crate::task_file::{self, parse_duration};
use data::{data_settings, written_train};
use fine_tune::fine_tune_settings;
use model::model_source;

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
