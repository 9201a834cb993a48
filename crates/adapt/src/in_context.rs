//! The in-context arm: an instruction and demonstrations, scored label by label, under several calibrations.

use std::collections::BTreeMap;

use eval::calibration;
use sha2::{Digest, Sha256};
use task::dataset::Dataset;
use task::example::Example;
use task::predictor::{Predictor, PromptBatch, Scored};
use task::prompt::Rendered;
use task::record::{Artefact, Experiment, Family, Part, Prediction, Setup};
use task::settings::{Calibration, Order};

use crate::Error;
use crate::digest::hex;
use crate::plan::{PromptTrial, Selection};
use crate::retrieval::Bm25;
use crate::selection;
use crate::writer::{PromptWriter, examples, inputs, target_index};

/// Inputs without content, for contextual calibration (Zhao et al. 2021).
const CONTENT_FREE: [&str; 3] = ["N/A", "[MASK]", ""];

/// The calibration's name in experiments.
pub(crate) fn calibration_name(calibration: Calibration) -> &'static str {
    match calibration {
        Calibration::None => "none",
        Calibration::Contextual => "contextual",
        Calibration::Batch => "batch",
    }
}

/// Whether `calibration` can be had with `selection`: retrieval gives every request a prompt of its own, whose content-free scores
/// would cost as much as three more requests each.
pub(crate) fn applies(calibration: Calibration, selection: Selection) -> bool {
    !(calibration == Calibration::Contextual && selection == Selection::Bm25)
}

/// The arm on one task and one model.
pub(crate) struct InContext<'a> {
    writer: &'a PromptWriter,
    dataset: &'a Dataset,
    targets: &'a [usize],
    index: Bm25,
    order: Order,
}

/// The scores of one prompt trial on one part.
struct Trial {
    /// `[examples][labels]`.
    rows: Vec<Vec<f64>>,
    /// `[content-free inputs][labels]`; empty for retrieval, whose prompt differs from request to request.
    content_free: Vec<Vec<f64>>,
    scored: Scored,
    shared: String,
}

impl<'a> InContext<'a> {
    /// `targets` are the label indices of the training examples; `order` is that of retrieved demonstrations.
    pub(crate) fn new(
        writer: &'a PromptWriter,
        dataset: &'a Dataset,
        targets: &'a [usize],
        order: Order,
    ) -> Self {
        Self { writer, dataset, targets, index: Bm25::new(&inputs(&dataset.train)), order }
    }

    /// Scores `trial` on dev once and gives one experiment a calibration.
    pub(crate) fn on_dev(
        &self,
        trial: &PromptTrial,
        calibrations: &[Calibration],
        predictor: &mut dyn Predictor,
    ) -> Result<Vec<Experiment>, Error> {
        let scores = self.score(trial, Part::Dev, predictor)?;
        let mut experiments = Vec::new();
        for calibration in calibrations.iter().copied().filter(|&c| applies(c, trial.selection)) {
            let prior = match calibration {
                Calibration::None => None,
                Calibration::Contextual => Some(calibration::prior(&scores.content_free)),
                Calibration::Batch => Some(calibration::prior(&scores.rows)),
            };
            let setup = self.setup(calibration, &scores, predictor);
            let mut experiment = self.experiment(trial, calibration, Part::Dev, &scores, prior.as_deref());
            experiment.setup = setup;
            experiments.push(experiment);
        }
        Ok(experiments)
    }

    /// Answers test with the calibration and the frozen prior of the `chosen` dev experiment.
    pub(crate) fn on_test(
        &self,
        trial: &PromptTrial,
        chosen: &Experiment,
        predictor: &mut dyn Predictor,
    ) -> Result<Experiment, Error> {
        let scores = self.score(trial, Part::Test, predictor)?;
        let named = chosen.configuration.get("calibration");
        let calibration =
            named.and_then(|value| serde_json::from_value(value.clone()).ok()).unwrap_or(Calibration::None);
        let prior: Option<Vec<f64>> = chosen
            .configuration
            .get("log_prior")
            .and_then(|value| serde_json::from_value(value.clone()).ok());
        let mut experiment = self.experiment(trial, calibration, Part::Test, &scores, prior.as_deref());
        experiment.setup = chosen.setup;
        Ok(experiment)
    }

    /// The demonstrations of a trial for one query, in prompt order; that is the order of `places`, where given.
    fn demonstrations(&self, trial: &PromptTrial, query: &str, places: Option<&[usize]>) -> Vec<&'a Example> {
        let mut chosen = match trial.selection {
            Selection::ZeroShot => Vec::new(),
            Selection::Random => {
                selection::balanced_draw(self.targets, self.dataset.labels.len(), trial.shots, trial.seed)
            }
            Selection::Bm25 => selection::retrieved(&self.index, query, self.targets, trial.shots, None),
        };
        if let Some(places) = places {
            chosen.sort_by_key(|&index| places[index]);
        }
        chosen.into_iter().map(|index| &self.dataset.train[index]).collect()
    }

    fn score(&self, trial: &PromptTrial, part: Part, predictor: &mut dyn Predictor) -> Result<Trial, Error> {
        let items = examples(self.dataset, part);
        let mut queries = inputs(items);
        let rendered = if trial.selection == Selection::Bm25 {
            // Retrieved demonstrations differ from request to request: the model finds by itself what prompts share.
            let train = inputs(&self.dataset.train);
            let places = (self.order == Order::Fixed)
                .then(|| selection::fixed_order(&self.index, &train, self.targets, trial.shots));
            let mut requests = Vec::with_capacity(queries.len());
            for query in &queries {
                let one =
                    self.writer.prompts(&self.demonstrations(trial, query, places.as_deref()), &[query])?;
                requests.push(one.shared + &one.requests[0]);
            }
            Rendered { shared: String::new(), requests }
        } else {
            queries.extend(CONTENT_FREE);
            self.writer.prompts(&self.demonstrations(trial, "", None), &queries)?
        };
        let Rendered { shared, requests } = rendered;
        let batch = PromptBatch { shared: &shared, requests: &requests, answers: self.writer.answers() };
        let mut scored = predictor.score(&batch).map_err(Error::model(&trial.name()))?;
        let content_free = scored.log_probabilities.split_off(items.len());
        Ok(Trial { rows: std::mem::take(&mut scored.log_probabilities), content_free, scored, shared })
    }

    /// What had to be processed before the first request: the shared prefix once, and what the calibration reads.
    fn setup(&self, calibration: Calibration, scores: &Trial, predictor: &dyn Predictor) -> Setup {
        let scored = &scores.scored;
        let requests = (scores.rows.len() + scores.content_free.len()).max(1) as f64;
        let own = (scored.processed_tokens - scored.shared_tokens) as f64 / requests;
        let own_seconds = (scored.seconds - scored.shared_seconds) / requests;
        let read = match calibration {
            Calibration::None => 0,
            Calibration::Contextual => scores.content_free.len(),
            Calibration::Batch => scores.rows.len(),
        } as f64;
        let tokens = scored.shared_tokens + (own * read).round() as u64;
        Setup {
            seconds: scored.shared_seconds + own_seconds * read,
            tokens,
            flops: predictor.forward_flops(tokens),
        }
    }

    fn experiment(
        &self,
        trial: &PromptTrial,
        calibration: Calibration,
        part: Part,
        scores: &Trial,
        prior: Option<&[f64]>,
    ) -> Experiment {
        let items = examples(self.dataset, part);
        let predictions = items
            .iter()
            .zip(&scores.rows)
            .map(|(example, row)| prediction(example, self.dataset, &calibration::apply(row, prior)))
            .collect();
        let mut configuration = BTreeMap::from([
            ("selection".to_owned(), trial.selection.name().into()),
            ("calibration".to_owned(), calibration_name(calibration).into()),
        ]);
        if trial.selection == Selection::Bm25 {
            configuration.insert("order".to_owned(), serde_json::json!(self.order));
        }
        if let Some(prior) = prior {
            configuration.insert("log_prior".to_owned(), prior.into());
        }
        let requests = (scores.rows.len() + scores.content_free.len()).max(1) as f64;
        let suffix = if part == Part::Test { "test" } else { "dev" };
        Experiment {
            id: format!("{}/{}@{suffix}", trial.name(), calibration_name(calibration)),
            family: Family::InContext,
            method: trial.selection.name().to_owned(),
            labels_used: match trial.selection {
                Selection::ZeroShot => 0,
                Selection::Random => trial.shots,
                Selection::Bm25 => self.dataset.train.len(),
            },
            shots: Some(trial.shots),
            seed: Some(trial.seed),
            configuration,
            part,
            predictions,
            tokens: scores.scored.tokens,
            setup: Setup::default(),
            seconds_per_request: (scores.scored.seconds - scores.scored.shared_seconds) / requests,
            artefact: Some(artefact(trial, scores)),
            collapse: None,
        }
    }
}

/// What a user keeps of a prompt: its shared text. Retrieval keeps the training set, whose size is not the prompt's.
fn artefact(trial: &PromptTrial, scores: &Trial) -> Artefact {
    Artefact {
        kind: if trial.selection == Selection::Bm25 { "retrieval prompt" } else { "prompt" }.to_owned(),
        bytes: scores.shared.len() as u64,
        sha256: hex(&Sha256::digest(scores.shared.as_bytes())),
        prompt_tokens: scores.scored.shared_tokens,
        path: None,
    }
}

/// The answer to one example from its (calibrated) label scores.
pub(crate) fn prediction(example: &Example, dataset: &Dataset, scores: &[f64]) -> Prediction {
    Prediction {
        example: example.id.clone(),
        gold: target_index(dataset, example),
        predicted: calibration::best(scores),
        scores: scores.iter().map(|&score| score as f32).collect(),
    }
}
