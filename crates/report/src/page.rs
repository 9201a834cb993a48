//! The page: one HTML file that needs nothing else.

use std::collections::HashMap;
use std::fmt::Write as _;

use eval::arm::Arm;
use eval::curve::Axis;
use eval::economics::{BreakEven, Cache, Economics, Payback, Unit};
use eval::interval::student_quantile;
use eval::metric_name;
use eval::table::Cell;
use eval::wording::{bytes, count, magnitude, method_name, number, p_value, percent, points, range, seconds};
use minijinja::{AutoEscape, Environment, Value, context};
use serde::Serialize;
use task::record::{Family, Part, PriceSource};

use crate::chart::{contrast, curves, spread};
use crate::items::{Given, Item, Items};
use crate::{Error, Report, confusion, words};

const TEMPLATE: &str = include_str!("../assets/report.html");
const STYLE: &str = include_str!("../assets/report.css");
const ECONOMICS: &str = include_str!("../assets/economics.js");
const SCRIPT: &str = include_str!("../assets/report.js");

/// Bytes of items and prompts that a page may hold; a page stays well under 2 MB.
const ITEM_BYTES: usize = 1_500_000;
/// Characters of an input or an answer beyond which it is cut in the page.
const LONGEST_TEXT: usize = 4_000;

/// Writes the page.
///
/// # Errors
/// [`Error::Template`] and [`Error::Json`], which only a fault of this crate can cause.
pub fn html(report: &Report) -> Result<String, Error> {
    let mut environment = Environment::new();
    environment.set_auto_escape_callback(|_| AutoEscape::Html);
    environment.add_filter("capitalize_first", capitalize_first);
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
        metric => metric_name(&comparison.metric),
        confidence => format!("{:.0}%", 100.0 * comparison.decision.confidence),
        margin => points(comparison.decision.margin),
        rows => rows(report, &anchors),
        curves => curves::curves(report),
        crossing => curves::crossing(report),
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

fn cases(report: &Report) -> Vec<Value> {
    let economics = &report.comparison.economics;
    let unit = |unit| match unit {
        Unit::Money => "money",
        Unit::FullPriceTokens => "full-price tokens",
        Unit::Flops => "floating-point operations",
    };
    let cases = economics.cases.iter();
    cases
        .map(|case| {
            let requests = match (case.payback, case.requests) {
                (Payback::Never, _) => "never".to_owned(),
                (Payback::AtOnce, _) => "from the first request".to_owned(),
                (_, Some(requests)) => {
                    format!("{}{}", if case.lower_bound { "at least " } else { "" }, number(requests))
                }
                _ => "unknown".to_owned(),
            };
            context! {
                deciding => case.unit == economics.unit,
                unit => unit(case.unit),
                cache => if case.cache == Cache::Cold { "cold" } else { "warm" },
                in_context => number(case.in_context),
                fine_tune => number(case.fine_tune),
                setup => case.setup.map(number),
                requests,
                interval => interval(case),
                months => case.months.map(number),
                unknown => case.unknown.join(", "),
            }
        })
        .collect()
}

/// The interval of a break-even: `1,000 to 1,300`, `1,000 to never`.
fn interval(case: &BreakEven) -> Option<String> {
    let [low, high] = case.interval?;
    Some(format!("{} to {}", number(low?), high.map_or_else(|| "never".to_owned(), number)))
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

/// Where the figures came from, as name and value.
fn facts(report: &Report) -> Vec<(String, String)> {
    let comparison = &report.comparison;
    let mut facts = vec![
        ("Model".to_owned(), format!("{}, SHA-256 {}", comparison.model.source, comparison.model.sha256)),
        ("Data and split".to_owned(), format!("SHA-256 {}", comparison.task.data_sha256)),
        (
            "Decided by".to_owned(),
            format!(
                "{}, margin {}, confidence {:.0}%",
                metric_name(&comparison.metric),
                points(comparison.decision.margin),
                100.0 * comparison.decision.confidence
            ),
        ),
    ];
    facts.extend(prices(&comparison.economics).map(|prices| ("Prices".to_owned(), prices)));
    let opened = report.test_opened().map_or_else(|| "the log does not say when".to_owned(), str::to_owned);
    facts.push(("Test set opened".to_owned(), format!("{opened}, once, when every choice was made")));
    let budget = report.provenance.settings.pointer("/budget/seconds").and_then(serde_json::Value::as_f64);
    if let Some(budget) = budget {
        facts.push(("Budget".to_owned(), format!("{}, half for each arm", seconds(budget))));
    }
    let spent = report.provenance.seconds_by_family.iter();
    let spent: Vec<String> =
        spent.map(|(name, spent)| format!("{} {}", name.replace('_', " "), seconds(*spent))).collect();
    let spent = if spent.is_empty() { "arms not recorded".to_owned() } else { spent.join(", ") };
    facts.push(("Time".to_owned(), format!("{} in all; {spent}", seconds(comparison.wall_seconds))));
    facts.push(("What the arms took".to_owned(), comparison.budgets.sentences()));
    let mut seeds: Vec<u64> = comparison.arms.iter().filter_map(|arm| arm.seed).collect();
    seeds.sort_unstable();
    seeds.dedup();
    let seeds: Vec<String> = seeds.iter().map(u64::to_string).collect();
    facts.push(("Seeds".to_owned(), seeds.join(", ")));
    facts.push(("Program".to_owned(), report.provenance.program.clone()));
    facts
}

/// The price file, the model in it, and where it has its prices from.
fn prices(economics: &Economics) -> Option<String> {
    let PriceSource { file, model, currency, source, read_on } = economics.prices.as_ref()?;
    let mut words = format!("{model} in {file}");
    if let Some(currency) = currency {
        let _ = write!(words, ", in {currency}");
    }
    if let Some(source) = source {
        let _ = write!(words, ", from {source}");
    }
    if let Some(day) = read_on {
        let _ = write!(words, ", read on {day}");
    }
    Some(words)
}

/// What `economics.js` computes the verdict from.
fn economics_data(report: &Report) -> serde_json::Value {
    let comparison = &report.comparison;
    let mut given = serde_json::json!(comparison.economics.given);
    given["base_months"] = comparison.economics.base_months.into();
    // Student's quantile does not move with prices.
    let student = (report.timed.len() > 1).then(|| {
        student_quantile(report.timed.len() as f64 - 1.0, 0.5 + comparison.decision.confidence / 2.0)
    });
    serde_json::json!({
        "economics": {
            "in_context": comparison.economics.in_context,
            "fine_tune": comparison.economics.fine_tune,
            "parameters": comparison.economics.parameters,
        },
        "given": given,
        "timed": report.timed,
        "student": student,
        "outcome": comparison.contrast.outcome,
        "floor_wins": comparison.floor_contrast.as_ref().is_some_and(|floor| floor.wins),
        "enough_data": comparison.verdict.gates.enough_data.state,
        "stored": comparison.verdict.choice,
    })
}

/// The items in the page, with every line of their prompts written once.
struct PageItems {
    data: ItemData,
    note: Option<String>,
}

#[derive(Default, Serialize)]
struct ItemData {
    lines: Vec<String>,
    items: Vec<ItemRow>,
}

#[derive(Serialize)]
struct ItemRow {
    id: String,
    origin: Option<String>,
    input: Option<String>,
    target: Option<String>,
    answers: [Option<Given>; 3],
    /// Lines of the prompts of both arms.
    prompts: [Option<Vec<usize>>; 2],
    supervised: Option<String>,
}

/// The lines of all prompts; what many have in common is kept once.
#[derive(Default)]
struct Lines {
    known: HashMap<String, usize>,
    all: Vec<String>,
    bytes: usize,
}

impl Lines {
    fn add(&mut self, text: &str) -> Vec<usize> {
        let mut places = Vec::new();
        for line in text.split_inclusive('\n') {
            let next = self.all.len();
            let place = *self.known.entry(line.to_owned()).or_insert(next);
            if place == next {
                self.bytes += line.len() + 6;
                self.all.push(line.to_owned());
            }
            self.bytes += 6;
            places.push(place);
        }
        places
    }
}

fn page_items(items: &Items) -> PageItems {
    let differing: Vec<&Item> = items.differing().collect();
    let longest = (ITEM_BYTES / 3 / differing.len().max(1)).min(LONGEST_TEXT);
    let short = |text: &String| shortened(text, longest);
    let mut data = ItemData::default();
    let (mut bytes, mut without) = (0, 0);
    let mut lines = Lines::default();
    for item in differing {
        let given = |given: &Option<Given>| {
            given.as_ref().map(|given| Given { answer: shortened(&given.answer, longest), ..given.clone() })
        };
        let mut row = ItemRow {
            id: item.id.clone(),
            origin: item.origin.clone(),
            input: item.input.as_ref().map(short),
            target: item.target.as_ref().map(short),
            answers: [given(&item.in_context), given(&item.fine_tune), given(&item.floor)],
            prompts: [None, None],
            supervised: item.supervised.as_ref().map(short),
        };
        bytes += 320 + row.input.as_ref().map_or(0, String::len);
        if bytes + lines.bytes < ITEM_BYTES {
            row.prompts =
                [&item.prompt, &item.tuned_prompt].map(|text| text.as_ref().map(|text| lines.add(text)));
        } else if item.prompt.is_some() {
            without += 1;
        }
        data.items.push(row);
    }
    data.lines = lines.all;
    let note = items.missing.clone().or_else(|| {
        (without > 0).then(|| {
            format!(
                "to keep this page small, {} stand without their prompts; `weigh report --format json` has all",
                count(without, "item")
            )
        })
    });
    PageItems { data, note }
}

fn shortened(text: &str, most: usize) -> String {
    match text.char_indices().nth(most) {
        Some((end, _)) => format!("{}…", &text[..end]),
        None => text.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::clauses;

    #[test]
    fn clauses_end_at_semicolons_outside_brackets() {
        assert_eq!(
            clauses("level at 246 labels (152 to 343; missed by 2 points); yes; it is;so"),
            ["level at 246 labels (152 to 343; missed by 2 points)", "yes", "it is;so"]
        );
        assert_eq!(clauses("no"), ["no"]);
    }
}
