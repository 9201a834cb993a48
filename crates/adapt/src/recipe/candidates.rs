//! The recipes that a search may try.

use serde::{Deserialize, Serialize};
use task::predictor::{LoraVariant, TrainingMethod};

use crate::plan::Wishes;

/// How an adapter is trained.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Recipe {
    /// Rank, scale, variant and layers.
    pub method: TrainingMethod,
    /// Peak learning rate.
    pub learning_rate: f64,
}

impl Recipe {
    /// As names of experiments have it: `dora-r4-all/lr0.003`.
    pub fn name(&self) -> String {
        format!("{}/lr{}", adaptation_name(self.method), self.learning_rate)
    }
}

/// An adapter's kind in names: `dora-r4-all`.
pub(crate) fn adaptation_name(method: TrainingMethod) -> String {
    match method {
        TrainingMethod::Lora { rank, variant, targets, .. } => {
            format!("{}-r{rank}-{}", variant.name(), targets.name())
        }
        TrainingMethod::Full => "full".to_owned(),
        TrainingMethod::VirtualTokens { tokens } => format!("virtual-{tokens}"),
    }
}

/// The alpha of an adapter of `rank`, where the task file says `own` for rank `first`: the scale stays the same at every rank; a
/// stabilised one is alike at the first.
pub(crate) fn alpha(variant: LoraVariant, own: f64, first: usize, rank: usize) -> f64 {
    match variant {
        LoraVariant::RankStabilized => own / (first as f64).sqrt(),
        _ => own * (rank as f64 / first as f64),
    }
}

/// All combinations, those that differ least from the defaults first.
pub(super) fn recipes(wishes: &Wishes) -> Vec<Recipe> {
    let mut all = Vec::new();
    for (a, &variant) in wishes.variants.iter().enumerate() {
        for (b, &targets) in wishes.targets.iter().enumerate() {
            for (c, &rank) in wishes.ranks.iter().enumerate() {
                for (d, &learning_rate) in wishes.lora_rates.iter().enumerate() {
                    let alpha = alpha(variant, wishes.alpha, wishes.ranks[0], rank);
                    let method = TrainingMethod::Lora { rank, alpha, variant, targets };
                    all.push((a + b + c + d, Recipe { method, learning_rate }));
                }
            }
        }
    }
    all.sort_by_key(|(distance, _)| *distance);
    all.into_iter().map(|(_, recipe)| recipe).collect()
}

#[cfg(test)]
mod tests {
    use task::predictor::LoraTargets;

    use super::*;

    #[test]
    fn recipes_are_all_combinations_nearest_to_the_default_first() {
        let wishes = Wishes {
            variants: vec![LoraVariant::Plain, LoraVariant::RankStabilized],
            targets: vec![LoraTargets::All, LoraTargets::Mlp],
            ranks: vec![16, 4],
            lora_rates: vec![1e-3, 3e-4],
            alpha: 32.0,
            ..crate::plan::tests::wishes(1e9)
        };
        let all = recipes(&wishes);
        assert_eq!(all.len(), 16);
        assert_eq!(all[0], Recipe { method: TrainingMethod::lora(16, 32.0), learning_rate: 1e-3 });
        let scale = |recipe: &Recipe| match recipe.method {
            TrainingMethod::Lora { rank, alpha, variant: LoraVariant::RankStabilized, .. } => {
                alpha / (rank as f64).sqrt()
            }
            TrainingMethod::Lora { rank, alpha, .. } => alpha / rank as f64,
            _ => unreachable!("only adapters"),
        };
        // alpha / r stays 2; stabilised, 2 at rank 16 and 4 at rank 4.
        let mut scales: Vec<f64> = all.iter().map(scale).collect();
        scales.sort_by(f64::total_cmp);
        assert_eq!((scales[0], scales[11], scales[12], scales[15]), (2.0, 2.0, 4.0, 4.0));
    }
}
