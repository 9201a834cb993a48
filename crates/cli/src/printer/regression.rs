//! One run against an earlier one.

use comfy_table::Table;
use eval::regression::{Judgement, Regression};

use super::{new_table, share};

/// What became of each finalist.
pub(super) fn table(regression: &Regression) -> Table {
    let mut table = new_table(&["", "before", "after", "difference (90%)", "items", ""]);
    for change in std::iter::once(&regression.shipped).chain(&regression.arms) {
        let name = if change.arm == "verdict" { "what the verdict uses" } else { change.arm.as_str() };
        let judgement = match change.judgement {
            Judgement::NoWorse => "no worse",
            Judgement::Worse => "WORSE",
            Judgement::Undecided => "undecided",
        };
        table.add_row([
            name.replace('_', " "),
            format!("{} {}", share(change.scores[0]), change.before.trim_end_matches("@test")),
            format!("{} {}", share(change.scores[1]), change.after.trim_end_matches("@test")),
            format!(
                "{:+.1} ({:+.1} to {:+.1})",
                100.0 * change.difference.value,
                100.0 * change.difference.low,
                100.0 * change.difference.high
            ),
            change.items.to_string(),
            judgement.to_owned(),
        ]);
    }
    table
}
