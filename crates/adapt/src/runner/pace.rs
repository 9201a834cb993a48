//! How long units of work took beside what was estimated: what the next ones of their kind will take.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use task::record::Family;

use super::Session;
use crate::Error;

const TOOK: &str = "took";

/// A unit of work on dev.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(super) struct Unit {
    /// What its rate is shared with: a selection of demonstrations, a method of training.
    pub(super) kind: String,
    pub(super) family: Family,
    /// Estimated seconds.
    pub(super) estimate: f64,
    /// Measured seconds; 0 until it has ended.
    pub(super) seconds: f64,
}

/// Everything that has ended, by name.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(transparent)]
pub(super) struct Pace {
    units: BTreeMap<String, Unit>,
}

impl Pace {
    /// Measured seconds for an estimated one: of the same kind, where none has ended of the arm, else 1.
    pub(super) fn rate(&self, family: Family, kind: &str) -> f64 {
        let of = |wanted: &dyn Fn(&Unit) -> bool| {
            let [mut seconds, mut estimate] = [0.0, 0.0];
            for unit in self.units.values().filter(|unit| wanted(unit)) {
                seconds += unit.seconds;
                estimate += unit.estimate;
            }
            (estimate > 0.0 && seconds > 0.0).then(|| seconds / estimate)
        };
        of(&|unit| unit.family == family && unit.kind == kind)
            .or_else(|| of(&|unit| unit.family == family))
            .unwrap_or(1.0)
    }

    /// Whether the unit has ended.
    pub(super) fn has(&self, name: &str) -> bool {
        self.units.contains_key(name)
    }

    /// Seconds of a kind, all together.
    pub(super) fn seconds(&self, kind: &str) -> f64 {
        self.units.values().filter(|unit| unit.kind == kind).map(|unit| unit.seconds).sum()
    }
}

impl Session<'_> {
    pub(super) fn pace(&self) -> Result<Pace, Error> {
        Ok(self.run.store.fact::<Pace>(TOOK)?.unwrap_or_default())
    }

    /// Says what begins, so that its time is kept when it ends.
    pub(super) fn begins(&mut self, family: Family, kind: &str, name: &str, estimate: f64) {
        let unit = Unit { kind: kind.to_owned(), family, estimate, seconds: 0.0 };
        self.unit = Some((name.to_owned(), unit));
    }

    /// Keeps the time of what began; before its result is stored, so that a kill between the two loses nothing that counts.
    pub(super) fn ended(&mut self, seconds: f64) -> Result<(), Error> {
        let Some((name, unit)) = self.unit.take() else { return Ok(()) };
        let mut pace = self.pace()?;
        pace.units.insert(name, Unit { seconds, ..unit });
        Ok(self.run.store.set_fact(TOOK, &pace)?)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_rate_is_that_of_the_kind_then_of_the_arm() {
        let unit =
            |kind: &str, family, estimate, seconds| Unit { kind: kind.to_owned(), family, estimate, seconds };
        let mut pace = Pace::default();
        assert_eq!(pace.rate(Family::InContext, "random"), 1.0);
        pace.units.insert("a".to_owned(), unit("random", Family::InContext, 2.0, 4.0));
        pace.units.insert("b".to_owned(), unit("random", Family::InContext, 2.0, 8.0));
        pace.units.insert("c".to_owned(), unit("bm25", Family::InContext, 4.0, 4.0));
        pace.units.insert("d".to_owned(), unit("lora", Family::FineTune, 1.0, 9.0));
        assert_eq!(pace.rate(Family::InContext, "random"), 3.0);
        assert_eq!(pace.rate(Family::InContext, "bm25"), 1.0);
        // 16 of 8 for the arm as a whole; the other arm says nothing of it.
        assert_eq!(pace.rate(Family::InContext, "embedding"), 2.0);
        assert_eq!(pace.rate(Family::FineTune, "full"), 9.0);
        assert_eq!(pace.seconds("random"), 12.0);
    }
}
