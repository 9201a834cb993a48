//! Worlds of data sets of real texts: a few labels of one of them at a time.

use std::collections::BTreeMap;
use std::path::Path;

use anyhow::{Context, Result, ensure};
use serde_json::Value;

use super::trial::shuffle;
use super::trials::{FEWEST, Source, World};
use crate::micro::labelled::Row;

/// The data sets, as `NAME.train.jsonl`, `NAME.test.jsonl` and perhaps `NAME.val.jsonl`.
const NAMES: [&str; 3] = ["banking77", "clinc150", "restaurant8k"];
/// Labels of a world, in turn.
const LABELS: [usize; 4] = [6, 8, 5, 7];
/// Texts that a label needs to be in a world.
const COMMON: usize = 100;
/// Training rows of a world, in turn.
const TRAIN: [usize; 3] = [128, 32, 64];

/// A data set: its texts by label.
struct Set {
    name: &'static str,
    texts: BTreeMap<String, Vec<String>>,
}

/// What a folder has of them.
pub(super) struct DataSets {
    sets: Vec<Set>,
    seed: u64,
    /// Rows beside the training rows.
    wanted: usize,
}

impl DataSets {
    /// Reads the sets that are in `folder`; those that are not are named.
    pub(super) fn open(folder: &Path, seed: u64, wanted: usize) -> Result<Self> {
        let mut sets = Vec::new();
        for name in NAMES {
            let files = ["train", "val", "test"].map(|part| folder.join(format!("{name}.{part}.jsonl")));
            if !(files[0].exists() && files[2].exists()) {
                eprintln!("{name}: not in {}, left out", folder.display());
                continue;
            }
            let mut texts: BTreeMap<String, Vec<String>> = BTreeMap::new();
            for file in files.iter().filter(|file| file.exists()) {
                read(file, &mut texts)?;
            }
            for own in texts.values_mut() {
                own.sort_unstable();
                own.dedup();
            }
            sets.push(Set { name, texts });
        }
        ensure!(!sets.is_empty(), "{}: none of {}", folder.display(), NAMES.join(", "));
        Ok(Self { sets, seed, wanted })
    }
}

impl Source for DataSets {
    fn world(&self, number: usize) -> Result<World> {
        let set = &self.sets[number % self.sets.len()];
        let turn = number / self.sets.len();
        let train = TRAIN[turn % TRAIN.len()];
        let seed = self.seed.wrapping_add(1000 * number as u64);
        let mut open: Vec<&String> =
            set.texts.iter().filter(|(_, texts)| texts.len() >= COMMON).map(|(label, _)| label).collect();
        let labels = LABELS[(turn + number) % LABELS.len()].min(open.len());
        ensure!(labels >= 2, "{}: too few labels with {COMMON} texts", set.name);
        shuffle(&mut open, seed);
        open.truncate(labels);
        let each = (train + self.wanted).div_ceil(labels);
        let mut rows: Vec<Row> = Vec::new();
        for (at, label) in open.iter().enumerate() {
            let mut own = set.texts[*label].clone();
            shuffle(&mut own, seed.wrapping_add(1 + at as u64));
            rows.extend(own.into_iter().take(each).map(|text| (text, (*label).clone())));
        }
        shuffle(&mut rows, seed);
        ensure!(rows.len() > train + FEWEST / 2, "{}: too few rows of {labels} labels", set.name);
        let rest = rows.split_off(train);
        Ok(World { name: set.name.to_owned(), noise: 0.0, train: rows, rest })
    }
}

/// Adds the rows of a file. A label that is an object is a set of slots: the row is kept where there is one, whose name is its label.
fn read(path: &Path, texts: &mut BTreeMap<String, Vec<String>>) -> Result<()> {
    let content = std::fs::read_to_string(path).with_context(|| path.display().to_string())?;
    for (number, line) in content.lines().enumerate() {
        let place = || format!("{}:{}", path.display(), number + 1);
        let value: Value = serde_json::from_str(line).with_context(place)?;
        let text = value["text"].as_str().with_context(|| format!("{}: no text", place()))?;
        let label = match &value["label"] {
            Value::String(label) => Some(label.clone()),
            Value::Object(slots) if slots.len() == 1 => slots.keys().next().cloned(),
            Value::Object(_) => None,
            _ => anyhow::bail!("{}: the label is neither a text nor an object", place()),
        };
        if let Some(label) = label.filter(|label| label != "oos") {
            texts.entry(label).or_default().push(text.trim().to_owned());
        }
    }
    Ok(())
}
