//! `weigh verdict`: decides again from the stored record.

use std::path::Path;

use anyhow::{Result, bail};
use eval::comparison::Comparison;
use task::settings::Settings;
use task::store::Store;

use crate::printer::Printer;

/// Reads the record beside the task file and prints the comparison under the task file's present prices, volume and margin.
pub(crate) fn verdict(task: &Path, printer: &Printer) -> Result<()> {
    let settings = Settings::load(task)?;
    let store = stored(&settings, task)?;
    let record = store.record(&settings.decision, &settings.economics)?;
    printer.comparison(&compared(Comparison::from_record(&record), &store, task)?)
}

/// The run of `settings`, for reading; an error that says how to make one where there is none.
pub(crate) fn stored(settings: &Settings, task: &Path) -> Result<Store> {
    let folder = settings.run_folder();
    if !folder.exists() {
        bail!("{}: there is no run yet; `weigh run {}` makes one", folder.display(), task.display());
    }
    Ok(Store::read(&folder)?)
}

/// The comparison, or an error that says how to go on where the run has not come to its end.
pub(crate) fn compared(
    comparison: Result<Comparison, eval::Error>,
    store: &Store,
    task: &Path,
) -> Result<Comparison> {
    if let Err(eval::Error::TestNotOpened | eval::Error::UnknownFinalist { .. }) = &comparison {
        bail!(
            "the run in {} is not finished; `weigh run {}` goes on with it",
            store.folder().display(),
            task.display()
        );
    }
    Ok(comparison?)
}
