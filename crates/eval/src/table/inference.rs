//! Row 3: what a request costs, and after how many of them fine-tuning has paid back.

use serde_json::{Value, json};
use task::record::{Family, TimedRequest};

use super::{Cell, Sources};
use crate::economics::{Economics, Payback};
use crate::interval::quantile;
use crate::wording::{count, number, seconds};

/// Row 3: one request.
pub(super) fn inference(sources: &Sources<'_>, family: Family) -> Cell {
    let cost = sources.cost(family);
    let experiment = sources.finalist(family).experiment;
    let tokens = &cost.tokens;
    let per_thousand = |money: Option<f64>| money.map(|money| 1000.0 * money);
    let mut value = json!({
        "tokens": tokens,
        "flops": {"cold": cost.flops_cold, "warm": cost.flops_warm},
        "seconds": experiment.seconds_per_request,
        "money_per_1000": {"cold": per_thousand(cost.money_cold), "warm": per_thousand(cost.money_warm)},
    });
    let mut text = format!(
        "{} prompt tokens ({} cached), {}; {} in a batch",
        number(tokens.prompt.round()),
        number(tokens.cached.round()),
        count(tokens.completion.round() as u64, "answer token"),
        seconds(experiment.seconds_per_request)
    );
    if let Some((measured, words)) = latency(&experiment.calls.timed) {
        value["latency"] = measured;
        text += &words;
    }
    if let Some(money) = per_thousand(cost.money_warm.or(cost.money_cold)) {
        text += &format!("; {money:.2} per 1,000");
        if let Some(factor) = sources.economics.given.batch_multiplier {
            value["money_per_1000"]["batch"] = json!(factor * money);
            text += &format!(" ({:.2} in a batch)", factor * money);
        }
    }
    if family == Family::FineTune {
        value["break_even"] = json!(sources.economics.cases);
        text += &break_even(sources.economics);
    }
    let mut cell =
        Cell::measured(value, "tokens, FLOPs, seconds and money of a request", text, &experiment.id);
    if cost.money_cold.is_none() {
        cell.reason =
            Some("no money: economics.input_price and economics.output_price are not given".to_owned());
    }
    cell
}

/// p50 and p95 of the requests that were timed one by one, cold and warm; `None` where none were.
fn latency(timed: &[TimedRequest]) -> Option<(Value, String)> {
    let sorted = |of: fn(&TimedRequest) -> f64| {
        let mut all: Vec<f64> = timed.iter().map(of).collect();
        all.sort_unstable_by(f64::total_cmp);
        all
    };
    if timed.is_empty() {
        return None;
    }
    let [cold, warm] = [sorted(|request| request.cold_seconds), sorted(|request| request.warm_seconds)];
    let [p50, p95] = [0.5, 0.95].map(|level| [&warm, &cold].map(|all| quantile(all, level)));
    let measured = json!({
        "requests": timed.len(),
        "warm": {"p50": p50[0], "p95": p95[0]},
        "cold": {"p50": p50[1], "p95": p95[1]},
    });
    let words = format!(
        "; one at a time p50 {}, p95 {} with a warm cache, {} and {} with a cold one",
        seconds(p50[0]),
        seconds(p95[0]),
        seconds(p50[1]),
        seconds(p95[1])
    );
    Some((measured, words))
}

fn break_even(economics: &Economics) -> String {
    let Some(case) = economics.main() else { return String::new() };
    let at_least = if case.lower_bound { "at least " } else { "" };
    match (case.payback, case.requests) {
        (Payback::Never, _) => "; never cheaper than the prompt".to_owned(),
        (Payback::AtOnce, _) => "; cheaper from the first request".to_owned(),
        (Payback::After, Some(requests)) => {
            let interval = match case.interval {
                Some([Some(low), high]) => {
                    let high = high.map_or_else(|| "never".to_owned(), number);
                    format!(" (interval {} to {high})", number(low))
                }
                _ => String::new(),
            };
            format!("; pays back after {at_least}{} requests{interval}", number(requests))
        }
        _ => String::new(),
    }
}
