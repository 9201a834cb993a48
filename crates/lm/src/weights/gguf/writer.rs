//! Writing GGUF, version 3.

use std::io::Write;
use std::path::Path;

use super::container::Container;
use crate::Error;
use crate::weights::{Dtype, write_atomically};

/// Bytes to which tensors are aligned where the metadata say nothing else.
pub(super) const ALIGNMENT: usize = 32;
/// Numbers of the types of metadata values.
const UNSIGNED: u32 = 4;
const SIGNED: u32 = 5;
const FLOAT: u32 = 6;
const BOOLEAN: u32 = 7;
const TEXT: u32 = 8;
const LIST: u32 = 9;

/// A file in the making: metadata first, then tensors.
pub(crate) struct GgufWriter {
    alignment: usize,
    metadata: Vec<u8>,
    keys: u64,
    tensors: Vec<Tensor>,
}

struct Tensor {
    name: String,
    /// Row-major, outermost first.
    shape: Vec<usize>,
    dtype: Dtype,
    values: Vec<f32>,
}

impl GgufWriter {
    /// An empty file.
    pub(crate) fn new() -> Self {
        Self { alignment: ALIGNMENT, metadata: Vec::new(), keys: 0, tensors: Vec::new() }
    }

    /// A file with the metadata of `container`, byte for byte but for `general.file_type`, which becomes that of `dtype`:
    /// it names the type of most matrices.
    ///
    /// # Errors
    /// As [`Source::read`](crate::weights::Source::read).
    pub(crate) fn like(container: &Container, dtype: Dtype) -> Result<Self, Error> {
        let (range, keys) = container.metadata_bytes.clone();
        let mut metadata = container.source.read(range.start, (range.end - range.start) as usize)?;
        set_file_type(&mut metadata, dtype);
        Ok(Self { alignment: container.alignment()? as usize, metadata, keys, tensors: Vec::new() })
    }

    /// Adds a string.
    pub(crate) fn text(&mut self, key: &str, value: &str) {
        self.key(key, TEXT);
        put_text(&mut self.metadata, value);
    }

    /// Adds a 32-bit float.
    pub(crate) fn float(&mut self, key: &str, value: f32) {
        self.key(key, FLOAT);
        self.metadata.extend(value.to_le_bytes());
    }

    /// Adds a whole number of 32 bits without sign.
    pub(crate) fn unsigned(&mut self, key: &str, value: u32) {
        self.key(key, UNSIGNED);
        self.metadata.extend(value.to_le_bytes());
    }

    /// Adds true or false.
    pub(crate) fn boolean(&mut self, key: &str, value: bool) {
        self.key(key, BOOLEAN);
        self.metadata.push(u8::from(value));
    }

    /// Adds a list of strings.
    pub(crate) fn texts<'t>(&mut self, key: &str, values: impl ExactSizeIterator<Item = &'t str>) {
        self.list(key, TEXT, values.len());
        values.for_each(|value| put_text(&mut self.metadata, value));
    }

    /// Adds a list of whole numbers of 32 bits.
    pub(crate) fn integers(&mut self, key: &str, values: &[i32]) {
        self.list(key, SIGNED, values.len());
        values.iter().for_each(|value| self.metadata.extend(value.to_le_bytes()));
    }

    /// Adds `general.file_type`, the type of most matrices.
    pub(crate) fn file_type(&mut self, dtype: Dtype) {
        self.unsigned(FILE_TYPE, file_type_number(dtype));
    }

    fn list(&mut self, key: &str, kind: u32, length: usize) {
        self.key(key, LIST);
        self.metadata.extend(kind.to_le_bytes());
        self.metadata.extend((length as u64).to_le_bytes());
    }

    fn key(&mut self, key: &str, kind: u32) {
        put_text(&mut self.metadata, key);
        self.metadata.extend(kind.to_le_bytes());
        self.keys += 1;
    }

    /// Adds a tensor: `shape` row-major, outermost first. Vectors are written in 32 bits whatever `dtype`, as every reader
    /// expects of norms and biases.
    pub(crate) fn tensor(&mut self, name: String, shape: Vec<usize>, dtype: Dtype, values: Vec<f32>) {
        let dtype = if shape.len() < 2 { Dtype::F32 } else { dtype };
        self.tensors.push(Tensor { name, shape, dtype, values });
    }

    /// Writes the file, whole or not at all.
    ///
    /// # Errors
    /// [`Error::Io`] names `path`.
    pub(crate) fn write(&self, path: &Path) -> Result<(), Error> {
        let head = self.head();
        write_atomically(path, |file| {
            file.write_all(&head)?;
            let mut written = head.len();
            pad(file, &mut written, self.alignment)?;
            for tensor in &self.tensors {
                let mut bytes = Vec::with_capacity(tensor.values.len() * tensor.dtype.size());
                tensor.dtype.encode(&tensor.values, &mut bytes);
                file.write_all(&bytes)?;
                written += bytes.len();
                pad(file, &mut written, self.alignment)?;
            }
            Ok(())
        })
    }

    /// Everything before the tensors' values.
    fn head(&self) -> Vec<u8> {
        let mut head = b"GGUF".to_vec();
        head.extend(3u32.to_le_bytes());
        head.extend((self.tensors.len() as u64).to_le_bytes());
        head.extend(self.keys.to_le_bytes());
        head.extend(&self.metadata);
        let mut offset = 0;
        for tensor in &self.tensors {
            put_text(&mut head, &tensor.name);
            head.extend((tensor.shape.len() as u32).to_le_bytes());
            tensor.shape.iter().rev().for_each(|&size| head.extend((size as u64).to_le_bytes()));
            head.extend(type_number(tensor.dtype).to_le_bytes());
            head.extend((offset as u64).to_le_bytes());
            offset = (offset + tensor.values.len() * tensor.dtype.size()).next_multiple_of(self.alignment);
        }
        head
    }
}

/// The format's number of a tensor's type.
fn type_number(dtype: Dtype) -> u32 {
    match dtype {
        Dtype::F32 => 0,
        Dtype::F16 => 1,
        Dtype::Bf16 => 30,
    }
}

fn put_text(bytes: &mut Vec<u8>, text: &str) {
    bytes.extend((text.len() as u64).to_le_bytes());
    bytes.extend(text.as_bytes());
}

/// The key that names the type of most matrices.
const FILE_TYPE: &str = "general.file_type";

/// The format's number of a file's type.
fn file_type_number(dtype: Dtype) -> u32 {
    match dtype {
        Dtype::F32 => 0,
        Dtype::F16 => 1,
        Dtype::Bf16 => 32,
    }
}

/// Sets `general.file_type`, where it is there.
fn set_file_type(metadata: &mut [u8], dtype: Dtype) {
    let mut key = Vec::new();
    put_text(&mut key, FILE_TYPE);
    key.extend(UNSIGNED.to_le_bytes());
    let found = metadata.windows(key.len()).position(|window| window == key);
    if let Some(value) = found.and_then(|at| metadata.get_mut(at + key.len()..at + key.len() + 4)) {
        value.copy_from_slice(&file_type_number(dtype).to_le_bytes());
    }
}

fn pad(file: &mut impl Write, written: &mut usize, alignment: usize) -> std::io::Result<()> {
    let missing = written.next_multiple_of(alignment) - *written;
    file.write_all(&vec![0; missing])?;
    *written += missing;
    Ok(())
}
