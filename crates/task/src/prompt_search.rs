//! What the prompting arm's search tried, for the record.

use serde::{Deserialize, Serialize};

/// The search for a better instruction and format, on dev, around the best prompt so far.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct PromptSearch {
    /// The experiment that it started from.
    pub base: String,
    /// Everything that was tried, in the order in which it was.
    pub candidates: Vec<SearchedPrompt>,
    /// Answers that it read: candidates times dev items.
    pub answers: u64,
    /// Tokens that the model processed for it.
    pub tokens: u64,
    /// Seconds that it took.
    pub seconds: f64,
    /// Whether its time was over before every candidate had its turn: what was found is the best until then.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub out_of_time: bool,
    /// The candidate that was then measured on all of dev; `None` where nothing was better than the prompt that it started from.
    pub found: Option<String>,
}

/// One candidate.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct SearchedPrompt {
    /// Short and unique: `template 2`, `format 4`, `written 1`, `template 2 + format 4`.
    pub name: String,
    /// The instruction, or what tells the format from others.
    pub text: String,
    /// Dev items that it answered.
    pub items: usize,
    /// Its mean score on them.
    pub score: f64,
    /// The mean score of the prompt that the search started from, on the same items.
    pub unsearched: f64,
    /// Why it went no further; `None` for those that came to the end.
    pub dropped: Option<String>,
}
