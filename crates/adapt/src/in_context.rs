//! The in-context arm: an instruction and demonstrations; labels are scored under several calibrations, texts are written.

mod experiment;
mod prompts;

use std::borrow::Cow;
use std::time::Instant;

use eval::calibration;
use task::dataset::Dataset;
use task::example::Example;
use task::predictor::{Predictor, PromptBatch, Scored, Usage, Wanted};
use task::prompt::Rendered;
use task::record::{Answer, Experiment, Part, Prediction, TimedRequest};
use task::settings::{Calibration, Order};

use crate::Error;
use crate::answering::{Answers, answer, fingerprints, one_by_one};
use crate::demonstrations::Pool;
use crate::embedding::{Effort, Embedder};
use crate::plan::{PromptTrial, Selection};
use crate::writer::{PromptWriter, examples, inputs, label_count, target_index};

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
}

/// The label prior that a calibration takes off.
fn prior(calibration: Calibration, scores: &Trial) -> Option<Vec<f64>> {
    match calibration {
        Calibration::None => None,
        Calibration::Contextual => Some(calibration::prior(&scores.content_free)),
        Calibration::Batch => Some(calibration::prior(&scores.rows)),
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
