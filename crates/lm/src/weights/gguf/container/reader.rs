//! Reading the header, a value at a time; nothing is allocated from a length that the file cannot hold.

use super::Place;
use super::metadata::{Array, Value};
use crate::Error;
use crate::weights::Source;
use crate::weights::gguf::blocks::BlockFormat;

/// Most elements of an array.
const MOST_ELEMENTS: u64 = 1 << 24;
/// Longest string in bytes (a chat template, not a name).
const LONGEST_STRING: u64 = 1 << 24;
/// Most dimensions of a tensor.
const MOST_DIMENSIONS: u32 = 4;
/// Bytes fetched at a time while the header is parsed.
const CHUNK: usize = 1 << 20;

/// Reads the header in chunks, forward only.
pub(super) struct Reader<'a> {
    source: &'a Source,
    chunk: Vec<u8>,
    /// Position of the chunk's first byte.
    chunk_start: u64,
    /// Position of the next byte.
    pub(super) position: u64,
}

impl<'a> Reader<'a> {
    pub(super) fn new(source: &'a Source) -> Self {
        Self { source, chunk: Vec::new(), chunk_start: 0, position: 0 }
    }

    fn remaining(&self) -> u64 {
        self.source.length() - self.position
    }

    /// An error at `what`.
    fn refuse(&self, what: &str, reason: String) -> Error {
        Error::format(format!("{}: {what}", self.source.place()), reason)
    }

    /// The next `length` bytes.
    fn bytes(&mut self, what: &str, length: usize) -> Result<&[u8], Error> {
        if length as u64 > self.remaining() {
            let reason = format!("the file ends at byte {}", self.source.length());
            return Err(self.refuse(what, reason));
        }
        let within = (self.position - self.chunk_start) as usize;
        if within + length > self.chunk.len() {
            let wanted = (length.max(CHUNK) as u64).min(self.remaining()) as usize;
            self.chunk = self.source.read(self.position, wanted)?;
            self.chunk_start = self.position;
        }
        let begin = (self.position - self.chunk_start) as usize;
        self.position += length as u64;
        Ok(&self.chunk[begin..begin + length])
    }

    pub(super) fn array<const N: usize>(&mut self, what: &str) -> Result<[u8; N], Error> {
        let bytes = self.bytes(what, N)?;
        Ok(bytes.try_into().expect("as many bytes were asked for"))
    }

    pub(super) fn u32(&mut self, what: &str) -> Result<u32, Error> {
        self.array(what).map(u32::from_le_bytes)
    }

    fn u64(&mut self, what: &str) -> Result<u64, Error> {
        self.array(what).map(u64::from_le_bytes)
    }

    /// A count of things that take at least `least` bytes each: at most `limit`, and no more than the file can hold.
    pub(super) fn count(&mut self, what: &str, limit: u64, least: u64) -> Result<usize, Error> {
        let count = self.u64(what)?;
        if count > limit || count.saturating_mul(least) > self.remaining() {
            return Err(self.refuse(what, format!("a count of {count} with {} bytes left", self.remaining())));
        }
        Ok(count as usize)
    }

    pub(super) fn text(&mut self, what: &str) -> Result<String, Error> {
        let length = self.count(what, LONGEST_STRING, 1)?;
        let bytes = self.bytes(what, length)?.to_vec();
        String::from_utf8(bytes).map_err(|_| self.refuse(what, "not UTF-8".to_owned()))
    }

    /// A value of the type with this number.
    pub(super) fn value(&mut self, key: &str, kind: u32) -> Result<Value, Error> {
        Ok(match kind {
            0..=5 | 10 | 11 => Value::Integer(self.integer(key, kind)?),
            6 | 12 => Value::Float(self.float(key, kind)?),
            7 => Value::Boolean(self.boolean(key)?),
            8 => Value::Text(self.text(key)?),
            9 => Value::Array(self.list(key)?),
            other => return Err(self.refuse(key, format!("a value of unknown type {other}"))),
        })
    }

    fn integer(&mut self, key: &str, kind: u32) -> Result<i128, Error> {
        Ok(match kind {
            0 => u8::from_le_bytes(self.array(key)?).into(),
            1 => i8::from_le_bytes(self.array(key)?).into(),
            2 => u16::from_le_bytes(self.array(key)?).into(),
            3 => i16::from_le_bytes(self.array(key)?).into(),
            4 => u32::from_le_bytes(self.array(key)?).into(),
            5 => i32::from_le_bytes(self.array(key)?).into(),
            10 => u64::from_le_bytes(self.array(key)?).into(),
            _ => i64::from_le_bytes(self.array(key)?).into(),
        })
    }

    fn float(&mut self, key: &str, kind: u32) -> Result<f64, Error> {
        match kind {
            6 => self.array(key).map(f32::from_le_bytes).map(f64::from),
            _ => self.array(key).map(f64::from_le_bytes),
        }
    }

    fn boolean(&mut self, key: &str) -> Result<bool, Error> {
        match self.array(key)? {
            [0u8] => Ok(false),
            [1] => Ok(true),
            [other] => Err(self.refuse(key, format!("{other} is neither true nor false"))),
        }
    }

    /// A list: the type of its elements, their count, the elements.
    fn list(&mut self, key: &str) -> Result<Array, Error> {
        let kind = self.u32(key)?;
        let least = match kind {
            0 | 1 | 7 => 1,
            2 | 3 => 2,
            4..=6 => 4,
            _ => 8,
        };
        let count = self.count(key, MOST_ELEMENTS, least)?;
        Ok(match kind {
            0..=5 | 10 | 11 => {
                let clamp = |number: i128| number.clamp(i64::MIN.into(), i64::MAX.into()) as i64;
                Array::Integers(
                    (0..count).map(|_| self.integer(key, kind).map(clamp)).collect::<Result<_, _>>()?,
                )
            }
            6 | 12 => {
                let number = |_| self.float(key, kind).map(|number| number as f32);
                Array::Floats((0..count).map(number).collect::<Result<_, _>>()?)
            }
            7 => Array::Booleans((0..count).map(|_| self.boolean(key)).collect::<Result<_, _>>()?),
            8 => Array::Texts((0..count).map(|_| self.text(key)).collect::<Result<_, _>>()?),
            9 => {
                return Err(Error::unsupported(format!("{}: {key}", self.source.place()), "a list of lists"));
            }
            other => return Err(self.refuse(key, format!("a list of unknown type {other}"))),
        })
    }

    /// A tensor's shape, type and offset among the data.
    pub(super) fn place(&mut self, name: &str) -> Result<Place, Error> {
        let dimensions = self.u32(name)?;
        if !(1..=MOST_DIMENSIONS).contains(&dimensions) {
            return Err(self.refuse(name, format!("{dimensions} dimensions")));
        }
        let mut shape = Vec::with_capacity(dimensions as usize);
        for _ in 0..dimensions {
            let size = self.u64(name)?;
            match usize::try_from(size) {
                Ok(size) if size > 0 => shape.push(size),
                _ => return Err(self.refuse(name, format!("a dimension of {size}"))),
            }
        }
        shape.reverse();
        let kind = self.u32(name)?;
        let offset = self.u64(name)?;
        Ok(Place { shape, format: BlockFormat::from_number(kind).ok_or(kind), offset, length: 0 })
    }
}
