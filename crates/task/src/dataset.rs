//! Labelled data: read, checked, cleaned of duplicates and split.

mod candidate;
pub(crate) mod columnar;
mod columns;
mod csv;
mod delimiter;
mod jsonl;
mod labels;
mod lines;
mod parts;
mod read;
mod source;
mod targets;

use sha2::{Digest, Sha256};

pub(crate) use columns::{INPUT_NAMES, TARGET_NAMES};
pub(crate) use delimiter::guess_delimiter;
pub use lines::LONGEST_ROW;
pub(crate) use read::Table;
pub use source::{Source, Sources};

use crate::Error;
use crate::example::Example;
use crate::profile::{self, DataReport};
use crate::record::{Part, PartSizes};
use crate::settings::{Settings, hexadecimal};
use candidate::{Candidate, Gathered};
use parts::{assign_parts, keep_at_most, remove_exact_duplicates};
use source::in_order;

/// A task's data, split. In each part the examples stand in the order of their content hashes, which is as good as a
/// shuffle and the same on every machine, whatever the order of the files.
#[derive(Clone, Debug)]
pub struct Dataset {
    /// The labels: as listed in the settings, else those found, sorted. None where answers are texts.
    pub labels: Vec<String>,
    /// Rows for demonstrations and training.
    pub train: Vec<Example>,
    /// Rows for every choice.
    pub dev: Vec<Example>,
    /// Rows for the final figures.
    pub test: Vec<Example>,
    /// The system message of chat data, where there is one.
    pub system: Option<String>,
    /// What was found on the way.
    pub report: DataReport,
    /// SHA-256, hexadecimal, over the labels and all parts' examples in order: the identity of the locked split.
    pub sha256: String,
}

impl Dataset {
    /// Reads and splits the files that `settings` name.
    ///
    /// # Errors
    /// [`Error::Io`] for a file that cannot be read, [`Error::Row`] for the first bad row (with the number of others),
    /// [`Error::Data`] where the rows cannot make a task.
    pub fn load(settings: &Settings) -> Result<Self, Error> {
        let data = &settings.data;
        if data.train.is_empty() {
            return Err(Error::Data("data.train is not set".to_owned()));
        }
        let train = data.train.iter().map(|path| Source::file(path)).collect::<Result<_, _>>()?;
        let dev = data.dev.as_deref().map(Source::file).transpose()?;
        let test = data.test.as_deref().map(Source::file).transpose()?;
        Self::from_sources(settings, Sources { train, dev, test })
    }

    /// As [`Dataset::load`], from sources at hand; the paths in `settings` are not looked at.
    ///
    /// # Errors
    /// As [`Dataset::load`].
    pub fn from_sources(settings: &Settings, sources: Sources<'_>) -> Result<Self, Error> {
        let given = (sources.dev.is_some(), sources.test.is_some());
        let mut bad = read::BadRows::default();
        let mut tables = Vec::new();
        for (part, source) in in_order(sources) {
            tables.push((part, read::read(source, &settings.data, &mut bad)?));
        }
        let cleaner = targets::Cleaner::new(settings)?;
        let mut report = DataReport::default();
        let mut gathered = Gathered::default();
        for (part, table) in tables {
            report.add_table(part, &table);
            gathered.add_table(part, table, &cleaner, &mut bad);
        }
        bad.into_result()?;
        let Gathered { mut rows, systems, spellings, .. } = gathered;
        report.rows_read = rows.len();
        remove_exact_duplicates(&mut rows, &mut report);
        keep_at_most(&mut rows, settings.data.max_rows);
        let parts = assign_parts(&mut rows, settings, given, &cleaner, &mut report);
        let labels = cleaner.labels(rows.iter().map(|row| row.example.target.as_str()));
        spellings.report(&labels, &mut report);
        let system = profile::choose_system(systems, &mut report);
        Self::assemble(labels, rows, parts, system, report)
    }

    fn assemble(
        labels: Vec<String>,
        rows: Vec<Candidate>,
        parts: Vec<Part>,
        system: Option<String>,
        report: DataReport,
    ) -> Result<Self, Error> {
        let mut placed: Vec<(Part, Candidate)> = parts.into_iter().zip(rows).collect();
        placed.sort_by(|(_, a), (_, b)| a.order().cmp(&b.order()));
        let mut dataset = Self {
            labels,
            train: Vec::new(),
            dev: Vec::new(),
            test: Vec::new(),
            system,
            report,
            sha256: String::new(),
        };
        for (part, row) in placed {
            match part {
                Part::Train => dataset.train.push(row.example),
                Part::Dev => dataset.dev.push(row.example),
                Part::Test => dataset.test.push(row.example),
            }
        }
        dataset.check()?;
        dataset.sha256 = dataset.identity();
        let mut report = std::mem::take(&mut dataset.report);
        report.describe_parts(&dataset);
        dataset.report = report;
        Ok(dataset)
    }

    /// The examples of a part.
    pub fn part(&self, part: Part) -> &[Example] {
        match part {
            Part::Train => &self.train,
            Part::Dev => &self.dev,
            Part::Test => &self.test,
        }
    }

    /// Examples in each part.
    pub fn sizes(&self) -> PartSizes {
        PartSizes { train: self.train.len(), dev: self.dev.len(), test: self.test.len() }
    }

    /// Index of a label in [`Dataset::labels`].
    pub fn label_index(&self, label: &str) -> Option<usize> {
        self.labels.iter().position(|known| known == label)
    }

    fn check(&self) -> Result<(), Error> {
        if self.train.is_empty() {
            return Err(Error::Data("no training rows are left".to_owned()));
        }
        let first = &self.train[0].target;
        if self.train.iter().all(|example| example.target == *first) {
            return Err(Error::Data(format!(
                "all {} training rows have the {} `{first}`: there is nothing to tell apart",
                self.train.len(),
                if self.labels.is_empty() { "answer" } else { "label" }
            )));
        }
        for (part, name, share) in
            [(&self.dev, "dev", "data.dev_share"), (&self.test, "test", "data.test_share")]
        {
            if part.is_empty() {
                let alike = match (self.report.near_duplicate_rows, self.report.near_duplicate_groups) {
                    (0, _) => String::new(),
                    (rows, groups) => format!(
                        " ({rows} rows are near duplicates in {} that stay together, unless \
                         data.near_duplicates = false)",
                        profile::count_of(groups, "group")
                    ),
                };
                return Err(Error::Data(format!(
                    "no {name} rows: the data are too few to be split; add rows, give a {name} file, or raise \
                     {share}{alike}"
                )));
            }
        }
        Ok(())
    }

    fn identity(&self) -> String {
        let mut digest = Sha256::new();
        let mut add = |text: &str| {
            digest.update((text.len() as u64).to_le_bytes());
            digest.update(text);
        };
        add(&self.labels.len().to_string());
        self.labels.iter().for_each(|label| add(label));
        for part in [&self.train, &self.dev, &self.test] {
            add(&part.len().to_string());
            for example in part {
                [&example.id, &example.input, &example.target].into_iter().for_each(|text| add(text));
            }
        }
        hexadecimal(&digest.finalize())
    }
}

#[cfg(test)]
mod tests;
