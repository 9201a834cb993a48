//! The vocabulary of weigh: the task file, labelled data and its locked split, prompts, records and the run store.

pub mod atomic;
pub mod curation;
pub mod dataset;
pub mod date;
mod error;
pub mod example;
pub mod intake;
pub mod predictor;
pub mod prices;
pub mod probe;
pub mod profile;
pub mod prompt;
pub mod prompt_search;
pub mod record;
pub mod schema;
pub mod search_budget;
pub mod sensitive;
pub mod settings;
pub mod split;
pub mod store;
pub mod task_file;

pub use error::Error;
