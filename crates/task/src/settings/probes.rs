//! `[probes]`, resolved.

use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use super::resolve_path;
use crate::task_file::ProbesSection;

/// What the finalists are asked beside the test set. No part of the fingerprint: probes change no experiment.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ProbeSettings {
    /// Share of the budget's seconds; 0 for no probes.
    pub share: f64,
    /// Most items that a probe asks.
    pub items: usize,
    /// Prompt formats to try.
    pub formats: usize,
    /// Share of letters that typos change.
    pub typo_rate: f64,
    /// Pairs of words to exchange for each other.
    pub swaps: Vec<[String; 2]>,
    /// A file with questions of the user's own.
    pub refusals: Option<PathBuf>,
    /// Shares of labels to flip while both finalists learn once more; this takes its own time.
    pub label_noise: Vec<f64>,
}

/// What the keys of `[probes]` say, for a task file in `folder`. Errors are sentences that name the key.
pub(super) fn resolve(section: &ProbesSection, folder: &Path) -> Result<ProbeSettings, String> {
    let pair = |written: &String| match written.split_once('/') {
        Some((one, other)) if !one.trim().is_empty() && !other.trim().is_empty() && one != other => {
            Ok([one.trim().to_owned(), other.trim().to_owned()])
        }
        _ => Err(format!("probes.swaps: `{written}` is no pair of words; write it as \"he/she\"")),
    };
    let refusals = section.refusals.as_ref().map(|path| resolve_path(path, folder));
    if let Some(path) = refusals.as_ref().filter(|path| !path.is_file()) {
        return Err(format!("probes.refusals: there is no file {}", path.display()));
    }
    Ok(ProbeSettings {
        share: section.share,
        items: section.items,
        formats: section.formats,
        typo_rate: section.typo_rate,
        swaps: section.swaps.iter().flatten().map(pair).collect::<Result<_, _>>()?,
        refusals,
        label_noise: section.label_noise.clone(),
    })
}
