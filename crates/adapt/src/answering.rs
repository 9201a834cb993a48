//! Answers of a model to the examples of a part, whatever kind of answer the task wants.

use std::time::Instant;

use sha2::{Digest, Sha256};
use task::dataset::Dataset;
use task::example::Example;
use task::predictor::{PredictError, Predictor, PromptBatch, Usage, Wanted};
use task::prompt::Rendered;
use task::record::{Prediction, TimedRequest};

use crate::digest::hex;
use crate::in_context::{prediction, told};
use crate::writer::PromptWriter;

/// Requests that are timed however long they take.
const FEWEST_TIMED: usize = 5;

/// Answers, and what they took.
pub(crate) struct Answers {
    pub(crate) predictions: Vec<Prediction>,
    pub(crate) usage: Usage,
    /// SHA-256 of each request's exact text.
    pub(crate) sha256: Vec<String>,
}

/// SHA-256, hexadecimal, of the exact text of each request.
pub(crate) fn fingerprints(prompts: &Rendered) -> Vec<String> {
    let mut beginning = Sha256::new();
    beginning.update(prompts.shared.as_bytes());
    let of = |request: &String| {
        let mut whole = beginning.clone();
        whole.update(request.as_bytes());
        hex(&whole.finalize())
    };
    prompts.requests.iter().map(of).collect()
}

/// The answers of `predictor` to `items`, asked by `prompts`, one each: the label with the highest score, or what the model writes.
/// An error of a user's metric comes back as this crate's own error in a box.
pub(crate) fn answer(
    writer: &PromptWriter,
    dataset: &Dataset,
    items: &[Example],
    prompts: &Rendered,
    predictor: &mut dyn Predictor,
) -> Result<Answers, PredictError> {
    if let Some(texts) = writer.texts() {
        let written = predictor.write(&texts.batch(prompts, texts.max_tokens()))?;
        let predictions = texts.predictions(items, written.texts)?;
        return Ok(Answers { predictions, usage: written.usage, sha256: fingerprints(prompts) });
    }
    let batch = PromptBatch {
        shared: &prompts.shared,
        requests: &prompts.requests,
        answers: writer.answers(),
        wanted: Wanted::BEST,
    };
    let scored = predictor.score(&batch)?;
    let predictions = items
        .iter()
        .zip(scored.log_probabilities.iter().zip(&scored.complete))
        .map(|(example, (row, &complete))| {
            told(prediction(example, dataset, &eval::calibration::apply(row, None)), complete)
        })
        .collect();
    Ok(Answers { predictions, usage: scored.usage, sha256: fingerprints(prompts) })
}

/// The requests of `prompts` sent one by one, each timed: cold is the whole prompt, warm what is left of it once the beginning that
/// all of them share is computed. A prompt without such a beginning has the same time for both. Of given answers those scores are
/// computed that are `wanted`. It ends at `until`, but not before the first few requests.
pub(crate) fn one_by_one(
    writer: &PromptWriter,
    prompts: &Rendered,
    wanted: Wanted<'_>,
    predictor: &mut dyn Predictor,
    until: Instant,
) -> Result<Vec<TimedRequest>, PredictError> {
    let mut timed = Vec::with_capacity(prompts.requests.len());
    for request in &prompts.requests {
        if timed.len() >= FEWEST_TIMED && Instant::now() >= until {
            break;
        }
        let one = Rendered { shared: prompts.shared.clone(), requests: vec![request.clone()] };
        let usage = match writer.texts() {
            Some(texts) => predictor.write(&texts.batch(&one, texts.max_tokens()))?.usage,
            None => {
                let batch = PromptBatch {
                    shared: &one.shared,
                    requests: &one.requests,
                    answers: writer.answers(),
                    wanted,
                };
                predictor.score(&batch)?.usage
            }
        };
        timed.push(TimedRequest {
            tokens: usage.tokens,
            cold_seconds: usage.seconds,
            warm_seconds: usage.seconds - usage.shared_seconds,
        });
    }
    Ok(timed)
}
