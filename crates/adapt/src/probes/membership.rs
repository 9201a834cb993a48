//! Membership: how well the right answers of rows that the artefact holds are known, against rows that it does not hold.

use task::example::Example;
use task::predictor::{Predictor, PromptBatch, Wanted};
use task::probe::{Finding, Side};
use task::record::Part;

use super::Prober;
use crate::Error;
use crate::writer::{inputs, target_index};

impl Prober<'_> {
    /// Losses of up to `count` rows that are held, evenly spread, and of as many dev rows. The in-context arm is asked through its own
    /// prompt, which for retrieval means that a held row is found and shown.
    pub(super) fn membership(
        &self,
        side: Side,
        count: usize,
        predictor: &mut dyn Predictor,
    ) -> Result<Finding, Error> {
        let held = self.held(side);
        let step = held.len().div_ceil(count).max(1);
        let members: Vec<Example> =
            held.iter().step_by(step).map(|&index| self.dataset.train[index].clone()).collect();
        Ok(Finding::Membership {
            members: self.losses(side, &members, predictor)?,
            held_out: self.losses(side, self.items(count), predictor)?,
            part: Part::Dev,
        })
    }

    /// Negative log-probability of each row's right answer after its prompt.
    fn losses(&self, side: Side, rows: &[Example], predictor: &mut dyn Predictor) -> Result<Vec<f64>, Error> {
        let prompts = self.prompts(side, &inputs(rows))?;
        let Some(texts) = self.writer_of(side).texts() else {
            let batch = PromptBatch {
                shared: &prompts.shared,
                requests: &prompts.requests,
                answers: self.writer_of(side).answers(),
                wanted: Wanted::All,
            };
            let scored = predictor.score(&batch).map_err(Error::model("probe/membership"))?;
            let of = |(row, scores): (&Example, &Vec<f64>)| -scores[target_index(self.dataset, row)];
            return Ok(rows.iter().zip(&scored.log_probabilities).map(of).collect());
        };
        let mut losses = Vec::with_capacity(rows.len());
        for (row, request) in rows.iter().zip(&prompts.requests) {
            let answers = [texts.framed(&row.target)];
            let requests = std::slice::from_ref(request);
            let batch =
                PromptBatch { shared: &prompts.shared, requests, answers: &answers, wanted: Wanted::All };
            let scored = predictor.score(&batch).map_err(Error::model("probe/membership"))?;
            losses.push(-scored.log_probabilities[0][0]);
        }
        Ok(losses)
    }
}
