//! `weigh ship`: the winner as files.

use std::path::Path;

use adapt::plan::Plan;
use adapt::shipping::{Shipment, Shipping, Weights};
use anyhow::{Context, Result, bail};
use eval::comparison::Comparison;
use eval::verdict::Choice;
use lm::weights::Dtype;
use task::dataset::Dataset;
use task::record::{Experiment, Family, Part, RunRecord};
use task::settings::Settings;

use super::{model, verdict};
use crate::args::{ShipDtype, ShipFormat, ShipWhat};
use crate::printer::Printer;

/// What was asked for.
pub(crate) struct Wish {
    pub(crate) what: Option<ShipWhat>,
    pub(crate) format: ShipFormat,
    pub(crate) dtype: ShipDtype,
}

/// Writes what won in the finished run of `task` to `to`.
pub(crate) fn ship(task: &Path, to: Option<&Path>, wish: &Wish, printer: &Printer) -> Result<()> {
    let settings = Settings::load(task)?;
    let store = verdict::stored(&settings, task)?;
    let record = verdict::record(&settings, &store)?;
    let comparison = verdict::compared(&record, task)?;
    let (what, experiment) = chosen(wish, &record, &comparison)?;
    let beside = task.parent().unwrap_or(Path::new("")).join("shipment");
    let folder = to.unwrap_or(&beside);
    if folder.join("shipment.json").exists() {
        bail!(
            "{}: there is a shipment already; remove it or name another folder with --to",
            folder.display()
        );
    }
    let dataset = Dataset::load(&settings)?;
    let engine = model::load(&settings.model).context("loading the model")?;
    let artefacts = store.artefacts()?;
    let plan: Plan = store.fact("plan")?.context("the run has no plan")?;
    let shipping = Shipping {
        settings: &settings,
        dataset: &dataset,
        engine: &engine,
        record: &record,
        plan: &plan,
        artefacts: &artefacts,
    };
    // Everything is written beside its place and moved there once it has been read back: no half a shipment.
    let parent = folder.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."));
    std::fs::create_dir_all(parent).with_context(|| parent.display().to_string())?;
    let part = tempfile::tempdir_in(parent).with_context(|| parent.display().to_string())?;
    let shipment = match weights(what, wish) {
        None => shipping.prompt(&experiment, part.path())?,
        Some(weights) => shipping.weights(&experiment, weights, part.path())?,
    };
    std::fs::rename(part.keep(), folder).with_context(|| folder.display().to_string())?;
    print(&shipment, folder, printer)
}

/// What is shipped, and the experiment on test that measured it.
fn chosen(wish: &Wish, record: &RunRecord, comparison: &Comparison) -> Result<(ShipWhat, String)> {
    let finalists = record.finalists.as_ref().context("the run has no finalists")?;
    let kind = |id: &str| {
        let found = record.experiments.iter().find(|one| one.id == id);
        found.and_then(|one| one.artefact.as_ref()).map_or("", |artefact| artefact.kind.as_str())
    };
    let tuned = &finalists.fine_tune;
    let weights = if kind(tuned) == "adapter" { ShipWhat::Adapter } else { ShipWhat::Model };
    let what = match (wish.what, comparison.verdict.choice) {
        (Some(what), _) => what,
        (None, Choice::FineTune) => weights,
        (None, Choice::InContext | Choice::Equivalent | Choice::Undecided) => ShipWhat::Prompt,
        (None, Choice::Floor) => bail!(
            "the verdict is that no language model is needed ({}); --what prompt, adapter or model ships one nevertheless",
            finalists.floor
        ),
    };
    let experiment = match what {
        ShipWhat::Prompt => finalists.in_context.clone(),
        ShipWhat::Adapter if weights != ShipWhat::Adapter => best_adapter(record)?,
        ShipWhat::Distilled => hybrid(record, "distilled")?,
        ShipWhat::FewShotTuned => hybrid(record, "few_shot_tuned")?,
        ShipWhat::VirtualTokens => hybrid(record, "virtual_tokens")?,
        ShipWhat::Adapter | ShipWhat::Model => tuned.clone(),
    };
    Ok((what, experiment))
}

/// The adapter with the best mean score on dev among those whose weights were kept and tested.
fn best_adapter(record: &RunRecord) -> Result<String> {
    let tested = |id: &str| record.experiments.iter().any(|one| one.id == id);
    let adapters = record.experiments.iter().filter(|one| {
        let own = one.part == Part::Dev && one.family == Family::FineTune;
        own && one.artefact.as_ref().is_some_and(|artefact| artefact.kind == "adapter")
    });
    let named = adapters.map(|one| (one, format!("{}@test", one.id.trim_end_matches("@dev"))));
    named
        .filter(|(_, id)| tested(id))
        .max_by(|(one, _), (other, _)| one.mean_score().total_cmp(&other.mean_score()))
        .map(|(_, id)| id)
        .context("no adapter was tested in this run")
}

/// The combination of both arms of that method.
fn hybrid(record: &RunRecord, method: &str) -> Result<String> {
    let own =
        |one: &&Experiment| one.family == Family::Hybrid && one.part == Part::Test && one.method == method;
    let found = record.experiments.iter().find(own);
    found.map(|one| one.id.clone()).with_context(|| format!("this run has no result of {method}"))
}

/// The form of the weights; `None` for a prompt.
fn weights(what: ShipWhat, wish: &Wish) -> Option<Weights> {
    let dtype = match wish.dtype {
        ShipDtype::F32 => Dtype::F32,
        ShipDtype::Bf16 => Dtype::Bf16,
        ShipDtype::F16 => Dtype::F16,
    };
    match (what, wish.format) {
        (ShipWhat::Prompt, _) => None,
        (ShipWhat::Model, ShipFormat::Safetensors) => Some(Weights::Model(dtype)),
        (ShipWhat::Model, ShipFormat::Gguf) => Some(Weights::ModelGguf(dtype)),
        (_, ShipFormat::Safetensors) => Some(Weights::Adapter),
        (_, ShipFormat::Gguf) => Some(Weights::AdapterGguf),
    }
}

fn print(shipment: &Shipment, folder: &Path, printer: &Printer) -> Result<()> {
    if printer.json() {
        return printer.print_json(shipment);
    }
    let Shipment { experiment, test_score, .. } = shipment;
    let mut text = format!("{experiment} ({:.1}% on test) is in {}\n", 100.0 * test_score, folder.display());
    for file in &shipment.files {
        text.push_str(&format!(
            "  {:28} {:>12} bytes  sha256 {}\n",
            file.name,
            file.bytes,
            &file.sha256[..12]
        ));
    }
    for recheck in &shipment.rechecks {
        text.push_str(&format!(
            "read back, {} gives {} of {} dev answers as the run recorded them ({:.1}%, recorded {:.1}%)\n",
            recheck.artefact,
            recheck.same,
            recheck.items,
            100.0 * recheck.read_back,
            100.0 * recheck.recorded
        ));
    }
    printer.print(&text);
    Ok(())
}
