//! What the order of retrieved demonstrations costs and saves:
//! `cargo run --release -p weigh-adapt --example retrieval_order -- MODEL TRAIN.jsonl TEST.jsonl [POOL] [ITEMS] [SHOTS,...] [score]`.
//!
//! Rows are `{"text": ..., "label": ...}`. For each number of shots and each order of the demonstrations: the tokens of
//! all prompts alone and where what they begin with in common is computed once; with `score` also the accuracy, raw and
//! with batch calibration, and the seconds.

#![expect(clippy::print_stdout, reason = "a measurement prints its result")]

use std::collections::BTreeSet;
use std::error::Error;
use std::path::Path;
use std::time::Instant;

use adapt::retrieval::Bm25;
use adapt::selection::{balanced_draw, fixed_order, retrieved};
use eval::calibration;
use lm::score::{LabelTree, PromptTree, Scorer};
use lm::{Model, ModelSource, Precision, Use};

/// Tokens of requests that go through the model together.
const TOKEN_BUDGET: usize = 1024;

fn main() -> Result<(), Box<dyn Error>> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let text = |index: usize, default: &str| arguments.get(index).map_or(default, String::as_str).to_owned();
    let number = |index: usize, default: usize| text(index, "").parse().unwrap_or(default);
    let model = Model::load(&ModelSource::Gguf(text(0, "model").into()), Precision::Bf16, Use::Inference)?;
    let (train, test) = (rows(Path::new(&text(1, "")))?, rows(Path::new(&text(2, "")))?);
    let labels: Vec<String> =
        train.iter().map(|(_, label)| label.clone()).collect::<BTreeSet<_>>().into_iter().collect();
    let index_of = |label: &str| labels.iter().position(|other| other == label).unwrap_or(usize::MAX);
    let all: Vec<usize> = train.iter().map(|(_, label)| index_of(label)).collect();
    let mut pool = balanced_draw(&all, labels.len(), number(3, 1024), 0);
    pool.sort_unstable();
    let inputs: Vec<&str> = pool.iter().map(|&row| train[row].0.as_str()).collect();
    let targets: Vec<usize> = pool.iter().map(|&row| all[row]).collect();
    let index = Bm25::new(&inputs);
    let items = number(4, 250);
    let queries: Vec<&(String, String)> =
        test.iter().step_by((test.len() / items).max(1)).take(items).collect();
    let answers: Vec<Vec<u32>> = labels
        .iter()
        .map(|label| model.tokenizer.encode_plain(&format!(" {label}\n")))
        .collect::<Result<_, _>>()?;
    let tree = LabelTree::new(&answers)?;
    let instruction = format!("Give the label that fits the input.\nLabels: {}\n\n", labels.join(", "));
    println!("pool of {}, {} items, {} inner nodes of labels", pool.len(), queries.len(), tree.nodes());
    for shots in text(5, "4,8,16").split(',').filter_map(|shots| shots.parse().ok()) {
        let places = fixed_order(&index, &inputs, &targets, shots);
        for order in ["similarity", "as given", "fixed"] {
            let mut prompts = Vec::new();
            for (query, _) in &queries {
                let mut chosen = retrieved(&index, query, &targets, shots, None);
                match order {
                    "as given" => chosen.sort_unstable(),
                    "fixed" => chosen.sort_by_key(|&example| places[example]),
                    _ => {}
                }
                let shown = chosen
                    .iter()
                    .map(|&e| format!("Input: {}\nOutput: {}\n\n", inputs[e], labels[targets[e]]));
                let shown: String = shown.collect();
                prompts
                    .push(model.tokenizer.encode(&format!("{instruction}{shown}Input: {query}\nOutput:"))?);
            }
            let shared = PromptTree::new(&prompts);
            print!(
                "{shots:>3} shots, {order:<10}: {} tokens alone, {} together ({:.1}% saved beyond the instruction)",
                shared.tokens_alone(),
                shared.tokens(),
                100.0 * (1.0 - beyond(&shared, &prompts)),
            );
            if text(6, "") == "score" {
                let scorer = Scorer::new(&model.transformer, None);
                let started = Instant::now();
                let scores = lm::threads::within(|| scorer.score_tree(None, &shared, &tree, TOKEN_BUDGET))?;
                let seconds = started.elapsed().as_secs_f64();
                let prior = calibration::prior(&scores);
                let accuracy = |prior: Option<&[f64]>| {
                    let right = scores.iter().zip(&queries).filter(|(scores, (_, label))| {
                        calibration::best(&calibration::apply(scores, prior)) == index_of(label)
                    });
                    right.count() as f64 / queries.len() as f64
                };
                print!(
                    "; {seconds:.1} s; accuracy {:.3}, calibrated {:.3}",
                    accuracy(None),
                    accuracy(Some(&prior))
                );
            }
            println!();
        }
    }
    Ok(())
}

/// The share of tokens after what all prompts begin with that is computed.
fn beyond(tree: &PromptTree<'_>, prompts: &[Vec<u32>]) -> f64 {
    let common = |one: &[u32], other: &[u32]| one.iter().zip(other).take_while(|(a, b)| a == b).count();
    let shared = prompts.iter().map(|prompt| common(prompt, &prompts[0])).min().unwrap_or(0);
    (tree.tokens() - shared) as f64 / (tree.tokens_alone() - shared * prompts.len()) as f64
}

/// Input and label of each row.
fn rows(path: &Path) -> Result<Vec<(String, String)>, Box<dyn Error>> {
    let row = |line: &str| {
        let value: serde_json::Value = serde_json::from_str(line).ok()?;
        Some((value["text"].as_str()?.to_owned(), value["label"].as_str()?.replace('_', " ")))
    };
    Ok(std::fs::read_to_string(path)?.lines().filter_map(row).collect())
}
