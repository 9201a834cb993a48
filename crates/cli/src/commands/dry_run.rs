//! `weigh run --dry-run`: the plan with what it costs, and what the test set can tell.

use std::path::Path;

use adapt::forecast::{Forecast, Planned, forecast};
use anyhow::{Context, Result};
use eval::power::{detectable_difference, items_to_detect};
use eval::wording::{number, points};
use task::dataset::Dataset;
use task::settings::Settings;

use super::{model, run};
use crate::printer::Printer;

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
    printer.print(&power_text(&settings, items));
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

fn power_text(settings: &Settings, items: u64) -> String {
    let decision = &settings.decision;
    let mut lines = vec![format!(
        "\nWhat {items} test items can tell ({:.0}% confidence, 80% power), by how often the two arms disagree:",
        100.0 * decision.confidence
    )];
    for share in DISAGREEMENTS {
        let visible = detectable_difference(items, share, decision.confidence).map_or_else(
            || "nothing for sure".to_owned(),
            |least| format!("differences from {} on", points(least)),
        );
        let needed =
            items_to_detect(decision.margin, share, decision.confidence).map_or_else(String::new, |needed| {
                format!("; the margin of {} needs {} items", points(decision.margin), number(needed as f64))
            });
        lines.push(format!("  on {:.0}% of the items: {visible}{needed}", 100.0 * share));
    }
    lines.join("\n")
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
