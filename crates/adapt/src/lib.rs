//! The arms: in-context learning, fine-tuning and floors, and the runner that turns a plan into recorded experiments.

mod answering;
mod choice;
mod digest;
mod energy;
pub mod engine;
mod error;
mod fine_tune;
pub mod floor;
mod floor_arm;
pub mod forecast;
pub mod hybrid;
mod in_context;
pub mod local;
mod measure;
mod metric_command;
pub mod observer;
pub mod plan;
pub mod probes;
pub mod recipe;
pub mod retrieval;
mod rounding;
pub mod runner;
pub mod scripted;
pub mod selection;
pub mod shipping;
pub mod supervision;
pub mod suspects;
pub mod text;
mod text_answers;
pub mod transcript;
mod writer;

pub use error::Error;
pub use metric_command::MetricCommandError;
