//! Where only the best label is wanted the local engine searches for it; the answers are those of scoring all labels.

#![expect(clippy::unwrap_used, reason = "a test that cannot set itself up should stop")]

mod support;

use adapt::engine::Engine;
use eval::calibration;
use task::predictor::{Predictor, PromptBatch, Scored, Wanted};

/// Eighty labels of one to three words.
fn labels() -> Vec<String> {
    let words = ["card", "lost", "refund", "fee", "limit", "pin", "cash", "late", "new", "old"];
    let name = |label: usize| match label {
        0..10 => words[label].to_owned(),
        10..45 => format!("{} {}", words[label % 10], words[(label * 7 / 10 + 3) % 10]),
        _ => format!("{} {} {}", words[label % 10], words[label / 10], words[(label * 3) % 10]),
    };
    let mut names: Vec<String> = (0..80).map(|label| format!(" {}\n", name(label))).collect();
    names.sort_unstable();
    names.dedup();
    names
}

fn requests(count: usize) -> Vec<String> {
    let message = |row: usize| format!("Input: {}\nOutput:", support::message(row * 5).1);
    (0..count).map(message).collect()
}

const SHOWN: &str = "Give the label.\n\nInput: where is my card\nOutput: card\n\nInput: a fee that I do not know\nOutput: fee\n\n";

fn ask(predictor: &mut dyn Predictor, shared: &str, answers: &[String], wanted: Wanted<'_>) -> Scored {
    let requests = requests(20);
    predictor.score(&PromptBatch { shared, requests: &requests, answers, wanted }).unwrap()
}

fn choose(scored: &Scored, prior: Option<&[f64]>) -> Vec<usize> {
    let best = |row: &Vec<f64>| calibration::best(&calibration::apply(row, prior));
    scored.log_probabilities.iter().map(best).collect()
}

#[test]
fn the_answers_are_those_of_all_labels_for_fewer_tokens() {
    let (engine, answers) = (support::embedded(), labels());
    let mut base = engine.base();
    for shared in ["", SHOWN] {
        let all = ask(base.as_mut(), shared, &answers, Wanted::All);
        assert!(all.complete.iter().all(|&complete| complete));
        let prior = calibration::prior(&all.log_probabilities);
        for prior in [None, Some(prior.as_slice())] {
            let before = engine.work();
            let best = ask(base.as_mut(), shared, &answers, Wanted::Best { log_prior: prior });
            let work = engine.work().less(before);
            assert_eq!(choose(&best, prior), choose(&all, prior));
            // What is counted is what was computed: the prompts as before, and fewer answers.
            assert_eq!(work.tokens, best.usage.processed_tokens);
            let prompts = |scored: &Scored| scored.usage.processed_tokens - scored.usage.answer_tokens;
            assert_eq!(prompts(&best), prompts(&all));
            let tokens = [&best, &all].map(|scored| scored.usage.answer_tokens);
            // A prior may make the whole tree necessary.
            assert!(tokens[0] < tokens[1] || (prior.is_some() && tokens[0] == tokens[1]), "{tokens:?}");
            // Shares that are said to be known are known.
            for ((best, all), &complete) in
                best.log_probabilities.iter().zip(&all.log_probabilities).zip(&best.complete)
            {
                let [one, other] = [best, all].map(|row| calibration::apply(row, prior));
                let chosen = calibration::best(&other);
                assert!(!complete || (one[chosen] - other[chosen]).abs() < Wanted::TOLERANCE + 1e-4);
            }
        }
    }
}

#[test]
fn few_labels_are_scored_at_once() {
    let engine = support::embedded();
    let answers = [" card\n".to_owned(), " fee\n".to_owned(), " refund\n".to_owned()];
    let [all, best] =
        [Wanted::All, Wanted::BEST].map(|wanted| ask(engine.base().as_mut(), "", &answers, wanted));
    assert_eq!(best.log_probabilities, all.log_probabilities);
    assert!(best.complete.iter().all(|&complete| complete));
    assert_eq!(best.usage.answer_tokens, all.usage.answer_tokens);
}
