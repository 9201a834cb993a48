//! The page: one HTML file that needs nothing else.

mod cost;
mod items;
mod provenance;

use std::collections::HashMap;

use eval::arm::Arm;
use eval::curve::Axis;
use eval::metric_name;
use eval::table::Cell;
use eval::wording::{bytes, count, magnitude, method_name, number, p_value, percent, points, range, seconds};
use minijinja::{AutoEscape, Environment, Value, context};
use serde::Serialize;
use task::record::{Family, Part};

use crate::chart::{contrast, curves, escape, spread};
use crate::{Error, Report, confusion, words};
use cost::{cases, economics_data};
use items::page_items;
use provenance::facts;

const TEMPLATE: &str = include_str!("../assets/report.html");
const STYLE: &str = include_str!("../assets/report.css");
const ECONOMICS: &str = include_str!("../assets/economics.js");
const SCRIPT: &str = include_str!("../assets/report.js");

/// Writes the page.
///
/// # Errors
/// [`Error::Template`] and [`Error::Json`], which only a fault of this crate can cause.
pub fn html(report: &Report) -> Result<String, Error> {
    let mut environment = Environment::new();
    environment.set_auto_escape_callback(|_| AutoEscape::Html);
    environment.add_filter("capitalize_first", capitalize_first);
    environment.add_filter("code", code);
    environment.add_template("report", TEMPLATE)?;
    let comparison = &report.comparison;
    let anchors = anchors(&comparison.arms);
    let items = page_items(&report.items);
    let page = context! {
        style => STYLE,
        economics_script => ECONOMICS,
        script => SCRIPT,
        title => comparison.task.name.clone(),
        heading => heading(report),
        headline => words::headline(comparison.verdict.choice),
        reasons => comparison.verdict.reasons.clone(),
        flips => comparison.verdict.flips_if.clone(),
        test => test_line(report),
        gates => gates(report),
        scores => contrast::scores(report),
        difference => contrast::difference(report),
        runs => comparison.contrast.replication.runs(),
        metric => metric_name(&comparison.metric),
        confidence => format!("{:.0}%", 100.0 * comparison.decision.confidence),
        margin => points(comparison.decision.margin),
        rows => rows(report, &anchors),
        curves => curves::curves(report),
        crossing => curves::crossing(report),
        requirement => comparison.requirement.sentence(),
        distillation => comparison.distillation.as_ref().map(eval::distillation::Distillation::sentence),
        curve_points => curve_points(report, &anchors),
        spread => spread::spread(report),
        cases => cases(report),
        labels => Value::from(minijinja::value::Serde(confusion::labels(report))),
        confusions => Value::from(minijinja::value::Serde(confusion::confusions(report))),
        label_names => comparison.labels.clone(),
        experiments => experiments(report, &anchors),
        facts => Value::from(minijinja::value::Serde(facts(report))),
        settings => serde_json::to_string_pretty(&report.provenance.settings)?,
        items_total => count(report.items.test.len() as u64, "test item"),
        items_differing => count(report.items.differing().count() as u64, "item"),
        items_note => items.note,
        economics_data => embedded(&economics_data(report))?,
        items_data => embedded(&items.data)?,
        program => report.provenance.program.clone(),
    };
    Ok(environment.get_template("report")?.render(page)?)
}

/// A sentence from a clause: its first letter in upper case, nothing else changed.
fn capitalize_first(text: String) -> String {
    let mut characters = text.chars();
    characters.next().map_or_else(String::new, |first| first.to_uppercase().chain(characters).collect())
}

/// Markup of a text in which what stands between backticks is code.
fn code(text: String) -> Value {
    let parts: Vec<&str> = text.split('`').collect();
    let mut out = String::new();
    for (index, part) in parts.iter().enumerate() {
        let escaped = escape(part);
        // An odd number of backticks leaves the last one as it is.
        let closed = index + 1 < parts.len();
        match (index % 2 == 1, closed) {
            (true, true) => out += &format!("<code>{escaped}</code>"),
            (true, false) => out += &format!("`{escaped}"),
            _ => out += &escaped,
        }
    }
    Value::from_safe_string(out)
}

/// JSON that may stand inside a `script` element: nothing in it can end that element.
fn embedded<T: Serialize>(value: &T) -> Result<String, Error> {
    Ok(serde_json::to_string(value)?.replace('<', "\\u003c"))
}

fn heading(report: &Report) -> String {
    let comparison = &report.comparison;
    let items = comparison.task.items;
    format!(
        "{} · {} train, {} dev, {} test · model {} ({} parameters)",
        words::answers(comparison),
        items.train,
        items.dev,
        items.test,
        comparison.model.source,
        magnitude(comparison.model.parameters as f64)
    )
}

fn test_line(report: &Report) -> String {
    let contrast = &report.comparison.contrast;
    let (name, p) = contrast.test.shown();
    format!(
        "{}, {} interval {}; {name} {}",
        count(contrast.test.items, "test item"),
        format_args!("{:.0}%", 100.0 * report.comparison.decision.confidence),
        range(contrast.difference.low, contrast.difference.high),
        p_value(p)
    )
}

fn gates(report: &Report) -> Vec<Value> {
    let named = report.comparison.verdict.gates.named();
    named
        .into_iter()
        .map(|(key, gate)| {
            let (name, question) = words::gate(key);
            context! { key, name, question, state => words::state(gate.state), reason => gate.reason.clone() }
        })
        .collect()
}

/// The place of every experiment in the page.
fn anchors(arms: &[Arm]) -> HashMap<&str, String> {
    arms.iter()
        .enumerate()
        .map(|(index, arm)| (arm.id.as_str(), format!("experiment-{}", index + 1)))
        .collect()
}

fn rows(report: &Report, anchors: &HashMap<&str, String>) -> Vec<Value> {
    let cell = |cell: &Cell| {
        let source = cell.source.as_deref();
        let interval =
            cell.low.zip(cell.high).map(|(low, high)| format!("{} to {}", percent(low), percent(high)));
        context! {
            text => (!cell.text.is_empty()).then(|| clauses(&cell.text)),
            reason => cell.reason.clone(),
            interval,
            unit => cell.unit.clone(),
            source => source.map(words::stem),
            anchor => source.and_then(|id| anchors.get(id)).cloned(),
            value => (!cell.value.is_null()).then(|| serde_json::to_string_pretty(&cell.value).unwrap_or_default()),
        }
    };
    let table = report.comparison.table.iter();
    table
        .map(|row| context! { name => row.row.clone(), in_context => cell(&row.in_context), fine_tune => cell(&row.fine_tune) })
        .collect()
}

/// The clauses of a cell, each for a line of its own; what stands in brackets stays together.
fn clauses(text: &str) -> Vec<String> {
    let mut depth = 0_usize;
    let mut parts = vec![0];
    for (place, letter) in text.char_indices() {
        match letter {
            '(' => depth += 1,
            ')' => depth = depth.saturating_sub(1),
            ';' if depth == 0 && text[place + 1..].starts_with(' ') => parts.push(place + 2),
            _ => {}
        }
    }
    let ends = parts[1..].iter().map(|start| start - 2).chain([text.len()]);
    parts.iter().zip(ends).map(|(start, end)| text[*start..end].to_owned()).collect()
}

fn curve_points(report: &Report, anchors: &HashMap<&str, String>) -> Vec<Value> {
    let mut rows = Vec::new();
    for curve in &report.comparison.curves {
        for point in &curve.points {
            let runs: Vec<String> =
                point.experiments.iter().filter_map(|id| anchors.get(id.as_str()).cloned()).collect();
            rows.push(context! {
                class => words::class(curve.family),
                method => method_name(&curve.method),
                given => count(point.at as u64, if curve.axis == Axis::Shots { "demonstration" } else { "label" }),
                part => part(curve.part),
                score => percent(point.score),
                seeds => point.seeds,
                range => (point.seeds > 1).then(|| format!("{} to {}", percent(point.lowest), percent(point.highest))),
                deviation => point.standard_deviation.map(points),
                collapsed => point.collapsed,
                runs,
            });
        }
    }
    rows
}

fn part(part: Part) -> &'static str {
    match part {
        Part::Train => "train",
        Part::Dev => "dev",
        Part::Test => "test",
    }
}

fn experiments(report: &Report, anchors: &HashMap<&str, String>) -> Vec<Value> {
    let comparison = &report.comparison;
    let finalists: Vec<&str> = [Family::InContext, Family::FineTune, Family::Floor]
        .into_iter()
        .filter_map(|family| report.finalist(family))
        .map(|arm| arm.id.as_str())
        .collect();
    let row = |arm: &Arm| {
        let score = arm.metrics.as_ref().and_then(|metrics| metrics.get(&comparison.metric));
        let tokens = arm.tokens_per_request;
        context! {
            anchor => anchors.get(arm.id.as_str()).cloned(),
            id => words::stem(&arm.id),
            class => words::class(arm.family),
            part => part(arm.part),
            finalist => finalists.contains(&arm.id.as_str()),
            score => score.map(|score| percent(score.value)),
            interval => score.map(|score| format!("{} to {}", percent(score.low), percent(score.high))),
            tokens => (arm.family != Family::Floor)
                .then(|| format!("{} ({})", number(tokens.prompt.round()), number(tokens.cached.round()))),
            setup => seconds(arm.setup.seconds),
            request => seconds(arm.seconds_per_request),
            settings => confusion::settings(arm),
            artefact => arm.artefact.as_ref().map(|artefact| {
                format!("{}, {}, SHA-256 {:.12}…", artefact.kind, bytes(artefact.bytes), artefact.sha256)
            }),
            collapse => arm.collapse.clone(),
        }
    };
    comparison.arms.iter().map(row).collect()
}

#[cfg(test)]
mod tests {
    use super::{clauses, code};

    #[test]
    fn what_stands_between_backticks_is_code() {
        for (text, expected) in [
            ("worst label `a<b`: 1 of 2", "worst label <code>a&lt;b</code>: 1 of 2"),
            ("none", "none"),
            ("a ` alone", "a ` alone"),
        ] {
            assert_eq!(code(text.to_owned()).as_str(), Some(expected));
        }
    }

    #[test]
    fn clauses_end_at_semicolons_outside_brackets() {
        assert_eq!(
            clauses("level at 246 labels (152 to 343; missed by 2 points); yes; it is;so"),
            ["level at 246 labels (152 to 343; missed by 2 points)", "yes", "it is;so"]
        );
        assert_eq!(clauses("no"), ["no"]);
    }
}
