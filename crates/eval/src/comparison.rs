//! The whole result: what `--json` prints, what the table and the report are drawn from.

use serde::{Deserialize, Serialize};
use task::prompt_search::PromptSearch;
use task::record::{Decision, ModelIdentity, RunRecord, TaskFacts};

use crate::Error;
use crate::arm::{self, Arm};
use crate::budget::Budgets;
use crate::contrast::{Contrast, FloorContrast};
use crate::curve::{self, Curve};
use crate::distillation::Distillation;
use crate::economics::Economics;
use crate::evidence::Evidence;
use crate::exploration::Exploration;
use crate::probes::ProbeSummary;
use crate::requirement::Requirement;
use crate::table::{self, Row};
use crate::verdict::{Grounds, Verdict};
use crate::wording::{metric_name, points};

/// A record, compared. It is a pure function of the record, whatever order its experiments and predictions are stored in.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Comparison {
    /// The task.
    pub task: TaskFacts,
    /// The model.
    pub model: ModelIdentity,
    /// The labels, in order; none where texts are answered.
    pub labels: Vec<String>,
    /// What answers are scored by: `accuracy` for labels, else the task's main metric.
    pub metric: String,
    /// How the verdict was to be decided.
    pub decision: Decision,
    /// Every experiment on test, and those on dev that did not go on to test.
    pub arms: Vec<Arm>,
    /// The metric against demonstrations and labels.
    pub curves: Vec<Curve>,
    /// The eight rows of the comparison.
    pub table: Vec<Row>,
    /// The one confirmatory contrast.
    pub contrast: Contrast,
    /// The floor against the better finalist; `None` where no floor was run.
    pub floor_contrast: Option<FloorContrast>,
    /// Every other test, with its p adjusted for how many there are.
    pub exploration: Exploration,
    /// Labels until fine-tuning wins, and what the prompt is worth in labels.
    pub requirement: Requirement,
    /// Costs and break-even, with their inputs.
    pub economics: Economics,
    /// What an adapter keeps of the prompt that taught it; `None` where none was taught.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub distillation: Option<Distillation>,
    /// What to use, and why.
    pub verdict: Verdict,
    /// What the finalists were asked beside the test set; `None` where nothing was.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub probes: Option<ProbeSummary>,
    /// What the search of the prompting arm's instruction and format tried; `None` where there was none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub prompt_search: Option<PromptSearch>,
    /// What each arm took to reach its best.
    pub budgets: Budgets,
    /// Seconds of all sessions of the run together.
    pub wall_seconds: f64,
}

impl Comparison {
    /// Compares the finalists of `record` on the test set and decides.
    ///
    /// Errors name the experiment (and example) that keeps the record from being compared: see [`Error`].
    pub fn from_record(record: &RunRecord) -> Result<Self, Error> {
        let evidence = Evidence::new(record)?;
        let contrast = Contrast::new(&evidence)?;
        let floor_contrast = FloorContrast::new(&evidence, &contrast.replication)?;
        let economics = Economics::new(&evidence);
        let curves = curve::curves(&evidence);
        let requirement = Requirement::new(&evidence);
        let exploration = Exploration::new(&evidence, &curves)?;
        let mut verdict = Verdict::new(&Grounds {
            contrast: &contrast,
            floor: floor_contrast.as_ref(),
            economics: &economics,
            requirement: &requirement,
            margin: record.decision.margin,
            scores: [evidence.in_context(), evidence.fine_tune()]
                .map(|finalist| finalist.score().unwrap_or(0.0)),
            metric: metric_name(evidence.metric()),
        });
        verdict.reasons.extend(set_later(record));
        let probes = ProbeSummary::new(record);
        let table = table::rows(&table::Sources {
            evidence: &evidence,
            curves: &curves,
            economics: &economics,
            requirement: &requirement,
            verdict: &verdict,
            probes: probes.as_ref(),
        });
        Ok(Self {
            task: record.task.clone(),
            model: record.model.clone(),
            labels: record.labels.clone(),
            metric: evidence.metric().to_owned(),
            decision: record.decision.clone(),
            arms: arm::arms(&evidence),
            curves,
            table,
            contrast,
            floor_contrast,
            exploration,
            requirement,
            economics,
            distillation: Distillation::new(&evidence),
            verdict,
            probes,
            prompt_search: record.prompt_search.clone(),
            budgets: Budgets::new(&evidence),
            wall_seconds: record.wall_seconds,
        })
    }

    /// The arm of that id.
    pub fn arm(&self, id: &str) -> Option<&Arm> {
        self.arms.iter().find(|arm| arm.id == id)
    }
}

/// What of the decision rule was set after the test set was opened, which a verdict must say: a margin that is chosen when the figures are known
/// can make either side win.
fn set_later(record: &RunRecord) -> Option<String> {
    let (now, then) = (&record.decision, &record.terms.as_ref()?.decision);
    let mut changed = Vec::new();
    if now.margin != then.margin {
        changed.push(format!("the margin ({} then)", points(then.margin)));
    }
    if now.confidence != then.confidence {
        changed.push(format!("the confidence ({} then)", then.confidence));
    }
    (!changed.is_empty()).then(|| format!("set after the test set was opened: {}", changed.join(" and ")))
}
