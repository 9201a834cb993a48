//! How a finalist treats groups of people: the score of each, and answers that change with words that name them.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use task::probe::Finding;
use task::record::Prediction;

use crate::graded;
use crate::interval::Estimate;
use crate::probes::{Look, answer};
use crate::stability::Rate;

/// The score of each group.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Subgroups {
    /// All groups, the worst first.
    pub groups: Vec<Group>,
    /// Score of the best group less that of the worst.
    pub gap: f64,
}

/// One group.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Group {
    /// Its name.
    pub name: String,
    /// Its items.
    pub items: usize,
    /// Its score.
    pub score: Estimate,
}

/// The finalist's test answers by group; no model is asked for this.
pub(super) fn subgroups(look: &Look<'_>) -> Option<Subgroups> {
    let Some(Finding::Subgroups { groups: of_item }) = look.base("subgroups") else { return None };
    let mut predictions: Vec<&Prediction> = look.finalist()?.predictions.iter().collect();
    predictions.sort_by(|one, other| one.example.cmp(&other.example));
    let mut scores: BTreeMap<&str, Vec<f64>> = BTreeMap::new();
    for prediction in predictions {
        if let Some(group) = of_item.get(&prediction.example) {
            scores.entry(group).or_default().push(prediction.score());
        }
    }
    let mut groups: Vec<Group> = scores
        .into_iter()
        .map(|(name, scores)| Group {
            name: name.to_owned(),
            items: scores.len(),
            score: graded::mean(&scores, look.confidence(), look.seed(name)),
        })
        .collect();
    groups.sort_by(|one, other| one.score.value.total_cmp(&other.score.value));
    let gap = groups.last()?.score.value - groups.first()?.score.value;
    Some(Subgroups { groups, gap })
}

pub(super) fn counterfactual(look: &Look<'_>) -> Option<Rate> {
    let (original, variants) = look.variants("counterfactual")?;
    let swapped = variants.first()?;
    let flips = original.iter().zip(&swapped.predictions).filter(|(one, other)| answer(one) != answer(other));
    Some(Rate::new(flips.count(), original.len(), look.confidence()))
}
