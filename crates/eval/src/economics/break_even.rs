//! After how many requests fine-tuning pays back, in one unit and one state of the cache.

use serde::{Deserialize, Serialize};
use task::record::{self, TokensPerRequest};

use super::Economics;
use super::prices::{Prices, money_prices, relative_prices};
use crate::evidence::Evidence;
use crate::mean::student;
use crate::wording::number;

/// What costs are counted in.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Unit {
    /// The currency of the prices.
    Money,
    /// Uncached prompt tokens of the base model.
    FullPriceTokens,
    /// Floating-point operations.
    Flops,
}

/// State of the prefix cache.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Cache {
    /// No token is cached.
    Cold,
    /// As many tokens are cached as were measured.
    Warm,
}

/// When fine-tuning pays back.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Payback {
    /// Its setup took no more than the prompt's and its requests are cheaper.
    AtOnce,
    /// After V* requests.
    After,
    /// Its requests are not cheaper.
    Never,
    /// A cost is unknown: see [`BreakEven::unknown`].
    Unknown,
}

/// The break-even in one unit and one state of the cache.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct BreakEven {
    /// What is counted.
    pub unit: Unit,
    /// State of the cache.
    pub cache: Cache,
    /// C_ICL: one request of the in-context finalist.
    pub in_context: f64,
    /// C_FT: one request of the fine-tuned finalist, hosting included where known.
    pub fine_tune: f64,
    /// S: setup of the fine-tuning arm beyond that of the in-context arm; `None` where unknown.
    pub setup: Option<f64>,
    /// What follows.
    pub payback: Payback,
    /// V*, where it exists.
    pub requests: Option<f64>,
    /// Where requests were timed one by one: the interval of V* at the decision's confidence. An upper end of `None` is
    /// "never".
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub interval: Option<[Option<f64>; 2]>,
    /// V* over the requests a month, where both are known.
    pub months: Option<f64>,
    /// The number of instruction and demonstration tokens at or under which fine-tuning can never pay back; `None` where the prompt's
    /// share is not recorded, or where no prompt is long enough because cached tokens cost nothing.
    pub never_up_to_prefix: Option<f64>,
    /// Costs that were not given and are counted at the least they can be.
    pub unknown: Vec<String>,
    /// Whether V* is only a lower bound, because of what is unknown.
    pub lower_bound: bool,
    /// The formula with its numbers.
    pub formula: String,
}

impl BreakEven {
    /// The break-even in a sentence, with its numbers and what they are counted in.
    pub fn sentence(&self) -> String {
        let unit = match self.unit {
            Unit::Money => "in the currency of the prices",
            Unit::FullPriceTokens => "in prompt tokens at full price",
            Unit::Flops => "in floating-point operations",
        };
        let cache = if self.cache == Cache::Warm { "warm" } else { "cold" };
        let each = format!(
            "a request costs {} with the prompt and {} fine-tuned ({unit}, with a {cache} prefix cache)",
            number(self.in_context),
            number(self.fine_tune)
        );
        let at_least = if self.lower_bound { "at least " } else { "" };
        match (self.payback, self.requests, self.setup) {
            (Payback::Never, ..) => format!("never; {each}"),
            (Payback::AtOnce, ..) => format!("{at_least}from the first request on; {each}"),
            (Payback::After, Some(requests), Some(setup)) => {
                let (requests, setup) = (number(requests), number(setup));
                format!(
                    "after {at_least}{requests} requests; {each}, and fine-tuning took {setup} more to set up"
                )
            }
            _ => format!("unknown, for want of {}; {each}", self.unknown.join(", ")),
        }
    }
}

impl Economics {
    pub(super) fn case(&self, unit: Unit, cache: Cache, evidence: &Evidence<'_>) -> Option<BreakEven> {
        let mut unknown = Vec::new();
        let forward = 2.0 * self.parameters as f64;
        let prices = match unit {
            Unit::Money => {
                let mut prices = money_prices(&self.given)?;
                if cache == Cache::Warm && self.given.cached_input_price.is_none() && self.any_cached() {
                    return None;
                }
                prices.hosting = self.hosting(&mut unknown);
                if self.given.tuned_multiplier.is_none() {
                    unknown.push("tuned_multiplier".to_owned());
                }
                prices
            }
            Unit::FullPriceTokens => relative_prices(&self.given),
            Unit::Flops => {
                let own = relative_prices(&record::Economics::default());
                Prices { prompt: forward, write: forward, completion: forward, ..own }
            }
        };
        if unit != Unit::Money && self.parameters == 0 {
            unknown.push("parameters of the model".to_owned());
        }
        let setup = self.setup(unit, &mut unknown);
        let mut case = self.break_even(unit, cache, prices, setup, unknown);
        case.interval = interval(&case, prices, evidence);
        Some(case)
    }

    fn any_cached(&self) -> bool {
        self.in_context.tokens.cached > 0.0 || self.fine_tune.tokens.cached > 0.0
    }

    /// H / V, 0 where either is unknown.
    fn hosting(&self, unknown: &mut Vec<String>) -> f64 {
        match (self.given.hosting_per_month, self.given.requests_per_month) {
            (Some(0.0), _) => 0.0,
            (Some(hosting), Some(requests)) => hosting / requests,
            (Some(_), None) => {
                unknown.push("requests_per_month (to share the hosting)".to_owned());
                0.0
            }
            (None, _) => {
                unknown.push("hosting_per_month".to_owned());
                0.0
            }
        }
    }

    /// S in `unit`.
    fn setup(&self, unit: Unit, unknown: &mut Vec<String>) -> Option<f64> {
        let (tuned, prompt) = (&self.fine_tune.effort, &self.in_context.effort);
        let operations = (tuned.flops > 0.0).then_some(tuned.flops - prompt.flops);
        match unit {
            Unit::Flops => operations.or_else(|| missing(unknown, "operations of the training")),
            Unit::FullPriceTokens => {
                let forward = 2.0 * self.parameters as f64;
                let tokens = operations.filter(|_| forward > 0.0).map(|flops| flops / forward);
                tokens.or_else(|| missing(unknown, "operations of the training"))
            }
            Unit::Money => {
                let labels = tuned.labels as f64 - prompt.labels as f64;
                let labelling = match self.given.price_per_label {
                    Some(price) => labels * price,
                    None if labels > 0.0 => {
                        unknown.push("price_per_label".to_owned());
                        0.0
                    }
                    None => 0.0,
                };
                let prompting = prompt.tokens as f64 * self.given.input_price? / 1e6;
                match self.given.training_price {
                    Some(price) => Some(tuned.tokens as f64 * price / 1e6 - prompting + labelling),
                    None => missing(unknown, "training_price"),
                }
            }
        }
    }

    fn break_even(
        &self,
        unit: Unit,
        cache: Cache,
        prices: Prices,
        setup: Option<f64>,
        unknown: Vec<String>,
    ) -> BreakEven {
        let in_context = prices.request(&self.in_context.tokens, cache);
        let fine_tune = prices.tuned * prices.request(&self.fine_tune.tokens, cache) + prices.hosting;
        let saved = in_context - fine_tune;
        let (payback, requests) = match setup {
            _ if saved <= 0.0 => (Payback::Never, None),
            None => (Payback::Unknown, None),
            Some(setup) if setup <= 0.0 => (Payback::AtOnce, Some(0.0)),
            Some(setup) => (Payback::After, Some(setup / saved)),
        };
        let months = requests.and_then(|requests| Some(requests / self.given.requests_per_month?));
        let lower_bound = requests.is_some() && !unknown.is_empty();
        BreakEven {
            unit,
            cache,
            in_context,
            fine_tune,
            setup,
            payback,
            requests,
            interval: None,
            months,
            never_up_to_prefix: self.never_up_to(cache, prices, fine_tune),
            unknown,
            lower_bound,
            formula: formula(setup, in_context, fine_tune, payback, requests),
        }
    }

    /// The prefix at which C_ICL = C_FT, the query, the answer and the cached share of the prefix staying as they are.
    fn never_up_to(&self, cache: Cache, prices: Prices, fine_tune: f64) -> Option<f64> {
        let tokens = &self.in_context.tokens;
        let prefix = self.in_context.prefix?;
        let cacheable = tokens.prompt >= prices.minimum;
        let cached = if cacheable { tokens.cached.min(prefix) } else { 0.0 };
        let share = if prefix > 0.0 { cached / prefix } else { 0.0 };
        let of_cache = if cache == Cache::Warm { prices.cached } else { prices.write };
        let of_cache = if share > 0.0 { share * of_cache } else { 0.0 };
        let each = (1.0 - share) * prices.prompt + of_cache;
        let rest = TokensPerRequest {
            prompt: (tokens.prompt - prefix).max(0.0),
            cached: (tokens.cached - cached).max(0.0),
            completion: tokens.completion,
        };
        // The rest of the prompt is not short by itself: it stands behind the prefix.
        let rest =
            Prices { minimum: if cacheable { 0.0 } else { f64::INFINITY }, ..prices }.request(&rest, cache);
        (each > 0.0).then(|| ((fine_tune - rest) / each).max(0.0))
    }
}

/// The interval of V*: the setup over the ends of Student's interval of what a request saves, around the saving of all test items.
/// `None` where V* does not exist or fewer than two requests of both finalists were timed.
fn interval(case: &BreakEven, prices: Prices, evidence: &Evidence<'_>) -> Option<[Option<f64>; 2]> {
    let setup = case.setup.filter(|_| case.payback == Payback::After)?;
    let [prompt, tuned] = [evidence.in_context(), evidence.fine_tune()].map(|f| &f.experiment.calls.timed);
    let saved: Vec<f64> = prompt
        .iter()
        .zip(tuned)
        .map(|(prompt, tuned)| {
            prices.request(&prompt.tokens, case.cache)
                - prices.tuned * prices.request(&tuned.tokens, case.cache)
        })
        .collect();
    let student = student(&saved, evidence.record.decision.confidence).ok()?;
    let mean = case.in_context - case.fine_tune;
    let [least, most] = [mean + student.low - student.value, mean + student.high - student.value];
    let requests = |saved: f64| (saved > 0.0).then(|| setup / saved);
    Some([requests(most), requests(least)])
}

fn missing(unknown: &mut Vec<String>, name: &str) -> Option<f64> {
    unknown.push(name.to_owned());
    None
}

fn formula(
    setup: Option<f64>,
    in_context: f64,
    fine_tune: f64,
    payback: Payback,
    requests: Option<f64>,
) -> String {
    let costs = format!("C_ICL {} - C_FT {}", number(in_context), number(fine_tune));
    let setup = setup.map_or_else(|| "unknown".to_owned(), number);
    match (payback, requests) {
        (Payback::Never, _) => {
            format!("V* = S {setup} / ({costs}): never, a fine-tuned request is not cheaper")
        }
        (Payback::Unknown, _) | (_, None) => format!("V* = S unknown / ({costs})"),
        (_, Some(requests)) => format!("V* = S {setup} / ({costs}) = {} requests", number(requests)),
    }
}
