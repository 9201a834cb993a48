//! What coarse arithmetic of the base costs, measured: the same prompts with and without it.

use eval::calibration;
use serde::{Deserialize, Serialize};
use task::dataset::Dataset;
use task::predictor::{Predictor, PromptBatch, Wanted};

use crate::Error;
use crate::engine::Engine;
use crate::plan::{Plan, Selection};
use crate::selection;
use crate::writer::{PromptWriter, inputs, label_count, target_index};

/// Dev examples that are compared.
const SAMPLE: usize = 64;

/// The base against its reference on some examples, answers by the highest score, without calibration.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Rounding {
    /// Examples compared.
    examples: usize,
    /// Demonstrations in the prompt.
    shots: usize,
    /// Examples on which both give the same answer.
    agreeing: usize,
    /// Right answers of the base.
    right: usize,
    /// Right answers of the reference.
    reference_right: usize,
    /// Mean absolute difference of an answer's log-probability.
    difference: f64,
}

impl Rounding {
    /// Compares scores `[examples][answers]`; `targets` are the right answers.
    fn new(shots: usize, base: &[Vec<f64>], reference: &[Vec<f64>], targets: &[usize]) -> Self {
        let answers = |scores: &[Vec<f64>]| -> Vec<usize> {
            scores.iter().map(|scores| calibration::best(scores)).collect()
        };
        let right = |answers: &[usize]| answers.iter().zip(targets).filter(|(a, b)| a == b).count();
        let (own, exact) = (answers(base), answers(reference));
        let differences: Vec<f64> =
            base.iter().flatten().zip(reference.iter().flatten()).map(|(a, b)| (a - b).abs()).collect();
        Self {
            examples: targets.len(),
            shots,
            agreeing: own.iter().zip(&exact).filter(|(a, b)| a == b).count(),
            right: right(&own),
            reference_right: right(&exact),
            difference: differences.iter().sum::<f64>() / differences.len().max(1) as f64,
        }
    }

    /// One line for the user.
    pub(crate) fn message(&self) -> String {
        format!(
            "8-bit scoring against bf16 on {} dev examples with {} demonstrations: the same answer on {}, right on {} \
             against {}; log-probabilities differ by {:.3} on average",
            self.examples, self.shots, self.agreeing, self.right, self.reference_right, self.difference
        )
    }
}

/// Compares the base with the engine's reference, where it has one, on the prompt of the plan's trial with the most
/// drawn demonstrations.
pub(crate) fn measure(
    dataset: &Dataset,
    writer: &PromptWriter,
    plan: &Plan,
    targets: &[usize],
    engine: &dyn Engine,
) -> Result<Option<Rounding>, Error> {
    // Written answers have no scores to compare.
    let Some(mut reference) = engine.reference().filter(|_| writer.texts().is_none()) else {
        return Ok(None);
    };
    let trial = plan
        .prompts
        .iter()
        .filter(|trial| trial.selection == Selection::Random)
        .max_by_key(|trial| trial.shots);
    let drawn = trial.map_or_else(Vec::new, |trial| {
        selection::balanced_draw(targets, label_count(dataset), trial.shots, trial.seed)
    });
    let demonstrations: Vec<_> = drawn.iter().map(|&index| &dataset.train[index]).collect();
    let sample = &dataset.dev[..SAMPLE.min(dataset.dev.len())];
    let prompts = writer.prompts(&demonstrations, &inputs(sample))?;
    let batch = PromptBatch {
        shared: &prompts.shared,
        requests: &prompts.requests,
        answers: writer.answers(),
        wanted: Wanted::All,
    };
    let score = |predictor: &mut dyn Predictor| {
        predictor.score(&batch).map(|scored| scored.log_probabilities).map_err(Error::model("rounding"))
    };
    let (base, exact) = (score(engine.base().as_mut())?, score(reference.as_mut())?);
    let right: Vec<usize> = sample.iter().map(|example| target_index(dataset, example)).collect();
    Ok(Some(Rounding::new(demonstrations.len(), &base, &exact, &right)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn answers_are_counted() {
        // By hand: the second answers differ, the first and third are right with both, the second only with the base.
        let base = [vec![-1.0, -2.0], vec![-3.0, -1.0], vec![-2.0, -1.0]];
        let reference = [vec![-1.0, -2.5], vec![-1.0, -1.5], vec![-2.0, -1.0]];
        let rounding = Rounding::new(4, &base, &reference, &[0, 1, 1]);
        let expected = Rounding {
            examples: 3,
            shots: 4,
            agreeing: 2,
            right: 3,
            reference_right: 2,
            difference: (0.5 + 2.0 + 0.5) / 6.0,
        };
        assert_eq!(rounding, expected);
        assert!(rounding.message().contains("the same answer on 2, right on 3 against 2"));
    }
}
