//! What was shipped, and the proof of it.

use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};
use task::record::{Answer, Experiment, ModelIdentity, Prediction};

use crate::Error;

/// One file of a shipment.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ShippedFile {
    /// Name in the folder.
    pub name: String,
    /// Size.
    pub bytes: u64,
    /// SHA-256, hexadecimal.
    pub sha256: String,
}

/// How the files answered when they were read back.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Recheck {
    /// Which file or folder answered.
    pub artefact: String,
    /// Dev examples asked.
    pub items: usize,
    /// Of these, answered as in the record.
    pub same: usize,
    /// Mean score in the record.
    pub recorded: f64,
    /// Mean score of what was read back.
    pub read_back: f64,
}

/// What was shipped: `shipment.json`, written last.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Shipment {
    /// The task's name.
    pub task: String,
    /// The base model.
    pub model: ModelIdentity,
    /// The experiment on test whose figures these files have.
    pub experiment: String,
    /// Its mean score on test.
    pub test_score: f64,
    /// SHA-256 over the split.
    pub data_sha256: String,
    /// The files.
    pub files: Vec<ShippedFile>,
    /// The proof.
    pub rechecks: Vec<Recheck>,
}

pub(super) fn recheck(artefact: &str, dev: &Experiment, answers: &[Prediction]) -> Recheck {
    let pairs = dev.predictions.iter().zip(answers);
    let same = pairs.filter(|(recorded, now)| same_answer(&recorded.answer, &now.answer)).count();
    let score = |all: &[Prediction]| all.iter().map(Prediction::score).sum::<f64>() / all.len().max(1) as f64;
    Recheck {
        artefact: artefact.to_owned(),
        items: dev.predictions.len(),
        same,
        recorded: score(&dev.predictions),
        read_back: score(answers),
    }
}

fn same_answer(recorded: &Answer, now: &Answer) -> bool {
    match (recorded, now) {
        (Answer::Label { predicted, .. }, Answer::Label { predicted: now, .. }) => predicted == now,
        (Answer::Text { text, .. }, Answer::Text { text: now, .. }) => text == now,
        _ => false,
    }
}

pub(super) fn differs(recheck: &Recheck) -> String {
    let Recheck { items, same, recorded, read_back, .. } = recheck;
    format!(
        "read back, it gives {same} of {items} dev answers as the run recorded them (score {read_back:.3}, recorded {recorded:.3})"
    )
}

/// The files of `folder`, sorted by name.
pub(super) fn files(folder: &Path) -> Result<Vec<ShippedFile>, Error> {
    let io = |source| task::Error::Io { path: folder.to_path_buf(), source };
    let mut paths: Vec<PathBuf> = Vec::new();
    for entry in std::fs::read_dir(folder).map_err(io)? {
        paths.push(entry.map_err(io)?.path());
    }
    paths.sort();
    let mut found = Vec::new();
    for path in paths.into_iter().filter(|path| path.is_file()) {
        let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
        if name == "shipment.json" {
            continue;
        }
        let sha256 = crate::local::file_sha256(&path).map_err(Error::model(&name))?;
        let bytes = std::fs::metadata(&path).map_err(io)?.len();
        found.push(ShippedFile { name, bytes, sha256 });
    }
    Ok(found)
}
