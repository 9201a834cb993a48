//! What each arm costs, and after how many requests fine-tuning pays back.
//!
//! With p the price of an uncached prompt token, r the price of a cached one and rho that of a completion token relative to p, m the
//! price of a tuned model's token over the base's, and H the hosting a month at V requests a month:
//! - C_ICL = p (uncached + r cached + rho completion), the tokens being those measured for the in-context finalist,
//! - C_FT = m p (uncached + r cached + rho completion) + H / V, for the fine-tuned finalist,
//! - S = what the fine-tuning arm took beyond the in-context arm: training tokens x their price against prompt tokens x p, and the
//!   labels that only fine-tuning needed; losing candidates and failed runs of both arms included,
//! - V* = S / (C_ICL - C_FT): the requests after which fine-tuning has paid back; never, where C_ICL <= C_FT.
//!
//! The same is counted in three units, each with a cold and with a warm prefix cache (no token cached; as many as were measured):
//! - **money**, where the prices are known,
//! - **full-price prompt tokens**: p = 1; r, rho and m as given, otherwise 0 (a cached token needs no computation), 1 and 1 (as on own
//!   hardware); hosting and labels have no price in tokens and are left out; S is the setup's operations over 2N, the operations of one token forward,
//! - **operations** (FLOPs): 2N for every token that is not cached, N parameters (attention over the context is left out).
//!
//! A prefix cache has its own prices: with a cold cache the tokens that a warm one would hold are written to it (w, where a price
//! is given), and a prompt shorter than the provider's minimum is never cached.
//!
//! V* has an interval where the finalists' requests were timed one by one: Student's, of the mean difference of their costs, turned
//! into requests. Where its lower end is no saving at all, the interval reaches to "never".
//!
//! In money, what is unknown is never taken for zero silently: it is counted at the least it can be (hosting and labels 0, m 1), named in
//! [`BreakEven::unknown`], and V* is then marked as a lower bound. An unknown training price leaves V* itself unknown.

use serde::{Deserialize, Serialize};
use task::date::months_between;
use task::record::{self, Experiment, Family, PriceSource, TokensPerRequest};

use crate::effort::Effort;
use crate::evidence::Evidence;
use crate::mean::student;
use crate::wording::number;

/// The economics of the two finalists, with everything they rest on.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Economics {
    /// The in-context side.
    pub in_context: ArmCost,
    /// The fine-tuned side.
    pub fine_tune: ArmCost,
    /// Parameters of the model (N).
    pub parameters: u64,
    /// Volume and prices as the user gave them.
    pub given: record::Economics,
    /// Every unit and state of the cache that could be counted.
    pub cases: Vec<BreakEven>,
    /// The unit that the verdict looks at: money where V* is known in money, otherwise full-price tokens.
    pub unit: Unit,
    /// Where the prices come from, if from a file.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub prices: Option<PriceSource>,
    /// Months until the base model is shut down, where its day and that of the decision are known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub base_months: Option<f64>,
}

/// For how long an adapter can be of use.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Life {
    /// Months.
    pub months: f64,
    /// Whether it is the base model's shutdown that ends it, not the task's change.
    pub ends_with_base: bool,
    /// Whether it may be shorter: the task's own life is not given.
    pub at_most: bool,
}

/// What one arm's finalist costs.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ArmCost {
    /// The finalist.
    pub experiment: String,
    /// Tokens of a request, as measured.
    pub tokens: TokensPerRequest,
    /// Of the prompt, the tokens that the adaptation adds (instruction and demonstrations); `None` where not recorded.
    pub prefix: Option<f64>,
    /// Operations of one request with a cold cache: 2N (prompt + completion).
    pub flops_cold: f64,
    /// Operations of one request with a warm cache: 2N (prompt - cached + completion).
    pub flops_warm: f64,
    /// Money for one request with a cold cache, hosting left out.
    pub money_cold: Option<f64>,
    /// Money for one request with a warm cache, hosting left out.
    pub money_warm: Option<f64>,
    /// Work of the whole arm.
    pub effort: Effort,
}

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

/// The price of each kind of token in a unit.
#[derive(Clone, Copy)]
struct Prices {
    prompt: f64,
    cached: f64,
    /// Of a token that is written to the cache.
    write: f64,
    /// Fewest tokens of a prompt that is cached.
    minimum: f64,
    completion: f64,
    /// m.
    tuned: f64,
    /// H / V.
    hosting: f64,
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

impl Prices {
    fn request(&self, tokens: &TokensPerRequest, cache: Cache) -> f64 {
        let cacheable = if tokens.prompt < self.minimum { 0.0 } else { tokens.cached.min(tokens.prompt) };
        let each = if cache == Cache::Warm { self.cached } else { self.write };
        // An unknown price of cached tokens is not a number; it matters only where some are cached.
        let from_cache = if cacheable > 0.0 { cacheable * each } else { 0.0 };
        (tokens.prompt - cacheable) * self.prompt + from_cache + tokens.completion * self.completion
    }
}

impl Economics {
    /// Counts the finalists of `evidence`.
    pub(crate) fn new(evidence: &Evidence<'_>) -> Self {
        let given = evidence.record.economics.clone();
        let parameters = evidence.record.model.parameters;
        let money = money_prices(&given);
        let arm = |experiment: &Experiment, family, tuned: f64| {
            ArmCost::new(
                experiment,
                Effort::of(evidence, family),
                parameters,
                money.map(|prices| (prices, tuned)),
            )
        };
        let tuned = money.map_or(1.0, |prices| prices.tuned);
        let mut economics = Self {
            in_context: arm(evidence.in_context().experiment, Family::InContext, 1.0),
            fine_tune: arm(evidence.fine_tune().experiment, Family::FineTune, tuned),
            parameters,
            given,
            cases: Vec::new(),
            unit: Unit::FullPriceTokens,
            prices: evidence.record.prices.clone(),
            base_months: base_months(evidence.record),
        };
        for unit in [Unit::Money, Unit::FullPriceTokens, Unit::Flops] {
            for cache in [Cache::Cold, Cache::Warm] {
                let case = economics.case(unit, cache, evidence);
                economics.cases.extend(case);
            }
        }
        let known = |case: &BreakEven| case.unit == Unit::Money && case.payback != Payback::Unknown;
        if economics.cases.iter().any(known) {
            economics.unit = Unit::Money;
        }
        economics
    }

    /// The cases that the verdict looks at: cold and warm, in the deciding unit.
    pub fn deciding(&self) -> impl Iterator<Item = &BreakEven> {
        self.cases.iter().filter(|case| case.unit == self.unit)
    }

    /// The deciding case that is shown: with a warm cache, as measured; with a cold one where the price of cached tokens is not known.
    pub fn main(&self) -> Option<&BreakEven> {
        self.deciding().find(|case| case.cache == Cache::Warm).or_else(|| self.deciding().next())
    }

    /// Whether both states of the cache could be counted in the deciding unit.
    pub fn both_caches(&self) -> bool {
        self.deciding().count() == 2
    }

    fn case(&self, unit: Unit, cache: Cache, evidence: &Evidence<'_>) -> Option<BreakEven> {
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

    /// For how long an adapter can be of use: until the task changes or the base model is shut down, whichever is first. `None`
    /// where neither is given.
    pub fn life(&self) -> Option<Life> {
        match (self.given.task_life_months, self.base_months) {
            (Some(task), Some(base)) if base < task => {
                Some(Life { months: base.max(0.0), ends_with_base: true, at_most: false })
            }
            (Some(task), _) => Some(Life { months: task, ends_with_base: false, at_most: false }),
            (None, Some(base)) => Some(Life { months: base.max(0.0), ends_with_base: true, at_most: true }),
            (None, None) => None,
        }
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

impl ArmCost {
    fn new(experiment: &Experiment, effort: Effort, parameters: u64, money: Option<(Prices, f64)>) -> Self {
        let tokens = experiment.tokens;
        let forward = 2.0 * parameters as f64;
        let all = tokens.prompt + tokens.completion;
        let priced = |cache| money.map(|(prices, factor)| factor * prices.request(&tokens, cache));
        // Without a price for cached tokens a request that has some cannot be priced.
        let cached_priced =
            money.is_some_and(|(prices, _)| prices.cached.is_finite()) || tokens.cached == 0.0;
        Self {
            experiment: experiment.id.clone(),
            tokens,
            prefix: experiment.artefact.as_ref().map(|artefact| artefact.prompt_tokens as f64),
            flops_cold: forward * all,
            flops_warm: forward * (all - tokens.cached.min(tokens.prompt)),
            money_cold: priced(Cache::Cold),
            money_warm: if cached_priced { priced(Cache::Warm) } else { None },
            effort,
        }
    }
}

/// Months from the day of the decision to the base model's shutdown.
fn base_months(record: &record::RunRecord) -> Option<f64> {
    months_between(record.decided_on.as_deref()?, record.economics.base_shutdown.as_deref()?)
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

/// Money a token; `None` without the prices of prompt and completion. An unknown price of cached tokens is not a number.
fn money_prices(given: &record::Economics) -> Option<Prices> {
    Some(Prices {
        prompt: given.input_price? / 1e6,
        cached: given.cached_input_price.map_or(f64::NAN, |price| price / 1e6),
        write: given.cache_write_price.or(given.input_price)? / 1e6,
        minimum: given.cache_minimum_tokens.unwrap_or(0.0),
        completion: given.output_price? / 1e6,
        tuned: given.tuned_multiplier.unwrap_or(1.0),
        hosting: 0.0,
    })
}

/// Prices relative to that of an uncached prompt token.
fn relative_prices(given: &record::Economics) -> Prices {
    let relative = |price: Option<f64>| Some(price? / given.input_price.filter(|price| *price > 0.0)?);
    Prices {
        prompt: 1.0,
        cached: relative(given.cached_input_price).unwrap_or(0.0),
        write: relative(given.cache_write_price).unwrap_or(1.0),
        minimum: given.cache_minimum_tokens.unwrap_or(0.0),
        completion: relative(given.output_price).unwrap_or(1.0),
        tuned: given.tuned_multiplier.unwrap_or(1.0),
        hosting: 0.0,
    }
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
