//! The one confirmatory contrast: the in-context finalist against the fine-tuned finalist, on the test set.

mod floor;

use serde::{Deserialize, Serialize};
use task::record::{Decision, TestStop};

use crate::Error;
use crate::evidence::Evidence;
use crate::interval::Estimate;
use crate::paired::{EQUIVALENCE_ALPHA, Equivalence, PairedCounts, Pairing, mcnemar_exact, mcnemar_mid_p};
use crate::power::{self, items_to_detect, items_to_equate};
use crate::replication::Replication;
use crate::sample::{Sample, looked_at};
use crate::sequential::{Stop, confidence_sequence, items_to_stop, replay};

pub use floor::FloorContrast;

/// The paired comparison of the two finalists. The difference is fine-tuned less in-context.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Contrast {
    /// The in-context finalist.
    pub in_context: String,
    /// The fine-tuned finalist.
    pub fine_tune: String,
    /// Difference of the mean scores (of labels: of the accuracies), with its interval at the decision's confidence.
    pub difference: Estimate,
    /// The paired test of no difference on the same items.
    pub test: Test,
    /// Two one-sided tests against the margin.
    pub equivalence: Equivalence,
    /// Their p-value: at most 5% where the two are equivalent. `None` for graded scores, for clustered items, and where the
    /// test set was left before its end.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub equivalence_p: Option<f64>,
    /// What looking after every item would have seen; `None` for graded scores and for clustered items.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sequential: Option<Sequential>,
    /// Where the test set was left before its end; the intervals then hold at every number of items.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub stopped: Option<TestStop>,
    /// Clusters of items that the interval rests on.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub clusters: Option<u64>,
    /// What the items say of this very prompt and these very weights.
    pub of_finalists: Outcome,
    /// The same difference over the draws and seeds of both configurations.
    pub replication: Replication,
    /// The decision rule's answer: that of the finalists where other draws and seeds bear it out ([`Replication::confirmed`]).
    pub outcome: Outcome,
    /// How many items would decide; only where the items of the finalists leave it undecided.
    pub items_needed: Option<ItemsNeeded>,
}

/// The evidence process over the discordant items, in an order in which answers play no part.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Sequential {
    /// Level: 1 less the decision's confidence.
    pub alpha: f64,
    /// E after all items; infinite values are written as null and read back as `None`.
    pub e_value: Option<f64>,
    /// The p-value that may be looked at after every item.
    pub p_value: f64,
    /// Where E reached 1 / alpha for the first time.
    pub stop: Option<Stop>,
    /// The difference with the interval that holds at every number of items at once.
    pub interval: Estimate,
    /// Where there is no stop: items, in all, at which E is expected to reach 1 / alpha if wins and losses go on as seen.
    pub items_to_stop: Option<u64>,
}

impl Sequential {
    /// Replays the items of `sample`; `None` where they cannot be looked at one by one.
    fn new(evidence: &Evidence<'_>, sample: &Sample<'_>) -> Result<Option<Self>, Error> {
        if !sample.may_be_looked_at() {
            return Ok(None);
        }
        let record = evidence.record;
        let alpha = 1.0 - record.decision.confidence;
        let outcomes = looked_at(evidence.in_context(), evidence.fine_tune(), &record.task.data_sha256)?;
        let process = replay(outcomes, alpha)?;
        let counts = process.counts();
        Ok(Some(Self {
            alpha,
            e_value: Some(process.e_value()).filter(|e| e.is_finite()),
            p_value: process.p_value(),
            stop: process.stop(),
            interval: confidence_sequence(&counts, record.decision.confidence)?,
            items_to_stop: if process.stop().is_none() { items_to_stop(&counts, alpha) } else { None },
        }))
    }
}

/// A paired test of "no difference".
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Test {
    /// `mcnemar` for answers that are right or wrong, `paired_permutation` for scores between 0 and 1.
    pub name: String,
    /// Items.
    pub items: u64,
    /// How the two did on them; a win is an item that only the fine-tuned model got right. Only for `mcnemar`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub counts: Option<PairedCounts>,
    /// Items on which the fine-tuned model scores higher, and on which the prompt does. Only for `paired_permutation`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub wins_and_losses: Option<[u64; 2]>,
    /// Two-sided exact p of McNemar's test.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub p_exact: Option<f64>,
    /// Two-sided mid-p of McNemar's test.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub p_mid: Option<f64>,
    /// Two-sided p of the permutation test.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub p_permutation: Option<f64>,
}

impl Test {
    fn new(pairing: &Pairing) -> Self {
        let none = Self {
            name: String::new(),
            items: pairing.items(),
            counts: None,
            wins_and_losses: None,
            p_exact: None,
            p_mid: None,
            p_permutation: None,
        };
        match pairing {
            Pairing::Counts(counts) => Self {
                name: "mcnemar".to_owned(),
                counts: Some(*counts),
                p_exact: Some(mcnemar_exact(counts.wins, counts.losses)),
                p_mid: Some(mcnemar_mid_p(counts.wins, counts.losses)),
                ..none
            },
            Pairing::Scores(scores) => Self {
                name: "paired_permutation".to_owned(),
                wins_and_losses: Some(scores.wins_and_losses()),
                p_permutation: Some(scores.permutation_p()),
                ..none
            },
        }
    }

    /// The p that is shown, and what test it is of.
    pub fn shown(&self) -> (&'static str, f64) {
        match (self.p_mid, self.p_permutation) {
            (Some(p), _) => ("McNemar mid-p", p),
            (None, p) => ("permutation p", p.unwrap_or(f64::NAN)),
        }
    }

    /// Share of the items on which the two sides differ.
    pub(crate) fn disagreement(&self) -> f64 {
        let [wins, losses] = self.wins_and_losses.unwrap_or_default();
        self.counts.map_or((wins + losses) as f64 / self.items.max(1) as f64, |counts| counts.discordant())
    }
}

/// What the data say about the difference.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Outcome {
    /// Fine-tuned is better: the interval lies above 0 and the estimate is at least the margin.
    FineTuneBetter,
    /// In-context is better: the interval lies below 0 and the estimate is at most minus the margin.
    InContextBetter,
    /// The 90% interval lies within the margin on both sides.
    Equivalent,
    /// None of these.
    Undecided,
}

/// Test items that would end an undecided contrast, in all, with 80% power.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ItemsNeeded {
    /// To see a true difference of the margin, at the disagreement seen.
    pub for_margin: Option<u64>,
    /// To decide if the true difference is the one seen: to exclude 0 where it is at least the margin, to establish equivalence
    /// where it is less.
    pub as_observed: Option<u64>,
    /// The larger need, in items beyond those that the test set has.
    pub more: Option<u64>,
}

impl Contrast {
    /// Whether the items tell the finalists apart (or that they are equivalent), and only other draws and seeds leave it open.
    pub fn left_open_by_runs(&self) -> bool {
        self.outcome != self.of_finalists
    }

    /// Contrasts the finalists of `evidence`.
    pub(crate) fn new(evidence: &Evidence<'_>) -> Result<Self, Error> {
        let (first, second) = (evidence.in_context(), evidence.fine_tune());
        let sample = Sample::new(evidence, first, second)?;
        let decision = &evidence.record.decision;
        let difference = sample.interval(decision.confidence);
        let equivalence = sample.equivalence(decision.margin);
        let of_finalists = outcome(&difference, &equivalence, decision.margin);
        let replication = Replication::new(evidence, &difference);
        let outcome = replication.confirmed(of_finalists, decision.margin);
        let needed = || ItemsNeeded::new(&sample.pairing, decision);
        Ok(Self {
            in_context: first.experiment.id.clone(),
            fine_tune: second.experiment.id.clone(),
            difference,
            test: Test::new(&sample.pairing),
            equivalence,
            equivalence_p: sample.equivalence_p(decision.margin),
            sequential: Sequential::new(evidence, &sample)?,
            stopped: evidence.record.test_stop,
            clusters: sample.clusters(),
            of_finalists,
            replication,
            outcome,
            items_needed: (of_finalists == Outcome::Undecided).then(needed),
        })
    }
}

/// The decision rule. `better` is looked at first; it and `equivalent` exclude each other wherever an interval holds its estimate.
pub(crate) fn outcome(difference: &Estimate, equivalence: &Equivalence, margin: f64) -> Outcome {
    // An estimate that is the margin but for a rounding is at least the margin.
    let reaches = difference.value.abs() >= margin - 1e-12;
    if difference.low > 0.0 && reaches {
        Outcome::FineTuneBetter
    } else if difference.high < 0.0 && reaches {
        Outcome::InContextBetter
    } else if equivalence.equivalent {
        Outcome::Equivalent
    } else {
        Outcome::Undecided
    }
}

impl ItemsNeeded {
    fn new(pairing: &Pairing, decision: &Decision) -> Self {
        let &Decision { margin, confidence, .. } = decision;
        let difference = pairing.difference();
        let detectable = difference.abs() >= margin;
        let (for_margin, as_observed) = match pairing {
            Pairing::Counts(counts) => {
                let discordant = counts.discordant();
                let as_observed = match detectable {
                    true => items_to_detect(difference, discordant, confidence),
                    false => items_to_equate(difference, margin, discordant, EQUIVALENCE_ALPHA),
                };
                (items_to_detect(margin, discordant, confidence), as_observed)
            }
            Pairing::Scores(scores) => {
                let (variance, two_sided) = (scores.variance(), 0.5 + confidence / 2.0);
                let as_observed = match detectable {
                    true => power::items(difference, variance, two_sided),
                    false => power::items(margin - difference.abs(), variance, 1.0 - EQUIVALENCE_ALPHA),
                };
                (power::items(margin, variance, two_sided), as_observed)
            }
        };
        let more = [for_margin, as_observed]
            .into_iter()
            .flatten()
            .max()
            .map(|needed| needed.saturating_sub(pairing.items()));
        Self { for_margin, as_observed, more: more.filter(|more| *more > 0) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn decide(wins: u64, losses: u64, items: u64, margin: f64) -> Outcome {
        let counts = PairedCounts { both_right: items - wins - losses, wins, losses, both_wrong: 0 };
        outcome(&counts.interval(0.95), &counts.equivalence(margin, EQUIVALENCE_ALPHA), margin)
    }

    #[test]
    fn the_rule_has_four_outcomes() {
        // Tango's 95% interval of 40 against 22 of 500 is (0.005, 0.068), its 90% interval (0.010, 0.063).
        assert_eq!(decide(40, 22, 500, 0.02), Outcome::FineTuneBetter);
        assert_eq!(decide(22, 40, 500, 0.02), Outcome::InContextBetter);
        assert_eq!(decide(40, 22, 500, 0.036), Outcome::FineTuneBetter, "18 of 500 is the margin");
        assert_eq!(
            decide(40, 22, 500, 0.04),
            Outcome::Undecided,
            "not 0, and too little to matter, and maybe more"
        );
        assert_eq!(decide(40, 22, 500, 0.07), Outcome::Equivalent);
        assert_eq!(decide(12, 5, 100, 0.02), Outcome::Undecided);
    }

    #[test]
    fn undecided_contrasts_say_what_would_decide() {
        let counts = PairedCounts { both_right: 83, wins: 12, losses: 5, both_wrong: 0 };
        let needed =
            ItemsNeeded::new(&Pairing::Counts(counts), &Decision { margin: 0.05, ..Decision::default() });
        // Disagreement (17 + 1/2) / 101 = 0.17327: 7.84888 x (0.17327 - 0.0025) / 0.0025 = 536.1, and at the 7 points seen
        // 7.84888 x (0.17327 - 0.0049) / 0.0049 = 269.7.
        assert_eq!(needed, ItemsNeeded { for_margin: Some(537), as_observed: Some(270), more: Some(437) });
    }
}
