//! `[data]`, resolved.

use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use super::resolve_path;
use crate::task_file::{TaskFile, TaskKind, Underscores};

/// The labelled rows. Paths are resolved against the task file's folder.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct DataSettings {
    /// Files of training rows; empty only for data given in memory.
    pub train: Vec<PathBuf>,
    /// File of dev rows; `None`: a share of train.
    pub dev: Option<PathBuf>,
    /// File of test rows; `None`: a share of train.
    pub test: Option<PathBuf>,
    /// Column of the input; `None`: found by its name.
    pub input: Option<String>,
    /// Column of the label; `None`: found by its name.
    pub target: Option<String>,
    /// Column of the row's name; `None`: rows are named by content.
    pub id: Option<String>,
    /// Column of the source that rows share; `None`: rows are independent. Left out where absent, as in runs of versions that
    /// did not know it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cluster: Option<String>,
    /// Column of the row's group. Absent from the fingerprint where absent here, as in runs before there was one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub subgroup: Option<String>,
    /// Column of the input in other words; as for the group.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub paraphrase: Option<String>,
    /// All labels in the order wanted, as written; `None`: those found, sorted.
    pub labels: Option<Vec<String>>,
    /// What underscores in labels mean.
    pub label_underscores: Underscores,
    /// Share of train that becomes dev.
    pub dev_share: f64,
    /// Share of train that becomes test.
    pub test_share: f64,
    /// Most rows of train to use.
    pub max_rows: Option<usize>,
    /// Whether near duplicates are looked for.
    pub near_duplicates: bool,
    /// Whether a target may be a JSON object or list of its own, as in `extract`; else it is a text.
    #[serde(skip)]
    pub json_targets: bool,
}

pub(super) fn written_train(parsed: &TaskFile) -> Vec<PathBuf> {
    parsed.data.train.as_ref().map(|paths| paths.as_slice().to_vec()).unwrap_or_default()
}

pub(super) fn data_settings(parsed: &TaskFile, folder: &Path) -> Result<DataSettings, String> {
    let data = &parsed.data;
    let carved = data.dev.as_ref().map_or(data.dev_share, |_| 0.0)
        + data.test.as_ref().map_or(data.test_share, |_| 0.0);
    if carved >= 1.0 {
        return Err(format!(
            "data.dev_share and data.test_share leave nothing to train on (together {carved})"
        ));
    }
    if data.labels.is_some() && parsed.task.kind != TaskKind::Classify {
        return Err("data.labels is for kind \"classify\"".to_owned());
    }
    if let (Some(input), Some(target)) = (&data.input, &data.target)
        && input == target
    {
        return Err(format!("data.input and data.target are the same column `{input}`"));
    }
    Ok(DataSettings {
        train: written_train(parsed).iter().map(|path| resolve_path(path, folder)).collect(),
        dev: data.dev.as_ref().map(|path| resolve_path(path, folder)),
        test: data.test.as_ref().map(|path| resolve_path(path, folder)),
        input: data.input.clone(),
        target: data.target.clone(),
        id: data.id.clone(),
        subgroup: data.subgroup.clone(),
        paraphrase: data.paraphrase.clone(),
        labels: data.labels.clone(),
        label_underscores: data.label_underscores,
        dev_share: data.dev_share,
        test_share: data.test_share,
        max_rows: data.max_rows,
        cluster: data.cluster.clone(),
        near_duplicates: data.near_duplicates,
        json_targets: parsed.task.kind == TaskKind::Extract,
    })
}
