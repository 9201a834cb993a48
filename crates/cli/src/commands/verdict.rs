//! `weigh verdict`: decides again from the stored record.

use std::path::Path;

use anyhow::{Result, bail};
use eval::comparison::Comparison;
use serde_json::{Value, json};
use task::prices;
use task::record::{Economics, PriceSource, RunRecord};
use task::settings::Settings;
use task::store::Store;

use crate::failure::Failure;
use crate::printer::Printer;

/// Reads the record beside the task file and prints the comparison under the task file's present prices, volume and margin, or under
/// those that are given.
pub(crate) fn verdict(task: &Path, price: &[String], volume: Option<f64>, printer: &Printer) -> Result<()> {
    let mut settings = Settings::load(task)?;
    for given in price {
        if let Some(source) = reprice(&mut settings.economics, given)? {
            settings.prices = Some(source);
        }
    }
    if let Some(volume) = volume {
        set(&mut settings.economics, "requests_per_month", json!(volume))?;
    }
    printer.comparison(&compared(&record(&settings, &stored(&settings, task)?)?, task)?)
}

/// The run of a task, for reading; an error that says how to make one where there is none.
pub(super) fn stored(settings: &Settings, task: &Path) -> Result<Store> {
    let folder = settings.run_folder();
    if !folder.exists() {
        bail!("{}: there is no run yet; `weigh run {}` makes one", folder.display(), task.display());
    }
    Ok(Store::read(&folder)?)
}

/// The record of a stored run, as its task file would have it decided today.
pub(super) fn record(settings: &Settings, store: &Store) -> Result<RunRecord> {
    Ok(dated(store.record(&settings.decision, &settings.economics)?, settings))
}

/// `record` with what a decision of today rests on: the day, and where the prices come from.
pub(super) fn dated(mut record: RunRecord, settings: &Settings) -> RunRecord {
    record.decided_on = Some(task::date::today());
    record.prices.clone_from(&settings.prices);
    record
}

/// The comparison of a record, or an error that says how to go on where the run has not come to its end.
pub(super) fn compared(record: &RunRecord, task: &Path) -> Result<Comparison> {
    let comparison = Comparison::from_record(record);
    if let Err(eval::Error::TestNotOpened | eval::Error::UnknownFinalist { .. }) = &comparison {
        bail!("the run of {0} is not finished; `weigh run {0}` goes on with it", task.display());
    }
    Ok(comparison?)
}

/// One `--price`: a file of prices, which replaces those of the task file, or a single key.
fn reprice(economics: &mut Economics, given: &str) -> Result<Option<PriceSource>> {
    if let Some((key, value)) = given.split_once('=') {
        let value = match value.trim() {
            "unknown" => Value::Null,
            text => text.parse::<f64>().map_or_else(|_| json!(text), |number| json!(number)),
        };
        set(economics, key.trim(), value)?;
        return Ok(None);
    }
    let (file, model) = match given.split_once('#') {
        Some((file, model)) => (file, Some(model.to_owned())),
        None => (given, None),
    };
    let kept = Economics {
        requests_per_month: economics.requests_per_month,
        task_life_months: economics.task_life_months,
        price_per_label: economics.price_per_label,
        prices: Some(file.to_owned()),
        priced_as: model.or_else(|| economics.priced_as.clone()),
        ..Economics::default()
    };
    *economics = kept;
    Ok(prices::resolve(economics, Path::new(""))?)
}

/// Sets a key of `[economics]`.
fn set(economics: &mut Economics, key: &str, value: Value) -> Result<()> {
    let mut fields = json!(economics);
    let known = fields.as_object_mut().ok_or_else(|| Failure::Usage("no prices".to_owned()))?;
    if !known.contains_key(key) {
        let keys: Vec<&str> = known.keys().map(String::as_str).collect();
        return Err(Failure::Usage(format!("--price {key}: there are {}", keys.join(", "))).into());
    }
    let shown = value.to_string();
    known.insert(key.to_owned(), value);
    *economics = serde_json::from_value(fields)
        .map_err(|_| Failure::Usage(format!("--price {key}: {shown} is not a value of that kind")))?;
    Ok(())
}
