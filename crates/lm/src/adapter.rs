//! Small trained changes to a frozen model: the LoRA family.

pub mod compatibility;
mod config;
mod exchange;
mod gguf;
mod linear;
mod lora;
mod magnitude;
pub mod peft;
mod principal;
mod virtual_past;
mod virtual_tokens;

pub use config::{LoraConfig, LoraStart, LoraTarget, VirtualPart};
pub(crate) use linear::LoraLinear;
pub use lora::Lora;
pub(crate) use lora::{LoraLayer, LoraSlots};
pub(crate) use virtual_past::take_gradient;

/// The largest `adapter_config.json`, in bytes.
const LARGEST_CONFIG: usize = 4 << 20;

/// The dot product, summed in 64 bits.
fn dot(one: &[f32], other: &[f32]) -> f64 {
    one.iter().zip(other).map(|(a, b)| f64::from(*a) * f64::from(*b)).sum()
}
