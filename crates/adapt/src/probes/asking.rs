//! How the finalists are asked: their own prompts, or prompts made otherwise, and label scores under the finalist's calibration.

use eval::calibration;
use task::example::Example;
use task::predictor::{Predictor, PromptBatch, Wanted};
use task::probe::Side;
use task::prompt::Rendered;
use task::record::Prediction;
use task::settings::Calibration;

use super::Prober;
use crate::Error;
use crate::answering::answer;
use crate::in_context::{CONTENT_FREE, prediction, told};

/// Where the label prior of a calibration comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Prior {
    /// As it was frozen on dev: the prompt is the finalist's.
    Frozen,
    /// The same, and the scores of all labels are wanted, not only which is the best.
    FrozenScores,
    /// Estimated again, as it would be when this prompt was deployed.
    Renewed,
}

/// Answers, and their uncalibrated scores where there are any; with [`Prior::Frozen`] only those that tell the best.
pub(super) struct Asked {
    pub(super) predictions: Vec<Prediction>,
    pub(super) rows: Vec<Vec<f64>>,
}

impl Prober<'_> {
    /// The first dev items, at most `count`: their order is random already.
    pub(super) fn items(&self, count: usize) -> &[Example] {
        &self.dataset.dev[..count.min(self.dataset.dev.len())]
    }

    /// The finalist's own prompts for `queries`; of the base the prompt without demonstrations.
    pub(super) fn prompts(&self, side: Side, queries: &[&str]) -> Result<Rendered, Error> {
        match side {
            Side::Base => self.writer.prompts(&[], queries),
            Side::InContext => self.arm.prompts(&self.trial, queries),
            Side::FineTune => self.writer.tuned_prompts(queries),
        }
    }

    /// The finalist's dev answers to `items`, as they are stored, without scores.
    pub(super) fn usual(&self, side: Side, items: &[Example]) -> Vec<Prediction> {
        let stored = self.finalist(side).map_or(&[][..], |experiment| &experiment.predictions);
        let of = |item: &Example| stored.iter().find(|prediction| prediction.example == item.id).cloned();
        items.iter().filter_map(of).map(bare).collect()
    }

    fn calibration(&self, side: Side) -> (Calibration, Option<Vec<f64>>) {
        let Some(finalist) = self.finalist(side).filter(|_| side == Side::InContext) else {
            return (Calibration::None, None);
        };
        let calibration = finalist.setting("calibration").unwrap_or(Calibration::None);
        (calibration, finalist.setting("log_prior"))
    }

    /// Asks `items` by the prompts that `render` makes of their inputs; `answers` are those to score, one a label.
    pub(super) fn answered(
        &self,
        side: Side,
        items: &[Example],
        answers: &[String],
        prior: Prior,
        render: &dyn Fn(&[&str]) -> Result<Rendered, Error>,
        predictor: &mut dyn Predictor,
    ) -> Result<Asked, Error> {
        let mut queries: Vec<&str> = items.iter().map(|item| item.input.as_str()).collect();
        let writer = self.writer_of(side);
        if writer.texts().is_some() {
            let found = answer(writer, self.dataset, items, &render(&queries)?, predictor)
                .map_err(Error::model("probe"))?;
            return Ok(Asked { predictions: found.predictions, rows: Vec::new() });
        }
        let (calibration, frozen) = self.calibration(side);
        let renewed = prior == Prior::Renewed && calibration != Calibration::None;
        if renewed && calibration == Calibration::Contextual {
            queries.extend(CONTENT_FREE);
        }
        let Rendered { shared, requests } = render(&queries)?;
        let wanted = match prior {
            Prior::FrozenScores => Wanted::All,
            _ if renewed => Wanted::All,
            _ => Wanted::Best { log_prior: frozen.as_deref() },
        };
        let batch = PromptBatch { shared: &shared, requests: &requests, answers, wanted };
        let mut rows = predictor.score(&batch).map_err(Error::model("probe"))?.log_probabilities;
        let content_free = rows.split_off(items.len());
        let prior = match (renewed, calibration) {
            (false, _) => frozen,
            (true, Calibration::Contextual) => Some(calibration::prior(&content_free)),
            (true, _) => Some(calibration::prior(&rows)),
        };
        let predictions = items
            .iter()
            .zip(&rows)
            .map(|(item, row)| {
                bare(prediction(item, self.dataset, &calibration::apply(row, prior.as_deref())))
            })
            .collect();
        Ok(Asked { predictions, rows })
    }
}

/// A prediction without its scores, which would make up most of a stored probe.
pub(super) fn bare(prediction: Prediction) -> Prediction {
    told(prediction, false)
}
