//! A plan before it is run.

use adapt::forecast::{Forecast, Planned};
use comfy_table::{CellAlignment, Table};
use eval::wording::{count, experiment_name, number, seconds};

use super::new_table;
use crate::commands::dry_run::{arms, total};

/// Every experiment with its tokens, seconds and money, and both arms together.
pub(super) fn table(forecast: &Forecast) -> Table {
    let mut table = new_table(&["experiment", "tokens", "time", "money"]);
    for column in 1..4 {
        if let Some(column) = table.column_mut(column) {
            column.set_cell_alignment(CellAlignment::Right);
        }
    }
    for (arm, planned) in arms(forecast) {
        let together = format!("{arm}: {}", count(planned.len() as u64, "experiment"));
        table.add_row(row(&together, &total(planned)));
        for one in planned {
            table.add_row(row(&format!("  {}", experiment_name(&one.name)), one));
        }
    }
    table
}

fn row(name: &str, one: &Planned) -> Vec<String> {
    let money = one.money.map_or_else(|| "unknown".to_owned(), |money| format!("{money:.4}"));
    vec![name.to_owned(), number(one.tokens.round()), seconds(one.seconds), money]
}

/// What stands below the table: how it fits the budget of `budget` seconds, what is left out, and what is in reserve.
pub(super) fn notes(forecast: &Forecast, budget: f64) -> String {
    let both = arms(forecast);
    let planned: f64 = both.iter().map(|(_, planned)| total(planned).seconds).sum();
    let mut lines = vec![format!(
        "Each with its answers to dev and test. In all {} of the budget of {}{}.",
        seconds(planned),
        seconds(budget),
        if forecast.reserve.iter().all(Vec::is_empty) { "" } else { "; what is left goes to the reserve" }
    )];
    if both.iter().any(|(_, planned)| planned.iter().any(|one| one.money.is_none())) {
        lines.push(
            "Money is what an endpoint would ask; it is unknown without its prices ([economics] in the task file)."
                .to_owned(),
        );
    }
    lines.extend(left_out(&forecast.left_out));
    for (arm, reserve) in ["in-context", "fine-tuning"].into_iter().zip(&forecast.reserve) {
        if !reserve.is_empty() {
            let named: Vec<String> = reserve.iter().take(NAMED).map(|name| trial(name)).collect();
            lines.push(format!(
                "In reserve, {arm}: {}{}.",
                named.join("; "),
                more(reserve.len().saturating_sub(NAMED))
            ));
        }
    }
    lines.join("\n")
}

/// Items of a reserve that are named.
const NAMED: usize = 3;

/// What a plan leaves out, the first by name; `None` where that is nothing.
pub(crate) fn left_out(names: &[String]) -> Option<String> {
    let first = names.first()?;
    Some(format!("Left out, for lack of time or context: {}{}.", trial(first), more(names.len() - 1)))
}

/// A trial as people call it, with the reason behind its name where there is one.
fn trial(name: &str) -> String {
    match name.split_once(" (") {
        Some((id, reason)) => format!("{} ({reason}", experiment_name(id)),
        None => experiment_name(name),
    }
}

fn more(others: usize) -> String {
    if others == 0 { String::new() } else { format!("; and {others} more") }
}
