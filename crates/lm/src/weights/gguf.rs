//! The GGUF format, versions 2 and 3: its container, its block formats, and the models of the Llama family in it.

mod blocks;
mod container;
mod model;
mod shape;
#[cfg(test)]
mod tests;

pub(crate) use container::{Container, Metadata};
pub(crate) use model::GgufTensors;
pub(crate) use shape::read_config;
