//! Two experiments on the same items, and the interval that the way in which they were answered allows.
//!
//! | the items | interval of the difference |
//! |---|---|
//! | independent, their number fixed beforehand | that of [`Pairing`] |
//! | independent, left before their end ([`task::record::TestStop`]) | [`Tally::confidence_sequence`], which holds at every number of items |
//! | in clusters (`data.cluster`) | Student's with cluster-robust standard errors ([`clustered`]) |

use crate::Error;
use crate::evidence::{Answered, Evidence};
use crate::interval::Estimate;
use crate::mean::clustered;
use crate::paired::{EQUIVALENCE_ALPHA, Equivalence, Pairing, pair, scores};
use crate::sequential::{Tally, looking_order};

/// A paired sample.
pub(crate) struct Sample<'a> {
    pub(crate) pairing: Pairing,
    basis: Basis<'a>,
}

/// What an interval may rest on.
enum Basis<'a> {
    /// Independent items, as many as were meant to be looked at.
    Fixed,
    /// Independent items, looked at until they decided.
    Anytime(Tally),
    /// Items that share sources.
    Clustered { differences: Vec<f64>, clusters: Vec<&'a str> },
}

impl<'a> Sample<'a> {
    /// Pairs `first` and `second`; the difference is second less first.
    pub(crate) fn new(
        evidence: &Evidence<'a>,
        first: &Answered<'a>,
        second: &Answered<'a>,
    ) -> Result<Self, Error> {
        let record = evidence.record;
        let pairing = pair(first.experiment, second.experiment, &record.task.data_sha256)?;
        let clusters: Option<Vec<&str>> =
            first.predictions.iter().map(|p| record.clusters.get(&p.example).map(String::as_str)).collect();
        let several = |clusters: &Vec<&str>| clusters.iter().any(|cluster| *cluster != clusters[0]);
        let basis = match (clusters.filter(several), &pairing, record.test_stop) {
            (Some(clusters), ..) => {
                let scores = scores(first.experiment, second.experiment)?;
                let differences = scores.into_iter().map(|[one, other]| other - one).collect();
                Basis::Clustered { differences, clusters }
            }
            (None, Pairing::Counts(counts), Some(_)) => Basis::Anytime(counts.into()),
            (None, Pairing::Scores(_), Some(_)) => {
                let scores = scores(first.experiment, second.experiment)?;
                Basis::Anytime(Tally::new(scores.into_iter().map(|[one, other]| other - one)))
            }
            _ => Basis::Fixed,
        };
        Ok(Self { pairing, basis })
    }

    /// The difference with its interval at `confidence`.
    pub(crate) fn interval(&self, confidence: f64) -> Estimate {
        let fixed = || self.pairing.interval(confidence);
        match &self.basis {
            Basis::Fixed => fixed(),
            Basis::Anytime(seen) => seen.confidence_sequence(confidence).unwrap_or_else(|_| fixed()),
            Basis::Clustered { differences, clusters } => {
                match clustered(differences, clusters, confidence) {
                    // Without a single difference the clusters say nothing: as many ties leave more doubt than that.
                    Ok(estimate) if estimate.high > estimate.low => estimate,
                    _ => fixed(),
                }
            }
        }
    }

    /// Two one-sided tests against `margin`. Where items were looked at one after the other, the interval of both together
    /// has the confidence that each test asks for, so that neither errs more often however long one looked.
    pub(crate) fn equivalence(&self, margin: f64) -> Equivalence {
        let confidence = match self.basis {
            Basis::Anytime(_) => 1.0 - EQUIVALENCE_ALPHA,
            _ => 1.0 - 2.0 * EQUIVALENCE_ALPHA,
        };
        Equivalence::new(&self.interval(confidence), margin)
    }

    /// The p-value of the two one-sided tests; `None` where there is no such test of these items.
    pub(crate) fn equivalence_p(&self, margin: f64) -> Option<f64> {
        match (&self.basis, &self.pairing) {
            (Basis::Fixed, Pairing::Counts(counts)) => Some(counts.equivalence_p(margin)),
            _ => None,
        }
    }

    /// Lower end of the one-sided 95% interval.
    pub(crate) fn lower_bound(&self) -> f64 {
        self.equivalence(1.0).low
    }

    /// The number of clusters, where the interval rests on them.
    pub(crate) fn clusters(&self) -> Option<u64> {
        let Basis::Clustered { clusters, .. } = &self.basis else { return None };
        Some(clusters.iter().collect::<std::collections::BTreeSet<_>>().len() as u64)
    }

    /// Whether each item is a win, a loss or a tie by itself, so that a process may look at them one after the other.
    pub(crate) fn may_be_looked_at(&self) -> bool {
        matches!(self.pairing, Pairing::Counts(_)) && !matches!(self.basis, Basis::Clustered { .. })
    }
}

/// Right and wrong answers of both, in the order in which they are looked at.
pub(crate) fn looked_at(
    first: &Answered<'_>,
    second: &Answered<'_>,
    data_sha256: &str,
) -> Result<Vec<(bool, bool)>, Error> {
    let outcomes = crate::paired::outcomes(first.experiment, second.experiment)?;
    let ids: Vec<&str> = first.predictions.iter().map(|prediction| prediction.example.as_str()).collect();
    Ok(looking_order(&ids, data_sha256).into_iter().map(|index| outcomes[index]).collect())
}
