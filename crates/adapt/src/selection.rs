//! Which examples are shown or trained on, and in which order.
//!
//! Every draw comes from a [`Pcg64`] seeded with the given number alone, so that a draw can be named by its seed
//! in a record and made again.

use std::collections::BTreeMap;

use rand::SeedableRng;
use rand::seq::SliceRandom;
use rand_pcg::Pcg64;

use crate::retrieval::Bm25;

/// Draws `k` examples, balanced over the labels, as indices into `targets`.
///
/// `targets[i]` is example `i`'s label; examples whose label is not below `labels` are never drawn. The draw goes
/// round and round over the labels, in an order shuffled anew each round, and takes a random example of each; a
/// label that has run out is passed over. Hence a smaller draw of the same seed is the beginning of a larger one,
/// counts differ by at most one between labels that have not run out, and no example comes twice. Fewer than
/// `k` come back only when there are no more.
pub fn balanced_draw(targets: &[usize], labels: usize, k: usize, seed: u64) -> Vec<usize> {
    let mut generator = Pcg64::seed_from_u64(seed);
    let mut shuffled: Vec<usize> = (0..targets.len()).filter(|&example| targets[example] < labels).collect();
    shuffled.shuffle(&mut generator);
    let mut remaining: BTreeMap<usize, Vec<usize>> = BTreeMap::new();
    for example in shuffled {
        remaining.entry(targets[example]).or_default().push(example);
    }
    let mut drawn = Vec::with_capacity(k.min(targets.len()));
    while drawn.len() < k && !remaining.is_empty() {
        let mut round: Vec<usize> = remaining.keys().copied().collect();
        round.shuffle(&mut generator);
        drawn.extend(round.iter().filter_map(|label| remaining.get_mut(label)?.pop()));
        remaining.retain(|_, examples| !examples.is_empty());
    }
    drawn.truncate(k);
    drawn
}

/// The first `n` examples that one would have labelled under `seed`: a balanced training set, nested in `n`.
///
/// The same draw as [`balanced_draw`], so that at the same `n` and seed a prompt and a training
/// run see the same examples.
pub fn nested_subset(targets: &[usize], labels: usize, n: usize, seed: u64) -> Vec<usize> {
    balanced_draw(targets, labels, n, seed)
}

/// The `count` examples nearest to `query`, **nearest last**, at most `per_label` of one label: see [`Retrieval`].
///
/// `index` holds the examples' inputs and `targets` their labels, in the same order.
pub fn retrieved(
    index: &Bm25,
    query: &str,
    targets: &[usize],
    count: usize,
    per_label: Option<usize>,
) -> Vec<usize> {
    Retrieval { count, per_label, exclude: None }.choose(index, query, targets)
}

/// How demonstrations are retrieved for one query.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Retrieval {
    /// How many demonstrations.
    pub count: usize,
    /// At most this many of one label; `None` for no limit.
    pub per_label: Option<usize>,
    /// The query's own index, where the query is one of the indexed examples.
    pub exclude: Option<usize>,
}

/// Seed of the draw that fills up what retrieval did not find.
const FILLING_SEED: u64 = 0;

impl Retrieval {
    /// The examples nearest to `query`, farthest first and **nearest last**, so that the nearest stands right
    /// before the query in the prompt.
    ///
    /// Where fewer than `count` examples share a word with the query (or the limit per label holds them back),
    /// the rest comes from a fixed [`balanced_draw`], under the same conditions, and stands first: a prompt
    /// without demonstrations would be another method. No example comes twice, and fewer than `count` come back
    /// only when the conditions allow no more.
    pub fn choose(&self, index: &Bm25, query: &str, targets: &[usize]) -> Vec<usize> {
        let found = index.search(query, usize::MAX, self.exclude);
        self.choose_ranked(found.into_iter().map(|(example, _)| example), targets)
    }

    /// As [`Retrieval::choose`], from examples that are ranked already, the best first.
    pub fn choose_ranked(&self, ranked: impl IntoIterator<Item = usize>, targets: &[usize]) -> Vec<usize> {
        let mut choice = Choice { retrieval: self, targets, of_label: BTreeMap::new(), chosen: Vec::new() };
        for example in ranked {
            choice.offer(example);
        }
        if choice.chosen.len() < self.count {
            for example in balanced_draw(targets, usize::MAX, usize::MAX, FILLING_SEED) {
                choice.offer(example);
            }
        }
        choice.chosen.reverse();
        choice.chosen
    }
}

/// `count` of the candidates by maximal marginal relevance (Carbonell and Goldstein 1998), the first choice first: each time the
/// candidate `i` with the highest `lambda * relevance[i] - (1 - lambda) * max similarity(i, j)` over those `j` that are chosen
/// already, ties to the earlier one. `lambda` 1 ranks by relevance alone.
pub fn marginal_relevance(
    relevance: &[f64],
    similarity: impl Fn(usize, usize) -> f64,
    count: usize,
    lambda: f64,
) -> Vec<usize> {
    let mut nearest = vec![0.0_f64; relevance.len()];
    let mut chosen: Vec<usize> = Vec::new();
    while chosen.len() < count.min(relevance.len()) {
        let value = |&i: &usize| lambda * relevance[i] - (1.0 - lambda) * nearest[i];
        let left = (0..relevance.len()).filter(|i| !chosen.contains(i));
        // The last of equals wins in `max_by`: backwards it is the first.
        let Some(best) = left.rev().max_by(|a, b| value(a).total_cmp(&value(b))) else { break };
        chosen.push(best);
        for (i, nearest) in nearest.iter_mut().enumerate() {
            *nearest = nearest.max(similarity(i, best));
        }
    }
    chosen
}

/// `chosen` in rounds over the labels, each round in the labels' order. Of each label the last one stays last, and a round that
/// lacks labels comes first.
pub fn cycled(chosen: Vec<usize>, targets: &[usize]) -> Vec<usize> {
    let mut of_label: BTreeMap<usize, Vec<usize>> = BTreeMap::new();
    for example in chosen {
        of_label.entry(targets[example]).or_default().push(example);
    }
    let mut backwards = Vec::new();
    while !of_label.is_empty() {
        backwards.extend(of_label.values_mut().rev().filter_map(Vec::pop));
        of_label.retain(|_, examples| !examples.is_empty());
    }
    backwards.reverse();
    backwards
}

/// Most examples that [`fixed_order`] asks the index about.
const ASKED: usize = 512;

/// The place of each example in one order for all queries: those that other examples retrieve most often come first,
/// and equals in the order given. Prompts whose demonstrations stand in this order begin alike more often than in any
/// other that does not depend on the query (the frequency-descending order of FP-trees, Han et al. 2000).
///
/// `inputs` are the indexed documents; at most 512 of them, evenly spread, are asked for their `count` nearest.
pub fn fixed_order(index: &Bm25, inputs: &[&str], targets: &[usize], count: usize) -> Vec<usize> {
    let mut retrievals = vec![0_usize; inputs.len()];
    for example in (0..inputs.len()).step_by(inputs.len().div_ceil(ASKED).max(1)) {
        let retrieval = Retrieval { count, per_label: None, exclude: Some(example) };
        for found in retrieval.choose(index, inputs[example], targets) {
            retrievals[found] += 1;
        }
    }
    let mut order: Vec<usize> = (0..inputs.len()).collect();
    order.sort_by_key(|&example| std::cmp::Reverse(retrievals[example]));
    let mut places = vec![0; inputs.len()];
    for (place, example) in order.into_iter().enumerate() {
        places[example] = place;
    }
    places
}

/// Demonstrations chosen so far, nearest first.
struct Choice<'a> {
    retrieval: &'a Retrieval,
    targets: &'a [usize],
    of_label: BTreeMap<usize, usize>,
    chosen: Vec<usize>,
}

impl Choice<'_> {
    /// Takes `example` if the conditions allow it.
    fn offer(&mut self, example: usize) {
        let &Retrieval { count, per_label, exclude } = self.retrieval;
        let (false, Some(&target)) = (self.chosen.len() >= count, self.targets.get(example)) else { return };
        if Some(example) == exclude || self.chosen.contains(&example) {
            return;
        }
        let same_label = self.of_label.entry(target).or_default();
        if per_label.is_none_or(|limit| *same_label < limit) {
            *same_label += 1;
            self.chosen.push(example);
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn counts(targets: &[usize], drawn: &[usize], labels: usize) -> Vec<usize> {
        (0..labels).map(|label| drawn.iter().filter(|&&example| targets[example] == label).count()).collect()
    }

    proptest! {
        #[test]
        fn draws_are_balanced_within_one_and_without_repeats(
            targets in prop::collection::vec(0_usize..6, 0..80), k in 0_usize..90, seed: u64,
        ) {
            let drawn = balanced_draw(&targets, 6, k, seed);
            prop_assert_eq!(drawn.len(), k.min(targets.len()));
            let distinct: std::collections::BTreeSet<usize> = drawn.iter().copied().collect();
            prop_assert_eq!(distinct.len(), drawn.len());
            let all: Vec<usize> = (0..targets.len()).collect();
            let (have, available) = (counts(&targets, &drawn, 6), counts(&targets, &all, 6));
            let most = have.iter().copied().max().unwrap_or(0);
            for label in 0..6 {
                prop_assert!(have[label] + 1 >= most || have[label] == available[label]);
            }
        }

        #[test]
        fn draws_are_nested_and_deterministic(
            targets in prop::collection::vec(0_usize..4, 0..60), small in 0_usize..60, more in 0_usize..60, seed: u64,
        ) {
            let larger = balanced_draw(&targets, 4, small + more, seed);
            let smaller = balanced_draw(&targets, 4, small, seed);
            prop_assert_eq!(&smaller[..], &larger[..smaller.len()]);
            prop_assert_eq!(&nested_subset(&targets, 4, small, seed), &smaller);
        }

        #[test]
        fn retrieval_keeps_its_conditions(
            targets in prop::collection::vec(0_usize..3, 12), count in 0_usize..14, limit in 0_usize..5,
            exclude in 0_usize..12,
        ) {
            let texts: Vec<String> = (0..12).map(|i| format!("word{} word{}", i % 4, i % 5)).collect();
            let index = Bm25::new(&texts.iter().map(String::as_str).collect::<Vec<_>>());
            let retrieval = Retrieval { count, per_label: Some(limit), exclude: Some(exclude) };
            let chosen = retrieval.choose(&index, "word1 word2", &targets);
            prop_assert!(!chosen.contains(&exclude));
            let distinct: std::collections::BTreeSet<usize> = chosen.iter().copied().collect();
            prop_assert_eq!(distinct.len(), chosen.len());
            prop_assert!(counts(&targets, &chosen, 3).into_iter().all(|of_label| of_label <= limit));
            let mut available = targets.clone();
            available.remove(exclude);
            let all: Vec<usize> = (0..11).collect();
            let possible: usize = counts(&available, &all, 3).into_iter().map(|n| n.min(limit)).sum();
            prop_assert_eq!(chosen.len(), count.min(possible));
        }
    }

    #[test]
    fn labels_out_of_range_are_never_drawn() {
        assert_eq!(balanced_draw(&[5, 0, 5, usize::MAX], 1, 9, 3), [1]);
        assert!(balanced_draw(&[], 3, usize::MAX, 3).is_empty());
        assert!(balanced_draw(&[0, 1], 0, 4, 3).is_empty());
    }

    #[test]
    fn seeds_give_different_draws() {
        let targets: Vec<usize> = (0..40).map(|i| i % 4).collect();
        assert_ne!(balanced_draw(&targets, 4, 40, 0), balanced_draw(&targets, 4, 40, 1));
    }

    #[test]
    fn the_nearest_stands_last_and_what_fills_up_first() {
        let index = Bm25::new(&["red", "green apple", "green apple pie", "blue sky"]);
        let targets = [0, 1, 1, 0];
        assert_eq!(retrieved(&index, "apple pie", &targets, 2, None), [1, 2]);
        assert_eq!(retrieved(&index, "apple pie", &targets, 4, None)[2..], [1, 2]);
        assert_eq!(retrieved(&index, "apple pie", &targets, 1, Some(1)), [2]);
        let filled = retrieved(&index, "apple pie", &targets, 3, Some(1));
        assert!(filled == [0, 2] || filled == [3, 2], "{filled:?}");
        assert_eq!(retrieved(&index, "weather", &targets, 3, None).len(), 3);
        assert!(retrieved(&index, "apple", &targets, 0, None).is_empty());
    }

    #[test]
    fn the_fixed_order_begins_with_what_is_retrieved_most() {
        // The outer two share a word with the middle one only.
        let inputs = ["a b d e f", "b c", "c g h i j"];
        let index = Bm25::new(&inputs);
        assert_eq!(index.search(inputs[0], 1, Some(0))[0].0, 1);
        assert_eq!(index.search(inputs[2], 1, Some(2))[0].0, 1);
        let places = fixed_order(&index, &inputs, &[0, 1, 2], 1);
        assert_eq!(places[1], 0);
        let mut sorted = places.clone();
        sorted.sort_unstable();
        assert_eq!(sorted, [0, 1, 2]);
        assert!(fixed_order(&Bm25::new(&[]), &[], &[], 3).is_empty());
    }

    #[test]
    fn marginal_relevance_is_that_of_hand_arithmetic() {
        // 0 and 1 are nearly the same. With lambda 0.5: first 0 (0.45); then 1 has 0.4 - 0.475 = -0.075, 2 has 0.25 - 0.05 = 0.2;
        // then 1 is left. With lambda 0.9: 1 has 0.72 - 0.095 = 0.625, 2 has 0.45 - 0.01 = 0.44.
        let relevance = [0.9, 0.8, 0.5];
        let similarity = |a: usize, b: usize| match (a.min(b), a.max(b)) {
            (a, b) if a == b => 1.0,
            (0, 1) => 0.95,
            _ => 0.1,
        };
        assert_eq!(marginal_relevance(&relevance, similarity, 2, 0.5), [0, 2]);
        assert_eq!(marginal_relevance(&relevance, similarity, 9, 0.5), [0, 2, 1]);
        assert_eq!(marginal_relevance(&relevance, similarity, 2, 0.9), [0, 1]);
        assert_eq!(marginal_relevance(&[0.5, 0.5], |_, _| 0.0, 1, 0.7), [0], "a tie goes to the earlier");
    }

    #[test]
    fn a_cycle_goes_round_the_labels_and_keeps_the_nearest_last() {
        let targets = [0, 1, 0, 1, 1];
        assert_eq!(cycled(vec![4, 1, 3, 0, 2], &targets), [4, 0, 1, 2, 3]);
        assert_eq!(cycled(vec![2, 3, 0], &targets), [2, 0, 3]);
        assert!(cycled(Vec::new(), &targets).is_empty());
    }

    // A change here means that seeds in stored records would no longer name the draws that they were made with.
    #[test]
    fn draws_of_a_seed_stay_what_they_were() {
        let targets: Vec<usize> = (0..12).map(|i| i % 3).collect();
        assert_eq!(balanced_draw(&targets, 3, 12, 7), [11, 6, 10, 9, 1, 5, 3, 2, 4, 7, 8, 0]);
    }
}
