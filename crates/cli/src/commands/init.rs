//! `weigh init`: from a file of rows to a task file.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};
use task::dataset::Dataset;
use task::intake::{self, Guess, Rows, Wanted};
use task::settings::Settings;

use super::check;
use crate::args::InitOptions;
use crate::failure::Failure;
use crate::printer::{Printer, named, wrapped};

/// Guesses what `data` holds, writes a commented task file, and reports on the data.
pub(crate) fn init(data: &Path, options: &InitOptions, printer: &Printer) -> Result<()> {
    let place = options.to.clone().unwrap_or_else(|| PathBuf::from("weigh.toml"));
    if place.exists() && !options.force {
        bail!("{} exists already; `--force` replaces it, `--to FILE` writes another one", place.display());
    }
    let folder = place.parent().unwrap_or(Path::new("")).to_path_buf();
    let rows = Rows::read(data).map_err(unusable)?;
    let wanted = Wanted { input: options.input.clone(), target: options.target.clone() };
    let guess = intake::guess(&rows, &wanted).map_err(unusable)?;
    let files = intake::place(&rows, &guess, &from_folder(data, &folder)?, &folder)?;
    let schema = write_schema(&guess, data, &folder)?;
    let name = data.file_stem().map_or_else(|| "task".to_owned(), |stem| stem.to_string_lossy().into_owned());
    let text = intake::task_text(&name, &guess, &files, schema.as_deref(), &folder);
    task::atomic::write(&place, text.as_bytes())?;
    let settings = Settings::load(&place)?;
    let dataset = Dataset::load(&settings)
        .map_err(unusable)
        .with_context(|| format!("{} is written, but its data cannot be used yet", place.display()))?;
    let report = check::DataCheck::new(&dataset)?;
    if printer.json() {
        return printer
            .print_json(&serde_json::json!({ "task_file": place, "settings": settings, "report": report }));
    }
    let mut lines = vec![format!("Read {} rows of {}:", rows.rows.len(), data.display())];
    lines.extend(guess.reasons.iter().map(|reason| format!("  {reason}")));
    lines.extend(files.written.iter().map(|file| format!("  written as {}", file.display())));
    printer.print(&wrapped(&lines.join("\n")));
    printer.print("");
    printer.print(&report.text());
    printer.print(&format!("\nWritten: {}. Look at it, then:", place.display()));
    let task = if place == Path::new("weigh.toml") { String::new() } else { format!(" {}", place.display()) };
    let next = [
        (
            format!("  weigh run{task} --dry-run"),
            "what would be tried, how long it takes and what it could tell",
        ),
        (format!("  weigh run{task}"), "both arms to their best; Ctrl-C stops, the same command goes on"),
        (format!("  weigh report{task} --open"), "the result as a page"),
    ];
    let column = next.iter().map(|(command, _)| command.len() + 3).max().unwrap_or(0);
    next.iter().for_each(|(command, what)| printer.print(&named(command, column, what)));
    Ok(())
}

/// What cannot be used is the file that was given: there is no task file yet whose keys could help.
fn unusable(error: task::Error) -> anyhow::Error {
    Failure::Usage(error.to_string()).into()
}

/// `data` as a task file in `folder` finds it.
fn from_folder(data: &Path, folder: &Path) -> Result<PathBuf> {
    if data.is_absolute() || folder.as_os_str().is_empty() || data.starts_with(folder) {
        return Ok(data.to_path_buf());
    }
    std::path::absolute(data).with_context(|| data.display().to_string())
}

fn write_schema(guess: &Guess, data: &Path, folder: &Path) -> Result<Option<PathBuf>> {
    let Some(schema) = &guess.schema else { return Ok(None) };
    let stem =
        data.file_stem().map_or_else(|| "answers".to_owned(), |stem| stem.to_string_lossy().into_owned());
    let file = folder.join(format!("{stem}.schema.json"));
    task::atomic::write(&file, (serde_json::to_string_pretty(schema)? + "\n").as_bytes())?;
    Ok(Some(file))
}
