//! One experiment as the comparison shows it.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use task::record::{Answer, Artefact, Family, Part, Prediction, Setup, TokensPerRequest};

use crate::evidence::{Answered, Evidence};
use crate::graded;
use crate::interval::{self, Estimate};
use crate::metrics::{Confusion, LabelScore, label_pair};
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
    /// Every metric by its name. Of labels: `accuracy` (the share of right answers) and `macro_f1` (the mean F1 over the labels
    /// that occur as gold or as predicted). Of texts: the mean of each of the task's metrics, and for JSON precision, recall
    /// and F1 over the fields of all answers together: `micro_precision`, `micro_recall`, `micro_f1`.
    #[serde(flatten)]
    pub values: BTreeMap<String, Estimate>,
}

impl Metrics {
    /// The metric of that name.
    pub fn get(&self, name: &str) -> Option<&Estimate> {
        self.values.get(name)
    }
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
    let labels = finalist && !evidence.record.labels.is_empty();
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
        per_label: labels.then(|| answered.confusion.per_label(&evidence.record.labels)),
        confusion: labels.then(|| answered.confusion.clone()),
    }
}

fn metrics(evidence: &Evidence<'_>, answered: &Answered<'_>) -> Option<Metrics> {
    answered.score()?;
    let record = evidence.record;
    let confidence = record.decision.confidence;
    let seed = resample::seed(&record.task.data_sha256, &answered.experiment.id);
    let values = if record.task.metrics.is_empty() {
        let (right, items) = (answered.confusion.right(), answered.confusion.items());
        let pairs: Vec<(usize, usize)> =
            answered.predictions.iter().filter_map(|prediction| label_pair(prediction)).collect();
        BTreeMap::from([
            ("accuracy".to_owned(), interval::proportion(right, items, confidence)),
            ("macro_f1".to_owned(), interval::macro_f1(&pairs, record.labels.len(), confidence, seed)),
        ])
    } else {
        text_metrics(&record.task.metrics, &answered.predictions, confidence, seed)
    };
    Some(Metrics { items: answered.predictions.len() as u64, values })
}

/// The mean of every metric, and for JSON the shares of fields.
fn text_metrics(
    names: &[String],
    predictions: &[&Prediction],
    confidence: f64,
    seed: u64,
) -> BTreeMap<String, Estimate> {
    let mut columns = vec![Vec::with_capacity(predictions.len()); names.len()];
    let mut counts = Vec::new();
    for prediction in predictions {
        let Answer::Text { values, fields, .. } = &prediction.answer else { continue };
        columns.iter_mut().zip(values).for_each(|(column, value)| column.push(*value));
        counts.extend(fields);
    }
    let mut metrics: BTreeMap<String, Estimate> = names
        .iter()
        .zip(columns)
        .map(|(name, column)| (name.clone(), graded::mean(&column, confidence, seed)))
        .collect();
    if !counts.is_empty() {
        for (name, share) in graded::FIELD_SHARES {
            metrics.insert(name.to_owned(), graded::field_share(&counts, share, confidence, seed));
        }
    }
    metrics
}
