//! `weigh adapter check`: who can serve an adapter.

use std::path::Path;

use anyhow::{Result, bail};
use lm::adapter::compatibility::{self, Finding, Report, Server, Severity};
use lm::adapter::peft::PeftAdapter;
use serde_json::json;

use crate::printer::Printer;

/// Says what each server makes of the adapter in `folder`; writes a plain copy to `fold`.
pub(crate) fn check(folder: &Path, fold: Option<&Path>, printer: &Printer) -> Result<()> {
    let report = compatibility::check(folder)?;
    if printer.json() {
        let finding = |finding: &Finding| json!({"server": finding.server.name(), "severity": word(Some(finding.severity)), "reason": finding.reason});
        let findings: Vec<_> = report.findings.iter().map(finding).collect();
        let modules = &report.modules;
        printer.print_json(&json!({"rank": report.rank, "modules": modules, "findings": findings}))?;
    } else {
        printer.print(&shown(&report, folder));
    }
    if let Some(to) = fold {
        if to.exists() {
            bail!("{}: it is there already", to.display());
        }
        PeftAdapter::read(folder)?.write(to)?;
        printer.hint(&format!("a plain copy with the scale in B is in {}", to.display()));
    } else if report.foldable && report.findings.iter().any(|finding| finding.severity == Severity::Wrong) {
        printer.hint("`--fold DIR` writes a copy that every server reads right");
    }
    Ok(())
}

fn shown(report: &Report, folder: &Path) -> String {
    let modules: Vec<&str> = report.modules.iter().map(String::as_str).collect();
    let mut text = format!("{}: LoRA of rank {} on {}\n", folder.display(), report.rank, modules.join(", "));
    for server in Server::ALL {
        text.push_str(&format!("  {:11} {}\n", server.name(), word(report.worst(server))));
        for finding in report.findings.iter().filter(|finding| finding.server == server) {
            text.push_str(&format!("              {}\n", finding.reason));
        }
    }
    text
}

fn word(severity: Option<Severity>) -> &'static str {
    match severity {
        None => "loads it",
        Some(Severity::Note) => "loads it, but see",
        Some(Severity::Refused) => "refuses it",
        Some(Severity::Wrong) => "loads it and computes something else",
    }
}
