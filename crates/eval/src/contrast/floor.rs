//! The floor against the better of the two finalists.

use serde::{Deserialize, Serialize};

use crate::Error;
use crate::evidence::Evidence;
use crate::interval::Estimate;
use crate::paired::EQUIVALENCE_ALPHA;
use crate::replication::{Replication, widened};
use crate::sample::Sample;

/// The floor against the better of the two finalists. The difference is floor less finalist.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct FloorContrast {
    /// The floor.
    pub floor: String,
    /// The finalist with the higher mean score on test (the in-context one where they are equal).
    pub against: String,
    /// Difference of the mean scores, with its interval at the decision's confidence.
    pub difference: Estimate,
    /// Floor less the mean of the runs of that finalist's configuration, with the luck of draws and seeds in the interval.
    pub replicated: Estimate,
    /// Lower end of the one-sided 95% interval of the difference to the better finalist and to the other one, and of both with the luck
    /// of draws and seeds: the smallest.
    pub low: f64,
    /// Whether the floor wins: it is at least as accurate as both finalists (the difference to the better one is 0 or more) and its
    /// difference to neither can be as low as minus the margin (`low` is above it). It needs no language model, so it is cheaper.
    pub wins: bool,
    /// Whether it is shown to be worse than the better finalist: both intervals lie below 0. Where it neither wins nor loses, the
    /// verdict is open.
    pub loses: bool,
}

impl FloorContrast {
    /// Whether it neither wins nor loses.
    pub fn is_open(&self) -> bool {
        !self.wins && !self.loses
    }

    /// Contrasts the floor of `evidence`, if it has one; `replication` has the runs of both finalists' configurations.
    pub(crate) fn new(evidence: &Evidence<'_>, replication: &Replication) -> Result<Option<Self>, Error> {
        let Some(floor) = evidence.floor() else { return Ok(None) };
        let decision = &evidence.record.decision;
        let sides = [evidence.in_context(), evidence.fine_tune()];
        let spreads = [replication.in_context, replication.fine_tune];
        let better = usize::from(sides[1].score() > sides[0].score());
        let against = |side: usize| -> Result<Against, Error> {
            let sample = Sample::new(evidence, sides[side], floor)?;
            let spread = spreads[side];
            let shift = sides[side].score().unwrap_or(0.0) - spread.mean;
            let replicated =
                |confidence: f64| widened(&sample.interval(confidence).shifted(shift), &[spread], confidence);
            let low = replicated(1.0 - 2.0 * EQUIVALENCE_ALPHA).low.min(sample.lower_bound());
            Ok(Against {
                difference: sample.interval(decision.confidence),
                replicated: replicated(decision.confidence),
                low,
            })
        };
        let (to_better, to_other) = (against(better)?, against(1 - better)?);
        let low = to_better.low.min(to_other.low);
        let difference = to_better.difference;
        Ok(Some(Self {
            floor: floor.experiment.id.clone(),
            against: sides[better].experiment.id.clone(),
            difference,
            replicated: to_better.replicated,
            low,
            wins: difference.value >= 0.0 && low > -decision.margin,
            loses: difference.high < 0.0 && to_better.replicated.high < 0.0,
        }))
    }
}

/// The floor against one side.
struct Against {
    difference: Estimate,
    replicated: Estimate,
    low: f64,
}
