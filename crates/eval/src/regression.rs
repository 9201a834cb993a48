//! Two runs on the same test items: is the later one no worse? A test of non-inferiority for continuous integration.
//!
//! Each finalist of the later run is paired with that of the earlier one, on the examples that both answered. It is *no worse*
//! where the lower end of the 90% interval of the difference (later less earlier) lies above minus the margin: a one-sided
//! test at 5%. It is *worse* where the whole interval lies below 0; otherwise the items cannot tell.

use std::collections::BTreeSet;

use serde::{Deserialize, Serialize};
use task::record::{Experiment, RunRecord};

use crate::Error;
use crate::comparison::Comparison;
use crate::interval::Estimate;
use crate::paired::{EQUIVALENCE_ALPHA, pair};
use crate::verdict::Choice;

/// What became of each finalist between two runs.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Regression {
    /// By how much the later one may be worse and still pass.
    pub margin: f64,
    /// What each run's verdict would use, one against the other.
    pub shipped: Change,
    /// The finalists, arm by arm; an arm that one of the runs has not is left out.
    pub arms: Vec<Change>,
}

/// One experiment against its predecessor.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Change {
    /// `verdict`, `in_context`, `fine_tune` or `floor`.
    pub arm: String,
    /// The earlier run's experiment.
    pub before: String,
    /// The later run's.
    pub after: String,
    /// Examples that both answered.
    pub items: u64,
    /// Mean scores on those: before, after.
    pub scores: [f64; 2],
    /// After less before, with its interval at 90%: two one-sided ones of 95%.
    pub difference: Estimate,
    /// What that says.
    pub judgement: Judgement,
}

/// What a difference says about a regression.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Judgement {
    /// Shown to be no worse than the margin allows.
    NoWorse,
    /// Shown to be worse, and not shown to be within the margin.
    Worse,
    /// Neither.
    Undecided,
}

impl Regression {
    /// Compares the finalists of two records. Errors where either is not finished or not whole, no example was answered in
    /// both, or they disagree about a true label.
    pub fn new(before: &RunRecord, after: &RunRecord, margin: f64) -> Result<Self, Error> {
        if !(margin > 0.0 && margin < 1.0) {
            return Err(Error::Decision { key: "margin", value: margin, range: "(0, 1)" });
        }
        let [old, new] = [before, after].map(finalists);
        let (old, new) = (old?, new?);
        let mut arms = Vec::new();
        for (before, after) in old.arms.iter().zip(&new.arms) {
            if let (Some(before), Some(after)) = (before, after) {
                arms.push(Change::new(after.family.name(), before, after, margin)?);
            }
        }
        Ok(Self { margin, shipped: Change::new("verdict", old.shipped, new.shipped, margin)?, arms })
    }

    /// The change of that arm.
    pub fn arm(&self, arm: &str) -> Option<&Change> {
        std::iter::once(&self.shipped).chain(&self.arms).find(|change| change.arm == arm)
    }
}

/// The finalists of a record: in-context, fine-tuned, floor; and the one that its verdict would use.
struct Finals<'a> {
    arms: [Option<&'a Experiment>; 3],
    shipped: &'a Experiment,
}

fn finalists(record: &RunRecord) -> Result<Finals<'_>, Error> {
    let comparison = Comparison::from_record(record)?;
    let find = |id: &str| record.experiments.iter().find(|experiment| experiment.id == id);
    let floor = comparison.floor_contrast.as_ref().and_then(|floor| find(&floor.floor));
    let arms = [find(&comparison.contrast.in_context), find(&comparison.contrast.fine_tune), floor];
    let shipped = match comparison.verdict.choice {
        Choice::FineTune => arms[1],
        Choice::Floor => arms[2],
        // The default advice is to start with the prompt.
        Choice::InContext | Choice::Equivalent | Choice::Undecided => arms[0],
    };
    Ok(Finals { arms, shipped: shipped.ok_or(Error::TestNotOpened)? })
}

impl Change {
    fn new(arm: &str, before: &Experiment, after: &Experiment, margin: f64) -> Result<Self, Error> {
        let ids = |experiment: &Experiment| -> BTreeSet<String> {
            experiment.predictions.iter().map(|prediction| prediction.example.clone()).collect()
        };
        let common: BTreeSet<String> = ids(before).intersection(&ids(after)).cloned().collect();
        if common.is_empty() {
            return Err(Error::TooFew { what: "test examples in common", have: 0, need: 1 });
        }
        let [first, second] = [before, after].map(|experiment| {
            let mut shared = experiment.clone();
            shared.predictions.retain(|prediction| common.contains(&prediction.example));
            shared
        });
        let difference = pair(&first, &second, "two runs")?.interval(1.0 - 2.0 * EQUIVALENCE_ALPHA);
        let judgement = if difference.low > -margin {
            Judgement::NoWorse
        } else if difference.high < 0.0 {
            Judgement::Worse
        } else {
            Judgement::Undecided
        };
        Ok(Self {
            arm: arm.to_owned(),
            before: before.id.clone(),
            after: after.id.clone(),
            items: common.len() as u64,
            scores: [first.mean_score(), second.mean_score()],
            difference,
            judgement,
        })
    }
}
