//! The frozen probe set: whole prompts with the answers that the finalists gave, stored with the run, to be asked again later.

use eval::agreement::{Agreement, agreement};
use eval::paired::{PairedCounts, mcnemar_exact};
use serde::{Deserialize, Serialize};
use task::dataset::Dataset;
use task::predictor::{PredictError, Predictor, PromptBatch, Wanted};
use task::probe::Side;
use task::prompt::Rendered;
use task::record::{Answer, Prediction};
use task::store::Store;

use super::Prober;
use super::asking::Prior;
use crate::Error;
use crate::answering::answer;
use crate::engine::Engine;
use crate::writer::{PromptWriter, inputs};

/// The probe's name in the plan.
pub(super) const NAME: &str = "probe_set";
/// Most items.
pub(super) const ITEMS: usize = 32;

/// What one finalist was asked, and what it answered. Whole prompts are kept, so that what is asked again does not depend on how
/// this version of the program writes them.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct FrozenSet {
    /// Who was asked.
    pub side: Side,
    /// The finalist's experiment on dev.
    pub finalist: String,
    /// SHA-256 of the base model's weights.
    pub model_sha256: String,
    /// What the set depends on.
    asked: String,
    /// Whole prompts.
    prompts: Vec<String>,
    /// Answers to score, one a label; none where answers are written.
    answers: Vec<String>,
    /// The finalist's answers.
    predictions: Vec<Prediction>,
    /// Log-probabilities of `answers` after each prompt, uncalibrated.
    rows: Vec<Vec<f64>>,
    /// The calibration's log-prior.
    log_prior: Option<Vec<f64>>,
}

fn fact(side: Side) -> String {
    format!("probe_set/{}", side.name())
}

/// Whether the set of that side is stored.
pub(super) fn stored(store: &Store, side: Side, asked: &str) -> Result<bool, Error> {
    Ok(store.fact::<FrozenSet>(&fact(side))?.is_some_and(|set| set.asked == asked))
}

/// Asks the finalist and keeps prompts and answers.
pub(super) fn freeze(
    prober: &Prober<'_>,
    side: Side,
    count: usize,
    asked: &str,
    store: &Store,
    predictor: &mut dyn Predictor,
) -> Result<(), Error> {
    let items = prober.items(count.min(ITEMS));
    let Rendered { shared, requests } = prober.prompts(side, &inputs(items))?;
    let prompts: Vec<String> = requests.iter().map(|request| format!("{shared}{request}")).collect();
    let render = |_: &[&str]| Ok(Rendered { shared: String::new(), requests: prompts.clone() });
    let answers = prober.writer_of(side).answers();
    let given = prober.answered(side, items, answers, Prior::FrozenScores, &render, predictor)?;
    let finalist = prober.finalist(side);
    let prior = finalist.filter(|_| side == Side::InContext).and_then(|e| e.setting("log_prior"));
    let set = FrozenSet {
        side,
        finalist: finalist.map_or_else(String::new, |experiment| experiment.id.clone()),
        model_sha256: predictor.identity().sha256,
        asked: asked.to_owned(),
        log_prior: prior,
        answers: answers.to_vec(),
        predictions: given.predictions,
        rows: given.rows,
        prompts,
    };
    Ok(store.set_fact(&fact(side), &set)?)
}

/// What asking again showed.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Drift {
    /// Each finalist that could be asked.
    pub sides: Vec<SideDrift>,
}

/// What asking one finalist again showed.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct SideDrift {
    /// Who was asked.
    pub side: Side,
    /// The finalist's experiment on dev.
    pub finalist: String,
    /// Whether the base model's weights are the same.
    pub same_weights: bool,
    /// Items asked again.
    pub items: usize,
    /// Items with another answer.
    pub changed: Vec<String>,
    /// Exact agreement with the stored answers.
    pub agreement: Agreement,
    /// Mean score then and now.
    pub scores: [f64; 2],
    /// Right answers that became wrong, and wrong ones that became right.
    pub lost_and_gained: [u64; 2],
    /// McNemar's exact p-value of that.
    pub p: f64,
    /// Largest difference of an answer's log-probability.
    pub largest_difference: Option<f64>,
}

/// Asks the finalists of the run in `store` their frozen probe sets again.
///
/// # Errors
/// [`Error::NothingRan`] where the run has no probe set; the model's and the store's errors.
pub fn replay(
    settings: &task::settings::Settings,
    dataset: &Dataset,
    engine: &dyn Engine,
    store: &Store,
) -> Result<Drift, Error> {
    let writer = PromptWriter::new(settings, dataset, engine)?;
    let mut sides = Vec::new();
    for side in [Side::InContext, Side::FineTune] {
        let Some(set) = store.fact::<FrozenSet>(&fact(side))? else { continue };
        let failed = || Error::model("probe_set");
        let given = if side == Side::FineTune {
            let name = set.finalist.trim_end_matches("@dev").replace('/', "-");
            let mut tuned = engine.load(&store.folder().join("artefacts").join(name)).map_err(failed())?;
            again(&set, &writer, dataset, tuned.predictor().as_mut()).map_err(failed())?
        } else {
            let writer = match store.get(&set.finalist)? {
                Some(finalist) => writer.of(&finalist, dataset)?,
                None => writer.clone(),
            };
            again(&set, &writer, dataset, engine.base().as_mut()).map_err(failed())?
        };
        let same_weights = engine.base().identity().sha256 == set.model_sha256;
        sides.push(drift(&set, same_weights, given)?);
    }
    if sides.is_empty() {
        return Err(Error::NothingRan("probe set"));
    }
    Ok(Drift { sides })
}

/// The answers of today.
fn again(
    set: &FrozenSet,
    writer: &PromptWriter,
    dataset: &Dataset,
    predictor: &mut dyn Predictor,
) -> Result<(Vec<Prediction>, Vec<Vec<f64>>), PredictError> {
    if set.answers.is_empty() {
        let of = |prediction: &Prediction| {
            dataset.dev.iter().find(|example| example.id == prediction.example).cloned()
        };
        let items: Vec<_> = set.predictions.iter().filter_map(of).collect();
        let prompts = Rendered { shared: String::new(), requests: set.prompts.clone() };
        return Ok((answer(writer, dataset, &items, &prompts, predictor)?.predictions, Vec::new()));
    }
    let batch =
        PromptBatch { shared: "", requests: &set.prompts, answers: &set.answers, wanted: Wanted::All };
    let rows = predictor.score(&batch)?.log_probabilities;
    let predictions = set.predictions.iter().zip(&rows).map(|(before, row)| {
        let mut now = before.clone();
        if let Answer::Label { predicted, .. } = &mut now.answer {
            *predicted = eval::calibration::best(&eval::calibration::apply(row, set.log_prior.as_deref()));
        }
        now
    });
    Ok((predictions.collect(), rows))
}

fn drift(
    set: &FrozenSet,
    same_weights: bool,
    (now, rows): (Vec<Prediction>, Vec<Vec<f64>>),
) -> Result<SideDrift, Error> {
    let said = |predictions: &[Prediction]| -> Vec<String> {
        predictions
            .iter()
            .map(|prediction| match &prediction.answer {
                Answer::Label { predicted, .. } => predicted.to_string(),
                Answer::Text { text, .. } => text.clone(),
            })
            .collect()
    };
    let (before, after) = (said(&set.predictions), said(&now));
    let changed = set.predictions.iter().zip(before.iter().zip(&after));
    let changed = changed.filter(|(_, (one, other))| one != other).map(|(item, _)| item.example.clone());
    let right = |prediction: &Prediction| prediction.score() == 1.0;
    let counts = PairedCounts::new(set.predictions.iter().map(right).zip(now.iter().map(right)));
    let mean = |all: &[Prediction]| all.iter().map(Prediction::score).sum::<f64>() / all.len().max(1) as f64;
    let differences =
        rows.iter().flatten().zip(set.rows.iter().flatten()).map(|(one, other)| (one - other).abs());
    Ok(SideDrift {
        side: set.side,
        finalist: set.finalist.clone(),
        same_weights,
        items: now.len(),
        changed: changed.collect(),
        scores: [mean(&set.predictions), mean(&now)],
        lost_and_gained: [counts.losses, counts.wins],
        p: mcnemar_exact(counts.wins, counts.losses),
        largest_difference: differences.max_by(f64::total_cmp),
        agreement: agreement(&[before, after])?,
    })
}
