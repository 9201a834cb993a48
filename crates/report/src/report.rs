//! Everything that a report says.

use eval::comparison::Comparison;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use task::record::{Family, RunRecord, TokensPerRequest};
use task::store::Event;

use crate::items::Items;

/// A comparison with its items and where it all came from. As JSON it is `weigh report --format json`.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Report {
    /// The comparison, as `weigh run --json` prints it.
    pub comparison: Comparison,
    /// The test items with the finalists' answers.
    pub items: Items,
    /// Where the figures came from.
    pub provenance: Provenance,
    /// Tokens of the requests that were timed one by one, the in-context finalist's and the fine-tuned one's: the interval of the
    /// break-even rests on them. See [`timed_requests`].
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub timed: Vec<[TokensPerRequest; 2]>,
}

/// Tokens of the finalists' timed requests in `record`, pair by pair; none where it has no finalists or nothing was timed.
pub fn timed_requests(record: &RunRecord) -> Vec<[TokensPerRequest; 2]> {
    let Some(finalists) = &record.finalists else { return Vec::new() };
    let timed = |id: &str| {
        let experiment = record.experiments.iter().find(|experiment| experiment.id == id);
        experiment.map_or(&[][..], |experiment| experiment.calls.timed.as_slice())
    };
    let pairs = timed(&finalists.in_context).iter().zip(timed(&finalists.fine_tune));
    pairs.map(|(prompt, tuned)| [prompt.tokens, tuned.tokens]).collect()
}

/// What a reader needs to make the same run again.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct Provenance {
    /// Name and version of the program that wrote the report.
    pub program: String,
    /// The resolved task file.
    pub settings: Value,
    /// Seconds that each arm spent, by its name; failed runs included.
    pub seconds_by_family: std::collections::BTreeMap<String, f64>,
    /// The run's log: when the test set was opened, and what else was noted.
    pub events: Vec<Event>,
}

impl Report {
    /// The finalist of `family`: its experiment on test.
    pub(crate) fn finalist(&self, family: Family) -> Option<&eval::arm::Arm> {
        let contrast = &self.comparison.contrast;
        let id = match family {
            Family::InContext => Some(&contrast.in_context),
            Family::FineTune => Some(&contrast.fine_tune),
            Family::Floor => self.comparison.floor_contrast.as_ref().map(|floor| &floor.floor),
            Family::Hybrid => None,
        };
        self.comparison.arm(id?)
    }

    /// When the test set was opened, in UTC; `None` where the log has no such entry.
    pub(crate) fn test_opened(&self) -> Option<&str> {
        let opened = self.provenance.events.iter().find(|event| event.name == "test_opened");
        opened.map(|event| event.time.as_str())
    }
}
