//! The test items with the answers of the finalists, and what the models were shown.

use std::collections::HashMap;

use serde::{Deserialize, Serialize};
use task::example::Example;
use task::predictor::TrainingRow;
use task::prompt::Rendered;
use task::record::{Answer, Experiment, Prediction, RunRecord};

/// The test items.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct Items {
    /// One for each test item, in the order of the record.
    pub test: Vec<Item>,
    /// Why inputs or prompts are missing, where they are.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub missing: Option<String>,
}

/// One test item.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct Item {
    /// Its id.
    pub id: String,
    /// What was asked; `None` where the data are not at hand.
    pub input: Option<String>,
    /// What is right: of labels, from the record; of texts, from the data.
    pub target: Option<String>,
    /// File and line of the row.
    pub origin: Option<String>,
    /// The prompt's answer.
    pub in_context: Option<Given>,
    /// The fine-tuned model's answer.
    pub fine_tune: Option<Given>,
    /// The floor's answer.
    pub floor: Option<Given>,
    /// The whole prompt of the in-context finalist.
    pub prompt: Option<String>,
    /// The whole prompt of the fine-tuned finalist.
    pub tuned_prompt: Option<String>,
    /// The completion that training on such a row supervises; the loss is on these tokens alone.
    pub supervised: Option<String>,
}

/// An answer and how good it is.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Given {
    /// The label or the text.
    pub answer: String,
    /// Its score by the task's main metric, 0 to 1.
    pub score: f64,
    /// Probability of the label given, by the scores of all labels; `None` where the method has no scores.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub confidence: Option<f64>,
}

impl Item {
    /// Whether the two finalists answered differently.
    pub fn differs(&self) -> bool {
        match (&self.in_context, &self.fine_tune) {
            (Some(left), Some(right)) => left.answer != right.answer || left.score != right.score,
            _ => false,
        }
    }
}

/// What the models were shown, as far as it could be rendered again.
pub struct Texts<'a> {
    /// The test examples.
    pub examples: &'a [Example],
    /// The in-context finalist's prompts, one an example.
    pub prompts: Option<Rendered>,
    /// The rows that a training on the test examples would see.
    pub rows: Vec<TrainingRow>,
}

impl Items {
    /// The items of `record`'s finalists, with `texts` or the reason why there are none.
    pub fn new(record: &RunRecord, texts: Result<Texts<'_>, String>) -> Self {
        let Some(finalists) = &record.finalists else { return Self::default() };
        let find = |id: &str| record.experiments.iter().find(|experiment| experiment.id == id);
        let (in_context, fine_tune) = (find(&finalists.in_context), find(&finalists.fine_tune));
        let floor = find(&finalists.floor);
        let [fine_tuned, floored] = [fine_tune, floor].map(by_example);
        let mut items: Vec<Item> = in_context
            .into_iter()
            .flat_map(|experiment| &experiment.predictions)
            .map(|prediction| Item {
                id: prediction.example.clone(),
                target: gold(prediction, &record.labels),
                in_context: Some(given(prediction, &record.labels)),
                fine_tune: fine_tuned.get(prediction.example.as_str()).map(|p| given(p, &record.labels)),
                floor: floored.get(prediction.example.as_str()).map(|p| given(p, &record.labels)),
                ..Item::default()
            })
            .collect();
        let missing = match texts {
            Ok(texts) => fill(&mut items, &texts),
            Err(reason) => Some(reason),
        };
        Self { test: items, missing }
    }

    /// Those on which the finalists differ.
    pub fn differing(&self) -> impl Iterator<Item = &Item> {
        self.test.iter().filter(|item| item.differs())
    }
}

fn by_example(experiment: Option<&Experiment>) -> HashMap<&str, &Prediction> {
    let predictions = experiment.map_or(&[][..], |experiment| &experiment.predictions);
    predictions.iter().map(|prediction| (prediction.example.as_str(), prediction)).collect()
}

fn gold(prediction: &Prediction, labels: &[String]) -> Option<String> {
    match prediction.answer {
        Answer::Label { gold, .. } => labels.get(gold).cloned(),
        Answer::Text { .. } => None,
    }
}

fn given(prediction: &Prediction, labels: &[String]) -> Given {
    let (answer, confidence) = match &prediction.answer {
        Answer::Label { predicted, scores, .. } => {
            (labels.get(*predicted).cloned().unwrap_or_default(), probability(scores, *predicted))
        }
        Answer::Text { text, .. } => (text.clone(), None),
    };
    Given { answer, score: prediction.score(), confidence }
}

/// The share of `chosen` among the exponentials of natural-log scores (their softmax).
fn probability(scores: &[f32], chosen: usize) -> Option<f64> {
    let own = f64::from(*scores.get(chosen)?);
    let total: f64 = scores.iter().map(|score| (f64::from(*score) - own).exp()).sum();
    (total.is_finite() && total > 0.0).then(|| 1.0 / total)
}

/// Puts inputs and prompts to the items; the reason why not all have them.
fn fill(items: &mut [Item], texts: &Texts<'_>) -> Option<String> {
    let places: HashMap<&str, usize> =
        texts.examples.iter().enumerate().map(|(index, example)| (example.id.as_str(), index)).collect();
    let mut unknown = 0;
    for item in items {
        let Some(&index) = places.get(item.id.as_str()) else {
            unknown += 1;
            continue;
        };
        let example = &texts.examples[index];
        item.input = Some(example.input.clone());
        item.target = Some(example.target.clone());
        let file = example.origin.file.file_name().map(|name| name.to_string_lossy().into_owned());
        item.origin = file.map(|file| format!("{file}:{}", example.origin.line));
        let prompts = texts.prompts.as_ref();
        item.prompt = prompts.and_then(|all| Some(all.shared.clone() + all.requests.get(index)?));
        item.tuned_prompt = texts.rows.get(index).map(|row| row.prompt.clone());
        item.supervised = texts.rows.get(index).map(|row| row.completion.clone());
    }
    if unknown > 0 {
        return Some(format!("{unknown} test items of the record are not in the data files"));
    }
    texts.prompts.is_none().then(|| "the prompts could not be rendered again".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn probabilities_are_a_softmax() {
        // exp(0) / (exp(0) + exp(-ln 3)) = 1 / (1 + 1/3) = 0.75.
        let scores = [0.0, -(3.0f32.ln())];
        assert!((probability(&scores, 0).expect("has scores") - 0.75).abs() < 1e-6);
        assert_eq!(probability(&[], 0), None);
    }

    #[test]
    fn items_differ_by_answer_or_by_score() {
        let given = |answer: &str, score| Some(Given { answer: answer.to_owned(), score, confidence: None });
        let item = |left, right| Item { in_context: left, fine_tune: right, ..Item::default() };
        assert!(item(given("a", 1.0), given("b", 0.0)).differs());
        assert!(item(given("a", 0.0), given("b", 0.0)).differs(), "both wrong, in another way");
        assert!(!item(given("a", 1.0), given("a", 1.0)).differs());
        assert!(!item(given("a", 1.0), None).differs());
    }
}
