//! Prompts of one task as text, in the style that the task file asks for.

use std::sync::Arc;

use task::dataset::Dataset;
use task::example::Example;
use task::predictor::TrainingRow;
use task::prompt::{ChatTemplate, Layout, PromptFormat, Rendered};
use task::record::{Experiment, Part};
use task::settings::Settings;

use crate::Error;
use crate::engine::Engine;
use crate::text_answers::TextAnswers;

/// The setting of an experiment that holds a searched prompt's layout.
pub(crate) const LAYOUT: &str = "layout";

/// Writes every prompt of a run: both arms share it, so that they differ in the adaptation and in nothing else. A prompt that was
/// searched for has a writer of its own: the instruction and the format are what its arm adapts.
#[derive(Clone)]
pub(crate) struct PromptWriter {
    format: PromptFormat,
    answers: Vec<String>,
    texts: Option<TextAnswers>,
}

impl PromptWriter {
    pub(crate) fn new(settings: &Settings, dataset: &Dataset, engine: &dyn Engine) -> Result<Self, Error> {
        let format = Self::without_model(settings, dataset, engine.chat_template()).format;
        let answers = format.answers(&dataset.labels).map_err(Error::model("prompt"))?;
        let texts = settings.task.answers.as_ref();
        let texts = texts
            .map(|answers| TextAnswers::new(answers, dataset, &format, engine.base().as_ref()))
            .transpose()?;
        Ok(Self { format, answers, texts })
    }

    /// This writer with the instruction and the format of `layout`.
    pub(crate) fn with_layout(&self, layout: &Layout, dataset: &Dataset) -> Result<Self, Error> {
        let format = self.format.with_layout(layout);
        let answers = match self.answers.is_empty() {
            true => Vec::new(),
            false => format.answers(&dataset.labels).map_err(Error::model("prompt"))?,
        };
        let texts = self.texts.as_ref().map(|texts| texts.in_format(&format)).transpose()?;
        Ok(Self { format, answers, texts })
    }

    /// The writer of an experiment's prompts: its own layout, where it was searched for.
    pub(crate) fn of(&self, experiment: &Experiment, dataset: &Dataset) -> Result<Self, Error> {
        match experiment.setting(LAYOUT) {
            Some(layout) => self.with_layout(&layout, dataset),
            None => Ok(self.clone()),
        }
    }

    /// The layout.
    pub(crate) fn format(&self) -> &PromptFormat {
        &self.format
    }

    /// A writer that renders prompts and rows as the run did, but cannot ask: no model is at hand. The chat style needs the
    /// model's `template`.
    pub(crate) fn without_model(
        settings: &Settings,
        dataset: &Dataset,
        template: Option<Arc<ChatTemplate>>,
    ) -> Self {
        let mut format = PromptFormat::new(settings, dataset);
        if let Some(template) = template {
            format = format.with_template(template);
        }
        Self { format, answers: Vec::new(), texts: None }
    }

    /// What is asked of written answers; `None` for labels.
    pub(crate) fn texts(&self) -> Option<&TextAnswers> {
        self.texts.as_ref()
    }

    /// The answers to score, one a label, in the labels' order; none where answers are written.
    pub(crate) fn answers(&self) -> &[String] {
        &self.answers
    }

    /// Prompts for `queries` after the instruction and `demonstrations` in the order given.
    pub(crate) fn prompts(&self, demonstrations: &[&Example], queries: &[&str]) -> Result<Rendered, Error> {
        let shown: Vec<(&str, &str)> =
            demonstrations.iter().map(|e| (e.input.as_str(), e.target.as_str())).collect();
        self.format.render(self.format.instruction(), &shown, queries).map_err(Error::model("prompt"))
    }

    /// What a tuned model is asked: the query alone, without the instruction that the weights have taken over.
    pub(crate) fn tuned_prompts(&self, queries: &[&str]) -> Result<Rendered, Error> {
        self.format.render("", &[], queries).map_err(Error::model("prompt"))
    }

    /// A supervised row for `example`.
    pub(crate) fn training_row(&self, example: &Example) -> Result<TrainingRow, Error> {
        self.format.training_row("", &example.input, &example.target).map_err(Error::model("prompt"))
    }
}

/// The examples of one part.
pub(crate) fn examples(dataset: &Dataset, part: Part) -> &[Example] {
    match part {
        Part::Train => &dataset.train,
        Part::Dev => &dataset.dev,
        Part::Test => &dataset.test,
    }
}

/// The inputs of `examples`.
pub(crate) fn inputs(examples: &[Example]) -> Vec<&str> {
    examples.iter().map(|example| example.input.as_str()).collect()
}

/// How many labels draws are balanced over: texts count as one.
pub(crate) fn label_count(dataset: &Dataset) -> usize {
    dataset.labels.len().max(1)
}

/// The index of `example`'s label; 0 for a text.
pub(crate) fn target_index(dataset: &Dataset, example: &Example) -> usize {
    if dataset.labels.is_empty() {
        return 0;
    }
    dataset.label_index(&example.target).expect("a data set has a label for each of its examples")
}
