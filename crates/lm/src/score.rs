//! Probabilities of labels after a prompt, and greedy generation, with shared prefixes.

mod generate;
mod prompts;
mod schedule;
mod scorer;
mod tree;

pub use prompts::{PromptTree, SHORTEST_SHARED};
pub use scorer::Scorer;
pub use tree::LabelTree;
