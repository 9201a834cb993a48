//! `weigh report`: the stored comparison as a page, as Markdown, as JSON or as a table of items.

use std::path::{Path, PathBuf};

use adapt::engine::Engine;
use adapt::plan::Plan;
use adapt::transcript::{self, Transcript};
use anyhow::{Context, Result};
use report::{Items, Provenance, Report, Texts};
use task::dataset::Dataset;
use task::record::{Part, RunRecord};
use task::settings::{PromptStyle, Settings};
use task::store::Store;

use super::{model, verdict};
use crate::args::ReportFormat;
use crate::printer::Printer;

/// Writes the report of `task` to `to`: by default a page beside the task file, and the other formats to standard output.
pub(crate) fn report(
    task: &Path,
    format: ReportFormat,
    to: Option<&Path>,
    open: bool,
    printer: &Printer,
) -> Result<()> {
    let report = gather(task)?;
    let text = match format {
        ReportFormat::Html => report::html(&report)?,
        ReportFormat::Markdown => report::markdown(&report),
        ReportFormat::Json => serde_json::to_string_pretty(&report)? + "\n",
        ReportFormat::Csv => report::items_csv(&report)?,
    };
    let place = to
        .map(Path::to_path_buf)
        .or_else(|| (format == ReportFormat::Html).then(|| task.with_extension("html")));
    let Some(place) = place.filter(|place| place != Path::new("-")) else {
        printer.print_raw(&text);
        return Ok(());
    };
    task::atomic::write(&place, text.as_bytes())?;
    if printer.json() {
        printer.print_json(&serde_json::json!({ "report": place, "bytes": text.len() }))?;
    } else {
        printer.print(&place.display().to_string());
    }
    if open {
        browse(&place)?;
    } else if format == ReportFormat::Html {
        printer.hint("`weigh report --open` opens it in the browser");
    }
    Ok(())
}

/// The stored record, compared, with the texts that the models saw.
fn gather(task: &Path) -> Result<Report> {
    let settings = Settings::load(task)?;
    let store = verdict::stored(&settings, task)?;
    let record = verdict::record(&settings, &store)?;
    let comparison = verdict::compared(&record, task)?;
    let items = items(&settings, &store, &record);
    let provenance = Provenance {
        program: format!("weigh {}", env!("CARGO_PKG_VERSION")),
        settings: serde_json::to_value(&settings)?,
        seconds_by_family: record.seconds_by_family.clone(),
        events: store.events()?,
    };
    Ok(Report { comparison, items, provenance, timed: report::timed_requests(&record) })
}

/// The test items. Where data or plan are not at hand any more, the answers stand without their texts, and the report says why.
fn items(settings: &Settings, store: &Store, record: &RunRecord) -> Items {
    let dataset = match Dataset::load(settings) {
        Ok(dataset) if dataset.sha256 == record.task.data_sha256 => dataset,
        Ok(_) => {
            return Items::new(record, Err("the data files are not those of the run any more".to_owned()));
        }
        Err(error) => return Items::new(record, Err(format!("the data cannot be read: {error}"))),
    };
    let texts = texts(settings, store, record, &dataset).map_err(|error| format!("{error:#}"));
    Items::new(record, texts)
}

fn texts<'a>(
    settings: &Settings,
    store: &Store,
    record: &RunRecord,
    dataset: &'a Dataset,
) -> Result<Texts<'a>> {
    let plan: Plan = store.fact("plan")?.context("the run has no plan")?;
    let finalist = record.finalists.as_ref().map(|finalists| &finalists.in_context);
    let experiment = record.experiments.iter().find(|experiment| Some(&experiment.id) == finalist);
    // Only the chat style needs the model, for its template: the task's, or that of a prompt that was searched for.
    let searched = experiment.map(|own| transcript::style(settings, own));
    let template = match [Some(settings.prompt.style), searched].contains(&Some(PromptStyle::Chat)) {
        true => model::load(&settings.model)?.chat_template(),
        false => None,
    };
    let transcript = Transcript::new(settings, dataset, plan, template, store.folder().join("artefacts"));
    let prompts =
        experiment.map(|experiment| transcript.prompts(experiment, Part::Test)).transpose()?.flatten();
    Ok(Texts { examples: &dataset.test, prompts, rows: transcript.training_rows(Part::Test)? })
}

/// Opens `page` with what the system opens pages with.
fn browse(page: &PathBuf) -> Result<()> {
    let program = if cfg!(target_os = "macos") {
        "open"
    } else if cfg!(windows) {
        "explorer"
    } else {
        "xdg-open"
    };
    std::process::Command::new(program)
        .arg(page)
        .spawn()
        .with_context(|| format!("{program} cannot be started; open {} by hand", page.display()))?;
    Ok(())
}
