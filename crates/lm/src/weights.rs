//! Reading and writing weights: safetensors (a file, shards, memory) and GGUF, behind one trait.

mod atomic;
mod checkpoint;
mod digest;
mod element;
pub(crate) mod gguf;
mod safetensors;
mod source;

pub use checkpoint::Checkpoint;
pub use digest::WeightsHash;
pub use element::Dtype;
pub use safetensors::write_safetensors;

pub(crate) use atomic::write_atomically;
pub(crate) use safetensors::SafetensorsFile;
pub(crate) use source::{Source, read_limited};

use crate::Error;
use kernels::blocks::Blocks;

/// Reads as many values of a tensor (row-major, widened) as there is room for, from the one with the given index on.
pub type PartReader<'a> = Box<dyn Fn(usize, &mut [f32]) -> Result<(), Error> + Send + Sync + 'a>;

/// A reader of values that are all there.
pub(crate) fn in_memory<'a>(values: Vec<f32>) -> PartReader<'a> {
    Box::new(move |first, out| {
        let own = values.get(first..).and_then(|rest| rest.get(..out.len()));
        out.copy_from_slice(own.ok_or_else(|| beyond(first, out.len(), values.len()))?);
        Ok(())
    })
}

/// The error for values that a tensor does not have.
pub(crate) fn beyond(first: usize, count: usize, length: usize) -> Error {
    Error::Invalid(format!("values {first} + {count} of a tensor of {length}"))
}

/// Named tensors that are read on demand, by their Hugging Face names (`model.layers.0.self_attn.q_proj.weight`).
///
/// Matrices are row-major `[out, in]`, whatever the file's own layout is.
pub trait Tensors: Sync {
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

    /// A reader of parts of a tensor, for those who do not want all of it at once, or want it on several threads. Reading
    /// is fastest for whole rows.
    ///
    /// # Errors
    /// As for [`Tensors::read`].
    fn parts(&self, name: &str) -> Result<PartReader<'_>, Error> {
        self.read(name).map(in_memory)
    }

    /// A matrix as the small integers and scales that the file has; `None` where it has numbers. What
    /// [`Blocks::values`] makes of them is what [`Tensors::read`] returns.
    ///
    /// # Errors
    /// As for [`Tensors::read`].
    fn read_blocks(&self, _name: &str) -> Result<Option<Blocks>, Error> {
        Ok(None)
    }
}
