//! How a crossing is looked for.

use crate::Error;
use crate::mean::check_confidence;

/// How a crossing is looked for.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Search {
    /// By how much (score) fine-tuning has to be ahead; 0 to draw level.
    pub lead: f64,
    /// Largest error (score) that the backtest may make, where the runs' own noise does not explain a larger one (two
    /// standard errors).
    pub tolerance: f64,
    /// Largest ratio of labels by which a law may be extrapolated, above 1.
    pub farthest: f64,
    /// Confidence of the interval, in (0, 1).
    pub confidence: f64,
    /// Resamples.
    pub resamples: usize,
    /// Seed of the draws.
    pub seed: u64,
}

impl Default for Search {
    /// Drawing level, 3 points of error, four times the labels, 95%, 1,000 resamples.
    fn default() -> Self {
        Self { lead: 0.0, tolerance: 0.03, farthest: 4.0, confidence: 0.95, resamples: 1000, seed: 0 }
    }
}

impl Search {
    pub(super) fn check(&self) -> Result<(), Error> {
        check_confidence(self.confidence)?;
        let settings = [
            ("the lead", self.lead, -1.0..1.0, "in [-1, 1)"),
            ("the tolerance", self.tolerance, 0.0..1.0, "in [0, 1)"),
            ("the farthest ratio", self.farthest, 1.0 + 1e-9..1e6, "above 1"),
            ("the number of resamples", self.resamples as f64, 1.0..1e9, "1 or more"),
        ];
        for (quantity, value, allowed, range) in settings {
            if !allowed.contains(&value) {
                return Err(Error::Input { quantity, value, range });
            }
        }
        Ok(())
    }
}
