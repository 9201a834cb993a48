//! Tables of labels: what each arm gets right of every label, and what it takes for what.

use eval::arm::Arm;
use eval::wording::percent;
use serde::Serialize;
use task::record::Family;

use crate::Report;

/// Labels beyond which a matrix is replaced by its largest confusions.
const LARGEST_MATRIX: usize = 16;
/// Confusions in a list.
const LISTED: usize = 12;

/// One label under both arms.
#[derive(Serialize)]
pub(crate) struct LabelRow {
    label: String,
    support: u64,
    recall: [f64; 2],
    precision: [f64; 2],
    f1: [f64; 2],
    /// As they are printed.
    recall_shown: [String; 2],
    f1_shown: [String; 2],
}

/// What one arm takes for what.
#[derive(Serialize)]
pub(crate) struct Confusions {
    class: &'static str,
    name: &'static str,
    /// Rows of a matrix; empty where there are too many labels for one.
    matrix: Vec<Vec<CellOf>>,
    /// The most frequent confusions: true label, answer, how often.
    largest: Vec<(String, String, u64)>,
}

/// A cell of a matrix.
#[derive(Serialize)]
struct CellOf {
    count: u64,
    /// Share of its row, in steps of a tenth: how dark it is.
    shade: u64,
    right: bool,
}

/// Both finalists, label by label; empty where texts are answered.
pub(crate) fn labels(report: &Report) -> Vec<LabelRow> {
    let scores = |family| report.finalist(family).and_then(|arm| arm.per_label.as_ref());
    let (Some(left), Some(right)) = (scores(Family::InContext), scores(Family::FineTune)) else {
        return Vec::new();
    };
    let mut rows: Vec<LabelRow> = left
        .iter()
        .zip(right)
        .map(|(left, right)| LabelRow {
            label: left.label.clone(),
            support: left.support,
            recall: [left.recall, right.recall],
            precision: [left.precision, right.precision],
            f1: [left.f1, right.f1],
            recall_shown: [left.recall, right.recall].map(percent),
            f1_shown: [left.f1, right.f1].map(|f1| format!("{f1:.3}")),
        })
        .collect();
    // The widest gaps first: that is what a reader looks for.
    let gap = |row: &LabelRow| row.recall[1] - row.recall[0];
    rows.sort_by(|left, right| gap(right).abs().total_cmp(&gap(left).abs()));
    rows
}

/// The confusions of both finalists; empty where texts are answered.
pub(crate) fn confusions(report: &Report) -> Vec<Confusions> {
    let labels = &report.comparison.labels;
    [Family::InContext, Family::FineTune]
        .into_iter()
        .filter_map(|family| {
            let counts = &report.finalist(family)?.confusion.as_ref()?.counts;
            let matrix = if labels.len() <= LARGEST_MATRIX { matrix(counts) } else { Vec::new() };
            let (class, name) = (crate::words::class(family), crate::words::family(family));
            Some(Confusions { class, name, matrix, largest: largest(counts, labels) })
        })
        .collect()
}

fn matrix(counts: &[Vec<u64>]) -> Vec<Vec<CellOf>> {
    let row = |(gold, row): (usize, &Vec<u64>)| {
        let total = row.iter().sum::<u64>().max(1);
        let cell = |(predicted, &count): (usize, &u64)| CellOf {
            count,
            shade: (10 * count).div_ceil(total),
            right: gold == predicted,
        };
        row.iter().enumerate().map(cell).collect()
    };
    counts.iter().enumerate().map(row).collect()
}

fn largest(counts: &[Vec<u64>], labels: &[String]) -> Vec<(String, String, u64)> {
    let mut all = Vec::new();
    for (gold, row) in counts.iter().enumerate() {
        for (predicted, &count) in row.iter().enumerate().filter(|(predicted, _)| *predicted != gold) {
            if count > 0 {
                all.push((labels[gold].clone(), labels[predicted].clone(), count));
            }
        }
    }
    all.sort_by(|left, right| right.2.cmp(&left.2).then_with(|| left.cmp(right)));
    all.truncate(LISTED);
    all
}

/// The setting of an experiment in words: `calibration none, order similarity`.
pub(crate) fn settings(arm: &Arm) -> String {
    let plain = |value: &serde_json::Value| match value {
        serde_json::Value::String(text) => text.clone(),
        other => other.to_string(),
    };
    let hidden = ["selection"];
    let shown = arm.configuration.iter().filter(|(key, _)| !hidden.contains(&key.as_str()));
    shown
        .map(|(key, value)| format!("{} {}", key.replace('_', " "), plain(value)))
        .collect::<Vec<_>>()
        .join(", ")
}
