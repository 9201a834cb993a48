//! Prompts as a tree of tokens: what several of them begin with is computed once.

/// A shared beginning shorter than this many tokens is computed again by each prompt: as a past of its own it would
/// cost attention more than it saves.
pub const SHORTEST_SHARED: usize = 16;

/// Token sequences of many prompts, merged at their common beginnings. Each prompt keeps at least its last token for
/// itself, which is what its labels hang from.
#[derive(Clone, Debug)]
pub struct PromptTree<'a> {
    prompts: Vec<&'a [u32]>,
    /// Shared beginnings; parents come first.
    nodes: Vec<Node>,
    /// For each prompt the node that it follows, and how many of its tokens that path holds.
    ends: Vec<(Option<usize>, usize)>,
    /// Nodes and prompts that follow nothing.
    roots: Children,
}

/// Tokens that several prompts have in common, after those of the parent.
#[derive(Clone, Debug)]
struct Node {
    parent: Option<usize>,
    /// Any of its prompts, and which of that prompt's tokens are the node's.
    prompt: usize,
    from: usize,
    to: usize,
    children: Children,
}

/// What follows a node directly.
#[derive(Clone, Debug, Default)]
pub(super) struct Children {
    pub(super) nodes: Vec<usize>,
    pub(super) prompts: Vec<usize>,
}

impl<'a> PromptTree<'a> {
    /// Merges the beginnings that at least two prompts share, of [`SHORTEST_SHARED`] tokens or more.
    pub fn new<P: AsRef<[u32]>>(prompts: &'a [P]) -> Self {
        Self::with_shortest(prompts, SHORTEST_SHARED)
    }

    /// As [`PromptTree::new`], with beginnings from `shortest` tokens on (at least one).
    pub fn with_shortest<P: AsRef<[u32]>>(prompts: &'a [P], shortest: usize) -> Self {
        let mut tree = Self::alone(prompts);
        tree.roots = Children::default();
        let mut order: Vec<usize> = (0..prompts.len()).collect();
        order.sort_by(|&a, &b| tree.prompts[a].cmp(tree.prompts[b]));
        tree.grow(&order, 0, None, shortest.max(1));
        // Prompts of a node in the order in which they were given.
        tree.roots.prompts.sort_unstable();
        tree.nodes.iter_mut().for_each(|node| node.children.prompts.sort_unstable());
        tree
    }

    /// Prompts that share nothing.
    pub fn alone<P: AsRef<[u32]>>(prompts: &'a [P]) -> Self {
        let prompts: Vec<&[u32]> = prompts.iter().map(AsRef::as_ref).collect();
        let count = prompts.len();
        let roots = Children { nodes: Vec::new(), prompts: (0..count).collect() };
        Self { prompts, nodes: Vec::new(), ends: vec![(None, 0); count], roots }
    }

    /// Hangs `group`, prompts in lexical order that agree in their first `from` tokens and more, under `parent`, whose
    /// path holds `from` tokens.
    fn grow(&mut self, group: &[usize], from: usize, parent: Option<usize>, shortest: usize) {
        let (Some(&first), Some(&last)) = (group.first(), group.last()) else { return };
        let own = |tree: &Self, prompt: usize| tree.prompts[prompt].len().saturating_sub(1);
        // In lexical order the first and the last agree in what all agree in, and the first is the shortest of them
        // where it is the beginning of others.
        let common = common_length(self.prompts[first], self.prompts[last]).min(own(self, first));
        let (mut parent, mut from) = (parent, from);
        if group.len() > 1 && common >= from + shortest {
            let node = self.nodes.len();
            self.nodes.push(Node { parent, prompt: first, from, to: common, children: Children::default() });
            self.children_mut(parent).nodes.push(node);
            (parent, from) = (Some(node), common);
        }
        let next =
            |tree: &Self, prompt: usize| (common < own(tree, prompt)).then(|| tree.prompts[prompt][common]);
        let mut rest = group;
        while let Some(&prompt) = rest.first() {
            let token = next(self, prompt);
            let count = match token {
                None => 1,
                Some(_) => rest.iter().take_while(|&&other| next(self, other) == token).count(),
            };
            if count == 1 {
                self.ends[prompt] = (parent, from);
                self.children_mut(parent).prompts.push(prompt);
            } else {
                self.grow(&rest[..count], from, parent, shortest);
            }
            rest = &rest[count..];
        }
    }

    fn children_mut(&mut self, node: Option<usize>) -> &mut Children {
        match node {
            None => &mut self.roots,
            Some(node) => &mut self.nodes[node].children,
        }
    }

    /// Number of prompts.
    pub fn len(&self) -> usize {
        self.prompts.len()
    }

    /// Whether there is no prompt.
    pub fn is_empty(&self) -> bool {
        self.prompts.is_empty()
    }

    /// Tokens that are computed for all prompts together, labels left out.
    pub fn tokens(&self) -> usize {
        let shared: usize = self.nodes.iter().map(|node| node.to - node.from).sum();
        shared + (0..self.len()).map(|prompt| self.own(prompt).len()).sum::<usize>()
    }

    /// Tokens of the prompts, each counted alone.
    pub fn tokens_alone(&self) -> usize {
        self.prompts.iter().map(|prompt| prompt.len()).sum()
    }

    /// The whole prompts.
    pub(super) fn prompts(&self) -> &[&'a [u32]] {
        &self.prompts
    }

    /// What follows `node`, or nothing.
    pub(super) fn children(&self, node: Option<usize>) -> &Children {
        node.map_or(&self.roots, |node| &self.nodes[node].children)
    }

    /// Number of nodes.
    pub(super) fn nodes(&self) -> usize {
        self.nodes.len()
    }

    /// The node above a node.
    pub(super) fn parent(&self, node: usize) -> Option<usize> {
        self.nodes[node].parent
    }

    /// The node above a prompt.
    pub(super) fn above(&self, prompt: usize) -> Option<usize> {
        self.ends[prompt].0
    }

    /// The tokens of a node, after those of its parent.
    pub(super) fn node(&self, node: usize) -> &'a [u32] {
        let Node { prompt, from, to, .. } = &self.nodes[node];
        &self.prompts[*prompt][*from..*to]
    }

    /// The tokens of a prompt that it has for itself.
    pub(super) fn own(&self, prompt: usize) -> &'a [u32] {
        &self.prompts[prompt][self.ends[prompt].1..]
    }
}

fn common_length(one: &[u32], other: &[u32]) -> usize {
    one.iter().zip(other).take_while(|(left, right)| left == right).count()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// The tokens of each prompt, put together again from the tree by walking it from the roots.
    fn rebuilt(tree: &PromptTree<'_>) -> Vec<Vec<u32>> {
        let mut whole = vec![Vec::new(); tree.len()];
        let mut open = vec![(None, Vec::new())];
        while let Some((node, path)) = open.pop() {
            let children = tree.children(node);
            for &prompt in &children.prompts {
                assert!(whole[prompt].is_empty(), "a prompt hangs from one node");
                whole[prompt] = [path.as_slice(), tree.own(prompt)].concat();
            }
            for &child in &children.nodes {
                open.push((Some(child), [path.as_slice(), tree.node(child)].concat()));
            }
        }
        whole
    }

    #[test]
    fn beginnings_are_shared_from_a_length_on() {
        // 1 2 3 of all four; 4 5 of two, below it; the last token of each stays its own. By hand.
        let prompts = [vec![1, 2, 3, 4, 5, 6], vec![1, 2, 3, 9], vec![1, 2, 3, 4, 5, 7, 8], vec![1, 2, 3, 9]];
        let tree = PromptTree::with_shortest(&prompts, 2);
        assert_eq!(rebuilt(&tree), prompts);
        assert_eq!((tree.tokens(), tree.tokens_alone()), (3 + 2 + 1 + 1 + 2 + 1, 6 + 4 + 7 + 4));
        assert_eq!(tree.children(None).nodes.len(), 1);
        // From three tokens on, 4 5 is computed twice.
        assert_eq!(PromptTree::with_shortest(&prompts, 3).tokens(), 3 + 3 + 1 + 4 + 1);
        // What is too short above is made up for below: 1 of three, 1 2 3 of two.
        let below = [vec![1, 2, 3, 4], vec![1, 2, 3, 5], vec![1, 7, 8]];
        assert_eq!(PromptTree::with_shortest(&below, 3).tokens(), 3 + 1 + 1 + 3);
    }

    #[test]
    fn equal_prompts_and_beginnings_of_others() {
        let prompts = [vec![1, 2, 3], vec![1, 2, 3], vec![1, 2], vec![1, 2, 3, 4], vec![5]];
        let tree = PromptTree::with_shortest(&prompts, 1);
        assert_eq!(rebuilt(&tree), prompts);
        // 1; 2 of three; then 3 and 3, 2, 3 4, 5.
        assert_eq!(tree.tokens(), 1 + 1 + 1 + 1 + 1 + 2 + 1);
        assert_eq!(PromptTree::alone(&prompts).tokens(), 13);
        let none: [Vec<u32>; 0] = [];
        assert!(PromptTree::new(&none).is_empty());
    }

    proptest! {
        #[test]
        fn every_prompt_is_whole_and_every_node_shared(
            prompts in prop::collection::vec(prop::collection::vec(0_u32..3, 1..9), 0..20), shortest in 1_usize..5,
        ) {
            let tree = PromptTree::with_shortest(&prompts, shortest);
            prop_assert_eq!(rebuilt(&tree), prompts.clone());
            prop_assert!(tree.tokens() <= tree.tokens_alone());
            for node in 0..tree.nodes() {
                let children = tree.children(Some(node));
                prop_assert!(children.nodes.len() + children.prompts.len() > 1);
                prop_assert!(tree.node(node).len() >= shortest);
            }
            for prompt in 0..tree.len() {
                prop_assert!(!tree.own(prompt).is_empty());
            }
            // With every beginning shared, what is computed are the distinct beginnings that are not a whole prompt,
            // and the last token of each prompt.
            let mut beginnings: Vec<&[u32]> =
                prompts.iter().flat_map(|prompt| (1..prompt.len()).map(|length| &prompt[..length])).collect();
            beginnings.sort_unstable();
            beginnings.dedup();
            prop_assert_eq!(PromptTree::with_shortest(&prompts, 1).tokens(), beginnings.len() + prompts.len());
        }
    }
}
