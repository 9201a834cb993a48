//! `[fine_tune]`, resolved.

use serde::{Deserialize, Serialize};

use super::{sort_and_unite, unite};
use crate::predictor::{LoraTargets, LoraVariant, OptimizerSettings};
use crate::task_file::{self, FineTuneMethod, HybridMethod};

/// What the fine-tuning arm tries.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct FineTuneSettings {
    /// Which weights are adapted.
    pub methods: Vec<FineTuneMethod>,
    /// Numbers of labelled rows to train on; one above the training rows stands for all of them.
    pub labels: Vec<usize>,
    /// Training runs at each number.
    pub seeds: usize,
    /// Peak learning rates of LoRA.
    pub learning_rates: Vec<f64>,
    /// Peak learning rates of full fine-tuning.
    pub full_learning_rates: Vec<f64>,
    /// Most passes over the rows; `None`: see [`FineTuneSettings::epochs_for`].
    pub epochs: Option<usize>,
    /// How the optimiser steps.
    #[serde(flatten)]
    pub optimizer: OptimizerSettings,
    /// Rank of LoRA.
    pub rank: usize,
    /// Scale of LoRA is `alpha / rank`.
    pub alpha: f64,
    /// Kinds of adapters, the default first.
    pub variants: Vec<LoraVariant>,
    /// Layers that get an adapter, the default first.
    pub targets: Vec<LoraTargets>,
    /// Ranks that the search tries, the default first.
    pub ranks: Vec<usize>,
    /// Most of the arm's time that the search for a recipe may take.
    pub search_share: f64,
    /// What combines both arms.
    pub hybrids: Vec<HybridMethod>,
}

impl FineTuneSettings {
    /// Most passes over `rows` training rows: as set, or fewer the more rows there are, so that the steps grow slower
    /// than the rows.
    pub fn epochs_for(&self, rows: usize) -> usize {
        self.epochs.unwrap_or_else(|| default_epochs(rows))
    }

    /// The peak learning rates to try with `method`.
    pub fn rates(&self, method: FineTuneMethod) -> &[f64] {
        match method {
            FineTuneMethod::Lora => &self.learning_rates,
            FineTuneMethod::Full => &self.full_learning_rates,
        }
    }
}

/// Most passes over `rows` training rows where the task file does not say: see [`FineTuneSettings::epochs_for`].
pub fn default_epochs(rows: usize) -> usize {
    match rows {
        0..=16 => 12,
        17..=32 => 8,
        33..=64 => 6,
        65..=128 => 4,
        129..=256 => 3,
        _ => 2,
    }
}

pub(super) fn fine_tune_settings(section: &task_file::FineTuneSection) -> FineTuneSettings {
    let mut labels = section.labels.clone();
    sort_and_unite(&mut labels);
    let mut methods = section.methods.clone();
    unite(&mut methods);
    let (mut variants, mut targets) = (section.variants.clone(), section.targets.clone());
    unite(&mut variants);
    unite(&mut targets);
    let mut ranks = vec![section.rank];
    ranks.extend(section.ranks.clone().unwrap_or_else(|| vec![(section.rank / 4).max(1)]));
    unite(&mut ranks);
    let mut hybrids = section.hybrids.clone();
    unite(&mut hybrids);
    hybrids.retain(|hybrid| *hybrid != HybridMethod::None);
    // Full fine-tuning wants about a tenth of LoRA's rate (Schulman et al. 2025, "LoRA Without Regret").
    let full = section.full_learning_rates.clone();
    FineTuneSettings {
        methods,
        labels,
        seeds: section.seeds,
        learning_rates: section.learning_rates.clone(),
        full_learning_rates: full
            .unwrap_or_else(|| section.learning_rates.iter().map(|rate| tenth(*rate)).collect()),
        epochs: section.epochs,
        optimizer: OptimizerSettings {
            batch_rows: section.batch_rows,
            pass_rows: section.pass_rows,
            schedule: section.schedule,
            warmup_share: section.warmup_share,
            weight_decay: section.weight_decay,
            clip_norm: section.clip_norm,
            dropout: section.dropout,
        },
        rank: section.rank,
        alpha: section.alpha.unwrap_or(2.0 * section.rank as f64),
        variants,
        targets,
        ranks,
        search_share: section.search_share,
        hybrids,
    }
}

/// A tenth in decimal: 3e-4 gives 3e-5, where a division gives 2.9999999999999997e-5.
fn tenth(rate: f64) -> f64 {
    let text = format!("{rate:e}");
    let (digits, exponent) = text.split_once('e').expect("a number in this notation has an exponent");
    let exponent: i32 = exponent.parse().expect("the exponent is a whole number");
    format!("{digits}e{}", exponent - 1).parse().expect("it is the same notation")
}
