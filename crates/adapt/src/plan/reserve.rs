//! What an arm tries when its plan is done and time is left, the most promising first.
//!
//! First what the task file asks for and the plan had no room for; then, where a list of the task file is the default one, what lies
//! beyond it (a list that someone wrote is a wish, and is kept to); at last repeats of the best configuration with another seed.

use serde::{Deserialize, Serialize};
use task::predictor::TrainingMethod;
use task::record::Family;

use super::prompts::prompt_trial;
use super::trainings::tune_seconds;
use super::{
    LearningRate, Measured, Plan, PromptTrial, Selection, TuneTrial, Wishes, describe, prompt_bound,
};

/// Repeats of the best configuration.
const REPEATS: usize = 4;
/// Numbers of demonstrations beyond the default list.
const FURTHER_SHOTS: [usize; 3] = [8, 32, 128];
/// A number of labelled rows beyond the default list; all rows are another.
const FURTHER_LABELS: usize = 4096;

/// One item of a reserve. What it will be exactly may depend on what dev prefers when its turn comes.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Extra {
    /// A prompt.
    Prompt(PromptTrial),
    /// The search for another instruction and format, where the plan had no room for one.
    PromptSearch,
    /// Another draw of demonstrations for the best random prompt.
    Draw,
    /// A training.
    Training(TuneTrial),
    /// The search for a recipe, where the plan had no room for one.
    RecipeSearch,
    /// The best training with another seed.
    Seed,
}

impl Extra {
    /// In words, for lists.
    pub fn describe(&self) -> String {
        match self {
            Self::Prompt(trial) => trial.name(),
            Self::Training(trial) => describe(trial),
            Self::PromptSearch => "a search for another instruction and format".to_owned(),
            Self::RecipeSearch => "a search for a recipe".to_owned(),
            Self::Draw => "another draw of the best random prompt".to_owned(),
            Self::Seed => "the best training with another seed".to_owned(),
        }
    }
}

/// Both reserves, in order.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Reserve {
    /// The prompting arm's.
    pub in_context: Vec<Extra>,
    /// The fine-tuning arm's.
    pub fine_tune: Vec<Extra>,
}

/// Which lists of the task file may be gone beyond: those that nobody wrote.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Open {
    /// Selections of demonstrations.
    pub selections: bool,
    /// Numbers of demonstrations.
    pub shots: bool,
    /// Numbers of labelled rows.
    pub labels: bool,
    /// Learning rates.
    pub rates: bool,
}

impl Reserve {
    /// Whether there is nothing in it.
    pub fn is_empty(&self) -> bool {
        self.in_context.is_empty() && self.fine_tune.is_empty()
    }

    /// The reserve of an arm.
    pub fn of(&self, family: Family) -> &[Extra] {
        if family == Family::FineTune { &self.fine_tune } else { &self.in_context }
    }

    /// The same, to be changed.
    pub fn of_mut(&mut self, family: Family) -> &mut Vec<Extra> {
        if family == Family::FineTune { &mut self.fine_tune } else { &mut self.in_context }
    }

    /// What each arm has, by name.
    pub fn names(&self) -> [Vec<String>; 2] {
        [&self.in_context, &self.fine_tune].map(|extras| extras.iter().map(Extra::describe).collect())
    }

    /// The reserve of `plan`, which had no room for `prompts` and `trainings`.
    pub(super) fn new(
        wishes: &Wishes,
        measured: &Measured,
        plan: &Plan,
        prompts: Vec<PromptTrial>,
        trainings: Vec<TuneTrial>,
    ) -> Self {
        let mut in_context: Vec<Extra> = prompts.into_iter().map(Extra::Prompt).collect();
        if plan.prompt_search.is_none() && wishes.prompt_search_share > 0.0 {
            in_context.push(Extra::PromptSearch);
        }
        let known = |trial: &PromptTrial, so_far: &[Extra]| {
            plan.prompts.iter().any(|one| one.name() == trial.name())
                || so_far.iter().any(|one| matches!(one, Extra::Prompt(one) if one.name() == trial.name()))
        };
        for trial in further_prompts(wishes, measured) {
            if !known(&trial, &in_context) {
                in_context.push(Extra::Prompt(trial));
            }
        }
        if wishes.random && wishes.shots.iter().any(|&shots| shots > 0) {
            in_context.extend([Extra::Draw; REPEATS]);
        }
        let mut fine_tune: Vec<Extra> = trainings.into_iter().map(Extra::Training).collect();
        if plan.search.is_none() && wishes.search_share > 0.0 && plan.has_lora() {
            fine_tune.push(Extra::RecipeSearch);
        }
        fine_tune.extend(further_trainings(wishes, measured).into_iter().map(Extra::Training));
        if !plan.tunes.is_empty() {
            fine_tune.extend([Extra::Seed; REPEATS]);
        }
        Self { in_context, fine_tune }
    }
}

/// Prompts beyond the lists: other selections, the most demonstrations first, then other numbers of demonstrations.
fn further_prompts(wishes: &Wishes, measured: &Measured) -> Vec<PromptTrial> {
    let mut shots: Vec<usize> = wishes.shots.iter().copied().filter(|&shots| shots > 0).collect();
    let listed = shots.clone();
    if wishes.open.shots && !shots.is_empty() {
        shots.extend(FURTHER_SHOTS.into_iter().filter(|&k| k <= wishes.train && !listed.contains(&k)));
    }
    shots.retain(|&shots| prompt_bound(measured, shots) <= measured.context as f64);
    let mut wanted = Vec::new();
    if wishes.open.selections {
        let mut descending: Vec<usize> = shots.iter().copied().filter(|k| listed.contains(k)).collect();
        descending.sort_unstable_by(|one, other| other.cmp(one));
        for (index, &shots) in descending.iter().enumerate() {
            for selection in [Selection::Embedding, Selection::Hybrid, Selection::Diverse] {
                wanted.push((selection, shots, index == 0));
            }
        }
    }
    for &shots in shots.iter().filter(|shots| !listed.contains(shots)) {
        wanted.extend(wishes.bm25.then_some((Selection::Bm25, shots, false)));
        wanted.extend(wishes.random.then_some((Selection::Random, shots, false)));
    }
    let trial = |(selection, shots, first)| PromptTrial {
        unlisted: true,
        ..prompt_trial(wishes, measured, selection, shots, first)
    };
    wanted.into_iter().map(trial).collect()
}

/// Trainings beyond the lists: more rows, then other learning rates at the largest listed number of them.
fn further_trainings(wishes: &Wishes, measured: &Measured) -> Vec<TuneTrial> {
    let lora = wishes.methods.iter().copied().find(|method| matches!(method, TrainingMethod::Lora { .. }));
    let (Some(&(largest, epochs)), Some(method)) = (wishes.labels.last(), lora) else { return Vec::new() };
    let trial = |rows: (usize, usize), rate: f64| TuneTrial {
        method,
        labels: rows.0,
        seed: 0,
        learning_rate: LearningRate::Candidate(rate),
        epochs: rows.1,
        seconds: tune_seconds(wishes, measured, method, rows, true),
        searched: false,
    };
    let mut trials = Vec::new();
    let Some(&first) = wishes.lora_rates.first() else { return trials };
    if wishes.open.labels {
        let mut sizes = vec![FURTHER_LABELS.min(wishes.train), wishes.train];
        sizes.dedup();
        let epochs_for = |rows| wishes.epochs.unwrap_or_else(|| task::settings::default_epochs(rows));
        let larger = sizes.into_iter().filter(|&rows| rows > largest);
        trials.extend(larger.map(|rows| trial((rows, epochs_for(rows)), first)));
    }
    if wishes.open.rates {
        let [lowest, highest] = wishes
            .lora_rates
            .iter()
            .fold([f64::INFINITY, 0.0], |[low, high], &rate| [low.min(rate), f64::max(high, rate)]);
        trials
            .extend([lowest / 3.0, highest * 3.0].map(|rate| trial((largest, epochs), super::rounded(rate))));
    }
    trials
}
