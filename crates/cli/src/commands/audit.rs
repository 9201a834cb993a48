//! `weigh audit`: the log of what a run rests on and did.

use std::path::Path;

use anyhow::{Result, bail};
use task::settings::Settings;
use task::store::Store;

use crate::args::AuditAction;
use crate::failure::Failure;
use crate::printer::Printer;

/// Checks or prints the audit log.
pub(crate) fn audit(action: &AuditAction, printer: &Printer) -> Result<()> {
    match action {
        AuditAction::Verify { task, head } => verify(task, head.as_deref(), printer),
        AuditAction::Show { task } => show(task, printer),
    }
}

fn open(task: &Path) -> Result<Store> {
    let folder = if task.is_dir() { task.to_path_buf() } else { Settings::load(task)?.run_folder() };
    if !folder.exists() {
        bail!("{}: there is no run yet", folder.display());
    }
    Ok(Store::read(&folder)?)
}

fn verify(task: &Path, head: Option<&str>, printer: &Printer) -> Result<()> {
    let report = open(task)?.verify_audit(head)?;
    if printer.json() {
        printer.print_json(&report)?;
    } else {
        printer.print(&format!(
            "{} entries; {} experiments and the exact texts of {} requests agree with them\nlast entry {}",
            report.entries, report.experiments, report.requests, report.head
        ));
        if report.adopted > 0 {
            printer.print(&format!(
                "{} experiments were stored by an earlier version without a log, and adopted as they were",
                report.adopted
            ));
        }
        report.problems.iter().for_each(|problem| printer.print(&format!("  {problem}")));
    }
    match report.problems.len() {
        0 => Ok(()),
        1 => Err(Failure::Gate("the audit log and the record do not agree in 1 place".to_owned()).into()),
        places => {
            Err(Failure::Gate(format!("the audit log and the record do not agree in {places} places")).into())
        }
    }
}

fn show(task: &Path, printer: &Printer) -> Result<()> {
    let entries = open(task)?.audit()?;
    if entries.is_empty() {
        bail!("there is no audit log: an earlier version made the run");
    }
    if printer.json() {
        return printer.print_json(&entries);
    }
    for entry in entries {
        printer.print(&format!(
            "{:>4} {} {:<14} {}… {}",
            entry.sequence,
            entry.time,
            entry.name,
            entry.hash.get(..12).unwrap_or(&entry.hash),
            entry.detail
        ));
    }
    Ok(())
}
