//! What the tests of whole runs share.
#![allow(dead_code, reason = "each test program uses its own part")]

use std::path::Path;

use adapt::Error;
use adapt::engine::Engine;
use adapt::local::LocalModel;
use adapt::observer::Observer;
use adapt::runner::Run;
use task::dataset::Dataset;
use task::record::RunRecord;
use task::settings::Settings;
use task::store::Store;

/// Runs the task file in `folder`, or goes on with its run.
pub(crate) fn run(
    folder: &Path,
    model: &dyn Engine,
    observer: &mut dyn Observer,
) -> Result<RunRecord, Error> {
    let settings = Settings::load(&folder.join("weigh.toml"))?;
    let dataset = Dataset::load(&settings)?;
    let mut store = Store::open(&settings.run_folder(), &settings.fingerprint())?;
    Run {
        settings: &settings,
        dataset: &dataset,
        engine: model,
        store: &mut store,
        observer,
        stop_after: None,
    }
    .execute()
}

/// The embedded model in 32 bits.
pub(crate) fn embedded() -> LocalModel {
    let source = lm::ModelSource::Memory {
        name: "embedded",
        config: include_bytes!("../../../../models/micro/config.json"),
        tokenizer: include_bytes!("../../../../models/micro/tokenizer.json"),
        weights: include_bytes!("../../../../models/micro/model.safetensors"),
    };
    LocalModel::load(&source, "embedded", lm::Precision::F32, None).unwrap()
}

/// Message `row` of three queues, and the queue it belongs to.
pub(crate) fn message(row: usize) -> (&'static str, String) {
    let topics = [
        ("billing", ["invoice", "refund", "charge", "payment"]),
        ("delivery", ["parcel", "courier", "address", "late"]),
        ("login", ["password", "account", "code", "locked"]),
    ];
    let (label, words) = topics[row % 3];
    let text =
        format!("note {row}: the {} and the {} {}", words[row / 3 % 4], words[row / 12 % 4], row * 7919 % 97);
    (label, text)
}
