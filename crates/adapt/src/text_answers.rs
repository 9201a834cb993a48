//! Answers that are texts or JSON: how long they may be, what they must follow, and how good they are.

use std::sync::Arc;

use eval::fields::FieldCounts;
use eval::text_metrics::{chrf, exact_match, rouge_l, token_f1};
use task::dataset::Dataset;
use task::example::Example;
use task::predictor::{PredictError, Predictor, WritingBatch};
use task::prompt::{Frame, PromptFormat, Rendered};
use task::record::{Answer, Prediction};
use task::schema::Schema;
use task::settings::{AnswerSettings, Metric, MetricCommand};

use crate::Error;
use crate::metric_command;

/// Longest targets whose tokens are counted.
const COUNTED: usize = 16;

/// What a task asks of written answers.
#[derive(Clone)]
pub(crate) struct TextAnswers {
    frame: Frame,
    max_tokens: usize,
    schema: Option<Arc<Schema>>,
    metrics: Vec<Metric>,
    command: Option<MetricCommand>,
}

impl TextAnswers {
    pub(crate) fn new(
        answers: &AnswerSettings,
        dataset: &Dataset,
        format: &PromptFormat,
        predictor: &dyn Predictor,
    ) -> Result<Self, Error> {
        let frame = format.frame().map_err(Error::model("prompt"))?;
        let schema = answers.schema.clone().map(Schema::new).transpose();
        let schema = schema.map_err(|reason| task::Error::Data(format!("task.schema: {reason}")))?;
        let max_tokens = match answers.tokens {
            Some(tokens) => tokens,
            None => {
                let longest = longest_target(&frame, dataset, predictor).map_err(Error::model("prompt"))?;
                longest + longest.div_ceil(2)
            }
        };
        let (metrics, command) = (answers.metrics.clone(), answers.command.clone());
        Ok(Self { frame, max_tokens, schema: schema.map(Arc::new), metrics, command })
    }

    /// The same answers in a prompt of another `format`.
    pub(crate) fn in_format(&self, format: &PromptFormat) -> Result<Self, Error> {
        Ok(Self { frame: format.frame().map_err(Error::model("prompt"))?, ..self.clone() })
    }

    /// Most tokens of an answer.
    pub(crate) fn max_tokens(&self) -> usize {
        self.max_tokens
    }

    /// A target as the model would write it.
    pub(crate) fn framed(&self, target: &str) -> String {
        format!("{}{target}{}", self.frame.lead, self.frame.end)
    }

    /// What `prompts` ask, of at most `max_tokens` an answer.
    pub(crate) fn batch<'a>(&'a self, prompts: &'a Rendered, max_tokens: usize) -> WritingBatch<'a> {
        WritingBatch {
            shared: &prompts.shared,
            requests: &prompts.requests,
            frame: &self.frame,
            max_tokens,
            schema: self.schema.as_deref().map(Schema::value),
        }
    }

    /// The main metric where it can be computed here, without the user's program.
    pub(crate) fn own_score(&self, output: &str, target: &str) -> f64 {
        let main = self.metrics.iter().copied().find(|metric| *metric != Metric::Command);
        let fields = self.fields(output, target);
        main.map_or(0.0, |metric| self.value(metric, output, target, fields.as_ref()))
    }

    /// The answers to `examples`, with their values.
    pub(crate) fn predictions(
        &self,
        examples: &[Example],
        outputs: Vec<String>,
    ) -> Result<Vec<Prediction>, Error> {
        let commanded = match &self.command {
            Some(command) => metric_command::score(command, examples, &outputs)?,
            None => Vec::new(),
        };
        let prediction = |(at, (example, text)): (usize, (&Example, String))| {
            let fields = self.fields(&text, &example.target);
            let value = |metric: &Metric| match metric {
                Metric::Command => commanded.get(at).copied().unwrap_or(0.0),
                metric => self.value(*metric, &text, &example.target, fields.as_ref()),
            };
            let values = self.metrics.iter().map(value).collect();
            let fields = fields.map(|counts| [counts.right, counts.answered, counts.wanted]);
            Prediction { example: example.id.clone(), answer: Answer::Text { text, values, fields } }
        };
        Ok(examples.iter().zip(outputs).enumerate().map(prediction).collect())
    }

    fn fields(&self, output: &str, target: &str) -> Option<FieldCounts> {
        self.schema.as_ref()?;
        let target = serde_json::from_str(target).unwrap_or_default();
        Some(FieldCounts::new(serde_json::from_str(output).ok().as_ref(), &target))
    }

    fn value(&self, metric: Metric, output: &str, target: &str, fields: Option<&FieldCounts>) -> f64 {
        match (metric, fields) {
            (Metric::ExactMatch, Some(fields)) => fields.exact_match(),
            (Metric::ExactMatch, None) => exact_match(output, target),
            (Metric::TokenF1, _) => token_f1(output, target),
            (Metric::RougeL, _) => rouge_l(output, target),
            (Metric::Chrf, _) => chrf(output, target),
            (Metric::FieldF1, fields) => fields.map_or(0.0, FieldCounts::f1),
            (Metric::Valid, _) => {
                f64::from(u8::from(self.schema.as_ref().is_some_and(|schema| schema.accepts(output))))
            }
            (Metric::Command, _) => 0.0,
        }
    }
}

/// Tokens of the longest target of train and dev.
fn longest_target(
    frame: &Frame,
    dataset: &Dataset,
    predictor: &dyn Predictor,
) -> Result<usize, PredictError> {
    let mut targets: Vec<&str> =
        dataset.train.iter().chain(&dataset.dev).map(|example| example.target.as_str()).collect();
    targets.sort_by_key(|target| std::cmp::Reverse(target.len()));
    let mut longest = 1;
    for target in targets.iter().take(COUNTED) {
        longest = longest.max(predictor.count_tokens(&format!("{}{target}{}", frame.lead, frame.end))?);
    }
    Ok(longest)
}
