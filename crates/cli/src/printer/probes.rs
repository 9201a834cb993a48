//! The probes: what they took and left out, and what asking again showed.

use adapt::probes::{Drift, SideDrift};
use eval::probes::ProbeSummary;
use eval::wording::p_value;
use task::probe::Side;

use super::new_table;

/// Why most of what was left out was.
const NO_TIME: &str = "no time was left; raise budget.time or probes.share";

/// Probes that were left out for one reason, by name, and on which sides.
type LeftOut<'a> = (&'a str, Vec<(String, Vec<&'static str>)>);

/// A line on what was asked, and one for each reason why something was not.
pub(super) fn summary(probes: &ProbeSummary) -> String {
    let mut lines = vec![format!(
        "Probes: up to {} dev items each (never test), {:.1} s of {:.1} s; `weigh help probes` says how, --json has all figures.",
        probes.items, probes.seconds, probes.budget_seconds
    )];
    let mut reasons: Vec<LeftOut<'_>> = Vec::new();
    for left in &probes.left_out {
        // How long each would have taken is in --json.
        let reason = if left.reason.contains("probes.share") { NO_TIME } else { left.reason.as_str() };
        let place = reasons.iter().position(|(known, _)| *known == reason).unwrap_or_else(|| {
            reasons.push((reason, Vec::new()));
            reasons.len() - 1
        });
        let (names, name) = (&mut reasons[place].1, left.name.replace('_', " "));
        match names.iter_mut().find(|(known, _)| *known == name) {
            Some((_, sides)) => sides.push(arm(left.side)),
            None => names.push((name, vec![arm(left.side)])),
        }
    }
    for (reason, names) in reasons {
        let named: Vec<String> = names
            .into_iter()
            .map(
                |(name, sides)| if sides.len() > 1 { name } else { format!("{name} ({})", sides.join(", ")) },
            )
            .collect();
        lines.push(format!("  not probed: {}: {reason}", named.join(", ")));
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
