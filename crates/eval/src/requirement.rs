//! How many labels fine-tuning needs: both arms' learning curves on the items of the test set, where they cross, and what
//! the prompt is worth in labels.
//!
//! - Fine-tuning: the finalist's method at every number of labels, each training seed a run.
//! - In-context: random demonstrations, a label each, each draw a run, up to the finalist's own number; or retrieval, which
//!   searches all training rows, as the one size that was measured.
//!
//! Sizes with a single run say nothing about luck: where two or more others have several, they are left out.

use serde::{Deserialize, Serialize};
use task::record::{Experiment, Family, Part};

use crate::Error;
use crate::crossing::{Crossing, LabelsUntil, Search, labels_until_fine_tuning_wins};
use crate::data_advantage::{DataAdvantage, data_advantage};
use crate::evidence::Evidence;
use crate::learning_curve::{LearningCurve, Point};
use crate::resample;
use crate::wording::{count, number, percent, points};

/// Resamples of a crossing: its ends are the 13th and the 488th of 500.
const RESAMPLES: usize = 500;

/// What the record says about labels.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Requirement {
    /// The fine-tuning method whose curve this is.
    pub method: String,
    /// Labels that the fine-tuned finalist was trained on.
    pub used: u64,
    /// Labels that there are: the training rows.
    pub available: u64,
    /// Sizes of fine-tuning that were left out because they have one run.
    pub left_out: Vec<u64>,
    /// The curve of the prompt, as far as it rests on labels.
    pub in_context: Vec<Point>,
    /// The curve of fine-tuning.
    pub fine_tune: Vec<Point>,
    /// Labels from which on fine-tuning is not behind the prompt.
    pub draws_level: Option<LabelsUntil>,
    /// Labels from which on it is ahead by the margin.
    pub wins: Option<LabelsUntil>,
    /// Labels that the prompt saves over fine-tuning, for the same score; `None` where the two have no score in common, and for
    /// retrieval, which was run on all rows alone.
    pub advantage: Option<DataAdvantage>,
    /// Why there are no curves to compare.
    pub reason: Option<String>,
}

impl Requirement {
    /// Reads the curves from `evidence`. What cannot be estimated says why.
    pub(crate) fn new(evidence: &Evidence<'_>) -> Self {
        let finalist = evidence.fine_tune().experiment;
        let mut requirement = Self {
            method: finalist.method.clone(),
            used: finalist.labels_used as u64,
            available: evidence.record.task.items.train as u64,
            left_out: Vec::new(),
            in_context: Vec::new(),
            fine_tune: Vec::new(),
            draws_level: None,
            wins: None,
            advantage: None,
            reason: None,
        };
        requirement.reason = requirement.estimate(evidence).err().map(|error| error.to_string());
        requirement
    }

    fn estimate(&mut self, evidence: &Evidence<'_>) -> Result<(), Error> {
        let prompt = LearningCurve::of_experiments(prompts(evidence))?;
        let tuned = self.tuned(evidence)?;
        let decision = &evidence.record.decision;
        let seed = resample::seed(&evidence.record.task.data_sha256, "labels until fine-tuning wins");
        let search =
            Search { confidence: decision.confidence, resamples: RESAMPLES, seed, ..Search::default() };
        (self.in_context, self.fine_tune) = (prompt.points(), tuned.points());
        self.draws_level = Some(labels_until_fine_tuning_wins(&prompt, &tuned, &search)?);
        let ahead = Search { lead: decision.margin, ..search };
        self.wins = Some(labels_until_fine_tuning_wins(&prompt, &tuned, &ahead)?);
        // Retrieval was run on all rows alone: with fewer it might have done as well, so that it has no worth in labels.
        if matches!(evidence.in_context().experiment.method.as_str(), "random" | "zero_shot") {
            self.advantage = data_advantage(&prompt, &tuned, decision.confidence, RESAMPLES, seed)?;
        }
        Ok(())
    }

    fn tuned(&mut self, evidence: &Evidence<'_>) -> Result<LearningCurve, Error> {
        let own = |e: &&Experiment| e.family == Family::FineTune && e.method == self.method;
        let experiments: Vec<&Experiment> = on_test(evidence).filter(own).collect();
        let curve = LearningCurve::of_experiments(experiments.iter().copied())?;
        let runs = |wanted: fn(usize) -> bool| {
            let sizes = curve.sizes().iter().filter(move |size| wanted(size.runs.len()));
            sizes.map(|size| size.labels).collect::<Vec<_>>()
        };
        let (single, several) = (runs(|runs| runs == 1), runs(|runs| runs > 1));
        if single.is_empty() || several.len() < 2 {
            return Ok(curve);
        }
        let kept = experiments.into_iter().filter(|e| several.contains(&(e.labels_used.max(1) as u64)));
        let curve = LearningCurve::of_experiments(kept)?;
        self.left_out = single;
        Ok(curve)
    }

    /// The crossing at which fine-tuning draws level, where it could be estimated.
    pub fn crossing(&self) -> Option<&Crossing> {
        estimated(self.draws_level.as_ref())
    }

    /// Labels beyond those that fine-tuning used at which it is estimated to be ahead by the margin.
    pub fn more_labels(&self) -> Option<u64> {
        let labels = estimated(self.wins.as_ref())?.labels?;
        labels.checked_sub(self.used).filter(|more| *more > 0)
    }

    /// Whether fine-tuning draws level within the labels that there are: yes where the whole interval lies below, no where it
    /// lies above; `None` where it holds the number, or nothing was estimated.
    pub fn within_reach(&self) -> Option<bool> {
        let crossing = self.crossing()?;
        match (crossing.low, crossing.high) {
            (_, Some(high)) if high <= self.available => Some(true),
            (Some(low), _) if low > self.available => Some(false),
            // Beyond everything that was looked at.
            (None, _) if crossing.horizon >= self.available => Some(false),
            _ => None,
        }
    }

    /// The crossing in a sentence, or why there is none.
    pub fn sentence(&self) -> String {
        match (&self.draws_level, &self.reason) {
            (Some(LabelsUntil::Estimated(crossing)), _) => until(crossing),
            (Some(LabelsUntil::Refused(refusal)), _) => {
                format!("labels until fine-tuning wins: refused ({refusal})")
            }
            (None, Some(reason)) => format!("labels until fine-tuning wins: not estimated ({reason})"),
            (None, None) => "labels until fine-tuning wins: not estimated".to_owned(),
        }
    }

    /// What the prompt is worth in labels, in a sentence.
    pub fn worth(&self) -> Option<String> {
        let advantage = self.advantage?;
        let labels = advantage.labels.round();
        let interval = match (advantage.low, advantage.high) {
            (Some(low), Some(high)) if labels < 0.0 => {
                format!(" ({} to {})", number(-high.round()), number(-low.round()))
            }
            (Some(low), Some(high)) => format!(" ({} to {})", number(low.round()), number(high.round())),
            _ => String::new(),
        };
        let scores = match advantage.from < advantage.to {
            true => format!("from {} to {}", percent(advantage.from), percent(advantage.to)),
            false => format!("at {}", percent(advantage.to)),
        };
        Some(if labels < 0.0 {
            format!("costs {}{interval} over fine-tuning {scores}", count(-labels as u64, "label"))
        } else {
            format!("worth {}{interval} of fine-tuning {scores}", count(labels as u64, "label"))
        })
    }
}

fn estimated(until: Option<&LabelsUntil>) -> Option<&Crossing> {
    match until? {
        LabelsUntil::Estimated(crossing) => Some(crossing),
        LabelsUntil::Refused(_) => None,
    }
}

fn until(crossing: &Crossing) -> String {
    let beyond = || format!("beyond {}", number(crossing.horizon as f64));
    let end = |labels: Option<u64>| labels.map_or_else(beyond, |labels| number(labels as f64));
    let tested = match &crossing.backtest {
        Some(test) => format!(
            "; its law, shown up to {} labels, missed the rest by {}",
            number(test.shown as f64),
            points(test.error())
        ),
        None => String::new(),
    };
    match (crossing.labels, crossing.low) {
        (None, None) => format!(
            "fine-tuning does not draw level within {} labels{tested}",
            number(crossing.horizon as f64)
        ),
        (labels, low) => format!(
            "fine-tuning draws level at {} labels (interval {} to {}{tested})",
            end(labels),
            end(low),
            end(crossing.high)
        ),
    }
}

fn on_test<'a>(evidence: &Evidence<'a>) -> impl Iterator<Item = &'a Experiment> {
    evidence.answered.iter().map(|answered| answered.experiment).filter(|e| e.part == Part::Test)
}

/// The prompts that make the in-context curve.
fn prompts<'a>(evidence: &Evidence<'a>) -> Vec<&'a Experiment> {
    let finalist = evidence.in_context().experiment;
    if finalist.method != "random" {
        return vec![finalist];
    }
    let shots = finalist.shots.unwrap_or(0);
    let own = |e: &&Experiment| {
        e.family == Family::InContext
            && matches!(e.method.as_str(), "random" | "zero_shot")
            && e.shots.unwrap_or(0) <= shots
    };
    on_test(evidence).filter(own).collect()
}
