//! Labels as a tree of tokens: what labels have in common is computed once.

use std::collections::BTreeMap;

use crate::Error;
use kernels::attention::ROOT;

/// The token sequences of a set of labels, merged at their common beginnings.
///
/// The inner nodes are rows of a packed batch that follow a query; a label's probability is read off the rows on its
/// path: row 0 is the query's last, row `1 + node` that of an inner node.
#[derive(Clone, Debug)]
pub struct LabelTree {
    /// Token of each inner node; parents come first.
    tokens: Vec<u32>,
    /// Parent of each inner node, or [`ROOT`].
    parents: Vec<u32>,
    /// Path of each label: row and the token that is predicted there.
    paths: Vec<Vec<(usize, u32)>>,
    /// What follows each row: the token, and where it leads.
    branches: Vec<Vec<(u32, Branch)>>,
    /// Most tokens in a label.
    depth: usize,
}

/// Where a token leads from a row of the tree.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Branch {
    /// To an inner node.
    Node(usize),
    /// To the end of a label.
    Label(usize),
}

impl LabelTree {
    /// Merges the labels' tokens.
    ///
    /// # Errors
    /// [`Error::Invalid`], naming the labels by their index, where there is none, one has no tokens, two have the
    /// same, or one is the beginning of another: their probabilities could not be compared. Where every label ends in
    /// a terminator, none begins another.
    pub fn new(labels: &[Vec<u32>]) -> Result<Self, Error> {
        check(labels)?;
        let mut tree = Self {
            tokens: Vec::new(),
            parents: Vec::new(),
            paths: Vec::new(),
            branches: vec![Vec::new()],
            depth: 0,
        };
        let mut children: BTreeMap<(u32, u32), u32> = BTreeMap::new();
        for (index, label) in labels.iter().enumerate() {
            let mut node = ROOT;
            let mut path = Vec::with_capacity(label.len());
            for (position, &token) in label.iter().enumerate() {
                let row = if node == ROOT { 0 } else { node as usize + 1 };
                path.push((row, token));
                if position + 1 == label.len() {
                    tree.branches[row].push((token, Branch::Label(index)));
                } else {
                    node = *children.entry((node, token)).or_insert_with(|| {
                        tree.branches[row].push((token, Branch::Node(tree.tokens.len())));
                        tree.branches.push(Vec::new());
                        tree.tokens.push(token);
                        tree.parents.push(node);
                        tree.tokens.len() as u32 - 1
                    });
                }
            }
            tree.depth = tree.depth.max(label.len());
            tree.paths.push(path);
        }
        Ok(tree)
    }

    /// Number of labels.
    pub fn len(&self) -> usize {
        self.paths.len()
    }

    /// Whether there is no label; never, for a tree that was made.
    pub fn is_empty(&self) -> bool {
        self.paths.is_empty()
    }

    /// Inner nodes: rows that are computed after each query.
    pub fn nodes(&self) -> usize {
        self.tokens.len()
    }

    /// Positions that the longest label needs after a query.
    pub fn depth(&self) -> usize {
        self.depth.saturating_sub(1)
    }

    pub(super) fn tokens(&self) -> &[u32] {
        &self.tokens
    }

    pub(super) fn parents(&self) -> &[u32] {
        &self.parents
    }

    /// What follows the query's last row (0), or that of an inner node (1 and its number).
    pub(super) fn branches(&self, row: usize) -> &[(u32, Branch)] {
        &self.branches[row]
    }

    /// For each row of the tree, the query's last one first: which label's which token is predicted there.
    pub(super) fn wanted(&self) -> Vec<Vec<(usize, u32)>> {
        let mut wanted = vec![Vec::new(); self.nodes() + 1];
        for (label, path) in self.paths.iter().enumerate() {
            for &(row, token) in path {
                wanted[row].push((label, token));
            }
        }
        wanted
    }

    /// The labels' paths: (row, token predicted there).
    pub(super) fn paths(&self) -> &[Vec<(usize, u32)>] {
        &self.paths
    }
}

fn check(labels: &[Vec<u32>]) -> Result<(), Error> {
    if labels.is_empty() {
        return Err(Error::Invalid("no labels to score".into()));
    }
    if let Some(empty) = labels.iter().position(Vec::is_empty) {
        return Err(Error::Invalid(format!("label {empty} has no tokens")));
    }
    let mut order: Vec<usize> = (0..labels.len()).collect();
    order.sort_by(|&a, &b| labels[a].cmp(&labels[b]));
    for pair in order.windows(2) {
        // In lexical order, a sequence that begins others comes directly before one of them.
        let (first, second) = (&labels[pair[0]], &labels[pair[1]]);
        if first == second {
            let (low, high) = (pair[0].min(pair[1]), pair[0].max(pair[1]));
            return Err(Error::Invalid(format!("labels {low} and {high} have the same tokens")));
        }
        if second.starts_with(first) {
            return Err(Error::Invalid(format!(
                "the tokens of label {} are the beginning of those of label {}",
                pair[0], pair[1]
            )));
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn common_beginnings_are_one_node() {
        // a-b-x, a-b-y, a-c, d: inner nodes a, a-b; by hand.
        let tree = LabelTree::new(&[vec![1, 2, 8], vec![1, 2, 9], vec![1, 3], vec![4]]).expect("a tree");
        assert_eq!(tree.tokens(), [1, 2]);
        assert_eq!(tree.parents(), [ROOT, 0]);
        assert_eq!(tree.paths()[0], [(0, 1), (1, 2), (2, 8)]);
        assert_eq!(tree.paths()[2], [(0, 1), (1, 3)]);
        assert_eq!(tree.paths()[3], [(0, 4)]);
        assert_eq!((tree.len(), tree.nodes(), tree.depth()), (4, 2, 2));
        assert_eq!(tree.branches(0), [(1, Branch::Node(0)), (4, Branch::Label(3))]);
        assert_eq!(tree.branches(1), [(2, Branch::Node(1)), (3, Branch::Label(2))]);
        assert_eq!(tree.branches(2), [(8, Branch::Label(0)), (9, Branch::Label(1))]);
    }

    #[test]
    fn ambiguous_labels_are_refused_by_name() {
        let message = |labels: &[Vec<u32>]| LabelTree::new(labels).expect_err("refused").to_string();
        assert!(message(&[]).contains("no labels"));
        assert!(message(&[vec![1], vec![]]).contains("label 1 has no tokens"));
        assert!(message(&[vec![1, 2], vec![3], vec![1, 2]]).contains("labels 0 and 2"));
        let prefix = message(&[vec![5, 6, 7], vec![9], vec![5, 6]]);
        assert!(prefix.contains("label 2 are the beginning of those of label 0"), "{prefix}");
    }
}
