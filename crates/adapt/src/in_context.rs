//! The in-context arm: an instruction and demonstrations; labels are scored under several calibrations, texts are written.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::time::Instant;

use eval::calibration;
use sha2::{Digest, Sha256};
use task::dataset::Dataset;
use task::example::Example;
use task::predictor::{Predictor, PromptBatch, Scored, Usage, Wanted};
use task::prompt::Rendered;
use task::record::{Answer, Artefact, Calls, Experiment, Family, Part, Prediction, Setup, TimedRequest};
use task::settings::{Calibration, Order};

use crate::Error;
use crate::answering::{Answers, answer, fingerprints, one_by_one};
use crate::demonstrations::{DIVERSE_LAMBDA, Pool, Rule};
use crate::digest::hex;
use crate::embedding::{Effort, Embedder, Space};
use crate::plan::{PromptTrial, Selection};
use crate::writer::{LAYOUT, PromptWriter, examples, inputs, label_count, target_index};

/// Inputs without content, for contextual calibration (Zhao et al. 2021).
pub(crate) const CONTENT_FREE: [&str; 3] = ["N/A", "[MASK]", ""];

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
    !(calibration == Calibration::Contextual && selection.per_request())
}

/// The arm on one task and one model.
pub(crate) struct InContext<'a> {
    writer: &'a PromptWriter,
    dataset: &'a Dataset,
    pool: Pool<'a>,
    order: Order,
    embedder: &'a Embedder<'a>,
}

/// What of label scores is asked for.
#[derive(Clone, Copy)]
struct Asking<'a> {
    wanted: Wanted<'a>,
    /// Whether inputs without content are asked, too.
    content_free: bool,
}

impl<'a> Asking<'a> {
    /// To tell how good the answers are under each of `calibrations`, whose priors follow from the scores of all labels.
    fn estimating(calibrations: &[Calibration]) -> Self {
        let uncalibrated = calibrations.iter().all(|&calibration| calibration == Calibration::None);
        Self {
            wanted: if uncalibrated { Wanted::BEST } else { Wanted::All },
            content_free: calibrations.contains(&Calibration::Contextual),
        }
    }

    /// To answer with a prior that is known already.
    fn frozen(log_prior: Option<&'a [f64]>) -> Self {
        Self { wanted: Wanted::Best { log_prior }, content_free: false }
    }
}

/// The answers to one prompt trial on one part.
struct Trial {
    /// What the model wrote, where it writes; else the answers follow from the scores and a calibration.
    written: Option<Vec<Prediction>>,
    /// Prompts, those of content-free inputs included.
    requests: usize,
    /// `[examples][labels]`.
    rows: Vec<Vec<f64>>,
    /// Of each row whether it tells the share of every label.
    complete: Vec<bool>,
    /// `[content-free inputs][labels]`; empty where no calibration reads them.
    content_free: Vec<Vec<f64>>,
    usage: Usage,
    shared: String,
    /// SHA-256 of each request's exact text, those of content-free inputs left out.
    sha256: Vec<String>,
}

impl<'a> InContext<'a> {
    /// `targets` are the label indices of the training examples; `order` is that of demonstrations.
    pub(crate) fn new(
        writer: &'a PromptWriter,
        dataset: &'a Dataset,
        targets: &'a [usize],
        order: Order,
        embedder: &'a Embedder<'a>,
    ) -> Self {
        let pool = Pool::new(inputs(&dataset.train), Cow::Borrowed(targets), label_count(dataset));
        Self { writer, dataset, pool, order, embedder }
    }

    /// How the demonstrations of a trial are chosen.
    pub(crate) fn rule(&self, trial: &PromptTrial) -> Rule {
        Rule { selection: trial.selection, shots: trial.shots, seed: trial.seed, order: self.order }
    }

    /// The training inputs as places, where the trial chooses by them.
    pub(crate) fn space(&self, trial: &PromptTrial) -> Option<Space> {
        (trial.selection == Selection::Embedding).then(|| self.embedder.space())
    }

    /// Scores `trial` on dev once and gives one experiment a calibration.
    pub(crate) fn on_dev(
        &self,
        trial: &PromptTrial,
        calibrations: &[Calibration],
        predictor: &mut dyn Predictor,
    ) -> Result<Vec<Experiment>, Error> {
        let calibrations: Vec<Calibration> =
            calibrations.iter().copied().filter(|&c| applies(c, trial.selection)).collect();
        let asking = Asking::estimating(&calibrations);
        let scores = self.score(trial, examples(self.dataset, Part::Dev), asking, predictor)?;
        let mut experiments = Vec::new();
        for calibration in calibrations {
            let prior = prior(calibration, &scores);
            let setup = self.setup(trial, calibration, &scores, predictor);
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
        let calibration = chosen.setting("calibration").unwrap_or(Calibration::None);
        let prior: Option<Vec<f64>> = chosen.setting("log_prior");
        let asking = Asking::frozen(prior.as_deref());
        let scores = self.score(trial, examples(self.dataset, Part::Test), asking, predictor)?;
        let mut experiment = self.experiment(trial, calibration, Part::Test, &scores, prior.as_deref());
        experiment.setup = chosen.setup;
        Ok(experiment)
    }

    /// Requests of a trial for `inputs`, sent one by one.
    pub(crate) fn timed(
        &self,
        trial: &PromptTrial,
        inputs: &[&str],
        wanted: Wanted<'_>,
        predictor: &mut dyn Predictor,
        until: Instant,
    ) -> Result<Vec<TimedRequest>, Error> {
        let prompts = self.prompts(trial, inputs)?;
        let mut timed = one_by_one(self.writer, &prompts, wanted, predictor, until)
            .map_err(Error::model(&trial.name()))?;
        let [_, embedded] = self.effort(trial, inputs);
        for request in &mut timed {
            request.tokens.prompt += embedded.tokens;
            request.cold_seconds += embedded.seconds;
            request.warm_seconds += embedded.seconds;
        }
        Ok(timed)
    }

    /// What the hidden states took that a trial chooses by: those of the training inputs, and of a query on average.
    fn effort(&self, trial: &PromptTrial, queries: &[&str]) -> [Effort; 2] {
        match trial.selection {
            Selection::Embedding => self.embedder.effort(queries),
            _ => Default::default(),
        }
    }

    /// How good the answers of a trial to dev examples are under `calibration`, and what they took. A batch calibration reads these
    /// examples alone.
    pub(crate) fn scores(
        &self,
        trial: &PromptTrial,
        calibration: Calibration,
        items: &[Example],
        predictor: &mut dyn Predictor,
    ) -> Result<(Vec<f64>, Usage), Error> {
        let scores = self.score(trial, items, Asking::estimating(&[calibration]), predictor)?;
        if let Some(written) = scores.written {
            return Ok((written.iter().map(Prediction::score).collect(), scores.usage));
        }
        let prior = prior(calibration, &scores);
        let score = |(example, row): (&Example, &Vec<f64>)| {
            prediction(example, self.dataset, &calibration::apply(row, prior.as_deref())).score()
        };
        Ok((items.iter().zip(&scores.rows).map(score).collect(), scores.usage))
    }

    /// The demonstrations of a trial for one query that [`InContext::prepare`] had, in prompt order; that is the order of `places`, where
    /// given.
    pub(crate) fn demonstrations(
        &self,
        trial: &PromptTrial,
        query: &str,
        places: Option<&[usize]>,
    ) -> Vec<&'a Example> {
        self.after(&self.pool.block(&self.rule(trial)), trial, query, places)
    }

    /// The same, where the block that all requests of the trial share is known.
    fn after(
        &self,
        block: &[usize],
        trial: &PromptTrial,
        query: &str,
        places: Option<&[usize]>,
    ) -> Vec<&'a Example> {
        let rule = self.rule(trial);
        let retrieved =
            self.embedder.near(query, |near| self.pool.retrieved(&rule, block, query, near, places));
        self.training(block.iter().copied().chain(retrieved))
    }

    fn training(&self, indices: impl IntoIterator<Item = usize>) -> Vec<&'a Example> {
        indices.into_iter().map(|index| &self.dataset.train[index]).collect()
    }

    /// The demonstrations that all requests of a trial share, in prompt order.
    pub(crate) fn block(&self, trial: &PromptTrial) -> Vec<&'a Example> {
        self.training(self.pool.block(&self.rule(trial)))
    }

    /// Where each training example stands in the one order of all requests, where the settings want one.
    pub(crate) fn places(&self, trial: &PromptTrial) -> Option<Vec<usize>> {
        self.pool.places(&self.rule(trial))
    }

    /// Gets ready to choose the demonstrations of a trial for `queries`.
    pub(crate) fn prepare(&self, trial: &PromptTrial, queries: &[&str]) -> Result<(), Error> {
        match trial.selection {
            Selection::Embedding => self.embedder.prepare(self.pool.inputs(), queries),
            _ => Ok(()),
        }
    }

    /// The prompts of a trial for `queries`.
    pub(crate) fn prompts(&self, trial: &PromptTrial, queries: &[&str]) -> Result<Rendered, Error> {
        if trial.selection.per_request() {
            // Retrieved demonstrations differ from request to request. What all begin with is told apart where there is a block; what
            // else prompts share the model finds by itself.
            self.prepare(trial, queries)?;
            let places = self.places(trial);
            let block = self.pool.block(&self.rule(trial));
            let mut shared = match block.is_empty() {
                true => String::new(),
                false => self.writer.prompts(&self.training(block.iter().copied()), &["0", "1"])?.shared,
            };
            let mut requests = Vec::with_capacity(queries.len());
            for query in queries {
                let shown = self.after(&block, trial, query, places.as_deref());
                let one = self.writer.prompts(&shown, &[query])?;
                requests.push(one.shared + &one.requests[0]);
            }
            if requests.iter().any(|request: &String| !request.starts_with(&shared)) {
                shared.clear();
            }
            requests.iter_mut().for_each(|request| *request = request.split_off(shared.len()));
            return Ok(Rendered { shared, requests });
        }
        self.writer.prompts(&self.demonstrations(trial, "", None), queries)
    }

    fn score(
        &self,
        trial: &PromptTrial,
        items: &[Example],
        asking: Asking<'_>,
        predictor: &mut dyn Predictor,
    ) -> Result<Trial, Error> {
        let mut scored = self.asked(trial, items, asking, predictor)?;
        let [_, embedded] = self.effort(trial, &inputs(items));
        scored.usage.tokens.prompt += embedded.tokens;
        scored.usage.processed_tokens += (embedded.tokens * items.len() as f64).round() as u64;
        scored.usage.seconds += embedded.seconds * items.len() as f64;
        Ok(scored)
    }

    fn asked(
        &self,
        trial: &PromptTrial,
        items: &[Example],
        asking: Asking<'_>,
        predictor: &mut dyn Predictor,
    ) -> Result<Trial, Error> {
        let mut queries = inputs(items);
        if self.writer.texts().is_some() {
            let prompts = self.prompts(trial, &queries)?;
            let Answers { predictions, usage, sha256 } =
                answer(self.writer, self.dataset, items, &prompts, predictor)
                    .map_err(Error::model(&trial.name()))?;
            return Ok(Trial {
                written: Some(predictions),
                requests: items.len(),
                rows: Vec::new(),
                complete: Vec::new(),
                content_free: Vec::new(),
                usage,
                shared: prompts.shared,
                sha256,
            });
        }
        if asking.content_free {
            queries.extend(CONTENT_FREE);
        }
        let prompts = self.prompts(trial, &queries)?;
        let mut sha256 = fingerprints(&prompts);
        sha256.truncate(items.len());
        let Rendered { shared, requests } = prompts;
        let batch = PromptBatch {
            shared: &shared,
            requests: &requests,
            answers: self.writer.answers(),
            wanted: asking.wanted,
        };
        let mut scored = predictor.score(&batch).map_err(Error::model(&trial.name()))?;
        let content_free = scored.log_probabilities.split_off(items.len());
        let Scored { log_probabilities: rows, complete, usage } = scored;
        Ok(Trial {
            written: None,
            requests: requests.len(),
            rows,
            complete,
            content_free,
            usage,
            shared,
            sha256,
        })
    }

    /// What had to be processed before the first request: the shared prefix once, and what the calibration reads.
    /// Hidden states that demonstrations are chosen by belong to it, too.
    fn setup(
        &self,
        trial: &PromptTrial,
        calibration: Calibration,
        scores: &Trial,
        predictor: &dyn Predictor,
    ) -> Setup {
        let scored = &scores.usage;
        let requests = scores.requests.max(1) as f64;
        let own = (scored.processed_tokens - scored.shared_tokens) as f64 / requests;
        let own_seconds = (scored.seconds - scored.shared_seconds) / requests;
        let read = match calibration {
            Calibration::None => 0,
            Calibration::Contextual => scores.content_free.len(),
            Calibration::Batch => scores.rows.len(),
        } as f64;
        let [embedded, _] = self.effort(trial, &[]);
        let tokens = scored.shared_tokens + (own * read + embedded.tokens).round() as u64;
        Setup {
            seconds: scored.shared_seconds + own_seconds * read + embedded.seconds,
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
        let calibrated = |(example, (row, &complete)): (&Example, (&Vec<f64>, &bool))| {
            told(prediction(example, self.dataset, &calibration::apply(row, prior)), complete)
        };
        let predictions = match &scores.written {
            Some(written) => written.clone(),
            None => items.iter().zip(scores.rows.iter().zip(&scores.complete)).map(calibrated).collect(),
        };
        let mut configuration = BTreeMap::from([
            ("selection".to_owned(), trial.selection.name().into()),
            ("calibration".to_owned(), calibration_name(calibration).into()),
        ]);
        if trial.selection.per_request() || self.order == Order::Cycled {
            configuration.insert("order".to_owned(), serde_json::json!(self.order));
        }
        if trial.selection == Selection::Diverse {
            configuration.insert("lambda".to_owned(), DIVERSE_LAMBDA.into());
        }
        if trial.searched {
            configuration.insert(LAYOUT.to_owned(), serde_json::json!(self.writer.format().layout()));
        }
        if let Some(prior) = prior {
            configuration.insert("log_prior".to_owned(), prior.into());
        }
        let requests = scores.requests.max(1) as f64;
        let suffix = if part == Part::Test { "test" } else { "dev" };
        Experiment {
            id: format!("{}/{}@{suffix}", trial.name(), calibration_name(calibration)),
            family: Family::InContext,
            method: trial.method().to_owned(),
            labels_used: match trial.selection {
                Selection::ZeroShot => 0,
                Selection::Random => trial.shots,
                _ => self.dataset.train.len(),
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
            calls: Calls { sha256: scores.sha256.clone(), timed: Vec::new() },
        }
    }
}

/// The label prior that a calibration takes off.
fn prior(calibration: Calibration, scores: &Trial) -> Option<Vec<f64>> {
    match calibration {
        Calibration::None => None,
        Calibration::Contextual => Some(calibration::prior(&scores.content_free)),
        Calibration::Batch => Some(calibration::prior(&scores.rows)),
    }
}

/// What a user keeps of a prompt: its shared text. Retrieval keeps the training set, whose size is not the prompt's.
fn artefact(trial: &PromptTrial, scores: &Trial) -> Artefact {
    Artefact {
        kind: if trial.selection.per_request() { "retrieval prompt" } else { "prompt" }.to_owned(),
        bytes: scores.shared.len() as u64,
        sha256: hex(&Sha256::digest(scores.shared.as_bytes())),
        prompt_tokens: scores.usage.shared_tokens,
        path: None,
    }
}

/// A prediction with its scores where they tell the share of every label.
pub(crate) fn told(mut prediction: Prediction, complete: bool) -> Prediction {
    if let Answer::Label { scores, .. } = &mut prediction.answer
        && !complete
    {
        scores.clear();
    }
    prediction
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
