//! The eight rows, the contrast and the verdict.

use anstyle::AnsiColor;
use comfy_table::Table;
use eval::comparison::Comparison;
use eval::gates::State;
use eval::metric_name;
use eval::table::Cell;
use eval::verdict::Choice;

use super::{bold, new_table};

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

/// A p-value to three decimals; what would read as zero is said to be below the least that is shown.
fn p_value(p: f64) -> String {
    if p < 0.0005 { "below 0.001".to_owned() } else { format!("{p:.3}") }
}

/// The contrast, the gates, the choice, its reasons and what would flip it.
pub(super) fn verdict(comparison: &Comparison) -> String {
    let (verdict, contrast) = (&comparison.verdict, &comparison.contrast);
    let points = |value: f64| format!("{:+.1}", 100.0 * value);
    let (test, p) = contrast.test.shown();
    let mut lines = vec![
        format!(
            "Fine-tuned minus in-context: {} points of {}, {:.0}% interval {} to {} ({} items, {test} {}).",
            points(contrast.difference.value),
            metric_name(&comparison.metric),
            100.0 * comparison.decision.confidence,
            points(contrast.difference.low),
            points(contrast.difference.high),
            contrast.test.items,
            p_value(p)
        ),
        format!("  in-context  {}", contrast.in_context.trim_end_matches("@test")),
        format!("  fine-tuned  {}", contrast.fine_tune.trim_end_matches("@test")),
    ];
    if let Some(main) = comparison.economics.main() {
        lines.push(format!("Break-even: {}", main.formula));
    }
    lines.push(String::new());
    for (name, gate) in verdict.gates.named() {
        let mark = match gate.state {
            State::Yes => "yes",
            State::No => "no",
            State::Undecided => "undecided",
        };
        lines.push(format!("  gate {:<20} {mark:<9} {}", name.replace('_', " "), gate.reason));
    }
    lines.push(String::new());
    lines.push(format!("Verdict: {}", chosen(verdict.choice)));
    lines.extend(verdict.reasons.iter().map(|reason| format!("  because {reason}")));
    lines.extend(verdict.flips_if.iter().map(|condition| format!("  flips if {condition}")));
    wrapped_lines(&lines)
}

/// Breaks long lines at spaces, continuing below the text after the first words.
pub(super) fn wrapped_lines(lines: &[String]) -> String {
    let width = super::width();
    let mut out = String::new();
    for line in lines {
        let indent = line.len() - line.trim_start().len();
        let hanging = if indent > 0 { indent + 9 } else { 0 };
        let mut column = 0;
        out.push_str(&" ".repeat(indent));
        column += indent;
        for (index, word) in line.trim_start().split(' ').enumerate() {
            let length = anstream::adapter::strip_str(word).to_string().chars().count();
            if index > 0 && column + 1 + length > width {
                out.push('\n');
                out.push_str(&" ".repeat(hanging));
                column = hanging;
            } else if index > 0 {
                out.push(' ');
                column += 1;
            }
            out.push_str(word);
            column += length;
        }
        out.push('\n');
    }
    out
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

#[cfg(test)]
mod tests {
    use super::p_value;

    #[test]
    fn no_p_value_is_shown_as_zero() {
        assert_eq!(
            [1e-9, 0.0004, 0.0006, 0.25].map(p_value),
            ["below 0.001", "below 0.001", "0.001", "0.250"]
        );
    }
}
