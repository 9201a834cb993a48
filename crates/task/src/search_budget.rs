//! What each arm took to search, and why it tried no more: kept when the search ends, before the test set is opened.

use serde::{Deserialize, Serialize};

use crate::record::Work;

/// Both arms' search: everything up to the opening of the test set.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct SearchBudget {
    /// Seconds that both arms had together, for the test set too.
    pub seconds: f64,
    /// The prompting arm.
    pub in_context: ArmSearch,
    /// The fine-tuning arm.
    pub fine_tune: ArmSearch,
}

/// One arm's search.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ArmSearch {
    /// Wall-clock seconds of prompts, trainings and their answers on dev.
    pub seconds: f64,
    /// Tokens and operations of that; zero where the engine does not count.
    pub work: Work,
    /// Seconds that its answers to the whole test set were expected to take then.
    pub test_seconds: f64,
    /// Trials that were taken from the reserve, in order.
    pub added: Vec<String>,
    /// Planned trials that were put off, because they took the arm too far beyond its share.
    pub put_off: Vec<String>,
    /// Trials that were left in the reserve.
    pub left: usize,
    /// Why nothing more was tried, in words.
    pub ended: String,
}
