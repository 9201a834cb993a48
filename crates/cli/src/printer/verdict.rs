//! The eight rows, the contrast and the verdict.

use anstyle::AnsiColor;
use comfy_table::Table;
use eval::comparison::Comparison;
use eval::gates::State;
use eval::metric_name;
use eval::table::Cell;
use eval::verdict::Choice;
use eval::wording::{experiment_name, p_value};

use super::{bold, named, new_table, wrapped};

/// The eight rows, both arms side by side.
pub(super) fn rows(comparison: &Comparison) -> Table {
    let mut table = new_table(&["", "In-context learning", "Fine-tuning"]);
    for row in &comparison.table {
        table.add_row([row.row.clone(), text(&row.in_context), text(&row.fine_tune)]);
    }
    table
}

/// A cell's text; what was not measured says why.
fn text(cell: &Cell) -> String {
    match (&cell.reason, cell.text.is_empty()) {
        (Some(reason), true) => format!("not measured: {reason}"),
        (Some(reason), false) => format!("{} ({reason})", cell.text),
        (None, _) => cell.text.clone(),
    }
}

/// The contrast, the gates, the choice, its reasons and what would flip it.
pub(super) fn verdict(comparison: &Comparison) -> String {
    let (verdict, contrast) = (&comparison.verdict, &comparison.contrast);
    let points = |value: f64| format!("{:+.1}", 100.0 * value);
    let (test, p) = contrast.test.shown();
    let mut lines = vec![wrapped(&format!(
        "Fine-tuned minus in-context: {} points of {}, {:.0}% interval {} to {} ({} items, {test} {}).",
        points(contrast.difference.value),
        metric_name(&comparison.metric),
        100.0 * comparison.decision.confidence,
        points(contrast.difference.low),
        points(contrast.difference.high),
        contrast.test.items,
        p_value(p)
    ))];
    for (name, id) in [("in-context", &contrast.in_context), ("fine-tuned", &contrast.fine_tune)] {
        let id = id.trim_end_matches("@test");
        lines.push(named(&format!("  {name}"), 14, &format!("{}, stored as {id}", experiment_name(id))));
    }
    lines.push(wrapped(&other_runs(comparison)));
    lines.extend(looked(comparison).iter().map(|line| wrapped(line)));
    if let Some(main) = comparison.economics.main() {
        lines.push(wrapped(&format!("Break-even: {}.", main.sentence())));
    }
    if let Some(prices) = &comparison.economics.prices {
        let read = prices.read_on.as_deref().map_or_else(String::new, |day| format!(", read on {day}"));
        let source = prices.source.as_deref().map_or_else(String::new, |source| format!(" ({source}{read})"));
        lines.push(wrapped(&format!("Prices: {} of {}{source}", prices.model, prices.file)));
    }
    lines.push("\nThe three gates of fine-tuning:".to_owned());
    for (name, gate) in verdict.gates.named() {
        let mark = match gate.state {
            State::Yes => "yes",
            State::No => "no",
            State::Undecided => "undecided",
        };
        let name = format!("  {:<20} {mark:<9}  ", name.replace('_', " "));
        lines.push(named(&name, 34, &gate.reason));
    }
    lines.push(format!("\nVerdict: {}", chosen(verdict.choice)));
    lines.extend(verdict.reasons.iter().map(|reason| named("  because", 12, reason)));
    lines.extend(verdict.flips_if.iter().map(|condition| named("  flips if", 12, condition)));
    lines.join("\n")
}

/// The same difference over all draws and seeds of the finalists' configurations.
fn other_runs(comparison: &Comparison) -> String {
    let replication = &comparison.contrast.replication;
    let difference = &replication.difference;
    let [value, low, high] = [difference.value, difference.low, difference.high].map(|value| 100.0 * value);
    format!(
        "Over {}, with their luck counted: {value:+.1} points, interval {low:+.1} to {high:+.1}.",
        replication.runs()
    )
}

/// What looking after every item says, and what was left unasked.
fn looked(comparison: &Comparison) -> Vec<String> {
    let contrast = &comparison.contrast;
    let mut lines = Vec::new();
    if let Some(stop) = contrast.stopped {
        lines.push(format!(
            "The test set was left after {} of {} items, once the finalists were told apart: {} were not asked, and the \
             intervals hold at every number of items.",
            stop.answered,
            stop.available,
            stop.available - stop.answered
        ));
    } else if let Some(seen) = contrast.sequential.and_then(|sequential| sequential.stop) {
        lines.push(format!(
            "Looking after every item (in a random order), {} of {} would have told them apart.",
            seen.items, contrast.test.items
        ));
    }
    if let Some(clusters) = contrast.clusters {
        lines.push(format!("The interval counts {clusters} sources, not items (data.cluster)."));
    }
    let better: Vec<&str> = comparison
        .exploration
        .labels
        .iter()
        .filter(|slice| slice.p_adjusted < 1.0 - comparison.decision.confidence)
        .map(|slice| slice.slice.as_str())
        .collect();
    if !better.is_empty() {
        lines.push(format!("Labels on which the two differ (Benjamini-Hochberg): {}.", better.join(", ")));
    }
    lines
}

fn chosen(choice: Choice) -> String {
    let (text, color) = match choice {
        Choice::InContext => ("PROMPT IT (in-context learning)", AnsiColor::Green),
        Choice::FineTune => ("TRAIN IT (fine-tuning)", AnsiColor::Green),
        Choice::Equivalent => ("EQUIVALENT: either will do", AnsiColor::Yellow),
        Choice::Undecided => ("UNDECIDED: the data cannot tell yet", AnsiColor::Yellow),
        Choice::Floor => ("NEITHER: no language model is needed", AnsiColor::Green),
    };
    let style = color.on_default();
    format!("{style}{}{style:#}", bold(text))
}
