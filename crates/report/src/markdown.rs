//! The comparison as Markdown, for a pull request.

use std::fmt::Write;

use eval::metric_name;
use eval::table::Cell;
use eval::wording::{count, method_name, number, percent, points};
use task::record::{Family, Part};

use crate::{Report, words};

/// Items on which the arms differ that are written out.
const ITEMS: usize = 10;
/// Characters of an input that are shown.
const INPUT: usize = 120;

/// The verdict with its gates, the eight rows, the curves and the first items on which the two arms differ.
pub fn markdown(report: &Report) -> String {
    let mut out = String::new();
    verdict(report, &mut out);
    rows(report, &mut out);
    curves(report, &mut out);
    items(report, &mut out);
    provenance(report, &mut out);
    out
}

fn verdict(report: &Report, out: &mut String) {
    let comparison = &report.comparison;
    let verdict = &comparison.verdict;
    let _ = writeln!(out, "## {}: {}\n", comparison.task.name, words::headline(verdict.choice));
    for reason in &verdict.reasons {
        let _ = writeln!(out, "- {}", prose(reason));
    }
    let _ = writeln!(out, "\n| gate | | |\n|---|---|---|");
    for (key, gate) in verdict.gates.named() {
        let _ = writeln!(
            out,
            "| {} | **{}** | {} |",
            words::gate(key).0,
            words::state(gate.state),
            prose(&gate.reason)
        );
    }
    let _ = writeln!(out, "\n**Flips if**\n");
    for condition in &verdict.flips_if {
        let _ = writeln!(out, "- {}", prose(condition));
    }
    let metric = metric_name(&comparison.metric);
    let _ = writeln!(out, "\n| on test | {metric} | interval | experiment |\n|---|---:|---|---|");
    for family in [Family::InContext, Family::FineTune, Family::Floor] {
        let Some(arm) = report.finalist(family) else { continue };
        let Some(score) = arm.metrics.as_ref().and_then(|metrics| metrics.get(&comparison.metric)) else {
            continue;
        };
        let _ = writeln!(
            out,
            "| {} | {} | {} to {} | `{}` |",
            words::family(family),
            percent(score.value),
            percent(score.low),
            percent(score.high),
            words::stem(&arm.id)
        );
    }
}

fn rows(report: &Report, out: &mut String) {
    let _ = writeln!(out, "\n| | In-context learning | Fine-tuning |\n|---|---|---|");
    for row in &report.comparison.table {
        let _ = writeln!(
            out,
            "| **{}** | {} | {} |",
            prose(&row.row),
            cell(&row.in_context),
            cell(&row.fine_tune)
        );
    }
}

fn cell(cell: &Cell) -> String {
    match (&cell.reason, cell.text.is_empty()) {
        (Some(reason), true) => format!("*not measured: {}*", prose(reason)),
        (Some(reason), false) => format!("{} *({})*", prose(&cell.text), prose(reason)),
        (None, _) => prose(&cell.text),
    }
}

fn curves(report: &Report, out: &mut String) {
    let _ =
        writeln!(out, "\n<details><summary>Curves on test</summary>\n\n| method | given: score |\n|---|---|");
    for curve in report.comparison.curves.iter().filter(|curve| curve.part == Part::Test) {
        let shown: Vec<String> =
            curve.points.iter().map(|point| format!("{}: {}", point.at, percent(point.score))).collect();
        let _ = writeln!(out, "| {} | {} |", method_name(&curve.method), shown.join(", "));
    }
    let _ = writeln!(out, "\n</details>");
    let _ = writeln!(out, "\n{}", prose(&report.comparison.budgets.sentences()));
    if let Some(distillation) = &report.comparison.distillation {
        let _ = writeln!(out, "\n{}", prose(&distillation.sentence()));
    }
}

fn items(report: &Report, out: &mut String) {
    let differing: Vec<_> = report.items.differing().collect();
    if differing.is_empty() {
        return;
    }
    let all = count(differing.len() as u64, "test item");
    let _ = writeln!(
        out,
        "\n<details><summary>The arms differ on {all}</summary>\n\n| input | target | in-context | fine-tuned |\n|---|---|---|---|"
    );
    for item in differing.iter().take(ITEMS) {
        let input = item.input.as_ref().unwrap_or(&item.id);
        let short: String = input.chars().take(INPUT).collect();
        let tail = if input.chars().count() > INPUT { "…" } else { "" };
        let given = |given: &Option<crate::Given>| {
            given.as_ref().map_or_else(String::new, |given| text(&given.answer))
        };
        let _ = writeln!(
            out,
            "| {}{tail} | {} | {} | {} |",
            text(&short),
            text(item.target.as_deref().unwrap_or("")),
            given(&item.in_context),
            given(&item.fine_tune)
        );
    }
    if differing.len() > ITEMS {
        let _ = writeln!(
            out,
            "\nand {} more: `weigh report` shows them all.",
            number((differing.len() - ITEMS) as f64)
        );
    }
    let _ = writeln!(out, "\n</details>");
}

fn provenance(report: &Report, out: &mut String) {
    let comparison = &report.comparison;
    let _ = writeln!(
        out,
        "\n{}, model `{}`, data `{}`, margin {}, {}.",
        report.provenance.program,
        &short(&comparison.model.sha256),
        &short(&comparison.task.data_sha256),
        points(comparison.decision.margin),
        count(comparison.contrast.test.items, "test item")
    );
}

fn short(digest: &str) -> String {
    digest.chars().take(12).collect()
}

/// A sentence of the comparison: its code stays code, and it stays in its cell.
fn prose(text: &str) -> String {
    text.replace('\n', " ").replace('|', "\\|").replace('<', "\\<")
}

/// Text that stays what it is in a cell of a table.
fn text(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for character in text.chars() {
        match character {
            '\n' | '\r' => out.push(' '),
            '|' | '\\' | '<' | '*' | '_' | '`' | '[' => {
                out.push('\\');
                out.push(character);
            }
            other => out.push(other),
        }
    }
    out
}
