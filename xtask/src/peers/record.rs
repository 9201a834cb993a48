//! The raw measurements as a file.

use std::path::Path;

use anyhow::{Context, Result};
use serde::{Deserialize, Serialize};

use super::measure::Measurement;

/// Everything that was measured, in the order of the rows.
#[derive(Debug, Default, Serialize, Deserialize)]
pub(super) struct Record {
    pub(super) machine: String,
    /// GFLOP/s of multiply-adds that the machine can do (see `peak`).
    pub(super) peak: Option<f64>,
    pub(super) measurements: Vec<Measurement>,
}

impl Record {
    pub(super) fn read(path: &Path) -> Result<Self> {
        let bytes = std::fs::read(path).with_context(|| path.display().to_string())?;
        serde_json::from_slice(&bytes).with_context(|| path.display().to_string())
    }

    pub(super) fn write(&self, path: &Path) -> Result<()> {
        replace(path, &serde_json::to_vec_pretty(self)?)
    }

    /// Adds a measurement, or puts it in the place of the one of the same row, stack and mode.
    pub(super) fn put(&mut self, measurement: Measurement) {
        let same = |other: &Measurement| {
            (&other.row, &other.stack, &other.mode)
                == (&measurement.row, &measurement.stack, &measurement.mode)
        };
        match self.measurements.iter().position(same) {
            Some(place) => self.measurements[place] = measurement,
            None => self.measurements.push(measurement),
        }
    }
}

/// Writes a file whole or not at all: a temporary file in the same folder, renamed.
pub(super) fn replace(path: &Path, bytes: &[u8]) -> Result<()> {
    use std::io::Write as _;
    let mut name = path.file_name().unwrap_or_default().to_owned();
    name.push(".part");
    let part = path.with_file_name(name);
    let mut file = std::fs::File::create(&part).with_context(|| part.display().to_string())?;
    file.write_all(bytes)?;
    std::fs::rename(&part, path).with_context(|| path.display().to_string())
}
