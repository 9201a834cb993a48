//! Instructions that the model itself writes after a few demonstrations (after APE, Zhou et al. 2023).

use std::collections::BTreeSet;

use task::dataset::Dataset;
use task::predictor::{PredictError, Predictor, Usage, WritingBatch};
use task::prompt::{Layout, PromptFormat};
use task::settings::PromptStyle;

use crate::selection::balanced_draw;
use crate::writer::label_count;

/// Proposals, each after demonstrations of its own.
const PROPOSALS: u64 = 3;
/// Seed of the first one's demonstrations; a run's own draws have small seeds.
const SEED: u64 = 1_000;
/// Demonstrations that a proposal is written after.
const SHOWN: usize = 5;
/// Most tokens of a proposal.
const TOKENS: usize = 48;
/// Fewest and most words of one that is taken.
const WORDS: [usize; 2] = [3, 50];

/// Instructions that `predictor` writes, those that look like none left out, and what they took. `chat` says whether it has a template.
pub(crate) fn write(
    format: &PromptFormat,
    dataset: &Dataset,
    targets: &[usize],
    chat: bool,
    predictor: &mut dyn Predictor,
) -> Result<(Vec<String>, Usage), PredictError> {
    let style = if chat { PromptStyle::Chat } else { PromptStyle::Plain };
    let asking = format.with_layout(&Layout {
        style,
        input_name: "Request".to_owned(),
        output_name: "Instruction".to_owned(),
        instruction: String::new(),
        several_lines: false,
        punctuation: None,
    });
    let questions: Vec<String> = (0..PROPOSALS).map(|at| question(dataset, targets, SEED + at)).collect();
    let questions: Vec<&str> = questions.iter().map(String::as_str).collect();
    let prompts = asking.render("", &[], &questions)?;
    let frame = asking.frame()?;
    let batch = WritingBatch {
        shared: &prompts.shared,
        requests: &prompts.requests,
        frame: &frame,
        max_tokens: TOKENS,
        schema: None,
    };
    let written = predictor.write(&batch)?;
    let mut taken: Vec<String> = Vec::new();
    for text in written.texts.iter().filter_map(|text| instruction(text)) {
        if !taken.contains(&text) {
            taken.push(text);
        }
    }
    Ok((taken, written.usage))
}

fn question(dataset: &Dataset, targets: &[usize], seed: u64) -> String {
    let mut text = "Someone followed one instruction and answered these messages by it.\n\n".to_owned();
    for index in balanced_draw(targets, label_count(dataset), SHOWN, seed) {
        let example = &dataset.train[index];
        text += &format!("Message: {}\nAnswer: {}\n\n", example.input.trim(), example.target.trim());
    }
    text + "Write the instruction in one sentence."
}

/// The first sentence or line of what was written, where it looks like an instruction.
fn instruction(written: &str) -> Option<String> {
    let line = written.trim().lines().next()?.trim();
    let line = line.trim_matches(|c: char| c == '"' || c == '*' || c.is_whitespace());
    let words: Vec<&str> = line.split_whitespace().collect();
    let distinct = words.iter().collect::<BTreeSet<_>>().len();
    let echoed = ["Message:", "Answer:"].iter().any(|mark| line.contains(mark));
    let length = (WORDS[0]..=WORDS[1]).contains(&words.len());
    // A small model falls into saying one word again and again.
    (length && 2 * distinct > words.len() && !echoed).then(|| line.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_looks_like_an_instruction_is_taken() {
        assert_eq!(
            instruction(" \"Name the queue of each ticket.\"\nMore"),
            Some("Name the queue of each ticket.".to_owned())
        );
        assert_eq!(instruction("billing"), None);
        assert_eq!(instruction("Message: where is my card"), None);
        assert_eq!(instruction("for for for for for the"), None);
        assert_eq!(instruction(""), None);
    }
}
