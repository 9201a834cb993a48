//! A search in the tree of labels finds what scoring the whole tree finds.

mod embedded;
mod tiny;

use embedded::embedded;
use lm::adapter::{Lora, LoraConfig};
use lm::score::{LabelTree, PromptTree, Scorer, SearchGoal};
use lm::{Error, Use};
use proptest::prelude::*;

/// Rows of a batch; small, so that there are several.
const BUDGET: usize = 96;

/// The first label of the highest score.
fn best(scores: &[f64], offsets: Option<&[f64]>) -> usize {
    let value = |label: usize| scores[label] + offsets.map_or(0.0, |offsets| offsets[label]);
    (0..scores.len()).fold(0, |best, label| if value(label) > value(best) { label } else { best })
}

/// The share of the best label.
fn share(scores: &[f64], offsets: Option<&[f64]>) -> f64 {
    let best = best(scores, offsets);
    let value = |label: usize| scores[label] + offsets.map_or(0.0, |offsets| offsets[label]);
    1.0 / (0..scores.len()).map(|label| (value(label) - value(best)).exp()).sum::<f64>()
}

/// Searches and scores `queries`; asserts that both say the same, within what other batches do to a score. Returns the nodes that the search
/// computed, and those of the trees.
fn check(
    scorer: &Scorer<'_>,
    before: &[u32],
    queries: &[Vec<u32>],
    tree: &LabelTree,
    goal: SearchGoal<'_>,
    what: &str,
) -> [usize; 2] {
    let prefix = (!before.is_empty()).then(|| scorer.prefill(before).expect("fits"));
    let prompts = PromptTree::with_shortest(queries, 3);
    let whole = scorer.score_tree(prefix.as_ref(), &prompts, tree, BUDGET).expect("sound queries");
    let found = scorer.search_tree(prefix.as_ref(), &prompts, tree, goal, BUDGET).expect("sound queries");
    let answers = found.scores.iter().zip(found.complete).zip(&whole);
    for (index, ((scores, complete), whole)) in answers.enumerate() {
        let chosen = best(whole, goal.offsets);
        assert_eq!(best(scores, goal.offsets), chosen, "{what}: query {index}: {scores:?} and {whole:?}");
        assert!((scores[chosen] - whole[chosen]).abs() < 5e-5, "{what}: query {index}");
        let [found, all] = [scores, whole].map(|scores| share(scores, goal.offsets));
        if complete {
            let off = (found / all - 1.0).abs();
            assert!(off <= goal.tolerance + 1e-4, "{what}: query {index}: shares {found} and {all}");
        }
    }
    // Alone, a query is searched as among others.
    let alone = scorer
        .search_tree(prefix.as_ref(), &PromptTree::alone(&queries[..1]), tree, goal, BUDGET)
        .expect("a sound query");
    for (one, other) in alone.scores[0].iter().zip(&found.scores[0]) {
        assert!((one - other).abs() < 5e-5, "{what}: {one} alone, {other} among others");
    }
    [found.nodes, queries.len() * tree.nodes()]
}

/// Random labels of `texts` tokens that end in token 1.
fn labels(count: usize, vocabulary: u32, seed: u64) -> LabelTree {
    let mut labels: Vec<Vec<u32>> = (0..count as u64)
        .map(|index| {
            let length = 1 + (index as usize * 7 + seed as usize) % 4;
            let text = tiny::tokens(length, seed * 1000 + index);
            text.iter().map(|token| 2 + token % (vocabulary - 2)).chain([1]).collect()
        })
        .collect();
    labels.sort_unstable();
    labels.dedup();
    LabelTree::new(&labels).expect("labels that differ")
}

#[test]
fn every_kind_of_model() {
    for (index, (name, config)) in tiny::variants().into_iter().enumerate() {
        let transformer = tiny::random(config, 4);
        let mut adapter = Lora::new(LoraConfig::with_rank(4), transformer.config()).expect("an adapter");
        tiny::disturb(&mut adapter, 3, 0.3);
        let tree = labels(60, 37, index as u64);
        // Beginnings that some share, more queries than are held at a time.
        let queries: Vec<Vec<u32>> = (0..70)
            .map(|query| {
                [tiny::tokens(query % 5 * 2, 70), tiny::tokens(1 + query % 7, query as u64)].concat()
            })
            .collect();
        for (adapter, before) in [(None, 6), (Some(&adapter), 6), (None, 0)] {
            let scorer = Scorer::new(&transformer, adapter);
            let before = tiny::tokens(before, 20);
            for (tolerance, effort) in [(0.0, usize::MAX), (1e-3, usize::MAX), (0.3, usize::MAX), (1e-3, 0)] {
                let goal = SearchGoal { offsets: None, tolerance, effort };
                let [found, all] = check(&scorer, &before, &queries, &tree, goal, name);
                assert!(
                    if tolerance == 0.0 { found == all } else { found < all },
                    "{name}: {found} of {all} nodes"
                );
            }
            let offsets: Vec<f64> = (0..tree.len()).map(|label| (label * 37 % 11) as f64 * 0.3).collect();
            let goal = SearchGoal { offsets: Some(&offsets), tolerance: 0.01, effort: 20 };
            check(&scorer, &before, &queries, &tree, goal, name);
        }
    }
}

#[test]
fn what_does_not_fit_is_refused() {
    let transformer = tiny::random(tiny::llama(), 8);
    let scorer = Scorer::new(&transformer, None);
    let search = |queries: &[Vec<u32>], tree: &LabelTree| {
        scorer.search_tree(None, &PromptTree::new(queries), tree, SearchGoal::default(), BUDGET)
    };
    let tree = labels(60, 37, 1);
    let too_long = search(&[tiny::tokens(62, 1)], &tree).expect_err("66 of 64 positions");
    assert!(matches!(too_long, Error::Context { needed: 66, limit: 64 }), "{too_long}");
    let empty = search(&[Vec::new()], &tree).expect_err("an empty query");
    assert!(matches!(empty, Error::Invalid(_)), "{empty}");
    assert!(search(&[], &tree).expect("nothing to do").scores.is_empty());
}

/// Words that labels and queries are made of.
const WORDS: [&str; 16] = [
    "card", "lost", "top", "up", "refund", "not", "arrived", "fee", "limit", "change", "pin", "cash",
    "transfer", "late", "new", "old",
];

fn words(length: usize, seed: u64) -> String {
    let chosen = tiny::tokens(length, seed).into_iter().map(|token| WORDS[token as usize % WORDS.len()]);
    chosen.collect::<Vec<_>>().join(" ")
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 12, ..ProptestConfig::default() })]

    /// Up to 120 labels, prompts with and without demonstrations, batches of any size.
    #[test]
    fn the_embedded_model_chooses_the_same_label(
        seed in 0_u64..1000, count in 30_usize..120, shots in 0_usize..6, queries in 1_usize..9, prior in any::<bool>(),
    ) {
        let model = embedded(Use::Inference);
        let mut names: Vec<String> =
            (0..count as u64).map(|label| words(1 + label as usize % 4, seed * 7 + label)).collect();
        names.sort_unstable();
        names.dedup();
        let encode = |text: &str| model.tokenizer.encode_plain(text).expect("plain words");
        let answers: Vec<Vec<u32>> = names.iter().map(|name| encode(&format!(" {name}\n"))).collect();
        let tree = LabelTree::new(&answers).expect("labels that end in a newline");
        let shown: String = (0..shots)
            .map(|shot| format!("Input: {}\nOutput: {}\n\n", words(4, seed + shot as u64), names[shot * 5 % names.len()]))
            .collect();
        let asked: Vec<Vec<u32>> = (0..queries)
            .map(|query| encode(&format!("Input: {}\nOutput:", words(3 + query, seed * 3 + query as u64))))
            .collect();
        let offsets: Vec<f64> = (0..tree.len()).map(|label| (label * 37 % 23) as f64 * 0.2).collect();
        let goal = SearchGoal { offsets: prior.then_some(&offsets), ..SearchGoal::default() };
        let scorer = Scorer::new(&model.transformer, None);
        let before = if shown.is_empty() { Vec::new() } else { encode(&shown) };
        check(&scorer, &before, &asked, &tree, goal, &format!("seed {seed}"));
    }
}
