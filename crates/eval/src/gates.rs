//! The three conditions under which fine-tuning is the right choice, each with the number that it rests on.

use serde::{Deserialize, Serialize};

use crate::contrast::{Contrast, Outcome};
use crate::economics::{BreakEven, Cache, Economics, Payback};
use crate::interval::Estimate;
use crate::wording::{number, percent, points, range};

/// Whether a condition holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum State {
    /// It holds.
    Yes,
    /// It does not.
    No,
    /// The record cannot tell.
    Undecided,
}

/// One condition.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Gate {
    /// Whether it holds.
    pub state: State,
    /// The number that decides, where there is one.
    pub number: Option<f64>,
    /// What the number is, with its unit.
    pub meaning: String,
    /// One sentence with the numbers.
    pub reason: String,
}

/// The three conditions.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Gates {
    /// The task stays as it is for longer than fine-tuning needs to pay back.
    pub stable: Gate,
    /// The prompt is long enough, and used often enough, for a shorter one to pay back.
    pub long_and_expensive: Gate,
    /// There are enough clean labels to beat the best prompt.
    pub enough_data: Gate,
}

impl Gates {
    /// The gates in the order in which they are shown, with their names.
    pub fn named(&self) -> [(&'static str, &Gate); 3] {
        [
            ("stable", &self.stable),
            ("long_and_expensive", &self.long_and_expensive),
            ("enough_data", &self.enough_data),
        ]
    }

    pub(crate) fn new(economics: &Economics, contrast: &Contrast, margin: f64, metric: &str) -> Self {
        Self {
            stable: stable(economics),
            long_and_expensive: long_and_expensive(economics),
            enough_data: enough_data(contrast, margin, metric),
        }
    }
}

/// *Stable*: the task's life against the months until pay-back, cold and warm. Yes where the life covers both, no where it covers
/// neither (or nothing ever pays back), undecided where one is unknown or they disagree.
fn stable(economics: &Economics) -> Gate {
    let life = economics.given.task_life_months;
    let states = economics.deciding().map(|case| match (case.payback, case.months, life) {
        (Payback::Never, ..) => State::No,
        (Payback::AtOnce, ..) if !case.lower_bound => State::Yes,
        (Payback::Unknown, ..) | (_, None, _) | (_, _, None) => State::Undecided,
        (_, Some(months), Some(life)) => covers(months <= life, case.lower_bound),
    });
    let state = agreed(states, economics.both_caches());
    let shown = Shown::new(economics, state);
    let months = shown.case.and_then(|case| case.months);
    let reason = match (shown.payback(), months, life) {
        (Payback::Never, ..) if state == State::No => {
            "fine-tuning never pays back, however long the task stays as it is".to_owned()
        }
        (Payback::Never, ..) => {
            "with a warm prefix cache fine-tuning never pays back, with a cold one it does".to_owned()
        }
        (Payback::AtOnce, ..) if state == State::Yes => {
            "fine-tuning pays back from the first request".to_owned()
        }
        (Payback::Unknown, ..) => format!("the pay-back is unknown: {} is missing", shown.unknown()),
        (_, None, _) => {
            "the pay-back in months is unknown: economics.requests_per_month is not given".to_owned()
        }
        (_, Some(months), Some(life)) => format!(
            "fine-tuning pays back after {}{} months; the task is expected to stay as it is for {}{}",
            shown.at_least(),
            number(months),
            number(life),
            shown.why_open()
        ),
        (_, Some(months), None) => format!(
            "fine-tuning pays back after {}{} months, but economics.task_life_months is not given",
            shown.at_least(),
            number(months)
        ),
    };
    Gate { state, number: months, meaning: "months until fine-tuning has paid back".to_owned(), reason }
}

/// *Long and expensive*: the prompt against the length up to which fine-tuning can never pay back, then V* against the requests in
/// the task's life, cold and warm. Yes where both are reached, no where neither is, undecided otherwise.
fn long_and_expensive(economics: &Economics) -> Gate {
    let volume = expected_requests(economics);
    let states = economics.deciding().map(|case| match (case.payback, case.requests, volume) {
        (Payback::Never, ..) => State::No,
        (Payback::AtOnce, ..) if !case.lower_bound => State::Yes,
        (_, Some(requests), Some(volume)) => covers(requests <= volume, case.lower_bound),
        _ => State::Undecided,
    });
    let state = agreed(states, economics.both_caches());
    let shown = Shown::new(economics, state);
    let requests = shown.case.and_then(|case| case.requests);
    let reason = match (shown.payback(), requests, volume) {
        (Payback::Never, ..) => shown.never(),
        (Payback::AtOnce, ..) if state == State::Yes => {
            "fine-tuning took no more to set up than the prompt, and its requests are cheaper".to_owned()
        }
        (_, None, _) => format!("the break-even is unknown: {} is missing", shown.unknown()),
        (_, Some(requests), Some(volume)) => format!(
            "fine-tuning pays back after {}{} requests; {} are expected in the task's life{}",
            shown.at_least(),
            number(requests),
            number(volume),
            shown.why_open()
        ),
        (_, Some(requests), None) => format!(
            "fine-tuning pays back after {}{} requests, but {} is not given",
            shown.at_least(),
            number(requests),
            missing_volume(economics)
        ),
    };
    Gate {
        state,
        number: requests,
        meaning: "requests until fine-tuning has paid back (V*)".to_owned(),
        reason,
    }
}

/// *Enough data*: the confirmatory contrast. Yes where fine-tuned is better, no where in-context is better or the two are equivalent.
fn enough_data(contrast: &Contrast, margin: f64, metric: &str) -> Gate {
    let difference = &contrast.difference;
    let measured = format!("{} ({})", points(difference.value), range(difference.low, difference.high));
    let (state, reason) = match contrast.outcome {
        Outcome::FineTuneBetter => (
            State::Yes,
            format!("fine-tuned less in-context is {measured}: better by at least {}", points(margin)),
        ),
        Outcome::InContextBetter => (
            State::No,
            format!(
                "fine-tuned less in-context is {measured}: the prompt is better by at least {}",
                points(margin)
            ),
        ),
        Outcome::Equivalent => (
            State::No,
            format!("fine-tuned less in-context is {measured}: equivalent within {}", points(margin)),
        ),
        Outcome::Undecided => (
            State::Undecided,
            format!(
                "fine-tuned less in-context is {measured}: this does not decide about {}",
                points(margin)
            ),
        ),
    };
    Gate {
        state,
        number: Some(difference.value),
        meaning: format!("{metric} of fine-tuned less in-context, on test"),
        reason,
    }
}

/// A bound that is reached decides; one that is reached only by a lower bound on the cost does not.
fn covers(reached: bool, lower_bound: bool) -> State {
    match (reached, lower_bound) {
        (false, _) => State::No,
        (true, false) => State::Yes,
        (true, true) => State::Undecided,
    }
}

/// What all states say; undecided where they disagree, where there are none, and where they say yes without one state of the cache.
fn agreed(states: impl Iterator<Item = State>, complete: bool) -> State {
    match states.reduce(|left, right| if left == right { left } else { State::Undecided }) {
        Some(State::Yes) if !complete => State::Undecided,
        state => state.unwrap_or(State::Undecided),
    }
}

/// Requests in the task's life.
pub(crate) fn expected_requests(economics: &Economics) -> Option<f64> {
    Some(economics.given.requests_per_month? * economics.given.task_life_months?)
}

fn missing_volume(economics: &Economics) -> &'static str {
    match (economics.given.requests_per_month, economics.given.task_life_months) {
        (None, None) => "neither economics.requests_per_month nor economics.task_life_months",
        (None, Some(_)) => "economics.requests_per_month",
        _ => "economics.task_life_months",
    }
}

/// The case that a gate's sentence is about.
struct Shown<'a> {
    economics: &'a Economics,
    case: Option<&'a BreakEven>,
    state: State,
}

impl<'a> Shown<'a> {
    fn new(economics: &'a Economics, state: State) -> Self {
        Self { economics, case: economics.main(), state }
    }

    fn payback(&self) -> Payback {
        self.case.map_or(Payback::Unknown, |case| case.payback)
    }

    fn at_least(&self) -> &'static str {
        if self.case.is_some_and(|case| case.lower_bound) { "at least " } else { "" }
    }

    fn unknown(&self) -> String {
        match self.case {
            Some(case) if !case.unknown.is_empty() => case.unknown.join(", "),
            _ => "a price".to_owned(),
        }
    }

    fn never(&self) -> String {
        let up_to = self.case.and_then(|case| case.never_up_to_prefix);
        let start = match (self.economics.in_context.prefix, up_to) {
            (Some(prefix), Some(up_to)) => format!(
                "the prompt's {} tokens are not more than the {} up to which fine-tuning can never pay back",
                number(prefix),
                number(up_to)
            ),
            _ => "a fine-tuned request is not cheaper than one with the prompt".to_owned(),
        };
        if self.state == State::No {
            return start;
        }
        let cold =
            self.economics.deciding().find(|case| case.cache == Cache::Cold).and_then(|case| case.requests);
        let cold = cold.map_or_else(String::new, |requests| {
            format!("; without a cache it pays back after {} requests", number(requests))
        });
        format!("with a warm prefix cache {start}{cold}")
    }

    /// Why a gate stays undecided although its numbers are known.
    fn why_open(&self) -> String {
        match self.case {
            Some(case) if self.state == State::Undecided && case.lower_bound => {
                format!("; not counted: {}", case.unknown.join(", "))
            }
            _ if self.state != State::Undecided => String::new(),
            _ if self.economics.both_caches() => "; a cold and a warm prefix cache disagree".to_owned(),
            _ => "; the price of cached tokens is not given".to_owned(),
        }
    }
}

/// `fine-tuned is 5.1 points better on test (72.0% against 66.9%; interval 1.2 to 9.0 points)`, whichever is.
pub(crate) fn comparison([in_context, fine_tune]: [f64; 2], difference: &Estimate) -> String {
    let ahead = difference.value >= 0.0;
    let (side, better, worse) =
        if ahead { ("fine-tuned", fine_tune, in_context) } else { ("in-context", in_context, fine_tune) };
    let (low, high) =
        if ahead { (difference.low, difference.high) } else { (-difference.high, -difference.low) };
    format!(
        "{side} is {} better on test ({} against {}; interval {})",
        points(difference.value.abs()),
        percent(better),
        percent(worse),
        range(low, high)
    )
}
