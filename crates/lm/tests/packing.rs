//! What is computed together is what is computed alone: packed sequences, cached prefixes, trees, generations.

mod tiny;

use lm::Error;
use lm::adapter::{Lora, LoraConfig};
use lm::score::{LabelTree, PromptTree, Scorer};
use lm::transformer::{Batch, Prefix, Transformer, Workspace};

fn close(left: &[f32], right: &[f32], what: &str) {
    assert_eq!(left.len(), right.len(), "{what}");
    for (index, (a, b)) in left.iter().zip(right).enumerate() {
        assert!((a - b).abs() < 2e-5, "{what}: value {index}: {a} and {b}");
    }
}

/// Logits of every position of one sequence.
fn logits_alone(transformer: &Transformer, tokens: &[u32], adapter: Option<&Lora>) -> Vec<f32> {
    let rows: Vec<usize> = (0..tokens.len()).collect();
    let batch = Batch::of(&[tokens]);
    let states = transformer
        .hidden_states(&batch, &rows, adapter, None, &mut Workspace::new())
        .expect("a sound batch");
    transformer.logits(&states)
}

fn adapter(transformer: &Transformer) -> Lora {
    let mut adapter = Lora::new(LoraConfig::with_rank(4), transformer.config()).expect("an adapter");
    tiny::disturb(&mut adapter, 3, 0.3);
    adapter
}

#[test]
fn packed_sequences_do_not_see_each_other() {
    for (name, config) in tiny::variants() {
        let transformer = tiny::random(config, 1);
        let lengths = [5, 1, 13, 8];
        let sequences: Vec<Vec<u32>> =
            lengths.iter().enumerate().map(|(seed, &length)| tiny::tokens(length, seed as u64)).collect();
        let batch = Batch::of(&sequences);
        let rows: Vec<usize> = (0..batch.len()).collect();
        let mut workspace = Workspace::new();
        let adapter = adapter(&transformer);
        for adapter in [None, Some(&adapter)] {
            let states = transformer
                .hidden_states(&batch, &rows, adapter, None, &mut workspace)
                .expect("a sound batch");
            let alone: Vec<f32> =
                sequences.iter().flat_map(|sequence| logits_alone(&transformer, sequence, adapter)).collect();
            close(&transformer.logits(&states), &alone, name);
        }
    }
}

#[test]
fn wanted_rows_are_those_of_the_whole() {
    let transformer = tiny::random(tiny::llama(), 2);
    let sequence = tiny::tokens(9, 4);
    let all = logits_alone(&transformer, &sequence, None);
    let states = transformer
        .hidden_states(&Batch::of(&[&sequence]), &[2, 3, 8], None, None, &mut Workspace::new())
        .expect("a sound batch");
    let vocabulary = transformer.config().vocabulary;
    let expected: Vec<f32> =
        [2, 3, 8].iter().flat_map(|row| all[row * vocabulary..][..vocabulary].to_vec()).collect();
    close(&transformer.logits(&states), &expected, "rows");
}

#[test]
fn a_cached_prefix_changes_nothing() {
    for (name, config) in tiny::variants() {
        let transformer = tiny::random(config, 3);
        let adapter = adapter(&transformer);
        let whole = tiny::tokens(17, 9);
        let vocabulary = transformer.config().vocabulary;
        let mut workspace = Workspace::new();
        for adapter in [None, Some(&adapter)] {
            let first = transformer.prefill(&whole[..4], adapter, &mut workspace).expect("fits");
            let prefix = transformer.extend(&first, &whole[4..11], adapter, &mut workspace).expect("fits");
            assert_eq!((first.len(), prefix.len()), (4, 11));
            let mut batch = Batch::new();
            batch.push_after(Some(&prefix), &whole[11..], &[], &[]);
            batch.push(&whole[..3]);
            batch.push_after(Some(&first), &whole[4..6], &[], &[]);
            let rows: Vec<usize> = (0..batch.len()).collect();
            let states = transformer
                .hidden_states(&batch, &rows, adapter, None, &mut workspace)
                .expect("a sound batch");
            let alone = logits_alone(&transformer, &whole, adapter);
            let expected =
                [&alone[11 * vocabulary..], &alone[..3 * vocabulary], &alone[4 * vocabulary..6 * vocabulary]]
                    .concat();
            close(&transformer.logits(&states), &expected, name);
        }
    }
}

/// Labels that share beginnings, of one to four tokens.
fn labels() -> Vec<Vec<u32>> {
    vec![vec![5, 6, 7, 1], vec![5, 6, 8], vec![5, 9, 1], vec![10], vec![11, 6, 7, 2], vec![11, 6, 7, 3]]
}

/// The definition: each label appended to the query, each of its tokens' log-probability from the softmax.
fn score_by_definition(
    transformer: &Transformer,
    prompt: &[u32],
    label: &[u32],
    adapter: Option<&Lora>,
) -> f64 {
    let vocabulary = transformer.config().vocabulary;
    let logits = logits_alone(transformer, &[prompt, label].concat(), adapter);
    label
        .iter()
        .enumerate()
        .map(|(index, &token)| {
            let row = &logits[(prompt.len() + index - 1) * vocabulary..][..vocabulary];
            let sum: f64 = row.iter().map(|&value| f64::from(value).exp()).sum();
            f64::from(row[token as usize]) - sum.ln()
        })
        .sum()
}

#[test]
fn a_tree_of_labels_scores_as_separate_labels() {
    for (name, config) in tiny::variants() {
        let transformer = tiny::random(config, 4);
        let adapter = adapter(&transformer);
        let tree = LabelTree::new(&labels()).expect("labels that differ");
        let shared = tiny::tokens(6, 20);
        let queries = [tiny::tokens(4, 21), tiny::tokens(1, 22), tiny::tokens(7, 23)];
        for adapter in [None, Some(&adapter)] {
            let scorer = Scorer::new(&transformer, adapter);
            let prefix = scorer.prefill(&shared).expect("fits");
            for (prefix, before, budget) in
                [(Some(&prefix), shared.as_slice(), 1000), (Some(&prefix), &shared, 1), (None, &[], 20)]
            {
                let scores = scorer.score(prefix, &queries, &tree, budget).expect("sound queries");
                for (query, scores) in queries.iter().zip(&scores) {
                    for (label, score) in labels().iter().zip(scores) {
                        let prompt = [before, query].concat();
                        let expected = score_by_definition(&transformer, &prompt, label, adapter);
                        assert!((score - expected).abs() < 5e-5, "{name}: {label:?}: {score} and {expected}");
                    }
                }
            }
        }
    }
}

#[test]
fn a_tree_of_prompts_scores_as_separate_prompts() {
    // Beginnings of several depths, equal prompts, one that is the beginning of others.
    let part = |seed, length| tiny::tokens(length, seed);
    let mut prompts = vec![part(40, 9), [part(40, 9), part(41, 1)].concat(), part(46, 3)];
    for (middle, end) in [(42, 43), (42, 44), (42, 43), (45, 43), (45, 44)] {
        prompts.push([part(40, 9), part(middle, 6), part(end, 5)].concat());
        prompts.push([part(40, 9), part(middle, 6), part(end, 5), part(47, 4)].concat());
    }
    for (name, config) in tiny::variants() {
        let transformer = tiny::random(config, 9);
        let adapter = adapter(&transformer);
        let labels_tree = LabelTree::new(&labels()).expect("labels that differ");
        let shared = tiny::tokens(6, 20);
        for (adapter, shortest, budget) in [(None, 1, 1000), (Some(&adapter), 3, 30), (None, 6, 1)] {
            let scorer = Scorer::new(&transformer, adapter);
            let prefix = scorer.prefill(&shared).expect("fits");
            for (prefix, before) in [(None, &[][..]), (Some(&prefix), &shared)] {
                let tree = PromptTree::with_shortest(&prompts, shortest);
                assert!(tree.tokens() < tree.tokens_alone());
                let scores = scorer.score_tree(prefix, &tree, &labels_tree, budget).expect("sound prompts");
                for (prompt, scores) in prompts.iter().zip(&scores) {
                    let prompt = [before, prompt].concat();
                    for (label, score) in labels().iter().zip(scores) {
                        let expected = score_by_definition(&transformer, &prompt, label, adapter);
                        assert!((score - expected).abs() < 5e-5, "{name}: {label:?}: {score} and {expected}");
                    }
                }
            }
        }
    }
}

#[test]
fn probabilities_of_a_complete_set_of_labels_sum_to_one() {
    let transformer = tiny::random(tiny::llama(), 5);
    let vocabulary = transformer.config().vocabulary as u32;
    // Every token but 7, and 7 followed by every token: disjoint events that cover everything.
    let mut labels: Vec<Vec<u32>> = (0..vocabulary).filter(|&token| token != 7).map(|t| vec![t]).collect();
    labels.extend((0..vocabulary).map(|token| vec![7, token]));
    let tree = LabelTree::new(&labels).expect("labels that differ");
    let scorer = Scorer::new(&transformer, None);
    let scores = scorer.score(None, &[tiny::tokens(5, 1)], &tree, 100).expect("a sound query");
    let total: f64 = scores[0].iter().map(|score| score.exp()).sum();
    assert!((total - 1.0).abs() < 1e-5, "{total}");
}

#[test]
fn generation_follows_the_largest_logit() {
    for (name, config) in tiny::variants() {
        let transformer = tiny::random(config, 6);
        let vocabulary = transformer.config().vocabulary;
        let scorer = Scorer::new(&transformer, None);
        let shared = tiny::tokens(5, 30);
        let prefix = scorer.prefill(&shared).expect("fits");
        let queries = [tiny::tokens(3, 31), tiny::tokens(1, 32), tiny::tokens(6, 33)];
        let expected: Vec<Vec<u32>> = queries
            .iter()
            .map(|query| {
                let mut text = [shared.as_slice(), query].concat();
                let mut answer = Vec::new();
                for _ in 0..10 {
                    let logits = logits_alone(&transformer, &text, None);
                    let row = &logits[logits.len() - vocabulary..];
                    let best =
                        (0..vocabulary).max_by(|&a, &b| row[a].total_cmp(&row[b])).expect("tokens") as u32;
                    answer.push(best);
                    text.push(best);
                }
                answer
            })
            .collect();
        let answers = scorer.generate(Some(&prefix), &queries, 10, &[]).expect("sound queries");
        assert_eq!(answers, expected, "{name}");
        // A stop token ends its own answer and no other.
        let stop = expected[0][4];
        let stopped = scorer.generate(Some(&prefix), &queries, 10, &[stop]).expect("sound queries");
        for (stopped, full) in stopped.iter().zip(&expected) {
            let until = full.iter().position(|&token| token == stop).unwrap_or(full.len());
            assert_eq!(stopped, &full[..until], "{name}");
        }
    }
}

#[test]
fn generation_ends_with_the_context() {
    let transformer = tiny::random(tiny::llama(), 7);
    let scorer = Scorer::new(&transformer, None);
    let answers = scorer.generate(None, &[tiny::tokens(60, 1)], 100, &[]).expect("a sound query");
    // 64 positions: 60 of the query, 4 of the answer; the token after the last position is known, not computed on.
    assert_eq!(answers[0].len(), 5);
}

#[test]
fn what_does_not_fit_is_refused() {
    let transformer = tiny::random(tiny::llama(), 8);
    let scorer = Scorer::new(&transformer, None);
    let tree = LabelTree::new(&labels()).expect("labels that differ");
    let too_long = scorer.prefill(&tiny::tokens(65, 1)).expect_err("65 of 64 positions");
    assert!(matches!(too_long, Error::Context { needed: 65, limit: 64 }), "{too_long}");
    let prefix: Prefix = scorer.prefill(&tiny::tokens(60, 1)).expect("fits");
    // 60 + 2 + the 3 inner tokens of the longest label.
    let too_long = scorer.score(Some(&prefix), &[vec![1, 2]], &tree, 100).expect_err("65 of 64 positions");
    assert!(matches!(too_long, Error::Context { needed: 65, limit: 64 }), "{too_long}");
    let invalid = |error: Error| assert!(matches!(error, Error::Invalid(_)), "{error}");
    invalid(scorer.prefill(&[3, 37]).expect_err("37 is no token"));
    invalid(scorer.score(None, &[Vec::<u32>::new()], &tree, 10).expect_err("an empty query"));
    invalid(scorer.generate(None, &[Vec::<u32>::new()], 3, &[]).expect_err("an empty query"));
    let outside = LabelTree::new(&[vec![1], vec![99]]).expect("labels that differ");
    invalid(scorer.score(None, &[vec![1]], &outside, 10).expect_err("a label outside the vocabulary"));
    let other = tiny::random(tiny::variants()[6].1.clone(), 1);
    let misfit = adapter(&other);
    invalid(Scorer::new(&transformer, Some(&misfit)).prefill(&[1]).expect_err("an adapter of another model"));
}
