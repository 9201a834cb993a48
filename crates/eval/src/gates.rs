//! The three conditions under which fine-tuning is the right choice, each with the number that it rests on.

use serde::{Deserialize, Serialize};

use crate::contrast::{Contrast, Outcome};
use crate::economics::{BreakEven, Cache, Economics, Life, Payback};
use crate::interval::Estimate;
use crate::requirement::Requirement;
use crate::wording::{count, number, percent, points, range};

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

    pub(crate) fn new(
        economics: &Economics,
        contrast: &Contrast,
        requirement: &Requirement,
        margin: f64,
        metric: &str,
    ) -> Self {
        Self {
            stable: stable(economics),
            long_and_expensive: long_and_expensive(economics),
            enough_data: enough_data(contrast, requirement, margin, metric),
        }
    }
}

/// *Stable*: the task's life against the months until pay-back, cold and warm. Yes where the life covers both, no where it covers
/// neither (or nothing ever pays back), undecided where one is unknown or they disagree.
fn stable(economics: &Economics) -> Gate {
    let life = economics.life();
    let states = economics.deciding().map(|case| match (case.payback, case.months, life) {
        (Payback::Never, ..) => State::No,
        (Payback::AtOnce, ..) if !case.lower_bound => State::Yes,
        (Payback::Unknown, ..) | (_, None, _) | (_, _, None) => State::Undecided,
        // A life that may be shorter closes the gate, but does not open it.
        (_, Some(months), Some(life)) => covers(months <= life.months, case.lower_bound || life.at_most),
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
            "fine-tuning pays back after {}{} months; {}{}",
            shown.at_least(),
            number(months),
            lasts(economics, life),
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

/// For how long an adapter can be of use, and what ends it.
fn lasts(economics: &Economics, life: Life) -> String {
    let months = number(life.months);
    if !life.ends_with_base {
        return format!("the task is expected to stay as it is for {months}");
    }
    let day = economics.given.base_shutdown.as_deref().unwrap_or_default();
    let task = if life.at_most { "; economics.task_life_months is not given" } else { "" };
    format!("the base model, and its adapters with it, is shut down on {day}, in {months}{task}")
}

/// *Long and expensive*: the prompt against the length up to which fine-tuning can never pay back, then V* against the requests in
/// the task's life, cold and warm. Yes where both are reached, no where neither is, undecided otherwise.
fn long_and_expensive(economics: &Economics) -> Gate {
    let volume = expected_requests(economics);
    let at_most = economics.life().is_some_and(|life| life.at_most);
    let states = economics.deciding().map(|case| match (case.payback, case.requests, volume) {
        (Payback::Never, ..) => State::No,
        (Payback::AtOnce, ..) if !case.lower_bound => State::Yes,
        (_, Some(requests), Some(volume)) => covers(requests <= volume, case.lower_bound || at_most),
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
            "fine-tuning pays back after {}{} requests{}; {} are expected in {}{}",
            shown.at_least(),
            number(requests),
            shown.interval(),
            number(volume),
            if economics.life().is_some_and(|life| life.ends_with_base) {
                "the base model's life"
            } else {
                "the task's life"
            },
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

/// *Enough data*: the confirmatory contrast, or the labels until fine-tuning draws level. Yes where fine-tuned is better, or
/// where more labels than it used are there and the whole interval of the crossing lies below them; no where in-context is
/// better or the two are equivalent, and the crossing does not say otherwise; undecided where neither decides.
fn enough_data(contrast: &Contrast, requirement: &Requirement, margin: f64, metric: &str) -> Gate {
    let difference = &contrast.difference;
    let measured = format!("{} ({})", points(difference.value), range(difference.low, difference.high));
    let (state, found) = match contrast.outcome {
        Outcome::FineTuneBetter => (State::Yes, format!("better by at least {}", points(margin))),
        Outcome::InContextBetter => {
            (State::No, format!("the prompt is better by at least {}", points(margin)))
        }
        Outcome::Equivalent => (State::No, format!("equivalent within {}", points(margin))),
        Outcome::Undecided if contrast.left_open_by_runs() => {
            (State::Undecided, "other draws and seeds may turn it round".to_owned())
        }
        Outcome::Undecided => (State::Undecided, format!("this does not decide about {}", points(margin))),
    };
    let mut reason = format!("fine-tuned less in-context is {measured}: {found}");
    let untried = requirement.available > requirement.used;
    let state = match (state, requirement.within_reach()) {
        (State::Yes, _) => State::Yes,
        (_, Some(true)) if untried => {
            reason += &format!(
                "; but {}, and {} are there",
                requirement.sentence(),
                count(requirement.available, "label")
            );
            State::Yes
        }
        (State::Undecided, Some(false)) => {
            reason += &format!(
                "; {}, and {} are there",
                requirement.sentence(),
                count(requirement.available, "label")
            );
            State::No
        }
        (state, _) => {
            if contrast.outcome != Outcome::Equivalent && requirement.crossing().is_some() {
                reason += &format!("; {}", requirement.sentence());
            }
            state
        }
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
    Some(economics.given.requests_per_month? * economics.life()?.months)
}

fn missing_volume(economics: &Economics) -> &'static str {
    match (economics.given.requests_per_month, economics.life()) {
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

    /// ` (1,000 to 1,300)`, where requests were timed one by one.
    fn interval(&self) -> String {
        let Some([Some(low), high]) = self.case.and_then(|case| case.interval) else { return String::new() };
        let high = high.map_or_else(|| "never".to_owned(), number);
        if number(low) == high { String::new() } else { format!(" ({} to {high})", number(low)) }
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
            (Some(prefix), _) if prefix < 0.5 => {
                "the prompt adds nothing to the query that training could save".to_owned()
            }
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
        let cold = cold.map_or_else(String::new, |requests| match requests > 0.0 {
            true => format!("; without a cache it pays back after {} requests", number(requests)),
            false => "; without a cache it pays back from the first request".to_owned(),
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
            _ if self.economics.life().is_some_and(|life| life.at_most) => String::new(),
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
