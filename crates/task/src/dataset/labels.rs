//! Labels: cleaned, listed, and looked at for likely mistakes.

use std::collections::{BTreeMap, BTreeSet};

use crate::Error;
use crate::profile::DataReport;
use crate::settings::{DataSettings, Underscores};
use crate::task_file::nearest;

/// Longest label in characters; what is longer is a text, not a label.
const LONGEST_LABEL: usize = 200;

/// Cleans labels and knows the list of them, if there is one.
pub(super) struct Cleaner {
    underscores: Underscores,
    listed: Option<Vec<String>>,
}

impl Cleaner {
    pub(super) fn new(settings: &DataSettings) -> Result<Self, Error> {
        let mut cleaner = Self { underscores: settings.label_underscores, listed: None };
        let Some(listed) = &settings.labels else { return Ok(cleaner) };
        let mut clean = Vec::with_capacity(listed.len());
        for label in listed {
            let label =
                cleaner.clean(label).map_err(|reason| Error::Data(format!("data.labels: {reason}")))?;
            if clean.contains(&label) {
                return Err(Error::Data(format!("data.labels names `{label}` twice")));
            }
            clean.push(label);
        }
        if clean.len() < 2 {
            return Err(Error::Data("data.labels must name at least two labels".to_owned()));
        }
        cleaner.listed = Some(clean);
        Ok(cleaner)
    }

    /// A label as it is used: trimmed, underscores as set, each run of spaces one space.
    pub(super) fn clean(&self, raw: &str) -> Result<String, String> {
        let trimmed = raw.trim();
        if trimmed.chars().any(|c| c == '\n' || c == '\r') {
            return Err("the label has more than one line".to_owned());
        }
        let length = trimmed.chars().count();
        if length > LONGEST_LABEL {
            return Err(format!("the label has {length} characters; the limit is {LONGEST_LABEL}"));
        }
        let label = match self.underscores {
            Underscores::Keep => trimmed.to_owned(),
            Underscores::Space => {
                let spaced = trimmed.replace('_', " ");
                let spaced = spaced.split_whitespace().collect::<Vec<_>>().join(" ");
                // A label of underscores only has no other name.
                if spaced.is_empty() { trimmed.to_owned() } else { spaced }
            }
        };
        match &self.listed {
            Some(listed) if !listed.contains(&label) => {
                let near = nearest(&label, listed.iter().map(String::as_str));
                let hint = near.map_or_else(String::new, |near| format!("; did you mean `{near}`?"));
                Err(format!("the label `{label}` is not in data.labels{hint}"))
            }
            _ => Ok(label),
        }
    }

    /// The list of labels: as set, else those found, sorted.
    pub(super) fn labels<'a>(&self, found: impl Iterator<Item = &'a str>) -> Vec<String> {
        match &self.listed {
            Some(listed) => listed.clone(),
            None => found.collect::<BTreeSet<_>>().into_iter().map(str::to_owned).collect(),
        }
    }
}

/// How each label was spelled.
#[derive(Default)]
pub(super) struct Spellings {
    raw: BTreeMap<String, BTreeSet<String>>,
}

impl Spellings {
    pub(super) fn add(&mut self, label: &str, raw: &str) {
        let spellings = self.raw.entry(label.to_owned()).or_default();
        if !spellings.contains(raw) {
            spellings.insert(raw.to_owned());
        }
    }

    /// Reports spellings taken as one, labels that differ only in case, and labels that begin other ones.
    pub(super) fn report(&self, labels: &[String], report: &mut DataReport) {
        let merged: Vec<String> = self
            .raw
            .iter()
            .filter(|(_, spellings)| spellings.len() > 1)
            .map(|(label, spellings)| {
                let spellings: Vec<_> = spellings.iter().map(|raw| format!("{raw:?}")).collect();
                format!("{} as `{label}`", spellings.join(" and "))
            })
            .collect();
        if !merged.is_empty() {
            report.notes.push(format!("labels taken as one: {}", crate::profile::some_of(&merged, 3)));
        }
        let mut by_case: BTreeMap<String, Vec<&str>> = BTreeMap::new();
        for label in labels {
            by_case.entry(label.to_lowercase()).or_default().push(label);
        }
        let same: Vec<String> = by_case
            .values()
            .filter(|same| same.len() > 1)
            .map(|same| format!("`{}`", same.join("` and `")))
            .collect();
        if !same.is_empty() {
            report.warnings.push(format!(
                "labels that differ only in upper and lower case are kept apart: {}",
                crate::profile::some_of(&same, 3)
            ));
        }
        let mut sorted: Vec<&str> = labels.iter().map(String::as_str).collect();
        sorted.sort_unstable();
        let begins: Vec<String> = sorted
            .windows(2)
            .filter(|pair| pair[1].starts_with(pair[0]))
            .map(|pair| format!("`{}` begins `{}`", pair[0], pair[1]))
            .collect();
        if !begins.is_empty() {
            report.notes.push(format!(
                "labels that begin other ones (harmless, each is scored with its end): {}",
                crate::profile::some_of(&begins, 3)
            ));
        }
    }
}
