//! A plan before it is run.

use adapt::forecast::{Forecast, Planned};
use comfy_table::{CellAlignment, Table};
use eval::wording::{count, number, seconds};

use super::new_table;
use crate::commands::dry_run::{arms, total};

/// Every experiment with its tokens, seconds and money, and both arms together.
pub(super) fn table(forecast: &Forecast) -> Table {
    let money = arms(forecast).iter().any(|(_, planned)| planned.iter().any(|one| one.money.is_some()));
    let mut header = vec!["experiment", "tokens", "time"];
    if money {
        header.push("money");
    }
    let mut table = new_table(&header);
    for column in 1..header.len() {
        if let Some(column) = table.column_mut(column) {
            column.set_cell_alignment(CellAlignment::Right);
        }
    }
    for (arm, planned) in arms(forecast) {
        for one in planned {
            table.add_row(row(&format!("  {}", one.name), one, money));
        }
        table.add_row(row(
            &format!("{arm}, {}", count(planned.len() as u64, "experiment")),
            &total(planned),
            money,
        ));
    }
    table
}

fn row(name: &str, one: &Planned, money: bool) -> Vec<String> {
    let mut row = vec![name.to_owned(), number(one.tokens.round()), seconds(one.seconds)];
    if money {
        row.push(one.money.map_or_else(|| "unknown".to_owned(), |money| format!("{money:.4}")));
    }
    row
}

/// Items of a reserve that are named.
const NAMED: usize = 4;

/// What an arm tries where time is left; `None` where it has nothing in reserve.
pub(super) fn reserve(arm: &str, reserve: &[String]) -> Option<String> {
    let named = reserve.iter().take(NAMED).cloned().collect::<Vec<_>>().join(", ");
    let more = match reserve.len().saturating_sub(NAMED) {
        0 => String::new(),
        more => format!(" and {more} more"),
    };
    (!reserve.is_empty()).then(|| format!("In reserve for time that is left, {arm}: {named}{more}."))
}
