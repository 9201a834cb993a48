//! One labelled example.

use std::path::PathBuf;

use serde::{Deserialize, Serialize};

/// An input with its target, and where it was read.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Example {
    /// Stable name: the row's own `id`, or 16 hexadecimal digits of the SHA-256 of input and target.
    pub id: String,
    /// What the model is given.
    pub input: String,
    /// What it should answer: for classification, the label.
    pub target: String,
    /// The group that it belongs to, by `data.subgroup`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub subgroup: Option<String>,
    /// The same input in other words, by `data.paraphrase`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub paraphrase: Option<String>,
    /// Where the row stands.
    pub origin: Origin,
    /// The source that it shares with other rows (a customer, a document), where `data.cluster` names its column.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cluster: Option<String>,
}

/// A place in a data file.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Origin {
    /// The file.
    pub file: PathBuf,
    /// Line, from 1.
    pub line: usize,
}
