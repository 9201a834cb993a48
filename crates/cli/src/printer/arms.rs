//! The arms: what each method reaches with what it was given.

use comfy_table::{CellAlignment, Table};
use eval::arm::Arm;
use eval::comparison::Comparison;
use eval::curve::{Axis, Curve, CurvePoint};
use eval::metric_name;
use eval::wording::{magnitude, method_name};
use task::record::{Family, Part};

use super::{bold, new_table, share, width};

/// Columns of a terminal from which on the second metric is shown too; it is in `--json` and in the report in any case.
const WIDE: usize = 100;
/// What the mark means.
pub(super) const LEGEND: &str = "● chosen on dev, before the test set was opened; other rows with several seeds show their mean over them";
/// Where that metric stands in a row.
const SECOND: usize = 5;

/// One line about the task, the model and the data.
pub(super) fn heading(comparison: &Comparison) -> String {
    let items = comparison.task.items;
    let answers = match (comparison.task.kind.as_str(), comparison.labels.len()) {
        ("extract", _) => "JSON by a schema".to_owned(),
        (_, 0) => "free text".to_owned(),
        (_, labels) => format!("{labels} labels"),
    };
    format!(
        "{}  {}; {} train, {} dev, {} test; model {} ({} parameters)",
        bold(&comparison.task.name),
        answers,
        items.train,
        items.dev,
        items.test,
        comparison.model.source,
        magnitude(comparison.model.parameters as f64)
    )
}

/// The main metric, and a second one, on test of every method at every size. The finalists, chosen on dev, are marked.
pub(super) fn table(comparison: &Comparison) -> Table {
    let interval = format!("{:.0}% interval", 100.0 * comparison.decision.confidence);
    let [first, second] = [Some(comparison.metric.as_str()), second_metric(comparison)]
        .map(|name| name.map_or("", metric_name));
    let mut header = vec!["on test", "given", first, &interval, "over seeds", second, "tokens (cached)"];
    let narrow = width() < WIDE;
    if narrow {
        header.remove(SECOND);
        header[SECOND] = "tokens";
    }
    let mut table = new_table(&header);
    for column in 2..header.len() {
        if let Some(column) = table.column_mut(column) {
            column.set_cell_alignment(CellAlignment::Right);
        }
    }
    for family in [Family::InContext, Family::FineTune, Family::Hybrid, Family::Floor] {
        let curves = curves(comparison, family);
        let first = curves.first().map_or("", |curve| curve.method.as_str());
        for curve in curves {
            // Both ways of choosing examples begin at none: the zero-shot prompt is told once.
            for point in curve
                .points
                .iter()
                .filter(|point| point.at > 0 || family != Family::InContext || curve.method == first)
            {
                let mut row = row(comparison, curve, point, narrow);
                if narrow {
                    row.remove(SECOND);
                }
                table.add_row(row);
            }
        }
    }
    table
}

/// The metric that stands beside the main one: macro-F1 for labels, micro-F1 over fields for JSON, else the task's next one.
fn second_metric(comparison: &Comparison) -> Option<&str> {
    match comparison.task.kind.as_str() {
        "classify" => Some("macro_f1"),
        "extract" => Some("micro_f1"),
        _ => comparison.task.metrics.get(1).map(String::as_str),
    }
}

/// The curves of a family on test, in the order in which a reader learns about them.
fn curves(comparison: &Comparison, family: Family) -> Vec<&Curve> {
    const ORDER: [&str; 17] = [
        "zero_shot",
        "random",
        "bm25",
        "embedding",
        "diverse",
        "hybrid",
        "searched",
        "lora",
        "lora_recipe",
        "full",
        "distilled",
        "few_shot_tuned",
        "virtual_tokens",
        "majority",
        "constant",
        "nearest_neighbour",
        "logistic_regression",
    ];
    let place = |curve: &Curve| ORDER.iter().position(|known| *known == curve.method).unwrap_or(ORDER.len());
    let mut curves: Vec<&Curve> =
        comparison.curves.iter().filter(|curve| curve.family == family && curve.part == Part::Test).collect();
    curves.sort_by_key(|curve| place(curve));
    curves
}

fn row(comparison: &Comparison, curve: &Curve, point: &CurvePoint, narrow: bool) -> Vec<String> {
    let arms: Vec<&Arm> = point.experiments.iter().filter_map(|id| comparison.arm(id)).collect();
    let finalist = arms.iter().find(|arm| is_finalist(comparison, &arm.id));
    // Several seeds: the row is the finalist's where there is one (what would be shipped), the mean over seeds otherwise.
    let shown = finalist.or(arms.first().filter(|_| point.seeds == 1));
    let metrics = shown.and_then(|arm| arm.metrics.as_ref());
    let main = metrics.and_then(|metrics| metrics.get(&comparison.metric));
    let second = metrics.zip(second_metric(comparison)).and_then(|(metrics, name)| metrics.get(name));
    let over_seeds = if point.seeds > 1 {
        let seeds = if narrow { String::new() } else { format!("{}: ", point.seeds) };
        format!("{seeds}{}-{}", share(point.lowest), share(point.highest))
    } else {
        String::new()
    };
    vec![
        format!("{} {}", if finalist.is_some() { "●" } else { " " }, name(curve, point)),
        given(curve, point),
        share(main.map_or(point.score, |main| main.value)),
        main.or(point.band.as_ref())
            .map_or_else(String::new, |main| format!("{}-{}", share(main.low), share(main.high))),
        over_seeds,
        second.map_or_else(String::new, |second| share(second.value)),
        arms.first().map_or_else(String::new, |arm| tokens(arm, curve.family, narrow)),
    ]
}

fn is_finalist(comparison: &Comparison, id: &str) -> bool {
    comparison.contrast.in_context == id
        || comparison.contrast.fine_tune == id
        || comparison.floor_contrast.as_ref().is_some_and(|contrast| contrast.floor == id)
}

fn name(curve: &Curve, point: &CurvePoint) -> String {
    match curve.method.as_str() {
        "zero_shot" | "random" if point.at == 0 => "zero-shot".to_owned(),
        other => method_name(other),
    }
}

fn given(curve: &Curve, point: &CurvePoint) -> String {
    match curve.axis {
        Axis::Shots => format!("{} shots", point.at),
        Axis::Labels => format!("{} labels", point.at),
    }
}

/// Tokens of a prompt; where there is room with those that a warm cache holds.
fn tokens(arm: &Arm, family: Family, narrow: bool) -> String {
    if family == Family::Floor {
        return "-".to_owned();
    }
    let tokens = arm.tokens_per_request;
    match narrow {
        true => format!("{:.0}", tokens.prompt),
        false => format!("{:.0} ({:.0})", tokens.prompt, tokens.cached),
    }
}
