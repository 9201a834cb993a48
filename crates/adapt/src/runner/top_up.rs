//! Equal time for both arms, whatever the estimates were: planned trials that come too late are put off, and what is left of the
//! budget goes to the reserve of the arm that searched less.
//!
//! What is measured is an arm's search: everything before the test set is opened. Both arms' answers to the test set are kept free, as
//! long as they will take by what dev took. A trial of the reserve becomes a trial of the plan before it begins, so that a killed
//! run finds it there; once the search has ended that is stored, too, and a finished run does not begin again.

mod following;
mod lateness;
mod standing;

use task::predictor::TrainingMethod;
use task::record::{Experiment, Family};
use task::search_budget::{ArmSearch, SearchBudget};
use task::store::SEARCH_BUDGET;

use standing::Standing;

use super::Session;
use super::pace::Pace;
use crate::Error;
use crate::choice;
use crate::plan::{
    Extra, LearningRate, PromptTrial, Selection, TuneTrial, describe, method_name, smallest_search,
    test_seconds, tune_seconds,
};
use crate::recipe::Search;

const ARMS: [Family; 2] = [Family::InContext, Family::FineTune];

/// What an item of the reserve comes to now.
enum Step {
    Prompt(PromptTrial),
    Training(TuneTrial),
    PromptSearch(f64),
    RecipeSearch(Search),
}

impl Session<'_> {
    /// Estimated seconds of a training without test.
    pub(super) fn on_dev(&self, trial: &TuneTrial) -> f64 {
        let test = self.measured.map_or(0.0, |measured| test_seconds(&self.wishes, &measured));
        (trial.seconds - test).max(0.0)
    }

    /// Estimated seconds of a training, and of its answers to test.
    fn estimate(&self, trial: &TuneTrial) -> [f64; 2] {
        let search = self.on_dev(trial);
        [search, trial.seconds - search]
    }

    /// Estimated seconds of a training that is not answered on test.
    pub(super) fn alone(&self, trial: &TuneTrial) -> f64 {
        let rows = (trial.labels, trial.epochs);
        let estimate = |measured| tune_seconds(&self.wishes, &measured, trial.method, rows, false);
        self.measured.map_or(0.0, estimate)
    }

    /// Takes from the reserves what fits, always for the arm that searched less, and stores how the search ended.
    pub(super) fn top_up(&mut self) -> Result<(), Error> {
        if self.has_ended()? {
            return Ok(());
        }
        let ended = loop {
            let Some(standing) = self.standing()? else { return Ok(()) };
            let behind = usize::from(standing.searched[1] < standing.searched[0]);
            let mut ended = [String::new(), String::new()];
            let mut next = None;
            for arm in [behind, 1 - behind] {
                match self.next(arm, &standing)? {
                    Ok((index, step)) => {
                        next = Some((arm, index, step));
                        break;
                    }
                    Err(reason) => ended[arm] = reason,
                }
            }
            match next {
                Some((arm, index, step)) => self.take(arm, index, step)?,
                None => break ended,
            }
        };
        self.close(ended)
    }

    /// The first item of an arm's reserve that fits, or why there is none.
    fn next(&self, arm: usize, standing: &Standing) -> Result<Result<(usize, Step), String>, Error> {
        if !self.run.settings.budget.top_up {
            return Ok(Err("budget.top_up is off: the plan is all that is tried".to_owned()));
        }
        let pace = self.pace()?;
        let reserve = self.plan.reserve.of(ARMS[arm]);
        let room = standing.room(arm).min(standing.even(arm));
        let mut smallest: Option<(f64, String)> = None;
        for (index, extra) in reserve.iter().enumerate() {
            let Some((step, [search, test])) = self.step(arm, extra, (standing, &pace), room) else {
                continue;
            };
            let fits = search + test <= standing.room(arm);
            if fits && self.can_be_followed(arm, (standing, &pace), [search, test]) {
                return Ok(Ok((index, step)));
            }
            if smallest.as_ref().is_none_or(|(seconds, _)| search + test < *seconds) {
                smallest = Some((search + test, extra.describe()));
            }
        }
        Ok(Err(match smallest {
            None => self.why_empty(arm),
            Some((seconds, name)) if seconds > standing.room(arm) => format!(
                "{:.1} s of the budget are left, and the shortest trial in its reserve ({name}) takes about {seconds:.1} s",
                standing.left().max(0.0)
            ),
            Some((seconds, name)) => format!(
                "the shortest trial in its reserve ({name}, about {seconds:.1} s) would take it further beyond the other arm than that one could make up for"
            ),
        }))
    }

    /// Why an arm's reserve has nothing to try.
    fn why_empty(&self, arm: usize) -> String {
        let open = self.wishes.open;
        let lists: Vec<&str> = match arm {
            0 => [("in_context.selection", open.selections), ("in_context.shots", open.shots)],
            _ => [("fine_tune.labels", open.labels), ("fine_tune.learning_rates", open.rates)],
        }
        .into_iter()
        .filter_map(|(name, open)| (!open).then_some(name))
        .collect();
        match lists[..] {
            [] => "its reserve is empty".to_owned(),
            _ => format!(
                "its reserve is empty, and nothing is added to a list of the task file ({})",
                lists.join(", ")
            ),
        }
    }

    /// What an item comes to, with its estimated seconds of search and of test at the measured pace; `None` where it comes to nothing.
    fn step(
        &self,
        arm: usize,
        extra: &Extra,
        (standing, pace): (&Standing, &Pace),
        room: f64,
    ) -> Option<(Step, [f64; 2])> {
        let (step, seconds) = match *extra {
            Extra::Prompt(trial) => Some(Self::prompt_step(trial)),
            Extra::Draw => self.next_draw(standing).map(Self::prompt_step),
            Extra::Training(trial) => Some(self.training_step(trial)),
            Extra::Seed => self.next_seed(standing).map(|trial| self.training_step(trial)),
            Extra::PromptSearch => {
                let seconds = room.min(self.wishes.prompt_search_share * standing.share());
                (self.plan.prompt_search.is_none()
                    && seconds > smallest_search(&self.wishes, &standing.measured))
                .then_some((Step::PromptSearch(seconds), [seconds, 0.0]))
            }
            Extra::RecipeSearch => {
                let room = room / pace.rate(Family::FineTune, "lora");
                let search = Search::plan(&self.wishes, &standing.measured, room);
                search.map(|search| {
                    let seconds = search.all_seconds();
                    (Step::RecipeSearch(search), [seconds, 0.0])
                })
            }
        }?;
        let rate = pace.rate(ARMS[arm], step.kind());
        Some((step, seconds.map(|seconds| seconds * rate)))
    }

    fn prompt_step(trial: PromptTrial) -> (Step, [f64; 2]) {
        // What lies beyond the lists is answered on test only if it wins.
        let test = if trial.unlisted { 0.0 } else { trial.test_seconds };
        (Step::Prompt(trial), [trial.dev_seconds, test])
    }

    fn training_step(&self, trial: TuneTrial) -> (Step, [f64; 2]) {
        (Step::Training(trial), self.estimate(&trial))
    }

    /// The best random prompt with the next draw; `None` where there is none.
    fn next_draw(&self, standing: &Standing) -> Option<PromptTrial> {
        let random: Vec<Experiment> =
            standing.dev.iter().filter(|one| one.method == Selection::Random.name()).cloned().collect();
        let best = self.plan.prompt_of(choice::finalist(&random, Family::InContext)?)?;
        let draws = self
            .plan
            .prompts
            .iter()
            .filter(|one| one.selection == best.selection && one.shots == best.shots && !one.searched);
        let seed = draws.map(|one| one.seed + 1).max()?;
        Some(PromptTrial { seed, unlisted: true, ..*best })
    }

    /// The best planned training with the next seed.
    fn next_seed(&self, standing: &Standing) -> Option<TuneTrial> {
        let planned: Vec<Experiment> = standing
            .dev
            .iter()
            .filter(|one| [method_name(TrainingMethod::Full), "lora"].contains(&one.method.as_str()))
            .cloned()
            .collect();
        let best = choice::finalist(&planned, Family::FineTune)?;
        let alike = self
            .plan
            .tunes
            .iter()
            .filter(|one| one.method_name() == best.method && one.labels == best.labels_used);
        let last = alike.max_by_key(|one| one.seed)?;
        Some(TuneTrial { seed: last.seed + 1, learning_rate: LearningRate::Best, ..*last })
    }

    /// Makes an item a part of the plan, and does it.
    fn take(&mut self, arm: usize, index: usize, step: Step) -> Result<(), Error> {
        let taken = self.plan.reserve.of_mut(ARMS[arm]).remove(index);
        let name = match &step {
            Step::Prompt(trial) => {
                self.plan.prompts.push(*trial);
                trial.name()
            }
            Step::Training(trial) => {
                self.plan.tunes.push(*trial);
                describe(trial)
            }
            Step::PromptSearch(seconds) => {
                self.plan.prompt_search = Some(*seconds);
                taken.describe()
            }
            Step::RecipeSearch(search) => {
                self.plan.search = Some(search.clone());
                taken.describe()
            }
        };
        self.plan.added.push(name);
        self.run.store.set_fact("plan", &self.plan)?;
        match step {
            Step::Prompt(trial) => self.prompt_on_dev(&trial),
            Step::Training(trial) => self.tune_on_dev(&trial),
            Step::PromptSearch(_) => self.search_prompt(),
            Step::RecipeSearch(_) => self.search_recipe(),
        }
    }

    /// Stores how the search ended, for the record.
    fn close(&mut self, [in_context, fine_tune]: [String; 2]) -> Result<(), Error> {
        let Some(standing) = self.standing()? else { return Ok(()) };
        let work = self.run.store.work()?;
        let of = |list: &[String], family: Family| -> Vec<String> {
            let tuned = family == Family::FineTune;
            // A search is named by what it searches.
            let is_tuned =
                |name: &str| name.starts_with("fine_tune") || name == Extra::RecipeSearch.describe();
            list.iter().filter(|name| is_tuned(name) == tuned).cloned().collect()
        };
        let arm = |index: usize, left: &[Extra], ended: String| ArmSearch {
            seconds: standing.searched[index],
            work: work.get(ARMS[index].name()).copied().unwrap_or_default(),
            test_seconds: standing.test[index] + standing.pending[index],
            added: of(&self.plan.added, ARMS[index]),
            put_off: of(&self.plan.put_off, ARMS[index]),
            left: left.len(),
            ended,
        };
        let budget = SearchBudget {
            seconds: standing.budget,
            in_context: arm(0, &self.plan.reserve.in_context, in_context),
            fine_tune: arm(1, &self.plan.reserve.fine_tune, fine_tune),
        };
        Ok(self.run.store.set_fact(SEARCH_BUDGET, &budget)?)
    }
}

impl Step {
    /// What its rate is shared with.
    fn kind(&self) -> &'static str {
        match self {
            Self::Prompt(trial) => trial.method(),
            Self::Training(trial) => trial.method_name(),
            // Bounded by the clock.
            Self::PromptSearch(_) => super::prompt_search::KIND,
            Self::RecipeSearch(_) => "lora",
        }
    }
}
