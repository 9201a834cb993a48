//! `weigh run`: both arms to their best within the budget.

use std::path::Path;

use adapt::runner::Run;
use anyhow::{Context, Result};
use eval::comparison::Comparison;
use task::dataset::Dataset;
use task::settings::Settings;
use task::store::{Store, archive};

use super::{check, model, verdict};
use crate::interrupt;
use crate::printer::Printer;
use crate::progress::Progress;

/// Runs (or goes on with) the comparison of `task` and prints it.
pub(crate) fn run(
    task: &Path,
    budget: Option<&str>,
    fresh: bool,
    stop_after: Option<&str>,
    printer: &Printer,
) -> Result<()> {
    let mut settings = Settings::load(task)?;
    if let Some(budget) = budget {
        settings.budget.seconds = duration("budget", budget)?;
    }
    let stop_after = stop_after.map(|time| duration("stop-after", time)).transpose()?;
    let dataset = Dataset::load(&settings)?;
    if fresh && let Some(place) = archive(&settings.run_folder())? {
        printer.hint(&format!("the earlier run is in {}", place.display()));
    }
    let mut store = Store::open(&settings.run_folder(), &settings.fingerprint())?;
    let comparison = compare(&settings, &dataset, &mut store, stop_after, printer)?;
    printer.comparison(&comparison)?;
    printer.hint(&format!(
        "stored in {}; `weigh report {} --open` shows it as a page, `weigh verdict {}` decides again",
        store.folder().display(),
        task.display(),
        task.display()
    ));
    Ok(())
}

/// Seconds of a time such as `90s`, `20m` or `1h30m`.
pub(super) fn duration(option: &str, text: &str) -> Result<f64> {
    task::task_file::parse_duration(text)
        .with_context(|| format!("--{option} {text}: write a time such as 90s, 20m or 1h30m"))
}

/// Loads the model, runs what is not stored yet, and compares.
pub(crate) fn compare(
    settings: &Settings,
    dataset: &Dataset,
    store: &mut Store,
    stop_after: Option<f64>,
    printer: &Printer,
) -> Result<Comparison> {
    let mut progress = Progress::new(printer.quiet(), settings.budget.seconds);
    interrupt::listen(progress.view());
    progress.say(&check::short(dataset));
    let engine = model::load(&settings.model).context("loading the model")?;
    let run = Run { settings, dataset, engine: &engine, store, observer: &mut progress, stop_after };
    let record = run.execute();
    progress.clear();
    Ok(Comparison::from_record(&verdict::dated(record?, settings))?)
}
