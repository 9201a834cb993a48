//! `weigh check`: what the task file and the data say, before any model is loaded.

use std::collections::BTreeMap;
use std::path::Path;

use adapt::suspects::{Suspects, suspects};
use anyhow::Result;
use serde::Serialize;
use task::dataset::Dataset;
use task::example::Example;
use task::profile::{DataReport, Line};
use task::sensitive;
use task::settings::Settings;

use crate::printer::{Printer, named};

/// Column in which what was found begins.
const COLUMN: usize = 14;
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

    /// The report as text: a line for each thing that was looked for, found or not.
    pub(crate) fn text(&self) -> String {
        let mut lines = self.report.lines();
        let end =
            lines.iter().position(|line| matches!(line.name, "note" | "warning")).unwrap_or(lines.len());
        let remarks = lines.split_off(end);
        lines.extend(self.doubts());
        lines.push(self.personal_data());
        lines.extend(remarks);
        lines.iter().map(|line| named(line.name, COLUMN, &line.text)).collect::<Vec<_>>().join("\n")
    }

    /// Labels in doubt, and the most doubtful of them.
    fn doubts(&self) -> Vec<Line> {
        let Some(suspects) = &self.suspects else {
            return vec![Line::new("doubts", "not looked for: there are no labels, or too few rows")];
        };
        let agreement = format!(
            "a linear model of the words agrees with {:.1}% of {} labels of train and dev, each judged by the other rows",
            100.0 * suspects.agreement,
            suspects.looked_at
        );
        if suspects.rows.is_empty() {
            return vec![Line::new("doubts", format!("no label in doubt: {agreement}"))];
        }
        let mut lines = vec![Line::new(
            "doubts",
            format!("{} whose label may be wrong, worst first: {agreement}", rows(suspects.rows.len())),
        )];
        for suspect in suspects.rows.iter().take(SUSPECTS_SHOWN) {
            let input: String = suspect.input.chars().take(INPUT_SHOWN).collect();
            let tail = if suspect.input.chars().count() > INPUT_SHOWN { "..." } else { "" };
            lines.push(Line::new(
                "",
                format!(
                    "{}:{} {}{tail} is `{}` ({:.0}%), or `{}` ({:.0}%)?",
                    suspect.origin.file.file_name().unwrap_or_default().to_string_lossy(),
                    suspect.origin.line,
                    input.split_whitespace().collect::<Vec<_>>().join(" "),
                    suspect.label,
                    100.0 * suspect.own,
                    suspect.suggested,
                    100.0 * suspect.other,
                ),
            ));
        }
        if suspects.rows.len() > SUSPECTS_SHOWN {
            let more = suspects.rows.len() - SUSPECTS_SHOWN;
            lines.push(Line::new("", format!("and {more} more: `weigh check --json` lists all")));
        }
        lines
    }

    fn personal_data(&self) -> Line {
        let found = self.sensitive.iter().map(|(kind, found)| {
            let tail = if found.rows > found.places.len() { ", ..." } else { "" };
            format!(
                "{} with what looks like {} ({}{tail})",
                rows(found.rows),
                kind_name(kind),
                found.places.join(", ")
            )
        });
        let found: Vec<String> = found.collect();
        Line::new(
            "private data",
            match found.is_empty() {
                true => "none found by its form: keys, tokens, mail, cards, accounts, telephones (names are not looked for)".to_owned(),
                false => found.join("; "),
            },
        )
    }
}

/// What stands above a run: the sizes, and what is likely to be a mistake.
pub(crate) fn short(dataset: &Dataset) -> String {
    let mut lines = dataset.report.lines();
    lines.retain(|line| matches!(line.name, "rows" | "labels" | "answers" | "note" | "warning"));
    lines.iter().map(|line| named(line.name, COLUMN, &line.text)).collect::<Vec<_>>().join("\n")
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
