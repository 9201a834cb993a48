//! `weigh verdict`: decides again from the stored record.

use std::path::Path;

use anyhow::{Result, bail};
use eval::comparison::Comparison;
use task::record::RunRecord;
use task::settings::Settings;
use task::store::Store;

use crate::printer::Printer;

/// Reads the record beside the task file and prints the comparison under the task file's present prices, volume and margin.
pub(crate) fn verdict(task: &Path, printer: &Printer) -> Result<()> {
    let settings = Settings::load(task)?;
    let folder = settings.run_folder();
    if !folder.exists() {
        bail!("{}: there is no run yet; `weigh run {}` makes one", folder.display(), task.display());
    }
    let store = Store::read(&folder)?;
    let (_, comparison) = decided(task, &settings, &store)?;
    printer.comparison(&comparison)
}

/// The record of a finished run, and the comparison that it makes.
pub(crate) fn decided(task: &Path, settings: &Settings, store: &Store) -> Result<(RunRecord, Comparison)> {
    let record = store.record(&settings.decision, &settings.economics)?;
    let comparison = Comparison::from_record(&record);
    if let Err(eval::Error::TestNotOpened | eval::Error::UnknownFinalist { .. }) = &comparison {
        bail!(
            "the run in {} is not finished; `weigh run {}` goes on with it",
            store.folder().display(),
            task.display()
        );
    }
    Ok((record, comparison?))
}
