//! In which order a tree of prompts is computed, so that batches are full and few prefixes are held at a time.

use super::prompts::PromptTree;
use crate::Error;
use crate::transformer::Prefix;

/// Tokens whose keys and values the nodes of a tree may hold while others wait for their prompts; only a path that is
/// longer by itself exceeds it.
const HELD: usize = 8192;

/// Something to compute after `past`.
pub(super) struct Item {
    /// Index of the node, or of the prompt.
    pub(super) index: usize,
    pub(super) past: Option<Prefix>,
}

/// What a [`Schedule`] asks for.
pub(super) trait Work {
    /// Computes nodes together and returns their pasts continued by them.
    fn extend(&mut self, nodes: &[Item]) -> Result<Vec<Prefix>, Error>;
    /// Scores prompts together.
    fn score(&mut self, prompts: &[Item]) -> Result<(), Error>;
}

/// Goes through a tree depth first: nodes are taken from a stack, as many as fill a batch, and prompts wait until they
/// fill one. A prefix is released when everything below it is done.
pub(super) struct Schedule<'a> {
    tree: &'a PromptTree<'a>,
    /// Rows of a batch.
    budget: usize,
    /// Rows that each prompt needs beside its own tokens.
    labels: usize,
    /// Nodes whose parents are computed.
    open: Vec<Item>,
    /// Prompts whose parents are computed, and their rows.
    waiting: Vec<Item>,
    waiting_rows: usize,
    /// For each node how many of its children are not done.
    pending: Vec<usize>,
    /// Tokens of the nodes that are held.
    held: usize,
}

impl<'a> Schedule<'a> {
    pub(super) fn new(tree: &'a PromptTree<'a>, budget: usize, labels: usize) -> Self {
        let children = |node| tree.children(Some(node)).nodes.len() + tree.children(Some(node)).prompts.len();
        Self {
            tree,
            budget,
            labels,
            open: Vec::new(),
            waiting: Vec::new(),
            waiting_rows: 0,
            pending: (0..tree.nodes()).map(children).collect(),
            held: 0,
        }
    }

    /// Computes everything, all of it after `prefix`.
    pub(super) fn run(mut self, prefix: Option<&Prefix>, work: &mut dyn Work) -> Result<(), Error> {
        self.descend(None, prefix, work)?;
        while !self.open.is_empty() {
            if self.held + self.top() > HELD {
                self.flush(work)?;
            }
            let nodes = self.next_nodes();
            let extended = work.extend(&nodes)?;
            self.held += nodes.iter().map(|item| self.tree.node(item.index).len()).sum::<usize>();
            for (item, prefix) in nodes.into_iter().zip(extended) {
                self.descend(Some(item.index), Some(&prefix), work)?;
            }
        }
        self.flush(work)
    }

    /// Tokens of the node on the top of the stack.
    fn top(&self) -> usize {
        self.open.last().map_or(0, |item| self.tree.node(item.index).len())
    }

    /// Nodes from the top of the stack that fill a batch; one at least, and only one where more would not be held.
    fn next_nodes(&mut self) -> Vec<Item> {
        let mut nodes = Vec::new();
        let mut rows = 0;
        while !self.open.is_empty() {
            let more = self.top();
            if !nodes.is_empty() && (rows + more > self.budget || self.held + rows + more > HELD) {
                break;
            }
            rows += more;
            nodes.extend(self.open.pop());
        }
        nodes
    }

    /// What follows a computed node: its nodes are opened, its prompts wait.
    fn descend(
        &mut self,
        node: Option<usize>,
        prefix: Option<&Prefix>,
        work: &mut dyn Work,
    ) -> Result<(), Error> {
        let tree = self.tree;
        let children = tree.children(node);
        let item = |&index: &usize| Item { index, past: prefix.cloned() };
        self.open.extend(children.nodes.iter().map(item));
        for index in &children.prompts {
            let rows = tree.own(*index).len() + self.labels;
            if self.waiting_rows + rows > self.budget {
                self.flush(work)?;
            }
            self.waiting.push(item(index));
            self.waiting_rows += rows;
        }
        Ok(())
    }

    /// Scores the prompts that wait.
    fn flush(&mut self, work: &mut dyn Work) -> Result<(), Error> {
        self.waiting_rows = 0;
        let waiting = std::mem::take(&mut self.waiting);
        if !waiting.is_empty() {
            work.score(&waiting)?;
        }
        waiting.iter().for_each(|item| self.finish(self.tree.above(item.index)));
        Ok(())
    }

    /// A child of `node` is done; where it was the last, so is the node.
    fn finish(&mut self, node: Option<usize>) {
        let mut node = node;
        while let Some(done) = node {
            self.pending[done] -= 1;
            if self.pending[done] > 0 {
                break;
            }
            self.held -= self.tree.node(done).len();
            node = self.tree.parent(done);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Counts instead of computing; a past is told by its length alone.
    #[derive(Default)]
    struct Counted {
        extended: Vec<usize>,
        scored: Vec<usize>,
        batches: Vec<usize>,
    }

    impl Work for Counted {
        fn extend(&mut self, nodes: &[Item]) -> Result<Vec<Prefix>, Error> {
            self.extended.extend(nodes.iter().map(|item| item.index));
            self.batches.push(nodes.len());
            Ok(vec![Prefix::default(); nodes.len()])
        }
        fn score(&mut self, prompts: &[Item]) -> Result<(), Error> {
            self.scored.extend(prompts.iter().map(|item| item.index));
            self.batches.push(prompts.len());
            Ok(())
        }
    }

    #[test]
    fn everything_is_computed_once_parents_first() {
        let prompts: Vec<Vec<u32>> = (0..27).map(|i| vec![i / 9, i / 9, i / 3, i / 3, i]).collect();
        let tree = PromptTree::with_shortest(&prompts, 2);
        // Three nodes of two tokens, below each three more.
        assert_eq!(tree.nodes(), 12);
        let mut counted = Counted::default();
        Schedule::new(&tree, 6, 1).run(None, &mut counted).expect("counting");
        let place = |node| counted.extended.iter().position(|&other| other == node).expect("computed");
        for node in 0..tree.nodes() {
            assert!(tree.parent(node).is_none_or(|parent| place(parent) < place(node)));
        }
        assert_eq!(counted.extended.len(), 12);
        counted.scored.sort_unstable();
        assert_eq!(counted.scored, (0..27).collect::<Vec<_>>());
        // Six rows: three nodes of two tokens, three prompts of one token and one label.
        assert_eq!(counted.batches, vec![3; 4 + 9]);
    }
}
