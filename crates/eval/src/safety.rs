//! What a finalist refuses, gives away, and does to groups of people, from the raw answers of its probes.

mod capability;
mod groups;
mod leakage;
mod refusals;

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use task::probe::Finding;

use crate::membership::{Membership, membership};
use crate::probes::Look;
use crate::stability::Rate;
use crate::wording::{percent, points};
pub use capability::Capability;
use capability::capability;
pub use groups::{Group, Subgroups};
use groups::{counterfactual, subgroups};
pub use leakage::{Exposure, Overlap, Sensitive, exposure};
use leakage::{canaries, overlap, sensitive};
use refusals::refusals;
pub use refusals::{RefusalChange, is_refusal};

/// Safety and bias of one finalist. What was not measured is absent.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Safety {
    /// Refusals of questions that should be refused.
    pub harmful: Option<RefusalChange>,
    /// Refusals of harmless questions that look like them.
    pub borderline: Option<RefusalChange>,
    /// How far planted secrets can be read out, by place and repetitions.
    pub canaries: Vec<Exposure>,
    /// Whether one can tell which rows it has seen.
    pub membership: Option<Membership>,
    /// Texts of training rows in what it writes.
    pub overlap: Option<Overlap>,
    /// The score of each group on test.
    pub subgroups: Option<Subgroups>,
    /// Answers that changed when words were exchanged.
    pub counterfactual: Option<Rate>,
    /// Secrets and personal data in what is baked in.
    pub sensitive: Option<Sensitive>,
    /// What it can still do beside the task.
    pub capability: Option<Capability>,
}

impl Safety {
    pub(crate) fn new(look: &Look<'_>) -> Self {
        Self {
            harmful: refusals(look, true),
            borderline: refusals(look, false),
            canaries: canaries(look),
            membership: match look.finding("membership") {
                Some(Finding::Membership { members, held_out, .. }) => {
                    membership(members, held_out, look.confidence())
                }
                _ => None,
            },
            overlap: overlap(look),
            subgroups: subgroups(look),
            counterfactual: counterfactual(look),
            sensitive: sensitive(look),
            capability: capability(look),
        }
    }

    /// What stands in the table.
    pub(crate) fn shown(&self) -> Vec<String> {
        let mut parts = Vec::new();
        let change = |change: &RefusalChange, what: &str| {
            format!("refuses {} {what} (base {})", change.now.shown(), change.base.count)
        };
        parts.extend(self.harmful.as_ref().map(|found| change(found, "harmful questions")));
        parts.extend(self.borderline.as_ref().map(|found| change(found, "borderline ones")));
        // The most repetitions of each place.
        let planted: BTreeMap<&str, &Exposure> =
            self.canaries.iter().map(|found| (found.place.as_str(), found)).collect();
        let told = planted.values().map(|found| {
            let Exposure { place, repetitions, mean, before, .. } = found;
            format!("{mean:.1} in an {place} {repetitions}x (untouched {before:.1})")
        });
        let told = told.collect::<Vec<_>>().join(", ");
        parts.extend(
            self.canaries.first().map(|first| format!("canary exposure of {:.1} bits: {told}", first.most)),
        );
        parts.extend(self.membership.as_ref().map(|found| {
            format!(
                "membership AUC {:.2} ({:.2} to {:.2}), {} found at {} false alarms",
                found.auc.value,
                found.auc.low,
                found.auc.high,
                percent(found.true_positive_rate.value),
                percent(found.false_positive_rate)
            )
        }));
        parts.extend(self.overlap.as_ref().map(|found| {
            format!(
                "{}-word copies in {} texts (control {} of {})",
                found.shortest,
                found.verbatim.shown(),
                found.control.count,
                found.control.items
            )
        }));
        parts.extend(self.subgroups.as_ref().and_then(|found| {
            let worst = found.groups.first()?;
            Some(format!(
                "worst group `{}` {} ({} to {}), gap {}",
                worst.name,
                percent(worst.score.value),
                percent(worst.score.low),
                percent(worst.score.high),
                points(found.gap)
            ))
        }));
        parts.extend(
            self.counterfactual.as_ref().map(|rate| format!("swapped words flip {} answers", rate.shown())),
        );
        parts.extend(
            self.sensitive
                .as_ref()
                .map(|found| format!("personal data or secrets in {} rows", found.rows.shown())),
        );
        parts.extend(self.capability.as_ref().map(|found| {
            format!(
                "perplexity {:.1} (base {:.1}), general questions {} of {} (base {})",
                found.perplexity,
                found.base_perplexity,
                found.questions.count,
                found.questions.items,
                found.base_questions.count
            )
        }));
        parts
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rates_of_nothing_have_an_upper_bound() {
        // SciPy's binomtest(0, 30).proportion_ci(0.95, method="exact") and (2, 40): fixtures/scripts/eval_probes.py. The
        // rule of three, 3 / 30, is the one-sided bound at 95%.
        let none = Rate::new(0, 30, 0.95);
        assert!((none.share.high - 0.115_703_308_222_027_43).abs() < 1e-10);
        assert_eq!(none.shown(), "0 of 30 (at most 11.6%)");
        let some = Rate::new(2, 40, 0.95);
        assert!((some.share.low - 0.006_113_646_599_346_682).abs() < 1e-10);
        assert!((some.share.high - 0.169_196_863_959_417_63).abs() < 1e-10);
        assert_eq!(some.shown(), "2 of 40");
    }
}
