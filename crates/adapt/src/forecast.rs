//! What a run would do, before it does it: every experiment with its tokens, seconds and money.

use serde::{Deserialize, Serialize};
use task::dataset::Dataset;
use task::record::{Economics, RECIPE_SEARCH};
use task::settings::Settings;

use crate::Error;
use crate::engine::Engine;
use crate::measure;
use crate::plan::{LearningRate, Measured, Plan};
use crate::writer::PromptWriter;

/// A plan with what it costs.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Forecast {
    /// The prompts, in the order in which they are tried.
    pub prompts: Vec<Planned>,
    /// The training runs.
    pub trainings: Vec<Planned>,
    /// What the budget or the context has no room for.
    pub left_out: Vec<String>,
    /// What is tried where time is left, the prompting arm's and the fine-tuning arm's, in order.
    pub reserve: [Vec<String>; 2],
    /// What the estimates rest on: speeds of this machine and lengths of this task's texts.
    pub measured: Measured,
}

/// One experiment, dev and test together.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Planned {
    /// Its name.
    pub name: String,
    /// Tokens that are read or trained on, every one counted.
    pub tokens: f64,
    /// Estimated seconds.
    pub seconds: f64,
    /// What an endpoint would ask for it at the prices given; `None` where a price that it needs is not.
    pub money: Option<f64>,
}

/// Tokens by how they are paid for.
#[derive(Clone, Copy, Default)]
struct Tokens {
    prompt: f64,
    cached: f64,
    completion: f64,
    training: f64,
}

impl Tokens {
    fn all(self) -> f64 {
        self.prompt + self.cached + self.completion + self.training
    }

    /// `factor` is the price of a tuned model's token over the base's.
    fn money(self, prices: &Economics, factor: f64) -> Option<f64> {
        let priced = |tokens: f64, price: Option<f64>| {
            if tokens == 0.0 { Some(0.0) } else { Some(tokens * price? / 1e6) }
        };
        let asked = priced(self.prompt, prices.input_price)?
            + priced(self.cached, prices.cached_input_price.or(prices.input_price))?
            + priced(self.completion, prices.output_price)?;
        Some(factor * asked + priced(self.training, prices.training_price)?)
    }
}

/// Measures lengths and speeds on this machine (some seconds) and plans; nothing is stored.
///
/// # Errors
/// Those of the model that is measured, and of prompts that cannot be rendered.
pub fn forecast(settings: &Settings, dataset: &Dataset, engine: &dyn Engine) -> Result<Forecast, Error> {
    let writer = PromptWriter::new(settings, dataset, engine)?;
    let measured = measure::measure(settings, dataset, &writer, engine)?;
    let plan = Plan::new(&measure::wishes(settings, dataset), &measured);
    Ok(of_plan(&plan, &measured, [dataset.dev.len(), dataset.test.len()], &settings.economics))
}

/// The costs of `plan` where `[dev, test]` examples are answered.
fn of_plan(plan: &Plan, measured: &Measured, [dev, test]: [usize; 2], prices: &Economics) -> Forecast {
    let (dev, test) = (dev as f64, test as f64);
    let answer = (measured.demonstration - measured.query).max(1.0);
    let prompts = plan.prompts.iter().map(|trial| {
        let shown = measured.instruction + trial.shots as f64 * measured.demonstration;
        let requests = dev + test;
        // A random draw is the same for all requests: an endpoint reads it from its cache after the first.
        let own = trial.selection.retrieved(trial.shots) as f64 * measured.demonstration;
        let shared = shown - own;
        let tokens = Tokens {
            prompt: shared + requests * (shown - shared + measured.query),
            cached: (requests - 1.0).max(0.0) * shared,
            completion: requests * answer,
            training: 0.0,
        };
        planned(trial.name(), tokens, trial.seconds(), prices, 1.0)
    });
    // What it asks depends on what dev prefers: tokens that take as long.
    let search = plan.prompt_search.iter().map(|&seconds| {
        let tokens = Tokens { prompt: seconds * measured.forward_speed, ..Tokens::default() };
        planned("in_context/searched".to_owned(), tokens, seconds, prices, 1.0)
    });
    let scored = |epochs: usize| crate::plan::evaluated_epochs(epochs).len() as f64 * dev;
    let training = |(name, seconds): (String, f64), rows: f64, asked: f64, longer: f64| {
        let tokens = Tokens {
            prompt: asked * (measured.query + longer),
            cached: 0.0,
            completion: asked * answer,
            training: rows * (measured.demonstration + longer),
        };
        planned(name, tokens, seconds, prices, prices.tuned_multiplier.unwrap_or(1.0))
    };
    let follow = plan.search.iter().flat_map(|search| &search.follow);
    let searches = plan.search.iter().map(|search| {
        let (mut rows, mut asked) = (0.0, 0.0);
        for (trials, rung) in search.rounds() {
            rows += (trials * rung.epochs * rung.labels) as f64;
            asked += trials as f64 * scored(rung.epochs);
        }
        let name = format!("fine_tune/{RECIPE_SEARCH} ({} trainings)", search.trials());
        training((name, search.seconds), rows, asked, 0.0)
    });
    let hybrids = plan.hybrids.iter().map(|trial| {
        let rows = (trial.epochs * trial.labels) as f64;
        let longer = trial.shots as f64 * measured.demonstration;
        training((trial.name(), trial.seconds), rows, scored(trial.epochs) + test, longer)
    });
    let trainings = plan.tunes.iter().chain(follow).map(|trial| {
        let rate = match trial.learning_rate {
            LearningRate::Candidate(rate) => format!("lr{rate}"),
            LearningRate::Best => "best lr".to_owned(),
        };
        let name = format!("fine_tune/{}/n{}/{rate}/s{}", trial.method_name(), trial.labels, trial.seed);
        let rows = (trial.epochs * trial.labels) as f64;
        training((name, trial.seconds), rows, scored(trial.epochs) + test, 0.0)
    });
    Forecast {
        prompts: prompts.chain(search).collect(),
        trainings: trainings.chain(searches).chain(hybrids).collect(),
        left_out: plan.left_out.clone(),
        reserve: plan.reserve.names(),
        measured: *measured,
    }
}

fn planned(name: String, tokens: Tokens, seconds: f64, prices: &Economics, factor: f64) -> Planned {
    Planned { name, tokens: tokens.all(), seconds, money: tokens.money(prices, factor) }
}

#[cfg(test)]
mod tests {
    use task::predictor::TrainingMethod;

    use super::*;
    use crate::plan::{PromptTrial, Selection, TuneTrial};

    #[test]
    fn costs_are_the_hand_computed_ones() {
        let measured = Measured {
            forward_speed: 1000.0,
            training_speed: 500.0,
            instruction: 10.0,
            demonstration: 24.0,
            query: 20.0,
            longest_query: 40,
            longest_demonstration: 44,
            answers: 0.0,
            searched: None,
            writing: 0.0,
            unshown_writing: 0.0,
            context: 2048,
        };
        let prompt = |selection| PromptTrial {
            selection,
            shots: 4,
            seed: 0,
            dev_seconds: 0.25,
            test_seconds: 0.75,
            searched: false,
            unlisted: false,
        };
        let tune = TuneTrial {
            method: TrainingMethod::Full,
            labels: 100,
            seed: 0,
            learning_rate: LearningRate::Best,
            epochs: 4,
            seconds: 2.0,
            searched: false,
        };
        let plan = Plan {
            prompts: vec![prompt(Selection::Random), prompt(Selection::Bm25)],
            tunes: vec![tune],
            ..Plan::default()
        };
        let prices = Economics {
            input_price: Some(1.0),
            cached_input_price: Some(0.1),
            output_price: Some(4.0),
            training_price: Some(3.0),
            tuned_multiplier: Some(2.0),
            ..Economics::default()
        };
        let forecast = of_plan(&plan, &measured, [10, 40], &prices);
        // Random: prefix 10 + 4 x 24 = 106 once and 49 times cached; 50 queries of 20; 50 answers of 4.
        assert_eq!(forecast.prompts[0].tokens, 106.0 + 49.0 * 106.0 + 50.0 * 20.0 + 50.0 * 4.0);
        let money = (1106.0 + 0.1 * 49.0 * 106.0 + 4.0 * 200.0) / 1e6;
        assert!((forecast.prompts[0].money.expect("prices are given") - money).abs() < 1e-12);
        // Retrieved: the instruction alone is shared: 10 + 50 x (96 + 20) full, 490 cached, 200 out.
        assert_eq!(forecast.prompts[1].tokens, 5810.0 + 490.0 + 200.0);
        // Full: 4 epochs of 100 rows of 24; dev four times and test once: 80 queries, 80 answers, at twice the price.
        assert_eq!(forecast.trainings[0].tokens, 9600.0 + 1600.0 + 320.0);
        let money = (3.0 * 9600.0 + 2.0 * (1600.0 + 4.0 * 320.0)) / 1e6;
        assert!((forecast.trainings[0].money.expect("prices are given") - money).abs() < 1e-12);
        let unknown = of_plan(&plan, &measured, [10, 40], &Economics::default());
        assert_eq!(unknown.prompts[0].money, None, "an unknown price is not zero");
    }
}
