//! The exact texts of a stored run, rendered again from its task file, data and plan: prompts are a pure function of those, so
//! no model is needed (the chat style needs the model's template).

use std::path::PathBuf;
use std::sync::Arc;

use task::dataset::Dataset;
use task::predictor::TrainingRow;
use task::prompt::{ChatTemplate, Layout, Rendered};
use task::record::{Experiment, Family, Part};
use task::settings::{PromptStyle, Settings};

use crate::Error;
use crate::embedding::Embedder;
use crate::in_context::InContext;
use crate::plan::Plan;
use crate::writer::{LAYOUT, PromptWriter, examples, inputs, target_index};

/// The style of an experiment's prompts: the task's, unless another one was searched for.
pub fn style(settings: &Settings, experiment: &Experiment) -> PromptStyle {
    experiment.setting(LAYOUT).map_or(settings.prompt.style, |layout: Layout| layout.style)
}

/// Renders what a run showed to the model.
pub struct Transcript<'a> {
    settings: &'a Settings,
    dataset: &'a Dataset,
    plan: Plan,
    writer: PromptWriter,
    embedder: Embedder<'a>,
    targets: Vec<usize>,
}

impl<'a> Transcript<'a> {
    /// `settings`, `dataset` and `plan` are those of the run, `artefacts` is where it kept its weights and vectors; `template` is needed
    /// where `prompt.style` is "chat".
    pub fn new(
        settings: &'a Settings,
        dataset: &'a Dataset,
        plan: Plan,
        template: Option<Arc<ChatTemplate>>,
        artefacts: PathBuf,
    ) -> Self {
        let targets = dataset.train.iter().map(|example| target_index(dataset, example)).collect();
        let writer = PromptWriter::without_model(settings, dataset, template);
        Self { settings, dataset, plan, writer, embedder: Embedder::new(None, Some(artefacts)), targets }
    }

    /// The prompts that `experiment` asked on `part`, one an example in the part's order. `None` for a floor, which asks nothing,
    /// and for a prompt that the plan does not name.
    ///
    /// # Errors
    /// [`Error::Model`] where the chat style has no template, or the template fails.
    pub fn prompts(&self, experiment: &Experiment, part: Part) -> Result<Option<Rendered>, Error> {
        let queries = inputs(examples(self.dataset, part));
        match experiment.family {
            Family::FineTune => self.writer.tuned_prompts(&queries).map(Some),
            Family::InContext => {
                let Some(trial) = self.plan.prompt_of(experiment) else { return Ok(None) };
                let order = self.settings.in_context.order;
                let writer = self.writer.of(experiment, self.dataset)?;
                let arm = InContext::new(&writer, self.dataset, &self.targets, order, &self.embedder);
                arm.prompts(trial, &queries).map(Some)
            }
            Family::Floor | Family::Hybrid => Ok(None),
        }
    }

    /// A training row for every example of `part`: the prompt that is read, and the completion whose tokens alone are supervised.
    ///
    /// # Errors
    /// As [`Transcript::prompts`].
    pub fn training_rows(&self, part: Part) -> Result<Vec<TrainingRow>, Error> {
        examples(self.dataset, part).iter().map(|example| self.writer.training_row(example)).collect()
    }
}
