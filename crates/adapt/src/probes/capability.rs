//! What a model can do beside the task: general text and questions of general knowledge, both written for this purpose.

use serde::Deserialize;
use task::predictor::{Predictor, PromptBatch, Wanted};
use task::probe::{Finding, Passage, QuestionAnswer, Side};

use super::Prober;
use crate::Error;

const PASSAGES: &str = include_str!("texts/passages.txt");
const QUESTIONS: &str = include_str!("texts/questions.jsonl");
/// Words of a passage that are given.
const GIVEN: usize = 6;
/// Calls of the model.
pub(super) const CALLS: usize = 8 + 16;
/// Tokens of all passages and questions, roughly: four characters each.
pub(super) const TOKENS: usize = (PASSAGES.len() + QUESTIONS.len()) / 4;

#[derive(Deserialize)]
struct Question {
    question: String,
    /// The first is right.
    options: Vec<String>,
}

fn questions() -> impl Iterator<Item = Question> {
    QUESTIONS.lines().map(|line| serde_json::from_str(line).expect("the questions are constant"))
}

fn passages() -> impl Iterator<Item = (&'static str, &'static str)> {
    PASSAGES.trim().split("\n\n").map(|passage| {
        let (cut, _) =
            passage.match_indices(' ').nth(GIVEN - 1).expect("a passage has more words than are given");
        passage.trim().split_at(cut)
    })
}

impl Prober<'_> {
    /// What stands before a text that is not of the task: in the in-context arm its prompt, else nothing.
    pub(super) fn before(&self, side: Side, query: &str) -> Result<String, Error> {
        if side != Side::InContext {
            return Ok(String::new());
        }
        self.arm.prepare(&self.trial, &[query])?;
        let shown = self.arm.demonstrations(&self.trial, query, None);
        Ok(self.prompt_writer.prompts(&shown, &[""])?.shared)
    }

    /// The log-probability of each passage, and which questions are answered right.
    pub(super) fn capability(&self, side: Side, predictor: &mut dyn Predictor) -> Result<Finding, Error> {
        let failed = || Error::model("probe/capability");
        let mut found = Vec::new();
        for (at, (given, rest)) in passages().enumerate() {
            let shared = self.before(side, given)?;
            let (requests, answers) = ([given.to_owned()], [rest.to_owned()]);
            let batch =
                PromptBatch { shared: &shared, requests: &requests, answers: &answers, wanted: Wanted::All };
            let scored = predictor.score(&batch).map_err(failed())?;
            let count = |text: &str| predictor.count_tokens(text).map_err(failed());
            found.push(Passage {
                id: format!("passage {}", at + 1),
                tokens: count(&format!("{given}{rest}"))?.saturating_sub(count(given)?),
                bytes: rest.len(),
                log_probability: scored.log_probabilities[0][0],
            });
        }
        let mut answered = Vec::new();
        for (at, Question { question, options }) in questions().enumerate() {
            let shared = self.before(side, &question)?;
            let requests = [format!("Question: {question}\nAnswer:")];
            let answers: Vec<String> = options.iter().map(|option| format!(" {option}\n")).collect();
            let batch =
                PromptBatch { shared: &shared, requests: &requests, answers: &answers, wanted: Wanted::All };
            let scored = predictor.score(&batch).map_err(failed())?;
            // Per byte, so that a long option is not worse for its length.
            let per_byte: Vec<f64> = scored.log_probabilities[0]
                .iter()
                .zip(&answers)
                .map(|(score, answer)| score / answer.len() as f64)
                .collect();
            let right = eval::calibration::best(&per_byte) == 0;
            answered.push(QuestionAnswer { id: format!("question {}", at + 1), right });
        }
        Ok(Finding::Capability { passages: found, questions: answered })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_texts_are_whole() {
        assert_eq!(passages().count() + questions().count(), CALLS);
        assert!(passages().all(|(given, rest)| given.split(' ').count() == GIVEN && rest.len() > 200));
        for Question { question, options } in questions() {
            assert_eq!(options.len(), 4, "{question}");
            let mut distinct = options.clone();
            distinct.sort();
            distinct.dedup();
            assert_eq!(distinct.len(), 4, "{question}");
        }
    }
}
