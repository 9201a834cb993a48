//! How far seeds of one size lie apart: a dot a seed.

use eval::curve::Axis;
use eval::metric_name;
use eval::wording::{method_name, percent, points};
use task::record::Part;

use super::{Canvas, Scale, ticks};
use crate::Report;
use crate::words::class;

const WIDTH: f64 = 920.0;
const NAMES: f64 = 190.0;
const VALUES: f64 = 120.0;
const ROW: f64 = 24.0;

/// One row for every method and size with several seeds; `None` where each was run once.
pub(crate) fn spread(report: &Report) -> Option<String> {
    let comparison = &report.comparison;
    let curves = comparison.curves.iter().filter(|curve| curve.part == Part::Test);
    let rows: Vec<_> = curves
        .flat_map(|curve| curve.points.iter().map(move |point| (curve, point)))
        .filter(|(_, point)| point.seeds > 1)
        .collect();
    let low = rows.iter().map(|(_, point)| point.lowest).reduce(f64::min)?;
    let high = rows.iter().map(|(_, point)| point.highest).reduce(f64::max)?;
    let padding = (0.05 * (high - low)).max(0.01);
    let height = ROW * rows.len() as f64 + 34.0;
    let x = Scale {
        domain: [(low - padding).max(0.0), (high + padding).min(1.0)],
        range: [NAMES, WIDTH - VALUES],
    };
    let mut canvas = Canvas::new(WIDTH, height);
    for tick in ticks(x.domain[0], x.domain[1], 7) {
        canvas.line("grid", [x.at(tick), 4.0, x.at(tick), height - 26.0]);
        canvas.text("tick", [x.at(tick), height - 10.0], "middle", &format!("{:.0}%", 100.0 * tick));
    }
    canvas.text("tick", [WIDTH, height - 10.0], "end", "SD over seeds");
    for (index, (curve, point)) in rows.iter().enumerate() {
        let middle = ROW * (index as f64 + 0.5) + 4.0;
        let class = class(curve.family);
        let axis = if curve.axis == Axis::Shots { "k" } else { "n" };
        let name = format!("{}, {axis} = {}", method_name(&curve.method), point.at);
        canvas.text(&format!("name {class}"), [0.0, middle + 4.0], "start", &name);
        canvas.line(&format!("whisker {class}"), [x.at(point.lowest), middle, x.at(point.highest), middle]);
        for id in &point.experiments {
            let score = comparison.arm(id).and_then(|arm| arm.metrics.as_ref()?.get(&comparison.metric));
            if let Some(score) = score {
                let title = format!("{id}: {}", percent(score.value));
                canvas.dot(&format!("dot {class}"), [x.at(score.value), middle], 4.5, &title);
            }
        }
        canvas.line(
            &format!("mean {class}"),
            [x.at(point.score), middle - 8.0, x.at(point.score), middle + 8.0],
        );
        let deviation = point.standard_deviation.map_or_else(String::new, points);
        canvas.text(&format!("value {class}"), [WIDTH, middle + 4.0], "end", &deviation);
    }
    let metric = metric_name(&comparison.metric);
    Some(canvas.finish(&format!(
        "{metric} on test of every seed, one row for each method and size; the numbers are in the table of experiments"
    )))
}
