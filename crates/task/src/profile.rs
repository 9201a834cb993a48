//! The data report: what was read, what was left out, and what to look at.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use crate::curation::Grouping;
use crate::dataset::{Dataset, Table};
use crate::example::Example;
use crate::record::{Part, PartSizes};

/// What is known of the data.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct DataReport {
    /// The files, in the order in which they were read.
    pub files: Vec<FileReport>,
    /// Good rows in all files.
    pub rows_read: usize,
    /// Rows in all parts of the split.
    pub rows_used: usize,
    /// Rows left out because an equal one (input and label) is there already.
    pub exact_duplicates: usize,
    /// Whether rows that are nearly the same were looked for (`data.near_duplicates`); equal ones are in any case.
    #[serde(default)]
    pub near_duplicates_sought: bool,
    /// Groups of rows that are nearly the same.
    pub near_duplicate_groups: usize,
    /// Rows in those groups.
    pub near_duplicate_rows: usize,
    /// Rows of train (or dev) left out because test (or dev) has the same or nearly the same.
    pub leaked_rows_removed: usize,
    /// Inputs (once normalised) that have more than one label.
    pub conflicting_inputs: usize,
    /// The first of them, in words.
    pub conflicts: Vec<String>,
    /// Rows in each part.
    pub parts: PartSizes,
    /// Rows of every label, in the labels' order.
    pub labels: Vec<LabelCount>,
    /// Characters of the inputs used.
    pub input_characters: LengthProfile,
    /// Characters of the targets used, where they are not labels.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub target_characters: Option<LengthProfile>,
    /// What is worth knowing.
    pub notes: Vec<String>,
    /// What is likely to be a mistake.
    pub warnings: Vec<String>,
}

/// A file that was read.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct FileReport {
    /// The file.
    pub file: PathBuf,
    /// What it was given as.
    pub part: Part,
    /// Good rows.
    pub rows: usize,
    /// Columns of the input and the label; `None` for chats.
    pub columns: Option<(String, String)>,
}

/// Rows of a label.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct LabelCount {
    /// The label.
    pub label: String,
    /// Rows in each part.
    pub rows: PartSizes,
}

/// How long texts are, in characters.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct LengthProfile {
    /// Shortest.
    pub min: usize,
    /// Median (of an even number, the lower one).
    pub median: usize,
    /// 95 % are not longer.
    pub p95: usize,
    /// Longest.
    pub max: usize,
}

impl LengthProfile {
    /// The profile of some lengths; zeros for none. Percentiles are nearest ranks.
    pub fn of(mut lengths: Vec<usize>) -> Self {
        lengths.sort_unstable();
        let rank = |percent: usize| {
            let rank = (lengths.len() * percent).div_ceil(100).max(1);
            lengths.get(rank - 1).copied().unwrap_or(0)
        };
        Self { min: rank(0), median: rank(50), p95: rank(95), max: rank(100) }
    }
}

/// Conflicts that are written out.
const CONFLICTS_SHOWN: usize = 3;

impl DataReport {
    pub(crate) fn add_table(&mut self, part: Part, table: &Table) {
        let columns = table.columns.as_ref();
        self.files.push(FileReport {
            file: table.path.clone(),
            part,
            rows: table.rows.len(),
            columns: columns.map(|columns| (columns.input.clone(), columns.target.clone())),
        });
        let name = table.path.display();
        if let Some(columns) = columns {
            self.warnings.extend(columns.doubts.iter().map(|doubt| format!("{name}: {doubt}")));
        }
        let cut = table.rows.iter().filter(|row| row.has_earlier_turns).count();
        if cut > 0 {
            self.warnings.push(format!(
                "{name}: {cut} conversations have earlier turns; only the last user's message is used"
            ));
        }
    }

    pub(crate) fn describe_groups(&mut self, grouping: &Grouping) {
        (self.near_duplicate_groups, self.near_duplicate_rows) = grouping.repeated();
    }

    pub(crate) fn describe_conflicts<'a>(&mut self, rows: impl Iterator<Item = (&'a str, &'a Example)>) {
        let mut labels: BTreeMap<&str, BTreeMap<&str, &Example>> = BTreeMap::new();
        for (normal, example) in rows {
            labels.entry(normal).or_default().entry(&example.target).or_insert(example);
        }
        for examples in labels.into_values().filter(|examples| examples.len() > 1) {
            self.conflicting_inputs += 1;
            if self.conflicts.len() < CONFLICTS_SHOWN {
                let places: Vec<_> = examples
                    .values()
                    .map(|example| {
                        let Example { target, origin, .. } = example;
                        format!("`{target}` at {}:{}", origin.file.display(), origin.line)
                    })
                    .collect();
                self.conflicts.push(places.join(", "));
            }
        }
    }

    pub(crate) fn describe_parts(&mut self, dataset: &Dataset) {
        self.parts = dataset.sizes();
        self.rows_used = self.parts.train + self.parts.dev + self.parts.test;
        let parts = [Part::Train, Part::Dev, Part::Test];
        let all = || parts.into_iter().flat_map(|part| dataset.part(part));
        self.input_characters =
            LengthProfile::of(all().map(|example| example.input.chars().count()).collect());
        if dataset.labels.is_empty() {
            let lengths = all().map(|example| example.target.chars().count()).collect();
            self.target_characters = Some(LengthProfile::of(lengths));
            return;
        }
        let mut counts: BTreeMap<&str, PartSizes> = BTreeMap::new();
        for part in parts {
            for example in dataset.part(part) {
                let count = counts.entry(&example.target).or_default();
                match part {
                    Part::Train => count.train += 1,
                    Part::Dev => count.dev += 1,
                    Part::Test => count.test += 1,
                }
            }
        }
        self.labels = dataset
            .labels
            .iter()
            .map(|label| LabelCount {
                label: label.clone(),
                rows: counts.get(label.as_str()).copied().unwrap_or_default(),
            })
            .collect();
        self.warn_of_labels();
    }

    fn warn_of_labels(&mut self) {
        let few = |least: usize, count: fn(&PartSizes) -> usize| -> Vec<String> {
            let few = self.labels.iter().filter(|label| count(&label.rows) < least);
            few.map(|label| format!("`{}`", label.label)).collect()
        };
        let untrained = few(2, |rows| rows.train);
        let untested = few(1, |rows| rows.test);
        if !untrained.is_empty() {
            let labels = some_of(&untrained, 5);
            self.warnings.push(format!(
                "{} with fewer than 2 training rows: {labels}",
                count_of(untrained.len(), "label")
            ));
        }
        if !untested.is_empty() {
            let labels = some_of(&untested, 5);
            self.warnings.push(format!("{} without a test row: {labels}", count_of(untested.len(), "label")));
        }
        if self.labels.len() > 20 && 2 * self.labels.len() > self.rows_used {
            self.warnings.push(format!(
                "{} labels for {} rows: is data.target the right column?",
                self.labels.len(),
                self.rows_used
            ));
        }
    }

    fn labels_found(&self) -> String {
        let sizes = self.labels.iter().map(|label| label.rows.train + label.rows.dev + label.rows.test);
        let (fewest, most) = (sizes.clone().min().unwrap_or(0), sizes.max().unwrap_or(0));
        let spread = if fewest == most {
            format!("{most} rows each")
        } else {
            format!("{fewest} to {most} rows each")
        };
        format!("{}, {spread}", self.labels.len())
    }
}

/// The system message that most chats have.
pub(crate) fn choose_system(systems: BTreeMap<String, usize>, report: &mut DataReport) -> Option<String> {
    if systems.len() > 1 {
        report.warnings.push(format!(
            "{} different system messages; the most frequent one is used for all",
            systems.len()
        ));
    }
    // Of equally frequent ones the first in alphabetical order, whatever the order of the rows.
    let mut chosen: Option<(String, usize)> = None;
    for (system, count) in systems {
        if chosen.as_ref().is_none_or(|(_, most)| count > *most) {
            chosen = Some((system, count));
        }
    }
    chosen.map(|(system, _)| system)
}

/// The first few, and how many more.
pub(crate) fn some_of(items: &[String], most: usize) -> String {
    let mut text = items.iter().take(most).map(String::as_str).collect::<Vec<_>>().join(", ");
    if items.len() > most {
        text.push_str(&format!(" and {} more", items.len() - most));
    }
    text
}

pub(crate) fn count_of(number: usize, noun: &str) -> String {
    if number == 1 { format!("1 {noun}") } else { format!("{number} {noun}s") }
}

/// One thing that a report says: what it is about, and the finding.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Line {
    /// What it is about, in a word or two.
    pub name: &'static str,
    /// The finding.
    pub text: String,
}

impl Line {
    /// A line about `name`.
    pub fn new(name: &'static str, text: impl Into<String>) -> Self {
        Self { name, text: text.into() }
    }
}

impl DataReport {
    /// The report line by line. What was looked for and not found is said, too.
    pub fn lines(&self) -> Vec<Line> {
        let PartSizes { train, dev, test } = self.parts;
        let files: BTreeSet<_> = self.files.iter().map(|file| file.file.as_path()).collect();
        let mut lines = vec![Line::new(
            "rows",
            format!(
                "{} from {}, {} used: {train} train, {dev} dev, {test} test",
                self.rows_read,
                count_of(files.len(), "file"),
                self.rows_used
            ),
        )];
        match &self.target_characters {
            Some(profile) => lines.push(Line::new("answers", profile.to_string())),
            None => lines.push(Line::new("labels", self.labels_found())),
        }
        lines.extend(self.balance().map(|balance| Line::new("balance", balance)));
        lines.push(Line::new("inputs", self.input_characters.to_string()));
        lines.push(Line::new("duplicates", self.duplicates()));
        lines.push(Line::new("conflicts", self.conflicts_found()));
        lines.push(Line::new("leakage", self.leakage()));
        lines.extend(self.notes.iter().map(|note| Line::new("note", note)));
        lines.extend(self.warnings.iter().map(|warning| Line::new("warning", warning)));
        lines
    }

    /// The share of the largest and of the smallest label; `None` where there are no labels.
    fn balance(&self) -> Option<String> {
        let size = |label: &LabelCount| label.rows.train + label.rows.dev + label.rows.test;
        let most = self.labels.iter().max_by_key(|label| size(label))?;
        let least = self.labels.iter().min_by_key(|label| size(label))?;
        let share = |label| 100.0 * size(label) as f64 / self.rows_used.max(1) as f64;
        Some(format!(
            "{:.1}% are `{}`, so always answering that is right so often; {:.1}% are `{}`",
            share(most),
            most.label,
            share(least),
            least.label
        ))
    }

    fn duplicates(&self) -> String {
        let exact = match self.exact_duplicates {
            0 => "no row twice".to_owned(),
            rows => format!("{} left out that stand there already", count_of(rows, "row")),
        };
        let near = match self.near_duplicate_groups {
            0 if !self.near_duplicates_sought => "nearly equal ones were not looked for".to_owned(),
            0 => "none nearly alike".to_owned(),
            groups => format!(
                "{} nearly alike in {}, each in one part of the split",
                count_of(self.near_duplicate_rows, "row"),
                count_of(groups, "group")
            ),
        };
        format!("{exact}; {near}")
    }

    fn conflicts_found(&self) -> String {
        let noun = if self.target_characters.is_some() { "answer" } else { "label" };
        match self.conflicting_inputs {
            0 => format!("no input with more than one {noun}"),
            inputs => format!(
                "{} with more than one {noun}: {}{}",
                count_of(inputs, "input"),
                self.conflicts.join("; "),
                if inputs > self.conflicts.len() { "; ..." } else { "" }
            ),
        }
    }

    fn leakage(&self) -> String {
        match self.leaked_rows_removed {
            0 => "no row stands in two parts of the split".to_owned(),
            rows => format!("{} left out that dev or test has, too", count_of(rows, "row")),
        }
    }
}

impl fmt::Display for LengthProfile {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { min, median, p95, max } = self;
        write!(out, "{min} to {max} characters, median {median}, 95% up to {p95}")
    }
}

/// A line for each thing, without a newline at the end.
impl fmt::Display for DataReport {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, Line { name, text }) in self.lines().iter().enumerate() {
            let newline = if index == 0 { "" } else { "\n" };
            write!(out, "{newline}{name}: {text}")?;
        }
        Ok(())
    }
}
