//! The loss of a batch: label tokens, most of it over the tokens that some label of the sequence could continue with,
//! and a little of a language model.

use super::dice::Dice;
use super::sequence::{Choice, Sequence};
use kernels::loss::cross_entropy;
use std::collections::BTreeSet;

/// Share of the loss over all tokens in the loss of label tokens, and of the loss over the tokens of the sequence; the rest
/// is restricted. A loss over all tokens pushes away those that no sequence asks for, and so the labels that training never
/// uses; it is kept small.
const UNRESTRICTED: f32 = 0.05;
const PRESENT: f32 = 0.25;
/// Weight of the language model's loss.
const LANGUAGE: f32 = 0.03;
/// Share of the rows of texts that it is computed on.
const LANGUAGE_ROWS: f64 = 0.15;

/// What is predicted at one row of a batch.
enum Target<'a> {
    /// With the number of its sequence.
    Choice(&'a Choice, usize),
    Token(u32),
}

/// The loss of one batch, with what it measures on the way.
pub(super) struct Objective<'a> {
    rows: Vec<usize>,
    targets: Vec<Target<'a>>,
    /// The different tokens of each sequence.
    present: Vec<Vec<u32>>,
    choice_weight: f32,
    restricted: f32,
    language: f32,
    /// Restricted predictions that were right, and all.
    pub(super) right: (usize, usize),
    /// Sum of the restricted losses.
    pub(super) restricted_loss: f64,
}

impl<'a> Objective<'a> {
    /// The loss of `sequences`, packed in their order.
    pub(super) fn new(sequences: &'a [Sequence], dice: &mut Dice) -> Self {
        let mut own = Self {
            rows: Vec::new(),
            targets: Vec::new(),
            present: Vec::new(),
            choice_weight: 0.0,
            restricted: 0.0,
            language: 0.0,
            right: (0, 0),
            restricted_loss: 0.0,
        };
        let mut start = 0;
        for sequence in sequences {
            own.add(sequence, start, dice);
            start += sequence.tokens.len();
        }
        own
    }

    fn add(&mut self, sequence: &'a Sequence, start: usize, dice: &mut Dice) {
        let mut listed: Vec<(usize, Target<'a>)> = Vec::new();
        for choice in &sequence.choices {
            self.choice_weight += choice.weight;
            self.restricted += if choice.restricted { 1.0 } else { 0.0 };
            listed.push((choice.row, Target::Choice(choice, self.present.len())));
        }
        let present: BTreeSet<u32> = sequence.tokens.iter().copied().collect();
        self.present.push(present.into_iter().collect());
        for &row in sequence.language.iter().filter(|_| dice.chance(LANGUAGE_ROWS)) {
            self.language += 1.0;
            listed.push((row, Target::Token(sequence.tokens[row + 1])));
        }
        listed.sort_by_key(|(row, _)| *row);
        for (row, target) in listed {
            self.rows.push(start + row);
            self.targets.push(target);
        }
    }

    /// The rows whose logits are needed.
    pub(super) fn rows(&self) -> Vec<usize> {
        self.rows.clone()
    }

    /// Mean restricted loss.
    pub(super) fn mean_restricted(&self) -> f64 {
        self.restricted_loss / f64::from(self.restricted.max(1.0))
    }

    /// Share of the restricted predictions that were right.
    pub(super) fn accuracy(&self) -> Option<f64> {
        (self.right.1 > 0).then(|| self.right.0 as f64 / self.right.1 as f64)
    }

    /// Loss and gradient of the rows from `first` on, in place of their logits.
    pub(super) fn loss(&mut self, first: usize, logits: &mut [f32], vocabulary: usize) -> f64 {
        let count = logits.len() / vocabulary;
        let mut tokens = Vec::with_capacity(count);
        let mut weights = Vec::with_capacity(count);
        let mut extra: Vec<(usize, u32, f32)> = Vec::new();
        let mut total = 0.0;
        for offset in 0..count {
            match self.targets[first + offset] {
                Target::Token(token) => {
                    tokens.push(token);
                    weights.push(LANGUAGE / self.language.max(1.0));
                }
                Target::Choice(choice, sequence) => {
                    tokens.push(choice.target);
                    let own = choice.weight / self.choice_weight.max(1e-6);
                    weights.push(UNRESTRICTED * own);
                    let row = &logits[offset * vocabulary..][..vocabulary];
                    let target = choice.target;
                    let part = Part { candidates: &self.present[sequence], target, weight: PRESENT * own };
                    total += part.loss(offset, row, &mut extra).0;
                    if choice.restricted {
                        let weight = (1.0 - UNRESTRICTED - PRESENT) / self.restricted;
                        let part = Part { candidates: &choice.candidates, target, weight };
                        let (loss, right) = part.loss(offset, row, &mut extra);
                        self.right = (self.right.0 + usize::from(right), self.right.1 + 1);
                        self.restricted_loss += loss / f64::from(weight);
                        total += loss;
                    }
                }
            }
        }
        total += cross_entropy(logits, vocabulary, &tokens, &weights);
        for (offset, token, gradient) in extra {
            logits[offset * vocabulary + token as usize] += gradient;
        }
        total
    }
}

/// A softmax over some tokens alone.
struct Part<'a> {
    candidates: &'a [u32],
    target: u32,
    weight: f32,
}

impl Part<'_> {
    /// The weighted loss of a row, and whether its best candidate is the target; adds the gradient to `extra`.
    fn loss(&self, offset: usize, logits: &[f32], extra: &mut Vec<(usize, u32, f32)>) -> (f64, bool) {
        let own = |token: u32| logits[token as usize];
        let most = self.candidates.iter().map(|&token| own(token)).fold(f32::NEG_INFINITY, f32::max);
        let sum: f32 = self.candidates.iter().map(|&token| (own(token) - most).exp()).sum();
        let mut loss = 0.0;
        for &token in self.candidates {
            let share = (own(token) - most).exp() / sum;
            let is_target = token == self.target;
            if is_target {
                loss = -f64::from(share.max(1e-30).ln());
            }
            extra.push((offset, token, self.weight * (share - if is_target { 1.0 } else { 0.0 })));
        }
        (loss * f64::from(self.weight), own(self.target) >= most)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The gradient against central differences of the loss.
    #[test]
    fn gradient_is_the_slope() {
        let choice = |row, target, candidates: &[u32], weight| Choice {
            row,
            target,
            candidates: candidates.to_vec(),
            weight,
            restricted: !candidates.is_empty(),
        };
        let sequence = Sequence {
            tokens: vec![0, 1, 2, 3, 4],
            choices: vec![choice(1, 2, &[2, 4, 5], 1.0), choice(2, 3, &[], 0.1)],
            language: Vec::new(),
        };
        let sequences = [sequence];
        let vocabulary = 6;
        let logits: Vec<f32> = (0..12).map(|index| ((index * 7 % 5) as f32 - 2.0) * 0.4).collect();
        let value = |logits: &[f32]| {
            let mut objective = Objective::new(&sequences, &mut Dice::new(1, 1));
            let mut gradient = logits.to_vec();
            let loss = objective.loss(0, &mut gradient, vocabulary);
            (loss, gradient)
        };
        let (_, gradient) = value(&logits);
        for index in 0..logits.len() {
            let mut up = logits.clone();
            let mut down = logits.clone();
            up[index] += 1e-2;
            down[index] -= 1e-2;
            let slope = (value(&up).0 - value(&down).0) / 2e-2;
            assert!(
                (slope - f64::from(gradient[index])).abs() < 1e-4,
                "{index}: {slope} {}",
                gradient[index]
            );
        }
    }
}
