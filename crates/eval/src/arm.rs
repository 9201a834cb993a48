//! One experiment as the comparison shows it.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use task::record::{Artefact, Family, Part, Setup, TokensPerRequest};

use crate::evidence::{Answered, Evidence};
use crate::interval::{self, Estimate};
use crate::metrics::{Confusion, LabelScore};
use crate::resample;

/// An experiment with its metrics: every one on test, and those on dev whose configuration did not go on to test.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Arm {
    /// As in the record.
    pub id: String,
    /// Side of the comparison.
    pub family: Family,
    /// As in the record: `random`, `lora`, `majority`, ...
    pub method: String,
    /// The part that was answered.
    pub part: Part,
    /// Labelled training examples that the method could see.
    pub labels_used: usize,
    /// Demonstrations in a prompt.
    pub shots: Option<usize>,
    /// Seed of the draw or the training.
    pub seed: Option<u64>,
    /// Its single-valued settings: numbers, texts, switches.
    pub configuration: BTreeMap<String, serde_json::Value>,
    /// How good its answers are; `None` for a run that broke down before it could answer.
    pub metrics: Option<Metrics>,
    /// Mean tokens of a request.
    pub tokens_per_request: TokensPerRequest,
    /// Cost of getting ready.
    pub setup: Setup,
    /// Mean wall-clock seconds of one request, in a batch with a warm prefix.
    pub seconds_per_request: f64,
    /// What would be shipped.
    pub artefact: Option<Artefact>,
    /// Why the run counts as collapsed; `None` for a healthy one.
    pub collapse: Option<String>,
    /// Scores of every label; for the finalists.
    pub per_label: Option<Vec<LabelScore>>,
    /// Confusion counts; for the finalists.
    pub confusion: Option<Confusion>,
}

/// How good the answers of an experiment are.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Metrics {
    /// Items answered.
    pub items: u64,
    /// Share of right answers.
    pub accuracy: Estimate,
    /// Mean F1 over the labels that occur as gold or as predicted.
    pub macro_f1: Estimate,
}

/// The arms, in the order of the evidence: test before dev, by family and id.
pub(crate) fn arms(evidence: &Evidence<'_>) -> Vec<Arm> {
    let finalists = [Some(evidence.in_context()), Some(evidence.fine_tune()), evidence.floor()];
    let is_finalist = |id: &str| finalists.iter().flatten().any(|finalist| finalist.experiment.id == id);
    evidence
        .answered
        .iter()
        .filter(|answered| {
            answered.experiment.part == Part::Test || !evidence.is_on_test(answered.experiment)
        })
        .map(|answered| arm(evidence, answered, is_finalist(&answered.experiment.id)))
        .collect()
}

fn arm(evidence: &Evidence<'_>, answered: &Answered<'_>, finalist: bool) -> Arm {
    let experiment = answered.experiment;
    let settings =
        experiment.configuration.iter().filter(|(_, value)| !value.is_array() && !value.is_object());
    Arm {
        id: experiment.id.clone(),
        family: experiment.family,
        method: experiment.method.clone(),
        part: experiment.part,
        labels_used: experiment.labels_used,
        shots: experiment.shots,
        seed: experiment.seed,
        configuration: settings.map(|(key, value)| (key.clone(), value.clone())).collect(),
        metrics: metrics(evidence, answered),
        tokens_per_request: experiment.tokens,
        setup: experiment.setup,
        seconds_per_request: experiment.seconds_per_request,
        artefact: experiment.artefact.clone(),
        collapse: experiment.collapse.clone(),
        per_label: finalist.then(|| answered.confusion.per_label(&evidence.record.labels)),
        confusion: finalist.then(|| answered.confusion.clone()),
    }
}

fn metrics(evidence: &Evidence<'_>, answered: &Answered<'_>) -> Option<Metrics> {
    answered.accuracy()?;
    let record = evidence.record;
    let confidence = record.decision.confidence;
    let (right, items) = (answered.confusion.right(), answered.confusion.items());
    let pairs: Vec<(usize, usize)> =
        answered.predictions.iter().map(|answer| (answer.gold, answer.predicted)).collect();
    let seed = resample::seed(&record.task.data_sha256, &answered.experiment.id);
    Some(Metrics {
        items,
        accuracy: interval::proportion(right, items, confidence),
        macro_f1: interval::macro_f1(&pairs, record.labels.len(), confidence, seed),
    })
}
