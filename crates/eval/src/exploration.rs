//! Everything that is tested beside the one confirmatory contrast, with p-values adjusted for how many tests there are.
//!
//! - Of every other configuration on test (each point of the curves by the seed that dev prefers), the paired test against
//!   the finalist of the other arm: against the prompt for fine-tuned models and floors, against the fine-tuned model for
//!   prompts. Holm's adjustment: the chance of any false finding in the table is at most alpha.
//! - Of every label, the paired test of the two finalists on its items. Benjamini and Hochberg's adjustment: of the labels
//!   named, the expected share of false ones is at most alpha.

use serde::{Deserialize, Serialize};
use task::record::{Family, Part};

use crate::Error;
use crate::curve::Curve;
use crate::evidence::{Answered, Evidence};
use crate::interval::Estimate;
use crate::metrics::label_pair;
use crate::multiplicity::{benjamini_hochberg, holm};
use crate::paired::{PairedCounts, Pairing, mcnemar_mid_p};
use crate::sample::Sample;

/// The exploratory tests.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Exploration {
    /// Other configurations against the other arm's finalist.
    pub contrasts: Vec<ExploratoryContrast>,
    /// The two finalists on the items of each label, in the order of the labels; none where texts are answered.
    pub labels: Vec<Slice>,
}

/// One configuration against the finalist of the other arm.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ExploratoryContrast {
    /// The configuration.
    pub experiment: String,
    /// The finalist.
    pub against: String,
    /// Its mean score less the finalist's, with the interval of this one difference.
    pub difference: Estimate,
    /// p of the paired test: McNemar's mid-p, or of permutations.
    pub p: f64,
    /// The same, adjusted after Holm over all contrasts of the table.
    pub p_adjusted: f64,
}

/// The finalists on a part of the items.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Slice {
    /// The label.
    pub slice: String,
    /// Items.
    pub items: u64,
    /// Share right of the fine-tuned finalist less that of the in-context one, with the interval of this one difference.
    pub difference: Estimate,
    /// McNemar's mid-p.
    pub p: f64,
    /// The same, adjusted after Benjamini and Hochberg over all slices.
    pub p_adjusted: f64,
}

impl Exploration {
    /// Tests what `evidence` holds; `curves` name the configurations.
    pub(crate) fn new(evidence: &Evidence<'_>, curves: &[Curve]) -> Result<Self, Error> {
        let mut contrasts = Vec::new();
        for answered in others(evidence, curves) {
            contrasts.push(contrast(evidence, answered)?);
        }
        let adjusted = holm(&contrasts.iter().map(|contrast| contrast.p).collect::<Vec<_>>())?;
        contrasts.iter_mut().zip(adjusted).for_each(|(contrast, p)| contrast.p_adjusted = p);
        let mut labels = slices(evidence);
        let adjusted = benjamini_hochberg(&labels.iter().map(|slice| slice.p).collect::<Vec<_>>())?;
        labels.iter_mut().zip(adjusted).for_each(|(slice, p)| slice.p_adjusted = p);
        Ok(Self { contrasts, labels })
    }

    /// The contrast of that experiment.
    pub fn contrast(&self, experiment: &str) -> Option<&ExploratoryContrast> {
        self.contrasts.iter().find(|contrast| contrast.experiment == experiment)
    }
}

/// One experiment on test for each point of the curves, finalists left out: the seed with the best score on dev.
fn others<'e, 'a>(evidence: &'e Evidence<'a>, curves: &[Curve]) -> Vec<&'e Answered<'a>> {
    let find = |id: &String| evidence.answered.iter().find(|answered| answered.experiment.id == *id);
    let dev = |answered: &&Answered<'_>| {
        evidence.twin(answered.experiment, Part::Dev).and_then(Answered::score).unwrap_or(-1.0)
    };
    let mut chosen: Vec<&Answered<'a>> = Vec::new();
    for point in curves.iter().filter(|curve| curve.part == Part::Test).flat_map(|curve| &curve.points) {
        let seeds: Vec<&Answered<'a>> = point.experiments.iter().filter_map(find).collect();
        // Equal scores keep the first seed.
        let best = seeds.into_iter().rev().max_by(|left, right| dev(left).total_cmp(&dev(right)));
        chosen.extend(best);
    }
    chosen.sort_by(|left, right| left.experiment.id.cmp(&right.experiment.id));
    chosen.dedup_by(|left, right| left.experiment.id == right.experiment.id);
    let finalists = [evidence.in_context(), evidence.fine_tune()].map(|f| f.experiment.id.as_str());
    chosen.retain(|answered| !finalists.contains(&answered.experiment.id.as_str()));
    chosen
}

fn contrast<'a>(evidence: &Evidence<'a>, answered: &Answered<'a>) -> Result<ExploratoryContrast, Error> {
    let against = match answered.experiment.family {
        Family::InContext => evidence.fine_tune(),
        _ => evidence.in_context(),
    };
    let sample = Sample::new(evidence, against, answered)?;
    let p = match &sample.pairing {
        Pairing::Counts(counts) => mcnemar_mid_p(counts.wins, counts.losses),
        Pairing::Scores(scores) => scores.permutation_p(),
    };
    Ok(ExploratoryContrast {
        experiment: answered.experiment.id.clone(),
        against: against.experiment.id.clone(),
        difference: sample.interval(evidence.record.decision.confidence),
        p,
        p_adjusted: p,
    })
}

/// The finalists on the items of each label that has some.
fn slices(evidence: &Evidence<'_>) -> Vec<Slice> {
    let labels = &evidence.record.labels;
    let mut counts = vec![PairedCounts::default(); labels.len()];
    let pairs = evidence.in_context().predictions.iter().zip(&evidence.fine_tune().predictions);
    for (first, second) in pairs {
        if let (Some((gold, _)), true) = (label_pair(first), first.example == second.example) {
            counts[gold].observe(first.score() == 1.0, second.score() == 1.0);
        }
    }
    let slice = |(label, counts): (&String, PairedCounts)| Slice {
        slice: label.clone(),
        items: counts.items(),
        difference: counts.interval(evidence.record.decision.confidence),
        p: mcnemar_mid_p(counts.wins, counts.losses),
        p_adjusted: 1.0,
    };
    labels.iter().zip(counts).filter(|(_, counts)| counts.items() > 0).map(slice).collect()
}
