//! Small trained changes to a frozen model: the LoRA family.

pub mod compatibility;
mod exchange;
mod gguf;
mod lora;
mod magnitude;
pub mod peft;
mod principal;
mod virtual_tokens;

pub use lora::{Lora, LoraConfig, LoraStart, LoraTarget};
pub(crate) use lora::{LoraLayer, LoraLinear, LoraSlots};
