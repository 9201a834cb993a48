//! The search for a recipe of LoRA: variant, layers, rank and learning rate, by successive halving on dev.
//!
//! All recipes are tried on a part of the rows of one middle size; the best third goes on to twice as many, and so on to the
//! whole size (Jamieson & Talwalkar 2016, with a fixed factor of three). The winner is then used at the other sizes as it
//! is: with a scale of `alpha / rank` the best rate hardly depends on the rank, and it is reused over sizes rather than
//! searched at each (Schulman et al. 2025). Which recipes and how many rungs is decided in the plan; who goes on is a pure
//! function of the stored dev experiments.

mod candidates;

use serde::{Deserialize, Serialize};
use task::record::{Experiment, Part, RECIPE_SEARCH};
use task::settings::default_epochs;

use crate::plan::{Measured, TuneTrial, Wishes, tune_seconds};
pub use candidates::Recipe;
use candidates::recipes;
pub(crate) use candidates::{adaptation_name, alpha};

/// The method of trainings with the recipe that won.
pub(crate) const SEARCHED: &str = "lora_recipe";
/// Of so many recipes one goes on.
const FACTOR: usize = 3;
/// Fewest rows of a rung, where the size has as many.
const FEWEST_ROWS: usize = 16;

/// One round of the search.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Rung {
    /// Rows that are trained on.
    pub labels: usize,
    /// Passes over them.
    pub epochs: usize,
}

/// A search, planned.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Search {
    /// What is tried, in order of interest.
    pub recipes: Vec<Recipe>,
    /// The rounds; the last one decides.
    pub rungs: Vec<Rung>,
    /// Trainings with the winner; their method is the default's until it is known.
    pub follow: Vec<TuneTrial>,
    /// Estimated seconds of the rounds.
    pub seconds: f64,
}

impl Search {
    /// The largest search that fits into `room` seconds with at least one training after it; `None` where there is no room
    /// for a choice between two recipes, or nothing to choose from.
    pub(crate) fn plan(wishes: &Wishes, measured: &Measured, room: f64) -> Option<Self> {
        let all = recipes(wishes);
        let &(labels, epochs) = wishes.labels.get(wishes.labels.len() / 2)?;
        let share = wishes.search_share * wishes.budget / 2.0;
        (2..=all.len()).rev().find_map(|count| {
            let recipes = &all[..count];
            let rungs =
                rungs(count, labels, epochs, |rows| wishes.epochs.unwrap_or_else(|| default_epochs(rows)));
            let seconds = seconds(wishes, measured, recipes, &rungs);
            let follow = follow(wishes, measured, recipes, room - seconds);
            (seconds <= share.min(room) && !follow.is_empty()).then(|| Self {
                recipes: recipes.to_vec(),
                rungs,
                follow,
                seconds,
            })
        })
    }

    /// Seconds of the whole search, its trainings with the winner included.
    pub fn all_seconds(&self) -> f64 {
        self.seconds + self.follow.iter().map(|trial| trial.seconds).sum::<f64>()
    }

    /// How many recipes are in each round, and the round.
    pub(crate) fn rounds(&self) -> impl Iterator<Item = (usize, Rung)> {
        let mut left = self.recipes.len();
        self.rungs.iter().map(move |rung| {
            let trials = left;
            left = left.div_ceil(FACTOR);
            (trials, *rung)
        })
    }

    /// Trainings of all rounds.
    pub fn trials(&self) -> usize {
        self.rounds().map(|(trials, _)| trials).sum()
    }

    /// The name of one of its experiments: `fine_tune/recipe_search/n16/dora-r4-all/lr0.003`.
    pub(crate) fn name(&self, rung: usize, recipe: usize) -> String {
        format!(
            "fine_tune/{RECIPE_SEARCH}/n{}/rung{rung}/{}",
            self.rungs[rung].labels,
            self.recipes[recipe].name()
        )
    }

    /// The recipes that take part in `rung` (the number of rounds: the winner alone), as indices; `None` until every
    /// experiment of the round before is among `experiments`. A collapsed recipe goes on only where the others are fewer
    /// than are wanted; a tie goes to the recipe that stands first.
    pub(crate) fn survivors(&self, experiments: &[Experiment], rung: usize) -> Option<Vec<usize>> {
        let Some(before) = rung.checked_sub(1) else { return Some((0..self.recipes.len()).collect()) };
        let mut ranked = Vec::new();
        for recipe in self.survivors(experiments, before)? {
            let id = format!("{}@dev", self.name(before, recipe));
            let found = experiments.iter().find(|one| one.id == id && one.part == Part::Dev)?;
            ranked.push((recipe, found.collapse.is_some(), found.mean_score()));
        }
        // The sort is stable: equal scores keep their order.
        ranked.sort_by(|one, other| one.1.cmp(&other.1).then(other.2.total_cmp(&one.2)));
        let kept = if rung == self.rungs.len() { 1 } else { ranked.len().div_ceil(FACTOR) };
        let mut kept: Vec<usize> = ranked.into_iter().take(kept).map(|(recipe, ..)| recipe).collect();
        kept.sort_unstable();
        Some(kept)
    }

    /// The best recipe of a search that was ended early: of the last round in which at least two healthy ones can be compared.
    pub(crate) fn best_so_far(&self, experiments: &[Experiment]) -> Option<Recipe> {
        (0..self.rungs.len()).rev().find_map(|rung| {
            let score = |recipe: usize| {
                let id = format!("{}@dev", self.name(rung, recipe));
                let found = experiments.iter().find(|one| one.id == id && one.collapse.is_none())?;
                Some((recipe, found.mean_score()))
            };
            let scored: Vec<(usize, f64)> = (0..self.recipes.len()).filter_map(score).collect();
            // A tie goes to the recipe that stands first.
            let best = scored.iter().copied().reduce(|best, one| if one.1 > best.1 { one } else { best })?;
            (scored.len() > 1).then_some(self.recipes[best.0])
        })
    }

    /// The recipe that won; `None` until all is stored, or where it collapsed in the last round.
    pub(crate) fn winner(&self, experiments: &[Experiment]) -> Option<Recipe> {
        let last = self.rungs.len();
        let &recipe = self.survivors(experiments, last)?.first()?;
        let id = format!("{}@dev", self.name(last - 1, recipe));
        let healthy = experiments.iter().any(|one| one.id == id && one.collapse.is_none());
        healthy.then(|| self.recipes[recipe])
    }
}

/// Rounds until one recipe is left: the last one on `labels` rows, each one before on half as many.
fn rungs(recipes: usize, labels: usize, epochs: usize, epochs_for: impl Fn(usize) -> usize) -> Vec<Rung> {
    let mut rounds = 0;
    let mut left = recipes;
    while left > 1 {
        left = left.div_ceil(FACTOR);
        rounds += 1;
    }
    let rows = |round: usize| (labels >> (rounds - 1 - round).min(30)).max(FEWEST_ROWS.min(labels));
    (0..rounds)
        .map(|round| match rows(round) {
            rows if rows == labels => Rung { labels, epochs },
            rows => Rung { labels: rows, epochs: epochs_for(rows) },
        })
        .collect()
}

/// Seconds of the rounds, by the recipes that could be in each at most: the dearest.
fn seconds(wishes: &Wishes, measured: &Measured, recipes: &[Recipe], rungs: &[Rung]) -> f64 {
    let mut left = recipes.len();
    let mut total = 0.0;
    for rung in rungs {
        let mut each: Vec<f64> = recipes
            .iter()
            .map(|recipe| tune_seconds(wishes, measured, recipe.method, (rung.labels, rung.epochs), false))
            .collect();
        each.sort_by(|one, other| other.total_cmp(one));
        total += each.iter().take(left).sum::<f64>();
        left = left.div_ceil(FACTOR);
    }
    total
}

/// Trainings with the winner, the largest size first, as many as fit.
fn follow(wishes: &Wishes, measured: &Measured, recipes: &[Recipe], room: f64) -> Vec<TuneTrial> {
    let mut trials = Vec::new();
    let mut spent = 0.0;
    for seed in 0..wishes.seeds {
        for &(labels, epochs) in wishes.labels.iter().rev() {
            let dearest = recipes
                .iter()
                .map(|recipe| tune_seconds(wishes, measured, recipe.method, (labels, epochs), true))
                .fold(0.0, f64::max);
            if spent + dearest <= room {
                spent += dearest;
                trials.push(TuneTrial {
                    method: recipes[0].method,
                    labels,
                    seed,
                    learning_rate: crate::plan::LearningRate::Best,
                    epochs,
                    seconds: dearest,
                    searched: true,
                });
            }
        }
    }
    trials
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use task::predictor::{LoraVariant, TrainingMethod};
    use task::record::{Answer, Family, Prediction};

    use super::*;

    fn search(recipes: usize) -> Search {
        let recipes = (0..recipes)
            .map(|index| Recipe { method: TrainingMethod::lora(4, 8.0), learning_rate: (index + 1) as f64 });
        let recipes: Vec<Recipe> = recipes.collect();
        let rungs = rungs(recipes.len(), 256, 3, default_epochs);
        Search { recipes, rungs, follow: Vec::new(), seconds: 0.0 }
    }

    /// The result of one recipe in one round: so many of ten right.
    fn result(search: &Search, rung: usize, recipe: usize, right: usize) -> Experiment {
        let answer =
            |item| Answer::Label { gold: 0, predicted: usize::from(item >= right), scores: Vec::new() };
        Experiment {
            id: format!("{}@dev", search.name(rung, recipe)),
            family: Family::FineTune,
            method: RECIPE_SEARCH.to_owned(),
            labels_used: 0,
            shots: None,
            seed: Some(0),
            configuration: BTreeMap::new(),
            part: Part::Dev,
            predictions: (0..10)
                .map(|item| Prediction { example: item.to_string(), answer: answer(item) })
                .collect(),
            tokens: Default::default(),
            setup: Default::default(),
            seconds_per_request: 0.0,
            artefact: None,
            collapse: None,
            calls: Default::default(),
        }
    }

    #[test]
    fn each_round_has_a_third_of_the_recipes_and_twice_the_rows() {
        let search = search(18);
        // 18, 6, 2 recipes; the last round decides between two.
        assert_eq!(search.trials(), 18 + 6 + 2);
        assert_eq!(search.rungs.iter().map(|rung| rung.labels).collect::<Vec<_>>(), [64, 128, 256]);
        assert_eq!(search.rungs.iter().map(|rung| rung.epochs).collect::<Vec<_>>(), [6, 4, 3]);
        assert_eq!(rungs(2, 16, 12, default_epochs), [Rung { labels: 16, epochs: 12 }]);
    }

    #[test]
    fn the_best_third_goes_on_and_a_collapsed_recipe_goes_last() {
        let search = search(4);
        assert_eq!(search.rungs.len(), 2);
        let mut stored: Vec<Experiment> = [5, 9, 9, 7]
            .iter()
            .enumerate()
            .map(|(recipe, &right)| result(&search, 0, recipe, right))
            .collect();
        assert_eq!(search.survivors(&stored, 0), Some(vec![0, 1, 2, 3]));
        assert_eq!(search.survivors(&stored[..3], 1), None, "one is not stored yet");
        assert_eq!(search.survivors(&stored, 1), Some(vec![1, 2]));
        // A collapsed one is no survivor, however many it got right.
        stored[1].collapse = Some("one label for every input".to_owned());
        assert_eq!(search.survivors(&stored, 1), Some(vec![2, 3]));
        assert_eq!(search.winner(&stored), None);
        stored.extend([result(&search, 1, 2, 8), result(&search, 1, 3, 8)]);
        assert_eq!(search.winner(&stored).map(|recipe| recipe.learning_rate), Some(3.0), "a tie: the first");
        stored[4].collapse = Some("diverged".to_owned());
        assert_eq!(search.winner(&stored).map(|recipe| recipe.learning_rate), Some(4.0));
        stored[5].collapse = Some("diverged".to_owned());
        assert_eq!(search.winner(&stored), None, "nothing healthy is left");
    }

    #[test]
    fn a_search_that_ends_early_has_the_best_of_the_last_comparison() {
        let search = search(4);
        let mut stored = vec![result(&search, 0, 0, 9)];
        assert_eq!(search.best_so_far(&stored), None, "nothing to compare it with");
        stored.extend([result(&search, 0, 1, 5), result(&search, 0, 2, 9)]);
        let rate = |stored: &[Experiment]| search.best_so_far(stored).map(|recipe| recipe.learning_rate);
        assert_eq!(rate(&stored), Some(1.0), "a tie: the first");
        stored.push(result(&search, 1, 2, 10));
        assert_eq!(rate(&stored), Some(1.0), "one result of a round is no comparison");
        stored.push(result(&search, 1, 0, 4));
        assert_eq!(rate(&stored), Some(3.0));
    }

    #[test]
    fn a_search_takes_no_more_than_its_share_and_leaves_room_for_its_winner() {
        let wishes = Wishes { search_share: 0.3, ..crate::plan::tests::wishes(2000.0) };
        let measured = crate::plan::tests::measured();
        let wide = Search::plan(&wishes, &measured, 1000.0).expect("room for a search");
        assert!(wide.seconds <= 300.0 && wide.all_seconds() <= 1000.0, "{wide:?}");
        assert!(Search::plan(&wishes, &measured, 1.0).is_none());
        let one =
            Wishes { variants: vec![LoraVariant::Plain], ranks: vec![16], lora_rates: vec![1e-3], ..wishes };
        assert!(Search::plan(&one, &measured, 1000.0).is_none(), "nothing to choose from");
    }
}
