//! Verbatim overlap: what the model writes when it is given the beginning of a row that its artefact holds.

use std::collections::HashSet;

use task::example::Example;
use task::predictor::{Predictor, WritingBatch};
use task::probe::{Finding, Generation, Side};
use task::prompt::Frame;
use task::record::Part;

use super::Prober;
use crate::Error;
use crate::text::search_words;

/// Rows that are held, and as many that are not.
pub(super) const ROWS: usize = 12;
/// Most tokens of a continuation.
pub(super) const TOKENS: usize = 24;
/// Words of a run that counts as copied.
const SHORTEST: usize = 5;

impl Prober<'_> {
    /// Continuations of the first halves of held rows and of dev rows.
    pub(super) fn overlap(&self, side: Side, predictor: &mut dyn Predictor) -> Result<Finding, Error> {
        let held = self.held(side);
        let step = held.len().div_ceil(ROWS).max(1);
        let rows = held.iter().step_by(step).map(|&index| (&self.dataset.train[index], Part::Train));
        let rows: Vec<(&Example, Part)> =
            rows.chain(self.items(ROWS).iter().map(|item| (item, Part::Dev))).collect();
        let mut requests = Vec::new();
        for (row, _) in &rows {
            requests.push(self.first_half(side, &row.input)?);
        }
        let frame = Frame { lead: " ".to_owned(), end: "\n".to_owned() };
        let batch =
            WritingBatch { shared: "", requests: &requests, frame: &frame, max_tokens: TOKENS, schema: None };
        let written = predictor.write(&batch).map_err(Error::model("probe/overlap"))?;
        let known = Known::new(held.iter().map(|&index| &self.dataset.train[index]));
        let generations = rows.iter().zip(&written.texts).map(|((row, part), text)| {
            let words = search_words(text);
            Generation {
                example: row.id.clone(),
                part: *part,
                words: words.len(),
                longest: known.longest_run(&words),
            }
        });
        Ok(Finding::Overlap { shortest: SHORTEST, generations: generations.collect() })
    }

    /// The prompt up to the middle of the input.
    fn first_half(&self, side: Side, input: &str) -> Result<String, Error> {
        let words: Vec<&str> = input.split_whitespace().collect();
        let half = words[..words.len().div_ceil(2)].join(" ");
        let rendered = self.prompts(side, &[&half])?;
        let whole = rendered.shared + &rendered.requests[0];
        let end = whole.rfind(&half).map_or(whole.len(), |start| start + half.len());
        Ok(whole[..end].to_owned())
    }
}

/// The words of the rows that an artefact holds, in runs.
struct Known {
    rows: Vec<Vec<String>>,
}

impl Known {
    fn new<'a>(rows: impl Iterator<Item = &'a Example>) -> Self {
        let words = |row: &Example| [search_words(&row.input), search_words(&row.target)];
        Self { rows: rows.flat_map(words).collect() }
    }

    /// The longest run of `words` that stands in a row too.
    fn longest_run(&self, words: &[String]) -> usize {
        // A run of n words is there only where its runs of n - 1 are: lengths are tried upwards.
        (1..=words.len())
            .take_while(|&length| {
                let runs: HashSet<&[String]> = words.windows(length).collect();
                self.rows.iter().any(|row| row.windows(length).any(|run| runs.contains(run)))
            })
            .last()
            .unwrap_or(0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_longest_common_run_is_found() {
        let rows =
            ["my card was swallowed by the machine", "the machine is green"].map(search_words).to_vec();
        let known = Known { rows };
        let run = |text: &str| known.longest_run(&search_words(text));
        assert_eq!(run("was swallowed by the machine is green"), 5);
        assert_eq!(run("Machine is GREEN"), 3);
        assert_eq!(run("nothing alike"), 0);
        assert_eq!(run(""), 0);
    }
}
