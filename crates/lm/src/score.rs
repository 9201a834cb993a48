//! Probabilities of labels after a prompt, and greedy generation, free or constrained, with shared prefixes.

mod constraint;
mod generate;
mod guide;
mod prompts;
mod schedule;
mod scorer;
mod search;
mod search_pass;
mod tree;

pub use constraint::{Constraint, ConstraintGuide};
pub use guide::{Guide, TextGuide};
pub use prompts::{PromptTree, SHORTEST_SHARED};
pub use scorer::Scorer;
pub use search::SearchGoal;
pub use search_pass::Found;
pub use tree::LabelTree;
