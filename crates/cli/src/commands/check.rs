//! `weigh check`: what the task file and the data say, before any model is loaded.

use std::path::Path;

use anyhow::Result;
use task::dataset::Dataset;
use task::settings::Settings;

use crate::printer::Printer;

/// Prints the data report, or all of it as JSON.
pub(crate) fn check(task: &Path, printer: &Printer) -> Result<()> {
    let settings = Settings::load(task)?;
    let dataset = Dataset::load(&settings)?;
    if printer.json() {
        return printer.print_json(&serde_json::json!({ "settings": settings, "report": dataset.report }));
    }
    printer.print(&dataset.report.to_string());
    Ok(())
}
