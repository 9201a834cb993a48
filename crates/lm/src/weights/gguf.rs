//! The GGUF format, versions 2 and 3: its container, its block formats, and the models of the Llama family in it.

mod blocks;
mod container;
mod description;
mod model;
mod shape;
#[cfg(test)]
mod tests;
mod writer;

pub(crate) use container::{Container, Metadata};
pub(crate) use description::{describe, in_gguf};
pub(crate) use model::{
    FileTensor, GgufTensors, ROTARY, gguf_name, huggingface_name, interleaved_heads, join_pairs, part_pairs,
};
pub(crate) use shape::read_config;
pub(crate) use writer::GgufWriter;
