//! The loss of a batch: label tokens, most of it over the tokens that some label of the sequence could continue with,
//! and a little of a language model.

use super::dice::Dice;
use super::sequence::{Choice, Sequence};
use kernels::loss::cross_entropy;

/// Share of the loss over all tokens in the loss of label tokens; the rest is restricted.
const UNRESTRICTED: f32 = 0.4;
/// Weight of the language model's loss.
const LANGUAGE: f32 = 0.1;
/// Share of the rows of texts that it is computed on.
const LANGUAGE_ROWS: f64 = 0.15;

/// What is predicted at one row of a batch.
enum Target<'a> {
    Choice(&'a Choice),
    Token(u32),
}

/// The loss of one batch, with what it measures on the way.
pub(super) struct Objective<'a> {
    rows: Vec<usize>,
    targets: Vec<Target<'a>>,
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
            listed.push((choice.row, Target::Choice(choice)));
        }
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
                Target::Choice(choice) => {
                    tokens.push(choice.target);
                    let share = if self.restricted > 0.0 { UNRESTRICTED } else { 1.0 };
                    weights.push(share * choice.weight / self.choice_weight.max(1e-6));
                    if choice.restricted {
                        let row = &logits[offset * vocabulary..][..vocabulary];
                        total += self.restricted_row(offset, choice, row, &mut extra);
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

    /// The softmax over the candidates alone.
    fn restricted_row(
        &mut self,
        offset: usize,
        choice: &Choice,
        logits: &[f32],
        extra: &mut Vec<(usize, u32, f32)>,
    ) -> f64 {
        let own: Vec<f32> = choice.candidates.iter().map(|&token| logits[token as usize]).collect();
        let most = own.iter().copied().fold(f32::NEG_INFINITY, f32::max);
        let sum: f32 = own.iter().map(|logit| (logit - most).exp()).sum();
        let weight = (1.0 - UNRESTRICTED) / self.restricted;
        let mut loss = 0.0;
        for (&token, logit) in choice.candidates.iter().zip(&own) {
            let share = (logit - most).exp() / sum;
            let is_target = token == choice.target;
            if is_target {
                loss = -f64::from(share.max(1e-30).ln());
                self.right.0 += usize::from(*logit >= most);
            }
            extra.push((offset, token, weight * (share - if is_target { 1.0 } else { 0.0 })));
        }
        self.right.1 += 1;
        self.restricted_loss += loss;
        loss * f64::from(weight)
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
