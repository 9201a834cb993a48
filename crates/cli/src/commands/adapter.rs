//! `weigh adapter check`: who can serve an adapter.

use std::path::Path;

use anyhow::{Result, bail};
use lm::adapter::compatibility::{self, Finding, Kind, Report, Server, Severity};
use lm::adapter::peft::PeftAdapter;
use serde_json::json;

use crate::printer::Printer;

/// Says what each server makes of the adapter in `folder`; writes a plain copy to `fold`.
pub(crate) fn check(folder: &Path, fold: Option<&Path>, printer: &Printer) -> Result<()> {
    let report = compatibility::check(folder)?;
    if printer.json() {
        let finding = |finding: &Finding| json!({"server": finding.server.name(), "severity": word(Some(finding.severity)), "reason": finding.reason});
        let findings: Vec<_> = report.findings.iter().map(finding).collect();
        let value = match &report.kind {
            Kind::Lora { rank, modules } => json!({"rank": rank, "modules": modules, "findings": findings}),
            Kind::PromptTuning(count) | Kind::PrefixTuning(count) => {
                json!({"virtual_tokens": count, "findings": findings})
            }
        };
        printer.print_json(&value)?;
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
    let kind = match &report.kind {
        Kind::Lora { rank, modules } => {
            let modules: Vec<&str> = modules.iter().map(String::as_str).collect();
            format!("LoRA of rank {rank} on {}", modules.join(", "))
        }
        Kind::PromptTuning(count) => format!("prompt tuning, {count} virtual tokens"),
        Kind::PrefixTuning(count) => format!("prefix tuning, {count} virtual tokens"),
    };
    let mut text = format!("{}: {kind}\n", folder.display());
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
