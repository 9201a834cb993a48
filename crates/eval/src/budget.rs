//! What each arm was given to reach its best: a comparison is only as fair as that.

use serde::{Deserialize, Serialize};
use task::record::{Family, Work};
use task::search_budget::{ArmSearch, SearchBudget};

use crate::effort::Effort;
use crate::evidence::Evidence;
use crate::wording::{count, number, percent, seconds};

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
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Budgets {
    /// Prompts.
    pub in_context: Spent,
    /// Training.
    pub fine_tune: Spent,
    /// What of that was search, before the test set was opened; `None` for runs before it was kept apart.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub search: Option<SearchBudget>,
    /// By how much the smaller time of search (of everything, where search was not kept apart) falls short of the larger one, as a share
    /// of that; `None` where one is not known.
    pub difference: Option<f64>,
}

impl Budgets {
    pub(crate) fn new(evidence: &Evidence<'_>) -> Self {
        let [in_context, fine_tune] = [Family::InContext, Family::FineTune].map(|family| {
            let Effort { trials, seconds, .. } = Effort::of(evidence, family);
            Spent { trials, seconds, work: evidence.record.work_by_family.get(family.name()).copied() }
        });
        let search = evidence.record.search_budget.clone();
        let times = match &search {
            Some(search) => Some((search.in_context.seconds, search.fine_tune.seconds)),
            None => in_context.seconds.zip(fine_tune.seconds),
        };
        let difference = times.filter(|(one, other)| one.max(*other) > 0.0);
        let difference = difference.map(|(one, other)| (one - other).abs() / one.max(other));
        Self { in_context, fine_tune, search, difference }
    }

    /// Whether the arms had even times, within [`EVEN`].
    pub fn even(&self) -> Option<bool> {
        self.difference.map(|difference| difference <= EVEN)
    }

    /// Both arms in a sentence or three.
    pub fn sentences(&self) -> String {
        let Some(search) = &self.search else {
            let all = "Budgets, search, training and evaluations together";
            return both(all, &self.in_context.words(), &self.fine_tune.words())
                + &self.evenness("the arm with less could have tried more");
        };
        let [prompted, tuned] = [&search.in_context, &search.fine_tune];
        let (arm, less) =
            if prompted.seconds < tuned.seconds { ("in-context", prompted) } else { ("fine-tuning", tuned) };
        let mut text = both("Search, trainings and dev included", &searched(prompted), &searched(tuned));
        text += &self.evenness(&format!("{arm} tried no more because {}", less.ended));
        for (arm, one) in [("In-context", prompted), ("Fine-tuning", tuned)] {
            text += &changes(arm, one);
        }
        text + &both(" With the test set", &self.in_context.words(), &self.fine_tune.words())
    }

    /// By how much the times differ, and where that is too much, `why`; nothing where it is not known.
    fn evenness(&self, why: &str) -> String {
        let Some(difference) = self.difference.map(percent) else { return String::new() };
        match self.even() {
            Some(false) => {
                format!(" Their times differ by {difference}, more than {}: {why}.", percent(EVEN))
            }
            _ => format!(" Their times differ by {difference}."),
        }
    }
}

fn both(what: &str, in_context: &str, fine_tune: &str) -> String {
    format!("{what}: in-context {in_context}; fine-tuning {fine_tune}.")
}

/// What an arm took to search.
fn searched(arm: &ArmSearch) -> String {
    spent(Some(arm.seconds), Some(arm.work).filter(|work| work.tokens > 0))
}

/// How far an arm left its plan; nothing where it did not.
fn changes(arm: &str, search: &ArmSearch) -> String {
    let mut said = Vec::new();
    if !search.added.is_empty() {
        said.push(format!("took {} of its reserve", count(search.added.len() as u64, "trial")));
    }
    if !search.put_off.is_empty() {
        said.push(format!(
            "put off {} of its plan, for lack of time",
            count(search.put_off.len() as u64, "trial")
        ));
    }
    if said.is_empty() { String::new() } else { format!(" {arm} {}.", said.join(" and ")) }
}

impl Spent {
    fn words(&self) -> String {
        spent(self.seconds, self.work)
    }
}

fn spent(taken: Option<f64>, work: Option<Work>) -> String {
    let time = taken.map_or_else(|| "time not recorded".to_owned(), seconds);
    match work {
        Some(work) => format!("{time}, {} tokens, {} FLOPs", number(work.tokens as f64), number(work.flops)),
        None => time,
    }
}
