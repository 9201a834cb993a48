//! `weigh check`: what the task file and the data say, before any model is loaded.

use std::collections::BTreeMap;
use std::path::Path;

use adapt::suspects::{Suspects, suspects};
use anyhow::Result;
use serde::Serialize;
use task::dataset::Dataset;
use task::example::Example;
use task::profile::DataReport;
use task::sensitive;
use task::settings::Settings;

use crate::printer::Printer;

/// Places that are named of each kind of finding.
const SHOWN: usize = 3;
/// Suspect rows that are shown.
const SUSPECTS_SHOWN: usize = 5;
/// Characters of an input that are shown.
const INPUT_SHOWN: usize = 60;

/// Everything that is known of the data before a run.
#[derive(Debug, Serialize)]
pub(crate) struct DataCheck {
    /// What was read and how it was split.
    #[serde(flatten)]
    report: DataReport,
    /// Rows whose label is in doubt; `None` where there are no labels or too few rows.
    suspects: Option<Suspects>,
    /// Secrets and personal data, by kind.
    sensitive: BTreeMap<&'static str, Sensitive>,
}

/// Findings of one kind.
#[derive(Debug, Default, Serialize)]
struct Sensitive {
    /// Rows that hold one.
    rows: usize,
    /// The first places, without what was found there.
    places: Vec<String>,
}

impl DataCheck {
    /// Looks at all rows; suspects are sought in train and dev alone.
    pub(crate) fn new(dataset: &Dataset) -> Result<Self> {
        Ok(Self {
            report: dataset.report.clone(),
            suspects: suspects(dataset)?,
            sensitive: scan([&dataset.train, &dataset.dev, &dataset.test].into_iter().flatten()),
        })
    }

    /// The report as text.
    pub(crate) fn text(&self) -> String {
        let mut out = self.report.to_string();
        if let Some(balance) = self.balance() {
            out += &format!("\n{balance}");
        }
        if let Some(suspects) = &self.suspects {
            out += &self.suspects_text(suspects);
        }
        for (kind, found) in &self.sensitive {
            out += &format!(
                "\nwarning: {} with what looks like {}: {}{}",
                rows(found.rows),
                kind_name(kind),
                found.places.join(", "),
                if found.rows > found.places.len() { ", ..." } else { "" }
            );
        }
        if self.sensitive.is_empty() {
            out +=
                "\nno secrets or personal data found by their form (names and addresses are not looked for)";
        }
        out
    }

    /// The share of the largest and of the smallest label.
    fn balance(&self) -> Option<String> {
        let size = |label: &task::profile::LabelCount| label.rows.train + label.rows.dev + label.rows.test;
        let most = self.report.labels.iter().max_by_key(|label| size(label))?;
        let least = self.report.labels.iter().min_by_key(|label| size(label))?;
        let share = |label| 100.0 * size(label) as f64 / self.report.rows_used.max(1) as f64;
        Some(format!(
            "balance: `{}` is {:.1}% of the rows (answering it always would be right that often), `{}` {:.1}%",
            most.label,
            share(most),
            least.label,
            share(least)
        ))
    }

    fn suspects_text(&self, suspects: &Suspects) -> String {
        let mut out = format!(
            "\nlinear tf-idf, cross-validated on {} rows of train and dev: {:.1}% of the labels come out as given",
            suspects.looked_at,
            100.0 * suspects.agreement
        );
        if suspects.rows.is_empty() {
            return out + "; no label is in doubt";
        }
        out += &format!("; {} to look at, most doubtful first:", rows(suspects.rows.len()));
        for suspect in suspects.rows.iter().take(SUSPECTS_SHOWN) {
            let input: String = suspect.input.chars().take(INPUT_SHOWN).collect();
            let tail = if suspect.input.chars().count() > INPUT_SHOWN { "..." } else { "" };
            out += &format!(
                "\n  {}:{}  `{}`, or `{}` ({:.0}% against {:.0}%)?  {}{tail}",
                suspect.origin.file.file_name().unwrap_or_default().to_string_lossy(),
                suspect.origin.line,
                suspect.label,
                suspect.suggested,
                100.0 * suspect.other,
                100.0 * suspect.own,
                input.replace('\n', " ")
            );
        }
        if suspects.rows.len() > SUSPECTS_SHOWN {
            out += &format!(
                "\n  and {} more: `weigh check --json` lists all",
                suspects.rows.len() - SUSPECTS_SHOWN
            );
        }
        out
    }
}

fn rows(count: usize) -> String {
    if count == 1 { "1 row".to_owned() } else { format!("{count} rows") }
}

fn kind_name(kind: &str) -> &str {
    match kind {
        "email" => "an email address",
        "phone" => "a phone number",
        "card" => "a payment card",
        "iban" => "a bank account",
        "key" => "a key or password",
        "private_key" => "a private key",
        "token" => "an access token",
        other => other,
    }
}

fn scan<'a>(examples: impl Iterator<Item = &'a Example>) -> BTreeMap<&'static str, Sensitive> {
    let mut found: BTreeMap<&'static str, Sensitive> = BTreeMap::new();
    for example in examples {
        let mut kinds: Vec<&'static str> = [&example.input, &example.target]
            .into_iter()
            .flat_map(|text| sensitive::find(text))
            .map(|finding| finding.kind)
            .collect();
        kinds.sort_unstable();
        kinds.dedup();
        for kind in kinds {
            let entry = found.entry(kind).or_default();
            entry.rows += 1;
            if entry.places.len() < SHOWN {
                let file = example.origin.file.file_name().unwrap_or_default().to_string_lossy();
                entry.places.push(format!("{file}:{}", example.origin.line));
            }
        }
    }
    found
}

/// Prints the data report, or all of it as JSON.
pub(crate) fn check(task: &Path, printer: &Printer) -> Result<()> {
    let settings = Settings::load(task)?;
    let dataset = Dataset::load(&settings)?;
    let report = DataCheck::new(&dataset)?;
    if printer.json() {
        return printer.print_json(&serde_json::json!({ "settings": settings, "report": report }));
    }
    printer.print(&report.text());
    Ok(())
}
