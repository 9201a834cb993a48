//! The search for a recipe, the trainings with what it found, and second tries of what collapsed.

use task::predictor::TrainingJob;
use task::record::{Family, RECIPE_SEARCH};

use super::Session;
use crate::Error;
use crate::fine_tune::{self, Training};
use crate::plan::{LearningRate, TuneTrial, rounded};
use crate::recipe::{Recipe, Search};

/// What the rate of a collapsed training is divided by.
const SMALLER: f64 = 3.0;
/// Kept where the search ended before its last round.
const OUT_OF_TIME: &str = "recipe_search/out_of_time";

impl Session<'_> {
    /// All rounds of the search, then the trainings with the recipe that won.
    pub(super) fn search_recipe(&mut self) -> Result<(), Error> {
        let Some(search) = self.plan.search.clone() else { return Ok(()) };
        let each = search.seconds / search.recipes.len() as f64;
        for rung in 0..search.rungs.len() {
            let experiments = self.run.store.experiments()?;
            let Some(survivors) = search.survivors(&experiments, rung) else { return Ok(()) };
            for recipe in survivors {
                let stored = self.run.store.contains(&format!("{}@dev", search.name(rung, recipe)))?;
                if !stored && self.pace()?.seconds(RECIPE_SEARCH) >= search.seconds {
                    return self.out_of_time(&search);
                }
                self.searched(&search, rung, recipe, if rung == 0 { each } else { 0.0 })?;
            }
        }
        let recipe = search.winner(&self.run.store.experiments()?);
        self.follow(&search, recipe)
    }

    /// Ends a search that has had its share of the arm's time.
    fn out_of_time(&mut self, search: &Search) -> Result<(), Error> {
        self.run.observer.noted("the search for a recipe has had its time: it ends with the best so far");
        self.run.store.set_fact(OUT_OF_TIME, &true)?;
        let best = search.best_so_far(&self.run.store.experiments()?);
        self.follow(search, best)
    }

    /// Trains with the recipe that won.
    fn follow(&mut self, search: &Search, recipe: Option<Recipe>) -> Result<(), Error> {
        let Some(recipe) = recipe else {
            self.run.observer.noted("every recipe of the search collapsed: the default stays");
            return Ok(());
        };
        let known = recipe.method == search.recipes[0].method;
        self.run.observer.noted(&format!(
            "of {} recipes dev prefers {}{}",
            search.recipes.len(),
            recipe.name(),
            if known { ", which was trained already" } else { "" }
        ));
        for trial in search.follow.iter().filter(|_| !known) {
            let trial = TuneTrial { method: recipe.method, ..*trial };
            let name = fine_tune::name(&trial, recipe.learning_rate);
            if self.run.store.contains(&format!("{name}@dev"))? || !self.is_too_late(&trial)? {
                self.train_on_dev(&trial, recipe.learning_rate)?;
            }
        }
        Ok(())
    }

    /// One recipe in one round.
    fn searched(&mut self, search: &Search, rung: usize, recipe: usize, planned: f64) -> Result<(), Error> {
        let name = search.name(rung, recipe);
        if self.run.store.contains(&format!("{name}@dev"))? {
            self.done_seconds += planned;
            return Ok(());
        }
        self.stop_if_wanted()?;
        self.run.observer.started(&name);
        let (recipe, rung) = (search.recipes[recipe], search.rungs[rung]);
        let trial = TuneTrial {
            method: recipe.method,
            labels: rung.labels,
            seed: 0,
            learning_rate: LearningRate::Candidate(recipe.learning_rate),
            epochs: rung.epochs,
            seconds: 0.0,
            searched: true,
        };
        self.begins(Family::FineTune, RECIPE_SEARCH, &name, self.alone(&trial));
        let arm = self.fine_tune();
        let job: TrainingJob = arm.job(&trial, recipe.learning_rate)?;
        let training = Training {
            name,
            family: Family::FineTune,
            method: RECIPE_SEARCH,
            labels: rung.labels,
            job,
            shown: Vec::new(),
            folder: None,
        };
        let experiment = arm.run(&training, self.run.engine)?;
        if let Some(reason) = &experiment.collapse {
            self.run.observer.noted(&format!("{} collapsed: {reason}", training.name));
        }
        self.put(experiment, planned)
    }

    /// A second try at a third of the rate, where the first one collapsed and no smaller rate is planned at its size.
    pub(super) fn train_again(&mut self, trial: &TuneTrial, rate: f64) -> Result<(), Error> {
        let LearningRate::Candidate(first) = trial.learning_rate else { return Ok(()) };
        let name = fine_tune::name(trial, rate);
        let collapsed = self.run.store.get(&format!("{name}@dev"))?.is_some_and(|one| one.collapse.is_some());
        let smaller = self.plan.tunes.iter().any(|other| {
            other.method == trial.method
                && other.labels == trial.labels
                && matches!(other.learning_rate, LearningRate::Candidate(other) if other < rate)
        });
        if !collapsed || smaller || rate < first {
            return Ok(());
        }
        let again = rounded(rate / SMALLER);
        self.run.observer.noted(&format!("{name} is tried again at {again}"));
        self.train_on_dev(&TuneTrial { seconds: 0.0, ..*trial }, again)
    }
}

#[cfg(test)]
mod tests {
    use crate::plan::rounded;

    #[test]
    fn a_third_of_a_rate_is_a_short_number() {
        assert_eq!(rounded(1e-3 / 3.0), 3.3e-4);
        assert_eq!(rounded(3e-3 / 3.0), 1e-3);
    }
}
