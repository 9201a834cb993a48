//! A decoder language model of the Llama family on the CPU: weights, tokenizer, transformer, adapters, training, scoring.

pub mod adapter;
pub mod chat;
pub mod config;
mod error;
pub mod machine;
mod model;
mod random;
pub mod score;
pub mod tokenizer;
pub mod train;
pub mod transformer;
pub mod weights;

pub use error::Error;
pub use kernels::matrix::{Precision, Use};
pub use kernels::threads;
pub use model::{Model, ModelSource};
