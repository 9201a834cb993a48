//! Bytes that are read by position: a file, or memory.

use std::borrow::Cow;
use std::cell::Cell;
use std::fs::File;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use sha2::{Digest, Sha256};

use crate::Error;

/// Bytes with a known length. Clones read the same file, each where it wants.
#[derive(Clone)]
pub(crate) struct Source {
    place: String,
    length: u64,
    bytes: Bytes,
}

#[derive(Clone)]
enum Bytes {
    File(PathBuf, Arc<File>),
    Memory(Cow<'static, [u8]>),
}

impl Source {
    /// Opens a file.
    pub(crate) fn open(path: &Path) -> Result<Self, Error> {
        let opened = File::open(path).and_then(|file| file.metadata().map(|metadata| (file, metadata)));
        let (file, metadata) = opened.map_err(|error| Error::io(path, error))?;
        let place = path.display().to_string();
        if !metadata.is_file() {
            return Err(Error::format(place, "not a file"));
        }
        Ok(Self { place, length: metadata.len(), bytes: Bytes::File(path.to_path_buf(), Arc::new(file)) })
    }

    /// Wraps bytes in memory; `place` names them in errors.
    pub(crate) fn memory(place: &str, bytes: impl Into<Cow<'static, [u8]>>) -> Self {
        let bytes = bytes.into();
        Self { place: place.to_owned(), length: bytes.len() as u64, bytes: Bytes::Memory(bytes) }
    }

    /// The file's name, for errors.
    pub(crate) fn place(&self) -> &str {
        &self.place
    }

    /// Length in bytes.
    pub(crate) fn length(&self) -> u64 {
        self.length
    }

    /// The `length` bytes from `offset`; nothing is allocated for a range beyond the end.
    pub(crate) fn read(&self, offset: u64, length: usize) -> Result<Vec<u8>, Error> {
        self.check(offset, length)?;
        let mut buffer = vec![0; length];
        self.read_into(offset, &mut buffer).map(|()| buffer)
    }

    /// Fills `buffer` with the bytes from `offset`.
    pub(crate) fn read_into(&self, offset: u64, buffer: &mut [u8]) -> Result<(), Error> {
        self.check(offset, buffer.len())?;
        match &self.bytes {
            Bytes::Memory(bytes) => {
                buffer.copy_from_slice(&bytes[offset as usize..][..buffer.len()]);
                Ok(())
            }
            Bytes::File(path, file) => {
                read_exact_at(file, buffer, offset).map_err(|error| Error::io(path, error))
            }
        }
    }

    fn check(&self, offset: u64, length: usize) -> Result<(), Error> {
        if offset.checked_add(length as u64).is_none_or(|end| end > self.length) {
            let reason = format!("ends at byte {}, before byte {offset} + {length}", self.length);
            return Err(Error::format(&self.place, reason));
        }
        Ok(())
    }

    /// Calls `work` with the `length` bytes from `offset`, in memory that the thread keeps for the next call.
    pub(crate) fn with<R>(
        &self,
        offset: u64,
        length: usize,
        work: impl FnOnce(&[u8]) -> R,
    ) -> Result<R, Error> {
        self.check(offset, length)?;
        if let Bytes::Memory(bytes) = &self.bytes {
            return Ok(work(&bytes[offset as usize..][..length]));
        }
        let mut buffer = BUFFER.take();
        if buffer.len() < length {
            buffer.resize(length, 0);
        }
        let result = self.read_into(offset, &mut buffer[..length]).map(|()| work(&buffer[..length]));
        BUFFER.set(buffer);
        result
    }

    /// Adds every byte to `hasher`, a chunk at a time.
    pub(crate) fn hash(&self, hasher: &mut Sha256) -> Result<(), Error> {
        const CHUNK: usize = 1 << 18;
        let mut offset = 0;
        while offset < self.length {
            let length = CHUNK.min(usize::try_from(self.length - offset).unwrap_or(CHUNK));
            self.with(offset, length, |bytes| hasher.update(bytes))?;
            offset += length as u64;
        }
        Ok(())
    }
}

thread_local! {
    /// What [`Source::with`] reads into.
    static BUFFER: Cell<Vec<u8>> = const { Cell::new(Vec::new()) };
}

/// Fills `buffer` from byte `offset` on, whatever other threads read meanwhile.
#[cfg(unix)]
fn read_exact_at(file: &File, buffer: &mut [u8], offset: u64) -> std::io::Result<()> {
    std::os::unix::fs::FileExt::read_exact_at(file, buffer, offset)
}

#[cfg(windows)]
fn read_exact_at(file: &File, mut buffer: &mut [u8], mut offset: u64) -> std::io::Result<()> {
    while !buffer.is_empty() {
        match std::os::windows::fs::FileExt::seek_read(file, buffer, offset)? {
            0 => return Err(std::io::ErrorKind::UnexpectedEof.into()),
            read => {
                buffer = &mut std::mem::take(&mut buffer)[read..];
                offset += read as u64;
            }
        }
    }
    Ok(())
}

/// The whole of a file of at most `limit` bytes.
pub(crate) fn read_limited(path: &Path, limit: usize) -> Result<Vec<u8>, Error> {
    let source = Source::open(path)?;
    match usize::try_from(source.length) {
        Ok(length) if length <= limit => source.read(0, length),
        _ => Err(Error::format(
            source.place,
            format!("{} bytes, more than the {limit} expected", source.length),
        )),
    }
}
