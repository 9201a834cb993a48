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

mod break_even;
mod prices;

use serde::{Deserialize, Serialize};
use task::date::months_between;
use task::record::{self, Experiment, Family, PriceSource, TokensPerRequest};

use crate::effort::Effort;
use crate::evidence::Evidence;
pub use break_even::{BreakEven, Cache, Payback, Unit};
use prices::{Prices, money_prices};

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
