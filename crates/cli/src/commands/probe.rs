//! `weigh probe`: asks the finalists of a run again, and compares.

use std::path::Path;

use adapt::probes;
use anyhow::{Context, Result, bail, ensure};
use task::dataset::Dataset;
use task::settings::Settings;
use task::store::Store;

use super::model;
use crate::failure::Failure;
use crate::printer::Printer;

/// Replays the frozen probe set of the run beside the task file. A [`Failure::Gate`] where more than `tolerance` of a side's answers
/// changed.
pub(crate) fn probe(task: &Path, tolerance: f64, printer: &Printer) -> Result<()> {
    ensure!((0.0..=1.0).contains(&tolerance), "--tolerance {tolerance}: write a share from 0 to 1");
    let settings = Settings::load(task)?;
    let folder = settings.run_folder();
    if !folder.exists() {
        bail!("{}: there is no run yet; `weigh run {}` makes one", folder.display(), task.display());
    }
    let store = Store::read(&folder)?;
    let dataset = Dataset::load(&settings)?;
    let engine = model::load(&settings.model).context("loading the model")?;
    let drift = match probes::replay(&settings, &dataset, &engine, &store) {
        Err(adapt::Error::NothingRan(_)) => bail!(
            "the run in {} has no probe set; `weigh run {}` adds it where probes.share leaves time for it",
            folder.display(),
            task.display()
        ),
        other => other?,
    };
    printer.drift(&drift)?;
    let over = |side: &&probes::SideDrift| side.changed.len() as f64 > tolerance * side.items as f64;
    let drifted: Vec<&str> = drift.sides.iter().filter(over).map(|side| side.side.name()).collect();
    if drifted.is_empty() {
        return Ok(());
    }
    Err(Failure::Gate(format!("answers changed: {}", drifted.join(", "))).into())
}
