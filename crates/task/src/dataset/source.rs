//! The files of rows, or their content in memory.

use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};

use crate::Error;
use crate::record::Part;

/// A file of rows, or its content in memory.
pub struct Source<'a> {
    pub(super) name: PathBuf,
    pub(super) reader: Box<dyn BufRead + 'a>,
}

impl<'a> Source<'a> {
    /// Content in memory; `name` is what errors and origins call it, and its extension tells the format.
    pub fn bytes(name: impl Into<PathBuf>, bytes: &'a [u8]) -> Self {
        Self { name: name.into(), reader: Box::new(bytes) }
    }

    /// A file.
    ///
    /// # Errors
    /// [`Error::Io`] where it cannot be opened.
    pub fn file(path: &Path) -> Result<Self, Error> {
        let io = |source| Error::Io { path: path.to_path_buf(), source };
        let file = std::fs::File::open(path).map_err(io)?;
        if file.metadata().map_err(io)?.is_dir() {
            return Err(Error::Data(format!("{}: a folder, not a file of rows", path.display())));
        }
        Ok(Self { name: path.to_path_buf(), reader: Box::new(BufReader::with_capacity(1 << 16, file)) })
    }
}

/// The files of a task's data.
#[derive(Default)]
pub struct Sources<'a> {
    /// Training rows, from which the parts that are not given are carved.
    pub train: Vec<Source<'a>>,
    /// Dev rows.
    pub dev: Option<Source<'a>>,
    /// Test rows.
    pub test: Option<Source<'a>>,
}

/// Every source with the part that it stands for.
pub(super) fn in_order(sources: Sources<'_>) -> impl Iterator<Item = (Part, Source<'_>)> {
    let train = sources.train.into_iter().map(|source| (Part::Train, source));
    let dev = sources.dev.map(|source| (Part::Dev, source));
    let test = sources.test.map(|source| (Part::Test, source));
    train.chain(dev).chain(test)
}
