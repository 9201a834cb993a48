//! What the probes of a run amount to: [`crate::stability`] and [`crate::safety`] of both finalists.

use serde::{Deserialize, Serialize};
use serde_json::json;
use task::probe::{Finding, LeftOut, Probe, Probes, Side, Variant};
use task::record::{Answer, Family, Prediction, RunRecord};

use crate::graded::{PairedScores, is_binary};
use crate::interval::Estimate;
use crate::paired::PairedCounts;
use crate::resample;
use crate::safety::Safety;
use crate::spread::Way;
use crate::stability::Stability;
use crate::table::{Cell, ROWS, Row};

/// The probes of both finalists.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ProbeSummary {
    /// Seconds that the probes took.
    pub seconds: f64,
    /// Seconds that they might have taken.
    pub budget_seconds: f64,
    /// Items that a probe asked, at most.
    pub items: usize,
    /// The in-context finalist.
    pub in_context: SideSummary,
    /// The fine-tuned finalist.
    pub fine_tune: SideSummary,
    /// Probes that did not run, and why.
    pub left_out: Vec<LeftOut>,
}

/// The probes of one finalist.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct SideSummary {
    /// Whether its answers stay when nothing that matters changes.
    pub stability: Stability,
    /// What it refuses, gives away, and does to groups.
    pub safety: Safety,
}

impl ProbeSummary {
    /// The probes of `record`; `None` where none were planned.
    pub fn new(record: &RunRecord) -> Option<Self> {
        let probes = record.probes.as_ref()?;
        let side = |family| {
            let look = Look { record, probes, family };
            SideSummary { stability: Stability::new(&look), safety: Safety::new(&look) }
        };
        Some(Self {
            seconds: probes.done.iter().map(|probe| probe.seconds).sum(),
            budget_seconds: probes.plan.seconds,
            items: probes.plan.items,
            in_context: side(Family::InContext),
            fine_tune: side(Family::FineTune),
            left_out: probes.plan.left_out.clone(),
        })
    }

    /// Adds what the probes found to the rows of stability and of safety. What those rows say was not measured is replaced by
    /// what the probes left out.
    pub(crate) fn complete(&self, rows: &mut [Row]) {
        for row in rows {
            let sides = [(&mut row.in_context, Family::InContext), (&mut row.fine_tune, Family::FineTune)];
            for (cell, family) in sides {
                self.complete_cell(&row.row, cell, family);
            }
        }
    }

    fn complete_cell(&self, row: &str, cell: &mut Cell, family: Family) {
        let side = self.side(family);
        let (key, found, parts) = match row {
            STABILITY => ("stability", json!(side.stability), side.stability.shown()),
            SAFETY => ("safety", json!(side.safety), side.safety.shown()),
            _ => return,
        };
        if parts.is_empty() {
            return;
        }
        let own = Some(std::mem::take(&mut cell.text)).filter(|text| !text.is_empty());
        cell.text = own.into_iter().chain(parts).collect::<Vec<_>>().join("; ");
        if !cell.value.is_object() {
            cell.value = json!({});
        }
        cell.value[key] = found;
        cell.source.get_or_insert_with(|| format!("probe/{key}"));
        let of_row = |left: &&LeftOut| left.side == family_side(family) && row_of(&left.name) == row;
        let missing: Vec<String> =
            self.left_out.iter().filter(of_row).map(|left| left.name.replace('_', " ")).collect();
        cell.reason = (!missing.is_empty()).then(|| format!("not run: {}", missing.join(", ")));
    }

    /// The finalist of `family`.
    pub fn side(&self, family: Family) -> &SideSummary {
        if family == Family::FineTune { &self.fine_tune } else { &self.in_context }
    }
}

const STABILITY: &str = ROWS[5];
const SAFETY: &str = ROWS[6];

/// The row that a probe belongs to.
fn row_of(probe: &str) -> &'static str {
    match probe {
        "format" | "order" | "label_names" | "paraphrase" | "typos" | "repeats" => STABILITY,
        _ => SAFETY,
    }
}

fn family_side(family: Family) -> Side {
    if family == Family::FineTune { Side::FineTune } else { Side::InContext }
}

/// Where the probes of one finalist are looked up.
#[derive(Clone, Copy)]
pub(crate) struct Look<'a> {
    pub(crate) record: &'a RunRecord,
    pub(crate) probes: &'a Probes,
    pub(crate) family: Family,
}

impl<'a> Look<'a> {
    pub(crate) fn side(&self) -> Side {
        family_side(self.family)
    }

    /// The finalist's test experiment.
    pub(crate) fn finalist(&self) -> Option<&'a task::record::Experiment> {
        let finalists = self.record.finalists.as_ref()?;
        let id = if self.family == Family::FineTune { &finalists.fine_tune } else { &finalists.in_context };
        self.record.experiments.iter().find(|experiment| experiment.id == *id)
    }

    pub(crate) fn finding(&self, name: &str) -> Option<&'a Finding> {
        self.probes.get(name, self.side()).map(|probe: &Probe| &probe.finding)
    }

    pub(crate) fn base(&self, name: &str) -> Option<&'a Finding> {
        self.probes.get(name, Side::Base).map(|probe: &Probe| &probe.finding)
    }

    pub(crate) fn variants(&self, name: &str) -> Option<(&'a [Prediction], &'a [Variant])> {
        match self.finding(name)? {
            Finding::Variants { original, variants, .. } if !original.is_empty() => {
                Some((original, variants))
            }
            _ => None,
        }
    }

    pub(crate) fn confidence(&self) -> f64 {
        self.record.decision.confidence
    }

    pub(crate) fn seed(&self, what: &str) -> u64 {
        resample::seed(&self.record.task.data_sha256, &format!("{what} {}", self.side().name()))
    }
}

/// What was answered, for comparison with another answer.
pub(crate) fn answer(prediction: &Prediction) -> Said<'_> {
    match &prediction.answer {
        Answer::Label { predicted, .. } => Said::Label(*predicted),
        Answer::Text { text, .. } => Said::Text(text),
    }
}

/// An answer without its value.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Said<'a> {
    Label(usize),
    Text(&'a str),
}

/// Predictions as a way of asking.
pub(crate) fn way<'a>(name: &str, predictions: &'a [Prediction]) -> Way<Said<'a>> {
    Way {
        name: name.to_owned(),
        scores: predictions.iter().map(Prediction::score).collect(),
        answers: predictions.iter().map(answer).collect(),
    }
}

/// Mean score of `second` less that of `first` on the same items in the same order; `second` may be a mean of several.
pub(crate) fn difference(first: &[f64], second: &[f64], confidence: f64, seed: u64) -> Estimate {
    if is_binary(first) && is_binary(second) {
        let right = first.iter().zip(second).map(|(one, other)| (*one == 1.0, *other == 1.0));
        return PairedCounts::new(right).interval(confidence);
    }
    let differences = first.iter().zip(second).map(|(one, other)| other - one).collect();
    PairedScores::new(differences, seed).interval(confidence)
}
