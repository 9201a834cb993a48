//! What can go wrong with a model.

use std::path::PathBuf;

/// An error of this crate; it names the file, key, tensor or shape at fault.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// A file could not be read or written.
    #[error("{}: {source}", path.display())]
    Io {
        /// The file.
        path: PathBuf,
        /// The system's reason.
        source: std::io::Error,
    },
    /// A file's content is not what its format demands.
    #[error("{place}: {reason}")]
    Format {
        /// File, and key or tensor where known.
        place: String,
        /// What is wrong.
        reason: String,
    },
    /// A well-formed model that this engine does not run.
    #[error("{place}: not supported: {reason}")]
    Unsupported {
        /// File, and key or tensor where known.
        place: String,
        /// What is not supported.
        reason: String,
    },
    /// A tensor is absent or has another shape than the configuration says.
    #[error("tensor {name}: expected shape {expected:?}, found {found:?}")]
    Shape {
        /// Tensor name.
        name: String,
        /// Shape from the configuration.
        expected: Vec<usize>,
        /// Shape in the file; `None` where the tensor is absent.
        found: Option<Vec<usize>>,
    },
    /// The text cannot be tokenized.
    #[error("tokenizer: {0}")]
    Tokenizer(String),
    /// The chat template failed.
    #[error("chat template: {0}")]
    Template(String),
    /// More tokens than the model's context holds.
    #[error("{needed} tokens do not fit the model's context of {limit}")]
    Context {
        /// Tokens asked for.
        needed: usize,
        /// Positions of the model.
        limit: usize,
    },
    /// Input that no model could answer (an empty label, two labels with the same tokens, a token outside the vocabulary ...).
    #[error("{0}")]
    Invalid(String),
    /// A loss or gradient that is not a finite number.
    #[error("training diverged at step {step}: loss {loss}")]
    Diverged {
        /// Optimiser step, from 1.
        step: u32,
        /// The loss seen.
        loss: f64,
    },
}

impl Error {
    /// A file's content is not what its format demands; `place` names the file and the key or tensor.
    pub(crate) fn format(place: impl Into<String>, reason: impl Into<String>) -> Self {
        Self::Format { place: place.into(), reason: reason.into() }
    }

    /// A well-formed file that this engine does not run.
    pub(crate) fn unsupported(place: impl Into<String>, reason: impl Into<String>) -> Self {
        Self::Unsupported { place: place.into(), reason: reason.into() }
    }

    /// The system refused to read or write `path`.
    pub(crate) fn io(path: &std::path::Path, source: std::io::Error) -> Self {
        Self::Io { path: path.to_path_buf(), source }
    }
}
