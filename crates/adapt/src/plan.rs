//! Which experiments fit the budget, decided once, before any result is seen, and stored: a resumed run follows the same plan.
//!
//! Both arms may search equally long: half each of what the answers to test leave of the budget. Trials are listed in the order in
//! which a careful person would want them (first every size once, then the alternatives of the learning rate, then more seeds) and
//! taken until the arm's share is spent by the estimate. Of the prompting arm's share a part is kept for the search for a better
//! instruction and format, where it is enough for one (docs/prompting.md). What finds no room, and some more, is kept as a reserve:
//! estimates are wrong, and the runner tops up the arm that took less (docs/budget.md).

mod prompts;
mod reserve;
mod trainings;
mod trials;

use serde::{Deserialize, Serialize};
use task::predictor::{LoraTargets, LoraVariant, TrainingMethod};
use task::record::Experiment;

use crate::hybrid::{self, HybridTrial};
use crate::recipe::Search;

use prompts::prompt_candidates;
pub(crate) use prompts::{forward_tokens, prompt_bound, smallest_search};
pub use reserve::{Extra, Open, Reserve};
use trainings::tune_candidates;
pub(crate) use trainings::{describe, evaluated_epochs, test_seconds, tune_seconds};
pub use trials::{LearningRate, PromptTrial, Selection, TuneTrial, method_name};

/// What the estimates rest on: speeds measured on this machine, and mean lengths of this task's texts in tokens.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Measured {
    /// Tokens a second, forward.
    pub forward_speed: f64,
    /// Tokens a second, a LoRA step.
    pub training_speed: f64,
    /// The instruction.
    pub instruction: f64,
    /// One demonstration.
    pub demonstration: f64,
    /// One query without demonstrations.
    pub query: f64,
    /// The longest query and answer together.
    pub longest_query: usize,
    /// The longest demonstration.
    pub longest_demonstration: usize,
    /// Internal nodes of the label tree, scored after each query where all labels' scores are wanted.
    pub answers: f64,
    /// What is scored after a query where only the best label is wanted, in forward tokens that take as long; `None`: as much.
    #[serde(default)]
    pub searched: Option<f64>,
    /// What writing one answer costs, in forward tokens that take as long; 0 where answers are labels.
    #[serde(default)]
    pub writing: f64,
    /// The same where nothing shows how long an answer is: without demonstrations or training a model writes on.
    #[serde(default)]
    pub unshown_writing: f64,
    /// Tokens that the model holds.
    pub context: usize,
}

impl Measured {
    /// Forward tokens of a query and its answer: a text, the scores of `all` labels, or only the best label.
    pub(crate) fn each(&self, all: bool) -> f64 {
        let labels = if all { self.answers } else { self.searched.unwrap_or(self.answers) };
        self.query + labels + self.writing
    }
}

/// What the task file asks for.
#[derive(Clone, Debug, PartialEq)]
pub struct Wishes {
    /// Shots to try; 0 is zero-shot.
    pub shots: Vec<usize>,
    /// Seeds of a random draw.
    pub draws: u64,
    /// Random balanced draws are wanted.
    pub random: bool,
    /// Retrieval is wanted.
    pub bm25: bool,
    /// Other selections that are wanted, after the two.
    pub more: Vec<Selection>,
    /// As many shots as fit are wanted, too.
    pub most_shots: bool,
    /// Calibrations of prompts are wanted, which read the scores of all labels.
    pub calibrated: bool,
    /// Training examples.
    pub train: usize,
    /// Share of the prompting arm's half that the search has; 0: there is none.
    pub prompt_search_share: f64,
    /// Methods of fine-tuning.
    pub methods: Vec<TrainingMethod>,
    /// Numbers of labelled rows, ascending, with the passes over each.
    pub labels: Vec<(usize, usize)>,
    /// Seeds of a training.
    pub seeds: u64,
    /// Candidates of the learning rate for LoRA, the default first.
    pub lora_rates: Vec<f64>,
    /// Candidates for full fine-tuning, the default first.
    pub full_rates: Vec<f64>,
    /// Kinds of adapters, the default first.
    pub variants: Vec<LoraVariant>,
    /// Layers that get an adapter, the default first.
    pub targets: Vec<LoraTargets>,
    /// Ranks to search, the default first.
    pub ranks: Vec<usize>,
    /// Scale of LoRA at the default rank, times that rank.
    pub alpha: f64,
    /// Most of the arm's half that the search may take; 0 for none.
    pub search_share: f64,
    /// Passes over the rows in the search; `None`: by their number.
    pub epochs: Option<usize>,
    /// Combinations of both arms.
    pub hybrids: Vec<task::settings::HybridMethod>,
    /// Seconds for both arms together.
    pub budget: f64,
    /// Dev and test examples.
    pub evaluated: [usize; 2],
    /// Whether there is a reserve.
    pub top_up: bool,
    /// What the reserve may go beyond.
    pub open: Open,
}

/// The experiments of a run.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Plan {
    /// Prompts, in order.
    pub prompts: Vec<PromptTrial>,
    /// Training runs, in order.
    pub tunes: Vec<TuneTrial>,
    /// The search for a recipe, where there is room for one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub search: Option<Search>,
    /// Combinations of both arms.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub hybrids: Vec<HybridTrial>,
    /// Names of trials without room in the context, or, where there is no reserve, in the budget.
    pub left_out: Vec<String>,
    /// Seconds for the search of instruction and format, and for measuring what it finds on dev; `None`: no search.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub prompt_search: Option<f64>,
    /// What is tried where time is left.
    #[serde(default, skip_serializing_if = "Reserve::is_empty")]
    pub reserve: Reserve,
    /// Names of the trials that were taken from the reserve, in order.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub added: Vec<String>,
    /// Names of the trials that were put off while the plan was carried out.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub put_off: Vec<String>,
}

/// By so much the next smaller share of an arm is smaller.
const STEP: f64 = 0.97;
/// Below this part of half of the budget no share is tried: the first trial of each arm is all there is.
const SMALLEST_SHARE: f64 = 0.01;

impl Plan {
    /// Fits `wishes` into the budget: the largest share of time such that both arms may search for so long, and answer test
    /// afterwards. The first trial of each arm is always taken: an arm is never empty.
    pub fn new(wishes: &Wishes, measured: &Measured) -> Self {
        let half = wishes.budget / 2.0;
        let mut share = half;
        loop {
            let plan = Self::within(share, wishes, measured);
            let total = plan.total(wishes, measured);
            if total <= wishes.budget || share < SMALLEST_SHARE * half {
                return plan.with_hybrids(wishes, measured, wishes.budget - total);
            }
            share *= STEP;
        }
    }

    /// What either arm can try on dev in `share` seconds.
    fn within(share: f64, wishes: &Wishes, measured: &Measured) -> Self {
        let mut plan = Self::default();
        let (prompts, unfit) = prompt_candidates(wishes, measured);
        plan.left_out.extend(unfit);
        let (mut spent, mut late_prompts, mut late_tunes) = (0.0, Vec::new(), Vec::new());
        let smallest = smallest_search(wishes, measured);
        let kept = Some(wishes.prompt_search_share * share).filter(|&kept| kept > smallest);
        for trial in prompts {
            let seconds = trial.dev_seconds;
            if plan.prompts.is_empty() || spent + seconds <= share - kept.unwrap_or(0.0) {
                spent += seconds;
                plan.prompts.push(trial);
            } else {
                late_prompts.push(trial);
            }
        }
        plan.prompt_search = kept.map(|_| share - spent).filter(|&left| left > smallest);
        spent = 0.0;
        for trial in tune_candidates(wishes, measured) {
            let seconds = trial.seconds - test_seconds(wishes, measured);
            if plan.tunes.is_empty() || spent + seconds <= share {
                spent += seconds;
                plan.tunes.push(trial);
            } else {
                late_tunes.push(trial);
            }
        }
        // A search only where everything else has its time.
        if late_tunes.is_empty() && wishes.search_share > 0.0 && plan.has_lora() {
            plan.search = Search::plan(wishes, measured, share - spent);
        }
        if wishes.top_up {
            plan.reserve = Reserve::new(wishes, measured, &plan, late_prompts, late_tunes);
        } else {
            plan.left_out.extend(late_prompts.iter().map(PromptTrial::name));
            plan.left_out.extend(late_tunes.iter().map(describe));
        }
        plan
    }

    /// What combines both arms, in what time is left, only where everything else has its time.
    fn with_hybrids(mut self, wishes: &Wishes, measured: &Measured, left: f64) -> Self {
        let tunes = tune_candidates(wishes, measured).len();
        if self.tunes.len() == tunes && self.has_lora() {
            self.hybrids = hybrid::plan(wishes, measured, left);
        }
        self
    }

    /// Seconds of the whole: the arm with less is to catch up with the other as far as its reserve goes, and both answer test.
    fn total(&self, wishes: &Wishes, measured: &Measured) -> f64 {
        let searched = self.search_seconds(wishes, measured);
        let longest = searched[0].max(searched[1]);
        let reserve = |extras: &[Extra], own: f64| {
            let of = |extra: &Extra| match extra {
                Extra::Prompt(trial) => trial.dev_seconds,
                Extra::Training(trial) => trial.seconds - test_seconds(wishes, measured),
                _ => 0.0,
            };
            (own + extras.iter().map(of).sum::<f64>()).min(longest)
        };
        let [prompts, tunes] = self.seconds();
        // What the plan itself takes, and what catching up adds to the arm that has less.
        prompts + tunes - searched[0] - searched[1]
            + reserve(&self.reserve.in_context, searched[0])
            + reserve(&self.reserve.fine_tune, searched[1])
    }

    /// Estimated seconds that the arms search, without test.
    fn search_seconds(&self, wishes: &Wishes, measured: &Measured) -> [f64; 2] {
        let [prompts, tunes] = self.seconds();
        let tested: f64 = self.prompts.iter().map(|trial| trial.test_seconds).sum();
        let follow = self.search.as_ref().map_or(0, |search| search.follow.len());
        let trained = (self.tunes.len() + follow) as f64 * test_seconds(wishes, measured);
        [prompts - tested, tunes - trained]
    }

    fn has_lora(&self) -> bool {
        self.tunes.iter().any(|trial| matches!(trial.method, TrainingMethod::Lora { .. }))
    }

    /// The prompt trial that `experiment` is a result of; `None` where the plan has none.
    pub fn prompt_of(&self, experiment: &Experiment) -> Option<&PromptTrial> {
        self.prompts.iter().find(|trial| experiment.id.starts_with(&(trial.name() + "/")))
    }

    /// Training runs in all: those planned one by one, those of the search and those with what it finds.
    pub fn trainings(&self) -> usize {
        self.tunes.len() + self.search.as_ref().map_or(0, |search| search.trials() + search.follow.len())
    }

    /// Estimated seconds of the two arms.
    pub fn seconds(&self) -> [f64; 2] {
        [
            self.prompts.iter().map(PromptTrial::seconds).sum::<f64>() + self.prompt_search.unwrap_or(0.0),
            self.tunes.iter().map(|trial| trial.seconds).sum::<f64>()
                + self.search.as_ref().map_or(0.0, Search::all_seconds),
        ]
    }
}

/// A learning rate with two digits, as a person would write it.
pub(crate) fn rounded(rate: f64) -> f64 {
    format!("{rate:.1e}").parse().unwrap_or(rate)
}

#[cfg(test)]
pub(crate) mod tests;
