//! What a training row supervises, token by token, and the rows that must not be trained on.

use task::dataset::Dataset;
use task::predictor::TrainingRow;
use task::settings::Settings;

use crate::Error;
use crate::local::LocalModel;
use crate::writer::PromptWriter;

/// A token of a training row.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RowToken {
    /// Its number.
    pub id: u32,
    /// Its text.
    pub text: String,
    /// Whether the loss is on it.
    pub supervised: bool,
}

/// A training row as the model sees it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Supervision {
    /// The example.
    pub example: String,
    /// The prompt and the answer.
    pub row: TrainingRow,
    /// The tokens.
    pub tokens: Vec<RowToken>,
}

/// The first `count` training rows of the task, as they would be trained on.
///
/// # Errors
/// [`Error::Model`] names a row that cannot be trained on.
pub fn show(
    settings: &Settings,
    dataset: &Dataset,
    engine: &LocalModel,
    count: usize,
) -> Result<Vec<Supervision>, Error> {
    let writer = PromptWriter::new(settings, dataset, engine)?;
    let shown = dataset.train.iter().take(count);
    shown
        .map(|example| {
            let row = writer.training_row(example)?;
            let tokens = engine.row_tokens(&row).map_err(Error::model(&example.id))?;
            Ok(Supervision { example: example.id.clone(), row, tokens })
        })
        .collect()
}
