//! `weigh run --dry-run`: the plan with what it costs, and what the test set can tell.

use std::path::Path;

use adapt::forecast::{Forecast, Planned, forecast};
use anyhow::{Context, Result};
use eval::power::{detectable_difference, items_to_detect};
use eval::wording::{number, points, seconds};
use task::dataset::Dataset;
use task::settings::Settings;

use super::{model, run};
use crate::printer::{Printer, wrapped};

/// Shares of items on which two arms may disagree: close relatives, the usual, and two that have little in common.
const DISAGREEMENTS: [f64; 3] = [0.1, 0.2, 0.4];

/// Plans the run of `task` without running it.
pub(crate) fn dry_run(task: &Path, budget: Option<&str>, printer: &Printer) -> Result<()> {
    let mut settings = Settings::load(task)?;
    if let Some(budget) = budget {
        settings.budget.seconds = run::duration("budget", budget)?;
    }
    let dataset = Dataset::load(&settings)?;
    let engine = model::load(&settings.model).context("loading the model")?;
    let forecast = forecast(&settings, &dataset, &engine)?;
    let items = dataset.test.len() as u64;
    if printer.json() {
        return printer
            .print_json(&serde_json::json!({ "forecast": forecast, "power": power(&settings, items) }));
    }
    printer.forecast(&forecast, settings.budget.seconds);
    printer.print(&power_text(&settings, &dataset, &forecast, printer));
    printer.hint("nothing was run or stored; `weigh run` does it");
    Ok(())
}

/// What a test set of `items` can tell, for each assumed disagreement.
fn power(settings: &Settings, items: u64) -> Vec<serde_json::Value> {
    let decision = &settings.decision;
    DISAGREEMENTS
        .iter()
        .map(|&share| {
            serde_json::json!({
                "disagreement": share,
                "smallest_visible_difference": detectable_difference(items, share, decision.confidence),
                "items_for_margin": items_to_detect(decision.margin, share, decision.confidence),
            })
        })
        .collect()
}

/// What the test set can tell, and what it would take to decide about the margin.
fn power_text(settings: &Settings, dataset: &Dataset, forecast: &Forecast, printer: &Printer) -> String {
    let (decision, items) = (&settings.decision, dataset.test.len() as u64);
    let margin = points(decision.margin);
    let each = seconds_an_item(forecast, (dataset.dev.len() + dataset.test.len()) as f64);
    let rows: Vec<[String; 5]> = DISAGREEMENTS
        .iter()
        .map(|&share| {
            let visible = detectable_difference(items, share, decision.confidence)
                .map_or_else(|| "none for sure".to_owned(), points);
            let needed = items_to_detect(decision.margin, share, decision.confidence);
            let more = needed.map(|needed| needed.saturating_sub(items));
            [
                format!("{:.0}%", 100.0 * share),
                visible,
                needed.map_or_else(|| "-".to_owned(), |needed| number(needed as f64)),
                more.map_or_else(|| "-".to_owned(), |more| number(more as f64)),
                more.map_or_else(|| "-".to_owned(), |more| seconds(more as f64 * each)),
            ]
        })
        .collect();
    let header = [
        "items on which the arms disagree",
        &format!("least difference that {items} items show"),
        &format!("items to show {margin}"),
        "more to label",
        "more time for both finalists",
    ];
    let mut text = format!(
        "\n{}\n{}",
        wrapped(&format!(
            "What {items} test items can tell, and what deciding about {margin} (decision.margin) needs, at {:.0}% confidence and 80% power:",
            100.0 * decision.confidence
        )),
        printer.columns(&header, &rows)
    );
    if let Some(price) = settings.economics.price_per_label {
        let usual = items_to_detect(decision.margin, DISAGREEMENTS[1], decision.confidence);
        if let Some(more) = usual.map(|usual| usual.saturating_sub(items)).filter(|more| *more > 0) {
            text += &format!(
                "\n{}",
                wrapped(&format!(
                    "At {price} a label (economics.price_per_label) the {} more of the second line cost {}.",
                    number(more as f64),
                    number(price * more as f64)
                ))
            );
        }
    }
    text
}

/// Seconds in which both finalists answer one more item, were they the dearest prompt planned and a request without one.
fn seconds_an_item(forecast: &Forecast, answered: f64) -> f64 {
    let dearest = forecast.prompts.iter().filter(|planned| !planned.name.ends_with("searched"));
    let dearest = dearest.map(|planned| planned.seconds).fold(0.0, f64::max) / answered.max(1.0);
    dearest + forecast.measured.query / forecast.measured.forward_speed.max(1e-9)
}

/// Sums of a list.
pub(crate) fn total(planned: &[Planned]) -> Planned {
    Planned {
        name: "together".to_owned(),
        tokens: planned.iter().map(|one| one.tokens).sum(),
        seconds: planned.iter().map(|one| one.seconds).sum(),
        money: planned.iter().map(|one| one.money).sum(),
    }
}

/// Both arms of a forecast with their names.
pub(crate) fn arms(forecast: &Forecast) -> [(&'static str, &[Planned]); 2] {
    [("In-context", &forecast.prompts), ("Fine-tuning", &forecast.trainings)]
}
