//! Which demonstrations each request has, and the prompts that they make.

use task::example::Example;
use task::prompt::Rendered;

use super::InContext;
use crate::Error;
use crate::demonstrations::Rule;
use crate::embedding::Space;
use crate::plan::{PromptTrial, Selection};

impl<'a> InContext<'a> {
    /// How the demonstrations of a trial are chosen.
    pub(crate) fn rule(&self, trial: &PromptTrial) -> Rule {
        Rule { selection: trial.selection, shots: trial.shots, seed: trial.seed, order: self.order }
    }

    /// The training inputs as places, where the trial chooses by them.
    pub(crate) fn space(&self, trial: &PromptTrial) -> Option<Space> {
        (trial.selection == Selection::Embedding).then(|| self.embedder.space())
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
}
