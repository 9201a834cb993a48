//! Labelled data: read, checked, cleaned of duplicates and split.

pub(crate) mod columnar;
mod columns;
mod csv;
mod delimiter;
mod jsonl;
mod labels;
mod lines;
mod read;
mod targets;

use std::collections::{BTreeMap, HashMap, HashSet};
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};

use sha2::{Digest, Sha256};

pub(crate) use columns::{INPUT_NAMES, TARGET_NAMES};
pub(crate) use delimiter::guess_delimiter;
pub use lines::LONGEST_ROW;
pub(crate) use read::Table;

use crate::Error;
use crate::curation;
use crate::example::{Example, Origin};
use crate::profile::{self, DataReport};
use crate::record::{Part, PartSizes};
use crate::settings::{Settings, hexadecimal};
use crate::split;

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

/// A file of rows, or its content in memory.
pub struct Source<'a> {
    name: PathBuf,
    reader: Box<dyn BufRead + 'a>,
}

impl<'a> Source<'a> {
    /// Content in memory; `name` is what errors and origins call it, and its extension tells the format.
    pub fn bytes(name: impl Into<PathBuf>, bytes: &'a [u8]) -> Self {
        Self { name: name.into(), reader: Box::new(bytes) }
    }

    /// A file.
    ///
    /// # Errors
    /// [`Error::Io`] where it cannot be opened.
    pub fn file(path: &Path) -> Result<Self, Error> {
        let io = |source| Error::Io { path: path.to_path_buf(), source };
        let file = std::fs::File::open(path).map_err(io)?;
        if file.metadata().map_err(io)?.is_dir() {
            return Err(Error::Data(format!("{}: a folder, not a file of rows", path.display())));
        }
        Ok(Self { name: path.to_path_buf(), reader: Box::new(BufReader::with_capacity(1 << 16, file)) })
    }
}

/// The files of a task's data.
#[derive(Default)]
pub struct Sources<'a> {
    /// Training rows, from which the parts that are not given are carved.
    pub train: Vec<Source<'a>>,
    /// Dev rows.
    pub dev: Option<Source<'a>>,
    /// Test rows.
    pub test: Option<Source<'a>>,
}

/// A row on its way into the dataset.
struct Candidate {
    example: Example,
    /// The part whose file it came from; train is what other parts are carved from.
    source: Part,
    /// Its input, normalised, and the hash of that.
    normal: String,
    hash: [u8; 32],
}

/// The rows of all files, cleaned.
#[derive(Default)]
struct Gathered {
    rows: Vec<Candidate>,
    systems: BTreeMap<String, usize>,
    spellings: labels::Spellings,
    ids: HashSet<String>,
}

impl Gathered {
    fn add_table(&mut self, part: Part, table: Table, cleaner: &targets::Cleaner, bad: &mut read::BadRows) {
        for raw in table.rows {
            let line = raw.line;
            if let Err(reason) = self.add_row(part, &table.path, raw, cleaner) {
                bad.add(&table.path, line, reason);
            }
        }
    }

    fn add_row(
        &mut self,
        part: Part,
        file: &Path,
        raw: read::RawRow,
        cleaner: &targets::Cleaner,
    ) -> Result<(), String> {
        let target = cleaner.clean(&raw.target)?;
        if cleaner.has_labels() {
            self.spellings.add(&target, &raw.target);
        }
        if let Some(id) = &raw.id
            && !self.ids.insert(id.clone())
        {
            return Err(format!("the id `{id}` was already used"));
        }
        if let Some(system) = raw.system {
            *self.systems.entry(system).or_default() += 1;
        }
        let input = raw.input.trim().to_owned();
        let id = raw.id.unwrap_or_else(|| example_id(&input, &target));
        let origin = Origin { file: file.to_path_buf(), line: raw.line };
        let normal = curation::normalise(&input);
        let hash = split::content_hash(&normal);
        let (subgroup, paraphrase) = (raw.subgroup, raw.paraphrase);
        let example = Example { id, input, target, subgroup, paraphrase, origin, cluster: raw.cluster };
        self.rows.push(Candidate { example, source: part, normal, hash });
        Ok(())
    }
}

/// Every source with the part that it stands for.
fn in_order(sources: Sources<'_>) -> impl Iterator<Item = (Part, Source<'_>)> {
    let train = sources.train.into_iter().map(|source| (Part::Train, source));
    let dev = sources.dev.map(|source| (Part::Dev, source));
    let test = sources.test.map(|source| (Part::Test, source));
    train.chain(dev).chain(test)
}

impl Candidate {
    fn content(&self) -> (&str, &str) {
        (&self.example.input, &self.example.target)
    }

    /// What rows are sorted by: random, but the same everywhere.
    fn order(&self) -> (&[u8], &str) {
        (split::order_key(&self.hash), &self.example.id)
    }
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

/// 16 hexadecimal digits of the SHA-256 of input and target, which a NUL separates.
fn example_id(input: &str, target: &str) -> String {
    let mut digest = Sha256::new();
    digest.update(input);
    digest.update([0]);
    digest.update(target);
    hexadecimal(&digest.finalize()[..8])
}

/// Keeps one row of those that equal each other in input and label: the first one of the strictest part (test over dev over
/// train).
fn remove_exact_duplicates(rows: &mut Vec<Candidate>, report: &mut DataReport) {
    let mut strictest: HashMap<(&str, &str), Part> = HashMap::with_capacity(rows.len());
    for row in rows.iter() {
        let part = strictest.entry(row.content()).or_insert(row.source);
        *part = (*part).max(row.source);
    }
    let mut taken = HashSet::with_capacity(rows.len());
    let stays: Vec<bool> = rows
        .iter()
        .map(|row| {
            if strictest[&row.content()] != row.source {
                report.leaked_rows_removed += 1;
                return false;
            }
            let first = taken.insert(row.content());
            report.exact_duplicates += usize::from(!first);
            first
        })
        .collect();
    retain(rows, &stays);
}

/// Keeps the training rows with the smallest order keys.
fn keep_at_most(rows: &mut Vec<Candidate>, most: Option<usize>) {
    let Some(most) = most else { return };
    let mut training: Vec<usize> = (0..rows.len()).filter(|row| rows[*row].source == Part::Train).collect();
    training.sort_by(|a, b| rows[*a].order().cmp(&rows[*b].order()));
    let mut stays = vec![true; rows.len()];
    training.into_iter().skip(most).for_each(|row| stays[row] = false);
    retain(rows, &stays);
}

/// Keeps the items whose flag is set.
fn retain<T>(items: &mut Vec<T>, stays: &[bool]) {
    let mut flags = stays.iter();
    items.retain(|_| *flags.next().expect("one flag an item"));
}

/// Groups duplicates, removes what would leak, and gives each row that is left its part.
fn assign_parts(
    rows: &mut Vec<Candidate>,
    settings: &Settings,
    (has_dev, has_test): (bool, bool),
    cleaner: &targets::Cleaner,
    report: &mut DataReport,
) -> Vec<Part> {
    let normals: Vec<&str> = rows.iter().map(|row| row.normal.as_str()).collect();
    let grouping = curation::group(&normals, settings.data.near_duplicates);
    report.near_duplicates_sought = settings.data.near_duplicates;
    report.describe_groups(&grouping);
    report.describe_conflicts(rows.iter().map(|row| (row.normal.as_str(), &row.example)));
    let mut groups = grouping.of;
    remove_leaks(rows, &mut groups, grouping.count, report);
    join_clusters(rows, &mut groups);
    let items: Vec<split::Item<'_>> = rows
        .iter()
        .zip(&groups)
        .map(|(row, group)| split::Item {
            hash: &row.hash,
            group: *group,
            label: cleaner.stratum(&row.example.target),
            fixed: (row.source != Part::Train).then_some(row.source),
        })
        .collect();
    let shares = split::Shares {
        dev: if has_dev { 0.0 } else { settings.data.dev_share },
        test: if has_test { 0.0 } else { settings.data.test_share },
    };
    split::split(&items, shares)
}

/// Puts the groups of rows that share a source into one, so that a source stays within one part of the split.
fn join_clusters(rows: &[Candidate], groups: &mut [usize]) {
    let count = groups.iter().max().map_or(0, |last| last + 1);
    let mut parents: Vec<usize> = (0..count).collect();
    let root = |parents: &[usize], mut group: usize| {
        while parents[group] != group {
            group = parents[group];
        }
        group
    };
    let mut first: HashMap<&str, usize> = HashMap::new();
    for (row, &group) in rows.iter().zip(groups.iter()) {
        if let Some(cluster) = &row.example.cluster {
            let holder = *first.entry(cluster).or_insert(group);
            let (one, other) = (root(&parents, holder), root(&parents, group));
            parents[one.max(other)] = one.min(other);
        }
    }
    groups.iter_mut().for_each(|group| *group = root(&parents, *group));
}

/// Removes the rows of a part whose group has a row in a stricter given part: train rows like dev or test rows, dev rows
/// like test rows.
fn remove_leaks(
    rows: &mut Vec<Candidate>,
    groups: &mut Vec<usize>,
    group_count: usize,
    report: &mut DataReport,
) {
    let mut strictest = vec![Part::Train; group_count];
    for (row, group) in rows.iter().zip(groups.iter()) {
        strictest[*group] = strictest[*group].max(row.source);
    }
    let stays: Vec<bool> =
        rows.iter().zip(groups.iter()).map(|(row, group)| strictest[*group] == row.source).collect();
    report.leaked_rows_removed += stays.iter().filter(|stays| !**stays).count();
    retain(rows, &stays);
    retain(groups, &stays);
}

#[cfg(test)]
mod tests;
