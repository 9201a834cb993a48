//! How much of a prompt's gain an adapter keeps that was taught by it.

use serde::{Deserialize, Serialize};
use task::record::{Experiment, Family, Part};

use crate::bootstrap::{Bootstrap, Units};
use crate::evidence::{Answered, Evidence, stem};
use crate::interval::Estimate;
use crate::resample;
use crate::wording::percent;

/// The method of the adapter.
pub(crate) const DISTILLED: &str = "distilled";
/// The method that a gain is counted from.
const ZERO_SHOT: &str = "zero_shot";
/// Resamples of the interval.
const RESAMPLES: usize = 2000;

/// A prompt's teaching.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Distillation {
    /// The adapter on test.
    pub experiment: String,
    /// The prompt that taught it.
    pub prompt: String,
    /// Mean scores on test: without demonstrations, of the prompt, of the adapter.
    pub scores: [f64; 3],
    /// `(adapter - zero-shot) / (prompt - zero-shot)` with a paired percentile bootstrap over items; `None` where that says
    /// nothing.
    pub kept: Option<Estimate>,
    /// Why not.
    pub reason: Option<String>,
}

impl Distillation {
    /// Of the record's distilled adapter; `None` where there is none on test, or its prompt or zero-shot is not.
    pub(crate) fn new(evidence: &Evidence<'_>) -> Option<Self> {
        let test = |wanted: &dyn Fn(&Experiment) -> bool| {
            evidence.answered.iter().find(|one| one.experiment.part == Part::Test && wanted(one.experiment))
        };
        let own = test(&|one| one.family == Family::Hybrid && one.method == DISTILLED)?;
        let teacher = own.experiment.configuration.get("teacher")?.as_str()?;
        let prompt = test(&|one| stem(&one.id) == stem(teacher))?;
        let zero = test(&|one| one.family == Family::InContext && one.method == ZERO_SHOT)?;
        let ids = |one: &Answered<'_>| -> Vec<String> {
            one.predictions.iter().map(|prediction| prediction.example.clone()).collect()
        };
        if ids(own) != ids(prompt) || ids(own) != ids(zero) {
            return None;
        }
        let columns = [zero, prompt, own].map(Answered::scores);
        let mean = |column: &[f64], drawn: &[usize]| {
            drawn.iter().map(|&item| column[item]).sum::<f64>() / drawn.len().max(1) as f64
        };
        let items: Vec<usize> = (0..columns[0].len()).collect();
        let scores = [0, 1, 2].map(|side: usize| mean(&columns[side], &items));
        let share = |drawn: &[usize]| {
            let [zero, prompt, own] = [0, 1, 2].map(|side: usize| mean(&columns[side], drawn));
            if prompt > zero { (own - zero) / (prompt - zero) } else { f64::NAN }
        };
        let bootstrap = Bootstrap {
            resamples: RESAMPLES,
            confidence: evidence.record.decision.confidence,
            seed: resample::seed(&evidence.record.task.data_sha256, &own.experiment.id),
        };
        let kept = bootstrap.percentile(&Units::items(items.len()), share).ok();
        let reason = kept.is_none().then(|| {
            format!(
                "the prompt ({}) gains nothing over zero-shot ({})",
                percent(scores[1]),
                percent(scores[0])
            )
        });
        let [experiment, prompt] = [own, prompt].map(|one| one.experiment.id.clone());
        Some(Self { experiment, prompt, scores, kept, reason })
    }

    /// In a sentence.
    pub fn sentence(&self) -> String {
        let [zero, prompt, own] = self.scores.map(percent);
        match (&self.kept, &self.reason) {
            (Some(kept), _) => format!(
                "The distilled adapter keeps {} ({} to {}) of what the best prompt gains over zero-shot ({zero} to {prompt}): {own} without the prompt.",
                percent(kept.value),
                percent(kept.low),
                percent(kept.high)
            ),
            (None, reason) => format!(
                "The distilled adapter reaches {own}; what it keeps of a gain is not told: {}.",
                reason.as_deref().unwrap_or("unknown")
            ),
        }
    }
}
