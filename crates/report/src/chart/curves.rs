//! The main metric against what each method was given.

use eval::curve::{Axis, Curve, CurvePoint, first_to_reach};
use eval::interval::Estimate;
use eval::metric_name;
use eval::wording::{count, method_name, number, percent};
use task::record::{Family, Part};

use super::{Canvas, Scale, spread_out, ticks};
use crate::Report;
use crate::words::class;

const WIDTH: f64 = 920.0;
const HEIGHT: f64 = 400.0;
/// Left, right (for the names of the lines), top, bottom.
const MARGIN: [f64; 4] = [48.0, 168.0, 40.0, 46.0];
const LINE: f64 = 16.0;

/// Where a number of examples stands: logarithmic, with a place for none.
fn place(examples: usize) -> f64 {
    (1.0 + examples as f64).log2()
}

/// Where fine-tuning first reaches the prompt at a size that was measured, in words; `None` without a prompt's score.
pub(crate) fn crossing(report: &Report) -> Option<String> {
    let target = prompted(report)?;
    Some(match reached(report) {
        Some((curve, at)) => format!(
            "{} reaches the prompt’s {} with {}",
            method_name(&curve.method),
            percent(target),
            count(at as u64, "label")
        ),
        None => format!("fine-tuning reaches the prompt’s {} at no size that was measured", percent(target)),
    })
}

/// The in-context finalist's score on test.
fn prompted(report: &Report) -> Option<f64> {
    Some(report.finalist(Family::InContext)?.metrics.as_ref()?.get(&report.comparison.metric)?.value)
}

/// The curve that first reaches the in-context finalist's score on test, and at how many labels.
fn reached(report: &Report) -> Option<(&Curve, usize)> {
    let (curve, point) = first_to_reach(&report.comparison.curves, Family::FineTune, prompted(report)?)?;
    (curve.part == Part::Test).then_some((curve, point.at))
}

/// The labels at which fine-tuning draws level, with the interval's ends, where that could be estimated; an end of `None` lies beyond
/// everything that was looked at.
fn draws_level(report: &Report) -> Option<(u64, Option<u64>, Option<u64>)> {
    let crossing = report.comparison.requirement.crossing()?;
    Some((crossing.labels?, crossing.low, crossing.high))
}

/// The curves on test as a picture; `None` without any.
pub(crate) fn curves(report: &Report) -> Option<String> {
    let comparison = &report.comparison;
    let mut shown: Vec<&Curve> = comparison.curves.iter().filter(|curve| curve.part == Part::Test).collect();
    shown.sort_by_key(|curve| std::cmp::Reverse(curve.family));
    let points = || shown.iter().flat_map(|curve| &curve.points);
    let measured = points().map(|point| point.at).max()?;
    let estimated = draws_level(report).map(|(labels, _, high)| high.unwrap_or(labels) as usize);
    let most = estimated.map_or(measured, |labels| measured.max(labels));
    let interval = |point: &CurvePoint| {
        interval(report, point).map_or((point.lowest, point.highest), |own| (own.low, own.high))
    };
    let low = points().map(|point| interval(point).0.min(point.lowest)).fold(1.0, f64::min);
    let high = points().map(|point| interval(point).1.max(point.highest)).fold(0.0, f64::max);
    let padding = (0.03 * (high - low)).max(0.01);
    let domain = [(low - padding).max(0.0), (high + padding).min(1.0)];
    let [left, right, top, bottom] = MARGIN;
    let x = Scale { domain: [0.0, place(most)], range: [left + 12.0, WIDTH - right] };
    let y = Scale { domain, range: [HEIGHT - bottom, top] };
    let mut canvas = Canvas::new(WIDTH, HEIGHT);
    grid(&mut canvas, report, &x, &y, points().map(|point| point.at).collect());
    mark_crossing(&mut canvas, report, &x, &y);
    for curve in &shown {
        draw(&mut canvas, report, curve, &x, &y);
    }
    name_lines(&mut canvas, &shown, &x, &y);
    let description = format!(
        "{} on test against the examples given, one line a method. {}. The numbers are in the table below.",
        metric_name(&comparison.metric),
        crossing(report).unwrap_or_else(|| "The prompt’s score is not known".to_owned())
    );
    Some(canvas.finish(&description))
}

fn grid(canvas: &mut Canvas, report: &Report, x: &Scale, y: &Scale, mut sizes: Vec<usize>) {
    let (right, bottom) = (x.range[1], y.range[0]);
    for tick in ticks(y.domain[0], y.domain[1], 8) {
        canvas.line("grid", [MARGIN[0], y.at(tick), right, y.at(tick)]);
        canvas.text("tick", [MARGIN[0] - 8.0, y.at(tick) + 4.0], "end", &format!("{:.0}%", 100.0 * tick));
    }
    let metric = metric_name(&report.comparison.metric);
    canvas.text("axis", [MARGIN[0] - 40.0, 12.0], "start", &format!("{metric} on test"));
    canvas.line("base", [MARGIN[0], bottom, right, bottom]);
    sizes.sort_unstable();
    sizes.dedup();
    let mut free = f64::NEG_INFINITY;
    for size in sizes {
        let here = x.at(place(size));
        canvas.line("base", [here, bottom, here, bottom + 4.0]);
        if here - free >= 26.0 {
            canvas.text("tick", [here, bottom + 18.0], "middle", &size.to_string());
            free = here;
        }
    }
    canvas.text(
        "axis",
        [right, bottom + 38.0],
        "end",
        "examples given: demonstrations in the prompt, or labelled rows to train on (logarithmic)",
    );
}

/// The prompt's score as a level, and the size at which fine-tuning first reaches it.
fn mark_crossing(canvas: &mut Canvas, report: &Report, x: &Scale, y: &Scale) {
    let Some(target) = prompted(report) else { return };
    let level = y.at(target);
    canvas.line("level", [MARGIN[0], level, x.range[1], level]);
    let (at, note) = match (draws_level(report), reached(report)) {
        (Some((labels, low, high)), _) => {
            let from = low.map_or(x.at(place(labels as usize)), |low| x.at(place(low as usize)));
            let to = high.map_or(x.range[1], |high| x.at(place(high as usize)));
            canvas.rectangle("region", [from, y.range[1], (to - from).max(2.0), y.range[0] - y.range[1]]);
            let end = |end: Option<u64>| {
                end.map_or_else(|| "more than was looked at".to_owned(), |end| number(end as f64))
            };
            (
                labels as usize,
                format!("draws level at {} ({} to {})", count(labels, "label"), end(low), end(high)),
            )
        }
        (None, Some((_, at))) => {
            (at, format!("the prompt’s {} is reached with {}", percent(target), count(at as u64, "label")))
        }
        (None, None) => return,
    };
    let here = x.at(place(at));
    canvas.line("crossing", [here, y.range[1], here, y.range[0]]);
    // Above the plot: within it lines and whiskers would run through the words.
    let anchor = if here > WIDTH / 2.0 { "end" } else { "start" };
    canvas.text("note", [here, y.range[1] - 6.0], anchor, &note);
}

/// One method: a band over its seeds, a line, and a dot a size with its interval where it has a single run.
fn draw(canvas: &mut Canvas, report: &Report, curve: &Curve, x: &Scale, y: &Scale) {
    let class = format!("{} {}", class(curve.family), curve.method);
    let at = |size: usize, score: f64| [x.at(place(size)), y.at(score)];
    let upper = curve.points.iter().map(|point| at(point.at, point.highest));
    let lower = curve.points.iter().rev().map(|point| at(point.at, point.lowest));
    if curve.points.len() > 1 && curve.points.iter().any(|point| point.seeds > 1) {
        canvas.path(&format!("band {class}"), &upper.chain(lower).collect::<Vec<_>>(), true);
    }
    let line: Vec<[f64; 2]> = curve.points.iter().map(|point| at(point.at, point.score)).collect();
    canvas.path(&format!("line {class}"), &line, false);
    for point in &curve.points {
        let [here, there] = at(point.at, point.score);
        let given = if curve.axis == Axis::Shots { "demonstration" } else { "label" };
        let mut title = format!(
            "{}, {}: {}",
            method_name(&curve.method),
            count(point.at as u64, given),
            percent(point.score)
        );
        if let Some(interval) = interval(report, point) {
            let clamp = |value: f64| y.at(value.clamp(y.domain[0], y.domain[1]));
            canvas.line(&format!("whisker {class}"), [here, clamp(interval.low), here, clamp(interval.high)]);
            title += &format!(" ({} to {})", percent(interval.low), percent(interval.high));
        } else {
            title += &format!(
                " (mean of {} seeds, {} to {})",
                point.seeds,
                percent(point.lowest),
                percent(point.highest)
            );
        }
        let chosen = point.experiments.iter().any(|id| {
            [Family::InContext, Family::FineTune, Family::Floor]
                .into_iter()
                .filter_map(|family| report.finalist(family))
                .any(|finalist| finalist.id == *id)
        });
        if chosen {
            title += "; chosen on dev";
            canvas.dot(&format!("ring {class}"), [here, there], 7.5, &title);
        }
        canvas.dot(&format!("dot {class}"), [here, there], 3.6, &title);
    }
}

/// The interval of a size that was run once.
fn interval<'a>(report: &'a Report, point: &CurvePoint) -> Option<&'a Estimate> {
    let arm =
        point.experiments.first().filter(|_| point.seeds == 1).and_then(|id| report.comparison.arm(id))?;
    arm.metrics.as_ref()?.get(&report.comparison.metric)
}

/// The lines' names at their ends, moved apart where they would touch.
fn name_lines(canvas: &mut Canvas, curves: &[&Curve], x: &Scale, y: &Scale) {
    let ends: Vec<_> = curves.iter().filter_map(|curve| Some((curve, curve.points.last()?))).collect();
    let places: Vec<f64> = ends.iter().map(|(_, point)| y.at(point.score)).collect();
    let moved = spread_out(&places, LINE, [y.range[1] + 4.0, y.range[0] - 4.0]);
    for ((curve, point), place_moved) in ends.iter().zip(moved) {
        let class = class(curve.family);
        let end = x.at(place(point.at));
        let from = x.range[1] + 12.0;
        canvas.path(
            &format!("leader {class}"),
            &[[end + 6.0, y.at(point.score)], [from - 4.0, place_moved], [from, place_moved]],
            false,
        );
        let text = format!("{} {}", method_name(&curve.method), percent(point.score));
        canvas.text(&format!("name {class}"), [from + 4.0, place_moved + 4.0], "start", &text);
    }
}
