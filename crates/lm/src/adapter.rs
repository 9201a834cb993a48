//! Small trained changes to a frozen model: the LoRA family.

pub mod compatibility;
mod exchange;
mod gguf;
mod lora;
pub mod peft;

pub use lora::{Lora, LoraConfig, LoraTarget};
pub(crate) use lora::{LoraLayer, LoraLinear, LoraSlots};
