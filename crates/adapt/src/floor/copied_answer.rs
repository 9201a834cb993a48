//! Floors for written answers: the same answer for everything, and the answer of the most similar training example.

use serde::{Deserialize, Serialize};

use super::{FloorError, NearestNeighbour, tagged_json};

/// One training answer for every input.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ConstantAnswer {
    answer: String,
}

/// Training answers that are compared with each other.
const COMPARED: usize = 64;

impl ConstantAnswer {
    /// The training answer that is nearest to the others: of the first 64 of `answers` the one with the highest mean of
    /// `score(answer, other)` over them, the earlier one where equal.
    ///
    /// # Errors
    /// [`FloorError::NoExamples`] without answers.
    pub fn fit(answers: &[&str], score: impl Fn(&str, &str) -> f64) -> Result<Self, FloorError> {
        let compared = &answers[..answers.len().min(COMPARED)];
        let mut best: Option<(&str, f64)> = None;
        for candidate in compared {
            let total = compared.iter().map(|other| score(candidate, other)).sum::<f64>();
            if best.is_none_or(|(_, highest)| total > highest) {
                best = Some((candidate, total));
            }
        }
        let (answer, _) = best.ok_or(FloorError::NoExamples)?;
        Ok(Self { answer: answer.to_owned() })
    }

    /// The answer.
    pub fn answer(&self) -> &str {
        &self.answer
    }

    /// The fitted floor as JSON, with `"method": "constant"`.
    pub fn artefact(&self) -> Vec<u8> {
        tagged_json("constant", self)
    }
}

/// The answer of the training example nearest by tf-idf cosine.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct NearestAnswer {
    index: NearestNeighbour,
    answers: Vec<String>,
    otherwise: ConstantAnswer,
}

impl NearestAnswer {
    /// Keeps the training examples (input, answer); an input that shares no word with any of them gets `otherwise`.
    ///
    /// # Errors
    /// [`FloorError::NoExamples`] without examples.
    pub fn fit(train: &[(&str, &str)], otherwise: ConstantAnswer) -> Result<Self, FloorError> {
        let inputs: Vec<(&str, usize)> = train.iter().map(|&(input, _)| (input, 0)).collect();
        let answers = train.iter().map(|&(_, answer)| answer.to_owned()).collect();
        Ok(Self { index: NearestNeighbour::fit(&inputs, 1)?, answers, otherwise })
    }

    /// The answer to `input`.
    pub fn answer(&self, input: &str) -> &str {
        let nearest =
            self.index.nearest(input, 1).first().and_then(|&(example, _)| self.answers.get(example));
        nearest.map_or(self.otherwise.answer(), String::as_str)
    }

    /// The fitted floor as JSON, with `"method": "nearest_answer"`.
    pub fn artefact(&self) -> Vec<u8> {
        tagged_json("nearest_answer", self)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_constant_is_the_answer_most_like_the_others() {
        let same = |one: &str, other: &str| f64::from(u8::from(one == other));
        let constant = ConstantAnswer::fit(&["a", "b", "c", "b"], same).unwrap();
        assert_eq!(constant.answer(), "b");
        assert_eq!(constant.artefact(), br#"{"method":"constant","answer":"b"}"#);
        assert!(ConstantAnswer::fit(&[], same).is_err());
    }

    #[test]
    fn the_nearest_example_gives_its_answer() {
        let constant = ConstantAnswer { answer: "none".to_owned() };
        let train = [("red apple", "fruit"), ("blue sky", "weather")];
        let nearest = NearestAnswer::fit(&train, constant).unwrap();
        assert_eq!(
            ["an apple", "the sky", "zebra"].map(|input| nearest.answer(input)),
            ["fruit", "weather", "none"]
        );
        let again: NearestAnswer = serde_json::from_slice(&nearest.artefact()).unwrap();
        assert_eq!(again, nearest);
    }
}
