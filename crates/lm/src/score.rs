//! Probabilities of labels after a prompt, and greedy generation, with shared prefixes.

mod generate;
mod scorer;
mod tree;

pub use scorer::Scorer;
pub use tree::LabelTree;
