//! Where the figures came from.

use std::fmt::Write as _;

use eval::economics::Economics;
use eval::metric_name;
use eval::wording::{points, seconds};
use task::record::PriceSource;

use crate::Report;

/// Where the figures came from, as name and value.
pub(super) fn facts(report: &Report) -> Vec<(String, String)> {
    let comparison = &report.comparison;
    let mut facts = vec![
        ("Model".to_owned(), format!("{}, SHA-256 {}", comparison.model.source, comparison.model.sha256)),
        ("Data and split".to_owned(), format!("SHA-256 {}", comparison.task.data_sha256)),
        (
            "Decided by".to_owned(),
            format!(
                "{}, margin {}, confidence {:.0}%",
                metric_name(&comparison.metric),
                points(comparison.decision.margin),
                100.0 * comparison.decision.confidence
            ),
        ),
    ];
    facts.extend(prices(&comparison.economics).map(|prices| ("Prices".to_owned(), prices)));
    let opened = report.test_opened().map_or_else(|| "the log does not say when".to_owned(), str::to_owned);
    facts.push(("Test set opened".to_owned(), format!("{opened}, once, when every choice was made")));
    let budget = report.provenance.settings.pointer("/budget/seconds").and_then(serde_json::Value::as_f64);
    if let Some(budget) = budget {
        facts.push(("Budget".to_owned(), format!("{}, half for each arm", seconds(budget))));
    }
    facts.push(("Time in all".to_owned(), seconds(comparison.wall_seconds)));
    facts.push(("What the arms took".to_owned(), comparison.budgets.sentences()));
    let mut seeds: Vec<u64> = comparison.arms.iter().filter_map(|arm| arm.seed).collect();
    seeds.sort_unstable();
    seeds.dedup();
    let seeds: Vec<String> = seeds.iter().map(u64::to_string).collect();
    facts.push(("Seeds".to_owned(), seeds.join(", ")));
    facts.push(("Program".to_owned(), report.provenance.program.clone()));
    facts
}

/// The price file, the model in it, and where it has its prices from.
fn prices(economics: &Economics) -> Option<String> {
    let PriceSource { file, model, currency, source, read_on } = economics.prices.as_ref()?;
    let mut words = format!("{model} in {file}");
    if let Some(currency) = currency {
        let _ = write!(words, ", in {currency}");
    }
    if let Some(source) = source {
        let _ = write!(words, ", from {source}");
    }
    if let Some(day) = read_on {
        let _ = write!(words, ", read on {day}");
    }
    Some(words)
}
