//! Cost against volume: the cases of the page, and what its script computes from.

use eval::contrast::FloorContrast;
use eval::economics::{BreakEven, Cache, Payback, Unit};
use eval::interval::student_quantile;
use eval::wording::number;
use minijinja::{Value, context};

use crate::Report;

pub(super) fn cases(report: &Report) -> Vec<Value> {
    let economics = &report.comparison.economics;
    let unit = |unit| match unit {
        Unit::Money => "money",
        Unit::FullPriceTokens => "full-price tokens",
        Unit::Flops => "floating-point operations",
    };
    let cases = economics.cases.iter();
    cases
        .map(|case| {
            let requests = match (case.payback, case.requests) {
                (Payback::Never, _) => "never".to_owned(),
                (Payback::AtOnce, _) => "from the first request".to_owned(),
                (_, Some(requests)) => {
                    format!("{}{}", if case.lower_bound { "at least " } else { "" }, number(requests))
                }
                _ => "unknown".to_owned(),
            };
            context! {
                deciding => case.unit == economics.unit,
                unit => unit(case.unit),
                cache => if case.cache == Cache::Cold { "cold" } else { "warm" },
                in_context => number(case.in_context),
                fine_tune => number(case.fine_tune),
                setup => case.setup.map(number),
                requests,
                interval => interval(case),
                months => case.months.map(number),
                unknown => case.unknown.join(", "),
            }
        })
        .collect()
}

/// The interval of a break-even: `1,000 to 1,300`, `1,000 to never`.
fn interval(case: &BreakEven) -> Option<String> {
    let [low, high] = case.interval?;
    Some(format!("{} to {}", number(low?), high.map_or_else(|| "never".to_owned(), number)))
}

/// What `economics.js` computes the verdict from.
pub(super) fn economics_data(report: &Report) -> serde_json::Value {
    let comparison = &report.comparison;
    let mut given = serde_json::json!(comparison.economics.given);
    given["base_months"] = comparison.economics.base_months.into();
    // Student's quantile does not move with prices.
    let student = (report.timed.len() > 1).then(|| {
        student_quantile(report.timed.len() as f64 - 1.0, 0.5 + comparison.decision.confidence / 2.0)
    });
    serde_json::json!({
        "economics": {
            "in_context": comparison.economics.in_context,
            "fine_tune": comparison.economics.fine_tune,
            "parameters": comparison.economics.parameters,
        },
        "given": given,
        "timed": report.timed,
        "student": student,
        "outcome": comparison.contrast.outcome,
        "floor_wins": comparison.floor_contrast.as_ref().is_some_and(|floor| floor.wins),
        "floor_open": comparison.floor_contrast.as_ref().is_some_and(FloorContrast::is_open),
        "enough_data": comparison.verdict.gates.enough_data.state,
        "stored": comparison.verdict.choice,
    })
}
