//! Speed of label scoring on a real model and real data:
//! `cargo run --release -p weigh-lm --example scoring -- MODEL TRAIN.jsonl TEST.jsonl [SHOTS] [ITEMS] [f32|bf16|stored|int8] [what] [TURNS]`.
//!
//! Rows are `{"text": ..., "label": ...}`. The first SHOTS rows of TRAIN with different labels are the demonstrations
//! that every request shares; each of ITEMS rows, spread over TEST, is scored against all labels. `what` is `tree`
//! (the default: the demonstrations once, all labels of a request in one pass), `calls` (one call for each label with
//! the whole prompt, on the first item only, to tell what it would cost for all), `both`, or `search`: the best label found by a search
//! in the tree and by scoring the whole of it, turn by turn, TURNS times (3), without and with the log-prior of a batch
//! calibration; what each takes, and on how many items they differ; or `precisions`: the accuracy of the best label in 32 bits, bfloat16 and
//! 8-bit integers, raw and after a batch calibration on the items themselves (Zhou et al. 2024), and on how many items it is not that of 32 bits.

#![expect(clippy::print_stdout, reason = "a measurement prints its result")]

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::time::Instant;

use lm::score::{LabelTree, PromptTree, Scorer, SearchGoal};
use lm::transformer::Prefix;
use lm::{Error, Model, ModelSource, Precision, Use, threads};

/// Tokens of requests that go through the model together.
const TOKEN_BUDGET: usize = 1024;

fn main() -> Result<(), Error> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let text = |index: usize, default: &str| arguments.get(index).map_or(default, String::as_str).to_owned();
    let number = |index: usize, default: usize| text(index, "").parse().unwrap_or(default);
    let path = PathBuf::from(text(0, "model"));
    let (train, test) = (rows(Path::new(&text(1, "train.jsonl"))), rows(Path::new(&text(2, "test.jsonl"))));
    let (shots, items) = (number(3, 32), number(4, 250));
    let precision = match text(5, "bf16").as_str() {
        "f32" => Precision::F32,
        "int8" => Precision::Int8,
        "stored" => Precision::Stored,
        _ => Precision::Bf16,
    };
    let what = text(6, "tree");

    let source = if path.is_dir() { ModelSource::Folder(path) } else { ModelSource::Gguf(path) };
    let model = Model::load(&source, precision, Use::Inference)?;
    let labels: Vec<String> =
        train.iter().map(|(_, label)| label.clone()).collect::<BTreeSet<_>>().into_iter().collect();
    let prompt = instruction(&labels) + &demonstrations(&train, shots);
    let encode = |text: &str| model.tokenizer.encode(text);
    let prefix_tokens = encode(&prompt)?;
    let step = (test.len() / items).max(1);
    let queries: Vec<Vec<u32>> = test
        .iter()
        .step_by(step)
        .take(items)
        .map(|(input, _)| model.tokenizer.encode_plain(&format!("Input: {input}\nLabel:")))
        .collect::<Result<_, _>>()?;
    let answers: Vec<Vec<u32>> = labels
        .iter()
        .map(|label| model.tokenizer.encode_plain(&format!(" {label}\n")))
        .collect::<Result<_, _>>()?;
    let tree = LabelTree::new(&answers)?;
    let rows: usize = queries.iter().map(|query| query.len() + tree.nodes()).sum();
    println!(
        "{} items, {} labels; {} tokens of prefix, {:.1} of a query, {} inner nodes, {} label tokens",
        queries.len(),
        labels.len(),
        prefix_tokens.len(),
        queries.iter().map(Vec::len).sum::<usize>() as f64 / queries.len() as f64,
        tree.nodes(),
        answers.iter().map(Vec::len).sum::<usize>(),
    );
    if what == "precisions" {
        let gold: Vec<usize> = test
            .iter()
            .step_by(step)
            .take(items)
            .map(|(_, label)| labels.iter().position(|other| other == label).unwrap_or(labels.len()))
            .collect();
        drop(model);
        return precisions(&source, &prefix_tokens, (&queries, &gold), &tree);
    }
    let scorer = Scorer::new(&model.transformer, None);
    if what == "search" {
        let prefix = threads::within(|| scorer.prefill(&prefix_tokens))?;
        return compare(&scorer, &prefix, &queries, &tree, number(7, 3));
    }
    if what != "calls" {
        let started = Instant::now();
        let prefix = threads::within(|| scorer.prefill(&prefix_tokens))?;
        let prefilled = started.elapsed().as_secs_f64();
        let scores = threads::within(|| scorer.score(Some(&prefix), &queries, &tree, TOKEN_BUDGET))?;
        let seconds = started.elapsed().as_secs_f64();
        println!(
            "tree: prefix {prefilled:.2} s, all {seconds:.2} s; {:.0} rows/s after the prefix; digest {}",
            rows as f64 / (seconds - prefilled),
            digest(&scores),
        );
    }
    if what != "tree" {
        let started = Instant::now();
        let whole: Vec<u32> = prefix_tokens.iter().chain(&queries[0]).copied().collect();
        for answer in &answers {
            let one = LabelTree::new(std::slice::from_ref(answer))?;
            threads::within(|| scorer.score(None, std::slice::from_ref(&whole), &one, TOKEN_BUDGET))?;
        }
        let seconds = started.elapsed().as_secs_f64();
        println!(
            "one call for each label: {seconds:.2} s an item, {:.0} s for all",
            seconds * queries.len() as f64
        );
    }
    Ok(())
}

/// Accuracy in each arithmetic.
fn precisions(
    source: &ModelSource,
    prefix: &[u32],
    (queries, gold): (&[Vec<u32>], &[usize]),
    tree: &LabelTree,
) -> Result<(), Error> {
    let mut reference: Option<[Vec<usize>; 2]> = None;
    for precision in [Precision::F32, Precision::Bf16, Precision::Int8] {
        let model = Model::load(source, precision, Use::Inference)?;
        let scorer = Scorer::new(&model.transformer, None);
        let started = Instant::now();
        let prefix = threads::within(|| scorer.prefill(prefix))?;
        let scores = threads::within(|| scorer.score(Some(&prefix), queries, tree, TOKEN_BUDGET))?;
        let seconds = started.elapsed().as_secs_f64();
        let offsets: Vec<f64> = log_prior(&scores).into_iter().map(|prior| -prior).collect();
        let answers = [None, Some(offsets.as_slice())]
            .map(|offsets| scores.iter().map(|scores| best(scores, offsets)).collect::<Vec<_>>());
        let reference = reference.get_or_insert_with(|| answers.clone());
        for (name, own, exact) in
            [("raw", &answers[0], &reference[0]), ("calibrated", &answers[1], &reference[1])]
        {
            let right = own.iter().zip(gold).filter(|(a, b)| a == b).count();
            let differ = own.iter().zip(exact).filter(|(a, b)| a != b).count();
            println!(
                "{precision:?} {name}: {right} of {} right ({:.3}), {differ} other labels than F32; {seconds:.1} s",
                gold.len(),
                right as f64 / gold.len() as f64,
            );
        }
    }
    Ok(())
}

/// A label's score with its offset.
fn value(scores: &[f64], label: usize, offsets: Option<&[f64]>) -> f64 {
    scores[label] + offsets.map_or(0.0, |offsets| offsets[label])
}

/// The label of the largest value, the first of equals.
fn best(scores: &[f64], offsets: Option<&[f64]>) -> usize {
    let larger = |label: usize, than: usize| value(scores, label, offsets) > value(scores, than, offsets);
    (0..scores.len()).fold(0, |best, label| if larger(label, best) { label } else { best })
}

/// Searches and scores in turns.
fn compare(
    scorer: &Scorer<'_>,
    prefix: &Prefix,
    queries: &[Vec<u32>],
    tree: &LabelTree,
    turns: usize,
) -> Result<(), Error> {
    let items = queries.len() as f64;
    let queries = PromptTree::new(queries);
    let mut offsets: Option<Vec<f64>> = None;
    for calibration in ["none", "batch"] {
        let (mut ratios, mut speed) = (Vec::new(), 0.0);
        for turn in 0..turns {
            let started = Instant::now();
            let whole = threads::within(|| scorer.score_tree(Some(prefix), &queries, tree, TOKEN_BUDGET))?;
            let seconds = started.elapsed().as_secs_f64();
            let started = Instant::now();
            let goal = SearchGoal { offsets: offsets.as_deref(), ..SearchGoal::default() };
            let found =
                threads::within(|| scorer.search_tree(Some(prefix), &queries, tree, goal, TOKEN_BUDGET))?;
            let searched = started.elapsed().as_secs_f64();
            ratios.push(seconds / searched);
            speed = f64::max(speed, items / searched);
            if turn + 1 < turns {
                continue;
            }
            let mut differ = Vec::new();
            let mut apart: f64 = 0.0;
            for (whole, scores) in whole.iter().zip(&found.scores) {
                let offsets = offsets.as_deref();
                let (one, other) = (best(whole, offsets), best(scores, offsets));
                apart = apart.max((whole[other] - scores[other]).abs());
                if one != other {
                    differ.push(value(whole, one, offsets) - value(whole, other, offsets));
                }
            }
            println!(
                "calibration {calibration}: {:.1} of {} nodes an item, {:.1} and {:.1} tokens an item; shares known on {} of {items} \
                 items; the best label differs on {} (the whole tree's scores lie {differ:.4?} apart there), its score by {apart:.4} at most",
                found.nodes as f64 / items,
                tree.nodes(),
                (queries.tokens() + found.nodes) as f64 / items,
                queries.tokens() as f64 / items + tree.nodes() as f64,
                found.complete.iter().filter(|&&complete| complete).count(),
                differ.len(),
            );
            offsets = Some(log_prior(&whole).into_iter().map(|prior| -prior).collect());
        }
        println!("calibration {calibration}: {ratios:.2?} times as fast, {speed:.2} items/s at best");
    }
    Ok(())
}

/// The log of the mean share of each label.
fn log_prior(rows: &[Vec<f64>]) -> Vec<f64> {
    let sum = |values: &[f64]| {
        let highest = values.iter().copied().fold(f64::NEG_INFINITY, f64::max);
        highest + values.iter().map(|value| (value - highest).exp()).sum::<f64>().ln()
    };
    let totals: Vec<f64> = rows.iter().map(|row| sum(row)).collect();
    let of = |label: usize| {
        let shares: Vec<f64> = rows.iter().zip(&totals).map(|(row, total)| row[label] - total).collect();
        sum(&shares) - (rows.len() as f64).ln()
    };
    (0..rows[0].len()).map(of).collect()
}

/// Input and label of each row.
fn rows(path: &Path) -> Vec<(String, String)> {
    let text = std::fs::read_to_string(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    let row = |line: &str| {
        let value: serde_json::Value = serde_json::from_str(line).ok()?;
        Some((value["text"].as_str()?.to_owned(), value["label"].as_str()?.replace('_', " ")))
    };
    text.lines().filter_map(row).collect()
}

fn instruction(labels: &[String]) -> String {
    format!("Give the label that fits the input.\nLabels: {}\n\n", labels.join(", "))
}

fn demonstrations(train: &[(String, String)], shots: usize) -> String {
    let mut seen = BTreeSet::new();
    let different = train.iter().filter(|(_, label)| seen.insert(label.clone()));
    different.take(shots).map(|(input, label)| format!("Input: {input}\nLabel: {label}\n\n")).collect()
}

/// The sum of all scores, to see that two versions compute the same.
fn digest(scores: &[Vec<f64>]) -> String {
    format!("{:.6}", scores.iter().flatten().sum::<f64>() / scores.len() as f64)
}
