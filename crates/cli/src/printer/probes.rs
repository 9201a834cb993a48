//! The probes: what they took and left out, and what asking again showed.

use adapt::probes::{Drift, SideDrift};
use eval::probes::ProbeSummary;
use eval::wording::p_value;
use task::probe::Side;

use super::new_table;

/// A line on what was asked, and one for each reason why something was not.
pub(super) fn summary(probes: &ProbeSummary) -> String {
    let mut lines = vec![format!(
        "Probes: up to {} dev items each (never test), {:.1} s of {:.1} s; docs/probes.md says how, --json has all figures.",
        probes.items, probes.seconds, probes.budget_seconds
    )];
    let mut reasons: Vec<(&str, Vec<String>)> = Vec::new();
    for left in &probes.left_out {
        let name = format!("{} ({})", left.name.replace('_', " "), arm(left.side));
        match reasons.iter_mut().find(|(reason, _)| *reason == left.reason) {
            Some((_, names)) => names.push(name),
            None => reasons.push((&left.reason, vec![name])),
        }
    }
    for (reason, names) in reasons {
        lines.push(format!("  not probed: {}: {reason}", names.join(", ")));
    }
    lines.join("\n")
}

fn arm(side: Side) -> &'static str {
    match side {
        Side::Base => "base",
        Side::InContext => "prompt",
        Side::FineTune => "tuned",
    }
}

/// A row for each finalist, and the items that changed.
pub(super) fn drift(drift: &Drift) -> String {
    let mut table =
        new_table(&["", "items", "same answer", "score then", "now", "McNemar p", "largest difference"]);
    for side in &drift.sides {
        table.add_row([
            side.finalist.trim_end_matches("@dev").to_owned(),
            side.items.to_string(),
            format!("{} ({:.1}%)", side.items - side.changed.len(), 100.0 * side.agreement.consistency),
            super::share(side.scores[0]),
            super::share(side.scores[1]),
            p_value(side.p),
            largest(side.largest_difference),
        ]);
    }
    let mut lines = vec![table.to_string()];
    lines.extend(drift.sides.iter().flat_map(notes));
    lines.join("\n")
}

/// The largest difference of a log-probability, in nats.
fn largest(difference: Option<f64>) -> String {
    match difference {
        None => "-".to_owned(),
        Some(0.0) => "none".to_owned(),
        Some(most) => format!("{most:.2e}"),
    }
}

fn notes(side: &SideDrift) -> Vec<String> {
    let mut lines = Vec::new();
    if !side.same_weights {
        lines.push(format!("{}: the base model has other weights than then", arm(side.side)));
    }
    if side.changed.is_empty() {
        lines.push(format!("{}: every answer is the same", arm(side.side)));
    } else {
        lines.push(format!("{}: changed: {}", arm(side.side), side.changed.join(", ")));
    }
    lines
}
