//! Best-first search in a tree of labels: which nodes have to be computed to know the best label.
//!
//! Log-probabilities are not above zero, so that the sum on the way to a node is a bound of every label beneath it, and its
//! exponential one of all of them together. Nodes are computed in the order of their bounds until no label that is left can be
//! the best. The search of one query depends on its own log-probabilities alone, not on what else is in a batch.

use super::LabelTree;
use super::tree::Branch;

/// A label that is left out is at least so much below the best: more than rounding makes of a log-probability, which may even lie
/// above zero by it, or of later arithmetic with the scores.
const MARGIN: f64 = 1e-4;

/// Nodes of the first pass; later ones have half as many as all before them, so that there are few passes and few nodes that one at a
/// time would not have taken.
const FIRST: usize = 2;

/// What a search has to find.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct SearchGoal<'a> {
    /// What is added to each label's log-probability before labels are compared (the negative log-prior of a calibration);
    /// `None`: nothing. A value that is not finite counts as zero.
    pub offsets: Option<&'a [f64]>,
    /// Shares are known where the labels that are left out have together at most so much of the probability of those found.
    pub tolerance: f64,
    /// Nodes that may be computed for that once the best label is known. Where they would not do, none is.
    pub effort: usize,
}

impl Default for SearchGoal<'_> {
    /// No offsets; shares to a thousandth, for eight nodes.
    fn default() -> Self {
        Self { offsets: None, tolerance: 1e-3, effort: 8 }
    }
}

impl SearchGoal<'_> {
    fn offset(&self, label: usize) -> f64 {
        let offset = self.offsets.and_then(|offsets| offsets.get(label)).copied().unwrap_or(0.0);
        if offset.is_finite() { offset } else { 0.0 }
    }
}

/// What lies beneath each row of a tree: the same for all queries.
pub(super) struct Beneath {
    /// The largest offset of its labels.
    offset: Vec<f64>,
    /// How many labels.
    labels: Vec<usize>,
}

impl Beneath {
    pub(super) fn new(tree: &LabelTree, goal: &SearchGoal<'_>) -> Self {
        let rows = tree.nodes() + 1;
        let mut beneath = Self { offset: vec![f64::NEG_INFINITY; rows], labels: vec![0; rows] };
        // Children come after their parents.
        for row in (0..rows).rev() {
            for &(_, branch) in tree.branches(row) {
                let (offset, labels) = match branch {
                    Branch::Label(label) => (goal.offset(label), 1),
                    Branch::Node(node) => (beneath.offset[node + 1], beneath.labels[node + 1]),
                };
                beneath.offset[row] = beneath.offset[row].max(offset);
                beneath.labels[row] += labels;
            }
        }
        beneath
    }
}

/// The search of one query. Rows are those of the tree: 0 is the query's last, `1 + node` that of an inner node.
pub(super) struct Search<'t> {
    tree: &'t LabelTree,
    goal: SearchGoal<'t>,
    beneath: &'t Beneath,
    /// Log-probability of the way to each row that is known.
    sums: Vec<f64>,
    /// Rows that were asked for.
    asked: Vec<bool>,
    /// Rows whose sum is known and that were not asked for.
    open: Vec<usize>,
    scores: Vec<Option<f64>>,
    /// Rows that were asked for, the query's left out.
    count: usize,
    /// Of these, rows that were asked for when the best was known.
    extra: usize,
}

/// What a [`Search`] has found.
pub(super) struct Outcome {
    /// The score of every label. Of those that were left out, an equal share of what the way to them has.
    pub(super) scores: Vec<f64>,
    /// Whether the labels that were left out have together no more than they may.
    pub(super) complete: bool,
    /// Nodes that were asked for.
    pub(super) nodes: usize,
}

impl<'t> Search<'t> {
    pub(super) fn new(tree: &'t LabelTree, goal: SearchGoal<'t>, beneath: &'t Beneath) -> Self {
        let rows = tree.nodes() + 1;
        Self {
            tree,
            goal,
            beneath,
            sums: vec![0.0; rows],
            asked: vec![false; rows],
            open: Vec::new(),
            scores: vec![None; tree.len()],
            count: 0,
            extra: 0,
        }
    }

    /// Takes what a row says: the natural-log probability of each of its branches' tokens, in their order. Parents are taken before
    /// their children.
    pub(super) fn take(&mut self, row: usize, log_probabilities: &[f64]) {
        let tree = self.tree;
        for (&(_, branch), log_probability) in tree.branches(row).iter().zip(log_probabilities) {
            let sum = self.sums[row] + log_probability;
            let node = match branch {
                Branch::Label(label) => {
                    self.scores[label] = Some(sum);
                    continue;
                }
                Branch::Node(node) => node + 1,
            };
            self.sums[node] = sum;
            if self.asked[node] {
                // It is being computed.
            } else if sum.is_finite() {
                self.open.push(node);
            } else {
                // Impossible, or no number, as is everything beneath it.
                self.give(node, sum);
            }
        }
    }

    /// The nodes to be computed next, in ascending order; none where everything is found.
    pub(super) fn next(&mut self) -> Vec<usize> {
        let mut open = std::mem::take(&mut self.open);
        open.sort_by(|&a, &b| self.bound(b).total_cmp(&self.bound(a)).then(a.cmp(&b)));
        self.open = open;
        let rivals = self.rivals();
        let rows = if rivals > 0 { rivals.min(FIRST.max(self.count / 2)) } else { self.wanted() };
        let mut next: Vec<usize> = self.open.drain(..rows).collect();
        if rivals > 0 {
            self.follow(&mut next);
        } else {
            self.extra += next.len();
        }
        next.sort_unstable();
        next.iter().for_each(|&row| self.asked[row] = true);
        self.count += next.len();
        next.into_iter().map(|row| row - 1).collect()
    }

    /// Follows the first of `rows` for as long as nothing branches: the likeliest will hardly be left on the way.
    fn follow(&self, rows: &mut Vec<usize>) {
        let mut row = rows.first().copied();
        while let Some(&[(_, Branch::Node(node))]) = row.map(|row| self.tree.branches(row)) {
            rows.push(node + 1);
            row = Some(node + 1);
        }
    }

    /// Labels that were found, and their scores with their offsets.
    fn found(&self) -> impl Iterator<Item = f64> {
        let value = |(label, score): (usize, &Option<f64>)| Some((*score)? + self.goal.offset(label));
        self.scores.iter().enumerate().filter_map(value)
    }

    fn best(&self) -> f64 {
        self.found().fold(f64::NEG_INFINITY, f64::max)
    }

    /// The bound of an open row.
    fn bound(&self, row: usize) -> f64 {
        self.sums[row] + self.beneath.offset[row]
    }

    /// How many of the open rows, by falling bounds, may lead to the best label.
    fn rivals(&self) -> usize {
        let best = self.best();
        self.open.iter().take_while(|&&row| self.bound(row) >= best - MARGIN).count()
    }

    /// How many of them have to be computed for the shares to be known, as far as can be told.
    fn unknown(&self) -> usize {
        let best = self.best();
        let total: f64 = self.found().map(|value| (value - best).exp()).filter(|share| !share.is_nan()).sum();
        let mut left = 0.0;
        let spared = self.open.iter().rev().take_while(|&&row| {
            left += (self.bound(row) - best).exp();
            left <= self.goal.tolerance * total
        });
        self.open.len() - spared.count()
    }

    /// Those, where they are worth it.
    fn wanted(&self) -> usize {
        let unknown = self.unknown();
        if unknown <= self.goal.effort.saturating_sub(self.extra) { unknown } else { 0 }
    }

    pub(super) fn finish(mut self) -> Outcome {
        let complete = self.unknown() == 0;
        for row in std::mem::take(&mut self.open) {
            self.give(row, self.sums[row] - (self.beneath.labels[row] as f64).ln());
        }
        let scores = self.scores.into_iter().map(|score| score.unwrap_or(f64::NEG_INFINITY)).collect();
        Outcome { scores, complete, nodes: self.count }
    }

    /// Gives every label beneath `row` the same score.
    fn give(&mut self, row: usize, score: f64) {
        let tree = self.tree;
        let mut rows = vec![row];
        while let Some(row) = rows.pop() {
            for &(_, branch) in tree.branches(row) {
                match branch {
                    Branch::Label(label) => self.scores[label] = Some(score),
                    Branch::Node(node) => rows.push(node + 1),
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// Scores of all labels by the definition: the sum along each path, in the order of the path.
    fn scored(tree: &LabelTree, table: &dyn Fn(usize, u32) -> f64) -> Vec<f64> {
        let of =
            |path: &Vec<(usize, u32)>| path.iter().fold(0.0, |sum, &(row, token)| sum + table(row, token));
        tree.paths().iter().map(of).collect()
    }

    /// What a search finds in the same table.
    fn searched(tree: &LabelTree, goal: SearchGoal<'_>, table: &dyn Fn(usize, u32) -> f64) -> Outcome {
        let beneath = Beneath::new(tree, &goal);
        let mut search = Search::new(tree, goal, &beneath);
        let row = |row: usize| -> Vec<f64> {
            tree.branches(row).iter().map(|&(token, _)| table(row, token)).collect()
        };
        search.take(0, &row(0));
        loop {
            let nodes = search.next();
            if nodes.is_empty() {
                return search.finish();
            }
            for node in nodes {
                search.take(node + 1, &row(node + 1));
            }
        }
    }

    /// The first label of the highest score.
    fn best(scores: &[f64], goal: &SearchGoal<'_>) -> usize {
        let value = |label: usize| scores[label] + goal.offset(label);
        (0..scores.len()).fold(0, |best, label| if value(label) > value(best) { label } else { best })
    }

    /// A tree of labels that end in a terminator, from any texts.
    fn tree(texts: &[Vec<u32>]) -> LabelTree {
        let mut labels: Vec<Vec<u32>> = texts.iter().map(|text| [text.as_slice(), &[9]].concat()).collect();
        labels.sort_unstable();
        labels.dedup();
        LabelTree::new(&labels).expect("labels that differ")
    }

    /// No nodes for the shares.
    const BEST: SearchGoal<'static> = SearchGoal { offsets: None, tolerance: 1e-3, effort: 0 };

    #[test]
    fn what_cannot_be_best_is_not_computed() {
        // First tokens .5, .3 and .1; below the first .8 and .1, below the others all of one label each. By hand.
        let tree = tree(&[vec![1, 3], vec![1, 4], vec![2, 5], vec![6, 7, 8]]);
        let table = |row: usize, token: u32| match (row, token) {
            (0, 1) => 0.5_f64.ln(),
            (0, 2) => 0.3_f64.ln(),
            (0, 6) => 0.1_f64.ln(),
            (1, 3) => 0.8_f64.ln(),
            (1, 4) => 0.1_f64.ln(),
            _ => 0.0,
        };
        let close = |scores: &[f64], expected: [f64; 4]| {
            let expected = expected.map(f64::ln);
            assert!(scores.iter().zip(expected).all(|(a, b)| (a - b).abs() < 1e-12), "{scores:?}");
        };
        // The first pass has the nodes of 1 and 2; then 1 3 (.4) and 2 5 (.3) are the likeliest, and 1 3 is the best.
        let outcome = searched(&tree, BEST, &table);
        assert!(!outcome.complete && outcome.nodes == 4);
        close(&outcome.scores, [0.4, 0.05, 0.3, 0.1]);
        // .15 of .7 is left: the node of 6 and that of 1 4 are two, and below 6 there are two more, of which one is known at a time.
        let outcome = searched(&tree, SearchGoal { tolerance: 0.25, ..BEST }, &table);
        assert!(outcome.complete && outcome.nodes == 4);
        let outcome = searched(&tree, SearchGoal { effort: 1, ..BEST }, &table);
        assert!(!outcome.complete && outcome.nodes == 4, "one node would not do");
        let outcome = searched(&tree, SearchGoal { effort: 4, ..BEST }, &table);
        assert!(outcome.complete && outcome.nodes == 8 && tree.nodes() == 8);
    }

    #[test]
    fn an_offset_lifts_what_the_way_makes_unlikely() {
        let tree = tree(&[vec![1, 3], vec![2, 5]]);
        let table = |row: usize, token: u32| if (row, token) == (0, 1) { -0.1 } else { -2.4 };
        let goal = SearchGoal { offsets: Some(&[0.0, 9.0]), ..BEST };
        let outcome = searched(&tree, goal, &table);
        assert_eq!(best(&outcome.scores, &goal), 1);
        assert_eq!(outcome.scores[1], scored(&tree, &table)[1]);
    }

    #[test]
    fn what_is_no_number_is_not_searched() {
        let tree = tree(&[vec![1, 3], vec![2, 5], vec![4, 6]]);
        let table = |row: usize, token: u32| match (row, token) {
            (0, 1) => f64::NAN,
            (0, 2) => f64::NEG_INFINITY,
            _ => -1.0,
        };
        let Outcome { scores, nodes, .. } = searched(&tree, BEST, &table);
        assert!(scores[0].is_nan() && scores[1] == f64::NEG_INFINITY && scores[2] == -3.0, "{scores:?}");
        assert_eq!(nodes, 2);
        let outcome = searched(&tree, BEST, &|_, _| f64::NAN);
        assert!(outcome.scores.iter().all(|score| score.is_nan()) && outcome.nodes == 0);
    }

    proptest! {
        /// Log-probabilities are multiples of a half, so that many labels have exactly the same score.
        #[test]
        fn the_best_is_that_of_the_whole_tree(
            texts in prop::collection::vec(prop::collection::vec(0_u32..4, 0..5), 1..60),
            steep in 0_u32..9,
            seed in any::<u64>(),
            tolerance in prop_oneof![Just(0.0), Just(1e-3), Just(0.1)],
            effort in prop_oneof![Just(0), Just(5), Just(usize::MAX)],
            raised in prop_oneof![Just(None), (0.0..12.0_f64).prop_map(Some)],
        ) {
            let tree = tree(&texts);
            let drawn = |row: u64, token: u64| {
                let mut bits = seed ^ (row << 8 | token).wrapping_mul(0x9e37_79b9_7f4a_7c15);
                bits = (bits ^ (bits >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
                (bits ^ (bits >> 31)) >> 32
            };
            // At most five tokens follow a row: each has at most a fifth, 2 being more than ln 5.
            let table = |row: usize, token: u32| {
                -2.0 - 0.5 * (drawn(row as u64, u64::from(token)) % u64::from(steep + 1)) as f64
            };
            let offsets: Option<Vec<f64>> = raised.map(|most| {
                let offset = |label: usize| {
                    (most * drawn(1 << 20, label as u64) as f64 / 2f64.powi(31)).floor() * 0.5
                };
                (0..tree.len()).map(offset).collect()
            });
            let goal = SearchGoal { offsets: offsets.as_deref(), tolerance, effort };
            let full = scored(&tree, &table);
            let Outcome { scores, complete, nodes } = searched(&tree, goal, &table);
            let chosen = best(&full, &goal);
            prop_assert_eq!(best(&scores, &goal), chosen);
            prop_assert_eq!(scores[chosen], full[chosen]);
            prop_assert!(nodes <= tree.nodes());
            prop_assert!(complete || effort < usize::MAX);
            let share = |scores: &[f64]| {
                let value = |label: usize| (scores[label] + goal.offset(label)).exp();
                value(chosen) / (0..scores.len()).map(value).sum::<f64>()
            };
            let off = (share(&scores) / share(&full) - 1.0).abs();
            prop_assert!(!complete || off <= tolerance + 1e-9, "{} and {}", share(&scores), share(&full));
            if complete && tolerance == 0.0 {
                prop_assert_eq!(nodes, tree.nodes());
                prop_assert_eq!(scores, full);
            }
        }
    }
}
