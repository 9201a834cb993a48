//! `weigh demo`: the whole comparison on the embedded model and a task of our own, offline.

use std::path::Path;

use anyhow::{Context, Result};
use task::dataset::Dataset;
use task::settings::Settings;
use task::store::Store;

use super::run::compare;
use crate::printer::Printer;

/// The demo's task file and data, as they stand in `examples/demo`.
const FILES: [(&str, &[u8]); 4] = [
    ("weigh.toml", include_bytes!("../../../../examples/demo/weigh.toml")),
    ("train.jsonl", include_bytes!("../../../../examples/demo/train.jsonl")),
    ("dev.jsonl", include_bytes!("../../../../examples/demo/dev.jsonl")),
    ("test.jsonl", include_bytes!("../../../../examples/demo/test.jsonl")),
];

/// Writes the demo's files to `to` (a temporary folder otherwise) and runs them as `weigh run` would.
pub(crate) fn demo(to: Option<&Path>, printer: &Printer) -> Result<()> {
    let temporary = tempfile::tempdir().context("making a temporary folder")?;
    let folder = to.unwrap_or(temporary.path());
    std::fs::create_dir_all(folder).with_context(|| folder.display().to_string())?;
    for (name, bytes) in FILES {
        task::atomic::write(&folder.join(name), bytes)?;
    }
    let task = folder.join("weigh.toml");
    let settings = Settings::load(&task)?;
    let dataset = Dataset::load(&settings)?;
    let mut store = Store::open(&settings.run_folder(), &settings.fingerprint())?;
    let comparison = compare(&settings, &dataset, &mut store, None, printer)?;
    printer.comparison(&comparison)?;
    match to {
        Some(_) => printer.hint(&format!("`weigh report {} --open` shows it as a page", task.display())),
        None => printer.hint("`weigh demo --to DIR` keeps the run, for `weigh report`"),
    }
    printer.hint("next: `weigh init FILE` looks at rows of your own and writes a task file");
    Ok(())
}
