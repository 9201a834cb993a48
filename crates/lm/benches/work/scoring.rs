//! Scoring every label of many queries after one shared prompt.

use std::collections::BTreeSet;

use kernels::attention::ROOT;
use lm::Error;
use lm::score::{LabelTree, Scorer};
use lm::transformer::{Batch, Transformer};
use serde::{Deserialize, Serialize};

use super::{Work, tokens};

/// Rows of a batch of scored queries, as in the product.
const BUDGET: usize = 1024;

/// A scoring job as tokens, so that every program does the same.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Problem {
    /// Instruction and demonstrations.
    pub(crate) prefix: Vec<u32>,
    /// What follows the prefix, of each query.
    pub(crate) queries: Vec<Vec<u32>>,
    /// Tokens of each label, a terminator included.
    pub(crate) labels: Vec<Vec<u32>>,
    /// The right label of each query; empty where there is none.
    pub(crate) gold: Vec<usize>,
}

impl Problem {
    /// A job without a text: 77 labels of four tokens, `queries` of 24 after a prefix of 32 demonstrations of 36.
    pub(crate) fn artificial(vocabulary: usize, queries: usize) -> Self {
        let all = tokens(vocabulary, 32 * 36 + queries * 24);
        let (prefix, rest) = all.split_at(32 * 36);
        // Eleven first words, each with seven second ones.
        let label = |index: u32| vec![100 + index / 7, 200 + index % 7, 300 + index, 7];
        Self {
            prefix: prefix.to_vec(),
            queries: rest.chunks(24).map(<[u32]>::to_vec).collect(),
            labels: (0..77).map(label).collect(),
            gold: Vec::new(),
        }
    }

    /// The labels as a tree: the parent of each inner node, for counting operations.
    fn parents(&self) -> Vec<u32> {
        let beginnings =
            |label: &'_ Vec<u32>| (1..label.len()).map(|end| label[..end].to_vec()).collect::<Vec<_>>();
        let nodes: BTreeSet<Vec<u32>> = self.labels.iter().flat_map(beginnings).collect();
        // In lexical order a beginning stands before what it begins.
        let nodes: Vec<Vec<u32>> = nodes.into_iter().collect();
        let parent =
            |node: &Vec<u32>| match nodes.binary_search_by(|other| other[..].cmp(&node[..node.len() - 1])) {
                Ok(parent) => parent as u32,
                Err(_) => ROOT,
            };
        nodes.iter().map(parent).collect()
    }
}

/// The whole job: the prefix once, then every label of every query in packed batches.
pub(crate) struct Scoring {
    transformer: Transformer,
    tree: LabelTree,
    problem: Problem,
    scores: Vec<Vec<f64>>,
}

impl Scoring {
    pub(crate) fn new(transformer: Transformer, problem: Problem) -> Result<Self, Error> {
        let tree = LabelTree::new(&problem.labels)?;
        Ok(Self { transformer, tree, problem, scores: Vec::new() })
    }
}

impl Work for Scoring {
    fn tokens(&self) -> usize {
        let own = |query: &Vec<u32>| query.len() + self.tree.nodes();
        self.problem.prefix.len() + self.problem.queries.iter().map(own).sum::<usize>()
    }

    fn flops(&self) -> f64 {
        let (transformer, prefix) = (&self.transformer, self.problem.prefix.len());
        let config = transformer.config();
        let rows = self.tokens() - prefix;
        let wanted = self.problem.queries.len() * (self.tree.nodes() + 1);
        let parents = self.problem.parents();
        let nodes = vec![0; parents.len()];
        let mut batch = Batch::new();
        for query in &self.problem.queries {
            batch.push_after(None, query, &nodes, &parents);
        }
        let own = transformer.forward_flops(&batch, wanted, None).total();
        let shared = transformer.forward_flops(&Batch::of(&[&self.problem.prefix]), 0, None).total();
        let pairs = (rows * prefix * config.layers) as f64;
        own + shared + 4.0 * pairs * (config.heads * config.head_dim) as f64
    }

    /// Share of the queries of the last run whose most likely label is the right one.
    fn accuracy(&self) -> Option<f64> {
        let Problem { gold, .. } = &self.problem;
        let right = self.scores.iter().zip(gold).filter(|(scores, gold)| {
            scores.iter().enumerate().all(|(label, score)| label == **gold || *score < scores[**gold])
        });
        (!gold.is_empty() && !self.scores.is_empty()).then(|| right.count() as f64 / self.scores.len() as f64)
    }

    fn run(&mut self) -> Result<(), Error> {
        let scorer = Scorer::new(&self.transformer, None);
        let prefix = scorer.prefill(&self.problem.prefix)?;
        self.scores = scorer.score(Some(&prefix), &self.problem.queries, &self.tree, BUDGET)?;
        Ok(())
    }
}
