//! Exact match on held-out tasks whose answers are written.

use super::{Curve, Curves, Evaluation};
use crate::micro::dice::Dice;
use crate::micro::family::{Families, Written};
use anyhow::Result;
use lm::score::Scorer;

/// Demonstrations in the prompt.
const SHOTS: [usize; 4] = [0, 4, 8, 16];
/// Tokens of an answer at most.
const LONGEST: usize = 60;

impl Evaluation<'_> {
    /// Share of the answers that are right to the letter, greedily decoded: one value a task of `kind`, for each number
    /// of demonstrations. An input that is among the demonstrations is not asked.
    pub(in crate::micro) fn written(
        &self,
        (kind, families): (Written, &Families<'_>),
        dice: &mut Dice,
    ) -> Result<Curves> {
        let mut curve = Curve::new();
        let Some(transformer) = self.transformer else { return Ok(Curves::new()) };
        let scorer = Scorer::new(transformer, None);
        for _ in 0..self.extent.tasks {
            let draw = families.written(kind, dice);
            let demonstrations: Vec<(String, String)> = (0..SHOTS[3]).map(|_| draw(dice)).collect();
            let mut asked = Vec::new();
            for _ in 0..20 * self.extent.queries {
                let pair = draw(dice);
                if asked.len() < self.extent.queries
                    && !demonstrations.iter().any(|(text, _)| *text == pair.0)
                {
                    asked.push(pair);
                }
            }
            for shots in SHOTS {
                let mut prompt = vec![self.vocabulary.boundary];
                for (text, answer) in &demonstrations[..shots] {
                    prompt.extend(self.question(&self.vocabulary.encode(text)?, false));
                    prompt.extend(self.vocabulary.label(answer)?);
                    prompt.push(self.vocabulary.line_feed);
                }
                let prefix = scorer.prefill(&prompt)?;
                let queries: Vec<Vec<u32>> = asked
                    .iter()
                    .map(|(text, _)| Ok(self.question(&self.vocabulary.encode(text)?, false)))
                    .collect::<Result<_>>()?;
                let answers =
                    scorer.generate(Some(&prefix), &queries, LONGEST, &[self.vocabulary.line_feed])?;
                let mut right = 0;
                for (answer, (_, expected)) in answers.iter().zip(&asked) {
                    right += usize::from(*answer == self.vocabulary.label(expected)?);
                }
                curve.entry(shots).or_default().push(right as f64 / asked.len().max(1) as f64);
            }
        }
        Ok(Curves::from([("model", curve)]))
    }
}
