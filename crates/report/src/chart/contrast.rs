//! The finalists' scores with their intervals, and the difference against the margin.

use eval::wording::{percent, points, range};
use task::record::Family;

use super::{Canvas, Scale, ticks};
use crate::Report;
use crate::words::{class, family};

/// Widths of the picture: on a wide screen and on paper, and on a telephone.
const WIDTHS: [(&str, f64); 2] = [("broad", 920.0), ("slim", 380.0)];
const NAMES: f64 = 96.0;
const VALUES: f64 = 64.0;
const ROW: f64 = 32.0;

/// Every finalist's score on test, with its interval, in both widths.
pub(crate) fn scores(report: &Report) -> String {
    in_both(|width| scores_in(report, width))
}

fn scores_in(report: &Report, width: f64) -> String {
    let families = [Family::InContext, Family::FineTune, Family::Floor];
    let rows: Vec<_> = families
        .into_iter()
        .filter_map(|of| {
            let arm = report.finalist(of)?;
            Some((of, *arm.metrics.as_ref()?.get(&report.comparison.metric)?))
        })
        .collect();
    let height = ROW * rows.len() as f64 + 30.0;
    let x = Scale { domain: [0.0, 1.0], range: [NAMES, width - VALUES] };
    let mut canvas = Canvas::new(width, height);
    for tick in ticks(0.0, 1.0, 5) {
        canvas.line("grid", [x.at(tick), 4.0, x.at(tick), height - 24.0]);
        canvas.text("tick", [x.at(tick), height - 8.0], "middle", &format!("{:.0}%", 100.0 * tick));
    }
    let mut said = Vec::new();
    for (index, (of, score)) in rows.iter().enumerate() {
        let middle = ROW * (index as f64 + 0.5) + 2.0;
        let class = class(*of);
        canvas.text(&format!("name strong {class}"), [0.0, middle + 5.0], "start", family(*of));
        canvas.rectangle(
            &format!("interval {class}"),
            [x.at(score.low), middle - 5.0, x.at(score.high) - x.at(score.low), 10.0],
        );
        let title = format!(
            "{} {} ({} to {})",
            family(*of),
            percent(score.value),
            percent(score.low),
            percent(score.high)
        );
        canvas.dot(&format!("dot {class}"), [x.at(score.value), middle], 6.0, &title);
        canvas.text(&format!("value {class}"), [width, middle + 5.0], "end", &percent(score.value));
        said.push(title);
    }
    canvas.finish(&format!("Scores on test with their intervals: {}", said.join("; ")))
}

/// The difference fine-tuned less in-context, its interval, and the margin within which it does not matter, in both widths.
pub(crate) fn difference(report: &Report) -> String {
    in_both(|width| difference_in(report, width))
}

fn difference_in(report: &Report, width: f64) -> String {
    let contrast = &report.comparison.contrast;
    let margin = report.comparison.decision.margin;
    let rows = [("These two", &contrast.difference), ("All runs", &contrast.replication.difference)];
    let ends = rows.iter().flat_map(|(_, one)| [one.low, one.high]).chain([margin]);
    let reach = ends.map(f64::abs).fold(0.0, f64::max);
    let reach = 1.12 * reach;
    let x = Scale { domain: [-reach, reach], range: [NAMES, width - VALUES] };
    let bottom = 8.0 + ROW * rows.len() as f64;
    let mut canvas = Canvas::new(width, bottom + 26.0);
    canvas.rectangle("margin", [x.at(-margin), 8.0, x.at(margin) - x.at(-margin), bottom - 8.0]);
    for tick in ticks(-100.0 * reach, 100.0 * reach, if width < 500.0 { 5 } else { 9 }) {
        canvas.line("grid", [x.at(tick / 100.0), 8.0, x.at(tick / 100.0), bottom]);
        canvas.text("tick", [x.at(tick / 100.0), bottom + 16.0], "middle", &signed(tick));
    }
    canvas.line("base", [x.at(0.0), 4.0, x.at(0.0), bottom + 4.0]);
    let mut said = Vec::new();
    for (index, (name, difference)) in rows.into_iter().enumerate() {
        let middle = 8.0 + ROW * (index as f64 + 0.5);
        let class = if difference.value >= 0.0 { class(Family::FineTune) } else { class(Family::InContext) };
        canvas.rectangle(
            &format!("interval {class}"),
            [x.at(difference.low), middle - 5.0, x.at(difference.high) - x.at(difference.low), 10.0],
        );
        let title = format!("{} ({})", points(difference.value), range(difference.low, difference.high));
        canvas.dot(&format!("dot {class}"), [x.at(difference.value), middle], 6.0, &title);
        canvas.text("name", [0.0, middle + 5.0], "start", name);
        let value = signed((1000.0 * difference.value).round() / 10.0);
        canvas.text("value", [width, middle + 5.0], "end", &value);
        said.push(title);
    }
    canvas.finish(&format!(
        "Fine-tuned less in-context: {}; over all draws and seeds: {}; differences within {} do not matter",
        said[0],
        said[1],
        points(margin)
    ))
}

/// A picture in both widths, of which the page shows one.
fn in_both(draw: impl Fn(f64) -> String) -> String {
    WIDTHS.map(|(class, width)| format!("<div class=\"{class}\">{}</div>", draw(width))).concat()
}

/// `+5`, `-5`, `0`, `+19.7`.
fn signed(points: f64) -> String {
    if points == 0.0 { "0".to_owned() } else { format!("{points:+}").replace('-', "−") }
}
