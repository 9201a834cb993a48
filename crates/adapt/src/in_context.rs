//! The in-context arm: an instruction and demonstrations; labels are scored under several calibrations, texts are written.

use std::collections::BTreeMap;

use eval::calibration;
use sha2::{Digest, Sha256};
use task::dataset::Dataset;
use task::example::Example;
use task::predictor::{Predictor, PromptBatch, Scored, Usage};
use task::prompt::Rendered;
use task::record::{Answer, Artefact, Experiment, Family, Part, Prediction, Setup};
use task::settings::{Calibration, Order};

use crate::Error;
use crate::answering::{Answers, answer};
use crate::digest::hex;
use crate::plan::{PromptTrial, Selection};
use crate::retrieval::Bm25;
use crate::selection;
use crate::writer::{PromptWriter, examples, inputs, label_count, target_index};

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

/// The answers to one prompt trial on one part.
struct Trial {
    /// What the model wrote, where it writes; else the answers follow from the scores and a calibration.
    written: Option<Vec<Prediction>>,
    /// Prompts, those of content-free inputs included.
    requests: usize,
    /// `[examples][labels]`.
    rows: Vec<Vec<f64>>,
    /// `[content-free inputs][labels]`; empty for retrieval, whose prompt differs from request to request.
    content_free: Vec<Vec<f64>>,
    usage: Usage,
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
                selection::balanced_draw(self.targets, label_count(self.dataset), trial.shots, trial.seed)
            }
            Selection::Bm25 => selection::retrieved(&self.index, query, self.targets, trial.shots, None),
        };
        if let Some(places) = places {
            chosen.sort_by_key(|&index| places[index]);
        }
        chosen.into_iter().map(|index| &self.dataset.train[index]).collect()
    }

    /// The prompts of a trial for `queries`.
    pub(crate) fn prompts(&self, trial: &PromptTrial, queries: &[&str]) -> Result<Rendered, Error> {
        if trial.selection == Selection::Bm25 {
            // Retrieved demonstrations differ from request to request: the model finds by itself what prompts share.
            let train = inputs(&self.dataset.train);
            let places = (self.order == Order::Fixed)
                .then(|| selection::fixed_order(&self.index, &train, self.targets, trial.shots));
            let mut requests = Vec::with_capacity(queries.len());
            for query in queries {
                let one =
                    self.writer.prompts(&self.demonstrations(trial, query, places.as_deref()), &[query])?;
                requests.push(one.shared + &one.requests[0]);
            }
            return Ok(Rendered { shared: String::new(), requests });
        }
        self.writer.prompts(&self.demonstrations(trial, "", None), queries)
    }

    fn score(&self, trial: &PromptTrial, part: Part, predictor: &mut dyn Predictor) -> Result<Trial, Error> {
        let items = examples(self.dataset, part);
        let mut queries = inputs(items);
        if self.writer.texts().is_some() {
            let prompts = self.prompts(trial, &queries)?;
            let Answers { predictions, usage } =
                answer(self.writer, self.dataset, items, &prompts, predictor)
                    .map_err(Error::model(&trial.name()))?;
            return Ok(Trial {
                written: Some(predictions),
                requests: items.len(),
                rows: Vec::new(),
                content_free: Vec::new(),
                usage,
                shared: prompts.shared,
            });
        }
        if trial.selection != Selection::Bm25 {
            queries.extend(CONTENT_FREE);
        }
        let Rendered { shared, requests } = self.prompts(trial, &queries)?;
        let batch = PromptBatch { shared: &shared, requests: &requests, answers: self.writer.answers() };
        let mut scored = predictor.score(&batch).map_err(Error::model(&trial.name()))?;
        let content_free = scored.log_probabilities.split_off(items.len());
        let Scored { log_probabilities: rows, usage } = scored;
        Ok(Trial { written: None, requests: requests.len(), rows, content_free, usage, shared })
    }

    /// What had to be processed before the first request: the shared prefix once, and what the calibration reads.
    fn setup(&self, calibration: Calibration, scores: &Trial, predictor: &dyn Predictor) -> Setup {
        let scored = &scores.usage;
        let requests = scores.requests.max(1) as f64;
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
        let calibrated = |(example, row): (&Example, &Vec<f64>)| {
            prediction(example, self.dataset, &calibration::apply(row, prior))
        };
        let predictions = match &scores.written {
            Some(written) => written.clone(),
            None => items.iter().zip(&scores.rows).map(calibrated).collect(),
        };
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
        let requests = scores.requests.max(1) as f64;
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
            tokens: scores.usage.tokens,
            setup: Setup::default(),
            seconds_per_request: (scores.usage.seconds - scores.usage.shared_seconds) / requests,
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
        prompt_tokens: scores.usage.shared_tokens,
        path: None,
    }
}

/// The answer to one example from its (calibrated) label scores.
pub(crate) fn prediction(example: &Example, dataset: &Dataset, scores: &[f64]) -> Prediction {
    Prediction {
        example: example.id.clone(),
        answer: Answer::Label {
            gold: target_index(dataset, example),
            predicted: calibration::best(scores),
            scores: scores.iter().map(|&score| score as f32).collect(),
        },
    }
}
