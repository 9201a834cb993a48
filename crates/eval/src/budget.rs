//! What each arm was given to reach its best: a comparison is only as fair as that.

use serde::{Deserialize, Serialize};
use task::record::{Family, Work};

use crate::effort::Effort;
use crate::evidence::Evidence;
use crate::wording::{number, percent, seconds};

/// Up to this share of the larger one, two arms' times count as even.
pub const EVEN: f64 = 0.2;

/// What one arm took: search, training and every evaluation.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Spent {
    /// Prompts or training runs that were tried.
    pub trials: usize,
    /// Wall-clock seconds; `None` where the record has no such sum.
    pub seconds: Option<f64>,
    /// Tokens and operations; `None` for runs before they were counted.
    pub work: Option<Work>,
}

/// Both arms beside each other.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Budgets {
    /// Prompts.
    pub in_context: Spent,
    /// Training.
    pub fine_tune: Spent,
    /// By how much the smaller time falls short of the larger one, as a share of that; `None` where one is not known.
    pub difference: Option<f64>,
}

impl Budgets {
    pub(crate) fn new(evidence: &Evidence<'_>) -> Self {
        let [in_context, fine_tune] = [Family::InContext, Family::FineTune].map(|family| {
            let Effort { trials, seconds, .. } = Effort::of(evidence, family);
            Spent { trials, seconds, work: evidence.record.work_by_family.get(family.name()).copied() }
        });
        let difference = match (in_context.seconds, fine_tune.seconds) {
            (Some(one), Some(other)) if one.max(other) > 0.0 => Some((one - other).abs() / one.max(other)),
            _ => None,
        };
        Self { in_context, fine_tune, difference }
    }

    /// Whether the arms had even times, within [`EVEN`].
    pub fn even(&self) -> Option<bool> {
        self.difference.map(|difference| difference <= EVEN)
    }

    /// Both arms in a sentence or three.
    pub fn sentences(&self) -> String {
        let mut text = format!(
            "Budgets, search, training and evaluations together: in-context {}; fine-tuning {}.",
            self.in_context.words(),
            self.fine_tune.words()
        );
        if let Some(difference) = self.difference {
            let share = percent(difference);
            text += &match self.even() {
                Some(true) => format!(" Their times differ by {share}."),
                _ => format!(
                    " Their times differ by {share}, more than {}: the arm with less could have tried more.",
                    percent(EVEN)
                ),
            };
        }
        text
    }
}

impl Spent {
    fn words(&self) -> String {
        let time = self.seconds.map_or_else(|| "time not recorded".to_owned(), seconds);
        match self.work {
            Some(work) => {
                format!("{time}, {} tokens, {} FLOPs", number(work.tokens as f64), number(work.flops))
            }
            None => time,
        }
    }
}
