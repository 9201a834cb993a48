//! What a whole arm took: search, losing candidates and failed runs included.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use task::record::{Experiment, Family};

use crate::evidence::{Evidence, stem};

/// The work behind an arm.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Effort {
    /// Configurations that were prepared: prompts (all calibrations of one prompt are one) or training runs.
    pub trials: usize,
    /// Trials that collapsed.
    pub collapsed: usize,
    /// Wall-clock seconds of the arm, its evaluations included; `None` where the record has no such sum.
    pub seconds: Option<f64>,
    /// Tokens processed to get all trials ready.
    pub tokens: u64,
    /// Floating-point operations of that.
    pub flops: f64,
    /// Labelled examples that the most demanding trial could see. Trials share their examples, so this is what had to be labelled.
    pub labels: usize,
}

impl Effort {
    /// The work of `family` in the record. A trial that was answered on several parts, or under several calibrations, got ready once:
    /// the largest of its recorded setups counts. What a search of prompts asked belongs to the prompting arm, candidate by candidate.
    pub(crate) fn of(evidence: &Evidence<'_>, family: Family) -> Self {
        let mut trials: BTreeMap<String, (u64, f64, bool)> = BTreeMap::new();
        let mut effort = Self { seconds: seconds(evidence, family), ..Self::default() };
        for answered in evidence.answered.iter().filter(|a| a.experiment.family == family) {
            let experiment = answered.experiment;
            let trial = trials.entry(trial(experiment)).or_default();
            trial.0 = trial.0.max(experiment.setup.tokens);
            trial.1 = trial.1.max(experiment.setup.flops);
            trial.2 |= experiment.collapse.is_some();
            effort.labels = effort.labels.max(experiment.labels_used);
        }
        effort.trials = trials.len();
        for (tokens, flops, collapsed) in trials.into_values() {
            effort.tokens = effort.tokens.saturating_add(tokens);
            effort.flops += flops;
            effort.collapsed += usize::from(collapsed);
        }
        if let Some(search) = evidence.record.prompt_search.as_ref().filter(|_| family == Family::InContext) {
            effort.trials += search.candidates.len();
            effort.tokens = effort.tokens.saturating_add(search.tokens);
            // Two for each parameter and token of a forward pass.
            effort.flops += 2.0 * evidence.record.model.parameters as f64 * search.tokens as f64;
        }
        effort
    }

    /// Trials an hour of the arm's time.
    pub(crate) fn trials_per_hour(&self) -> Option<f64> {
        let seconds = self.seconds.filter(|seconds| *seconds > 0.0)?;
        (self.trials > 0).then(|| 3600.0 * self.trials as f64 / seconds)
    }
}

fn seconds(evidence: &Evidence<'_>, family: Family) -> Option<f64> {
    evidence
        .record
        .seconds_by_family
        .get(family.name())
        .copied()
        .filter(|seconds| seconds.is_finite() && *seconds >= 0.0)
}

/// What names a trial: a prompt without its calibration, otherwise the id without the part.
fn trial(experiment: &Experiment) -> String {
    if experiment.family != Family::InContext {
        return stem(&experiment.id).to_owned();
    }
    let settings: Vec<String> = experiment
        .configuration
        .iter()
        .filter(|(key, _)| !matches!(key.as_str(), "calibration" | "log_prior"))
        .map(|(key, value)| format!("{key}={value}"))
        .collect();
    format!(
        "{}|{}|{:?}|{:?}|{}",
        experiment.method,
        experiment.labels_used,
        experiment.shots,
        experiment.seed,
        settings.join("|")
    )
}
