//! Reading and writing weights: safetensors (a file, shards, memory) and GGUF, behind one trait.

mod atomic;
mod checkpoint;
mod element;
pub(crate) mod gguf;
mod safetensors;
mod source;

pub use checkpoint::Checkpoint;
pub use element::Dtype;
pub use safetensors::write_safetensors;

pub(crate) use atomic::write_atomically;
pub(crate) use safetensors::SafetensorsFile;
pub(crate) use source::{Source, read_limited};

use crate::Error;
use kernels::blocks::Blocks;

/// Named tensors that are read on demand, by their Hugging Face names (`model.layers.0.self_attn.q_proj.weight`).
///
/// Matrices are row-major `[out, in]`, whatever the file's own layout is.
pub trait Tensors {
    /// Every tensor's name, sorted.
    fn names(&self) -> Vec<String>;

    /// The shape of a tensor; `None` where there is no such tensor.
    fn shape(&self, name: &str) -> Option<Vec<usize>>;

    /// The values of a tensor, widened (or dequantised) to f32.
    ///
    /// # Errors
    /// [`Error::Format`] where there is no such tensor, [`Error::Unsupported`] where its type is not one that this
    /// engine reads, [`Error::Io`] where the file cannot be read.
    fn read(&self, name: &str) -> Result<Vec<f32>, Error>;

    /// A matrix as the small integers and scales that the file has; `None` where it has numbers. What
    /// [`Blocks::values`] makes of them is what [`Tensors::read`] returns.
    ///
    /// # Errors
    /// As for [`Tensors::read`].
    fn read_blocks(&self, _name: &str) -> Result<Option<Blocks>, Error> {
        Ok(None)
    }
}
