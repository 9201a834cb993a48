//! Answers of a model to the examples of a part, whatever kind of answer the task wants.

use task::dataset::Dataset;
use task::example::Example;
use task::predictor::{PredictError, Predictor, PromptBatch, Usage};
use task::prompt::Rendered;
use task::record::Prediction;

use crate::in_context::prediction;
use crate::writer::PromptWriter;

/// Answers, and what they took.
pub(crate) struct Answers {
    pub(crate) predictions: Vec<Prediction>,
    pub(crate) usage: Usage,
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
        return Ok(Answers { predictions: texts.predictions(items, written.texts)?, usage: written.usage });
    }
    let batch =
        PromptBatch { shared: &prompts.shared, requests: &prompts.requests, answers: writer.answers() };
    let scored = predictor.score(&batch)?;
    let predictions = items
        .iter()
        .zip(&scored.log_probabilities)
        .map(|(example, row)| prediction(example, dataset, &eval::calibration::apply(row, None)))
        .collect();
    Ok(Answers { predictions, usage: scored.usage })
}
