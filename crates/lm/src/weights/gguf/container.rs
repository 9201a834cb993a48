//! The container: a header, metadata (key, typed value), tensor places, aligned tensor data; little-endian.

use std::collections::BTreeMap;
use std::ops::Range;

use super::blocks::BlockFormat;
use crate::Error;
use crate::weights::Source;

/// Most metadata keys or tensors that are read.
const MOST_ENTRIES: u64 = 1 << 16;
/// Most elements of an array.
const MOST_ELEMENTS: u64 = 1 << 24;
/// Longest string in bytes (a chat template, not a name).
const LONGEST_STRING: u64 = 1 << 24;
/// Most dimensions of a tensor.
const MOST_DIMENSIONS: u32 = 4;
/// Bytes fetched at a time while the header is parsed.
const CHUNK: usize = 1 << 20;

/// A value of the metadata.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Value {
    /// Any whole number.
    Integer(i128),
    /// Either float.
    Float(f64),
    /// True or false.
    Boolean(bool),
    /// A string.
    Text(String),
    /// A list of equal type.
    Array(Array),
}

/// A list in the metadata.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Array {
    /// Whole numbers; those beyond i64 are clamped.
    Integers(Vec<i64>),
    /// Floats.
    Floats(Vec<f32>),
    /// Booleans.
    Booleans(Vec<bool>),
    /// Strings.
    Texts(Vec<String>),
}

/// The metadata and the file's name for errors.
pub(crate) struct Metadata {
    place: String,
    values: BTreeMap<String, Value>,
}

/// Where a tensor lies, as the file says: dimensions from the innermost, types by number.
#[derive(Clone, Debug)]
pub(crate) struct Place {
    /// Row-major shape, outermost first (the reverse of the file's order).
    pub(super) shape: Vec<usize>,
    /// Block format; the type's number where it is not one that is read.
    pub(super) format: Result<BlockFormat, u32>,
    /// First byte in the file.
    pub(super) offset: u64,
    /// Length in bytes; zero where the format is unknown.
    pub(super) length: usize,
}

/// A parsed file.
pub(crate) struct Container {
    /// The bytes.
    pub(crate) source: Source,
    /// The metadata.
    pub(crate) metadata: Metadata,
    /// Tensors by the file's own names.
    pub(crate) places: BTreeMap<String, Place>,
    /// The metadata's bytes in the file, and the number of their keys.
    pub(crate) metadata_bytes: (Range<u64>, u64),
}

impl Container {
    /// Parses everything before the tensor data and checks each tensor's place.
    ///
    /// # Errors
    /// [`Error::Format`] names the key or tensor; nothing is allocated from a length that the file cannot hold.
    pub(crate) fn new(source: Source) -> Result<Self, Error> {
        let mut reader = Reader::new(&source);
        if reader.array::<4>("magic")? != *b"GGUF" {
            return Err(Error::format(source.place(), "not a GGUF file"));
        }
        let version = reader.u32("version")?;
        if !(2..=3).contains(&version) {
            let reason = format!("GGUF version {version} (this engine reads 2 and 3, little-endian)");
            return Err(Error::unsupported(source.place(), reason));
        }
        let tensors = reader.count("tensor count", MOST_ENTRIES, 24)?;
        let keys = reader.count("metadata count", MOST_ENTRIES, 13)?;
        let mut values = BTreeMap::new();
        let first = reader.position;
        for _ in 0..keys {
            let key = reader.text("metadata key")?;
            let kind = reader.u32(&key)?;
            let value = reader.value(&key, kind)?;
            if values.insert(key.clone(), value).is_some() {
                return Err(Error::format(format!("{}: {key}", source.place()), "given twice"));
            }
        }
        let metadata_bytes = (first..reader.position, keys as u64);
        let metadata = Metadata { place: source.place().to_owned(), values };
        let mut places = BTreeMap::new();
        for _ in 0..tensors {
            let name = reader.text("tensor name")?;
            let place = reader.place(&name)?;
            if places.insert(name.clone(), place).is_some() {
                return Err(Error::format(format!("{}: {name}", source.place()), "two tensors of this name"));
            }
        }
        let alignment = alignment(&metadata)?;
        let start = reader.position.next_multiple_of(alignment);
        for (name, place) in &mut places {
            settle(&source, name, place, start, alignment)?;
        }
        Ok(Self { source, metadata, places, metadata_bytes })
    }

    /// Bytes to which tensors are aligned.
    pub(crate) fn alignment(&self) -> Result<u64, Error> {
        alignment(&self.metadata)
    }
}

/// Bytes to which the tensors of a file with these metadata are aligned.
fn alignment(metadata: &Metadata) -> Result<u64, Error> {
    Ok(metadata.size("general.alignment", 1 << 20)?.unwrap_or(super::writer::ALIGNMENT) as u64)
}

/// Turns a tensor's offset among the data into one in the file, and checks that it lies within.
fn settle(source: &Source, name: &str, place: &mut Place, start: u64, alignment: u64) -> Result<(), Error> {
    let refuse = |reason: String| Err(Error::format(format!("{}: {name}", source.place()), reason));
    if !place.offset.is_multiple_of(alignment) {
        return refuse(format!("offset {} is not a multiple of the alignment {alignment}", place.offset));
    }
    let Some(offset) = place.offset.checked_add(start) else {
        return refuse(format!("offset {} overflows", place.offset));
    };
    place.offset = offset;
    let Some(count) = place.shape.iter().try_fold(1usize, |count, &size| count.checked_mul(size)) else {
        return refuse(format!("shape {:?} overflows", place.shape));
    };
    if let Ok(format) = place.format {
        let row = place.shape.last().copied().unwrap_or(1);
        if !row.is_multiple_of(format.values()) {
            return refuse(format!(
                "rows of {row} are no multiple of {format:?}'s blocks of {}",
                format.values()
            ));
        }
        let length = (count / format.values()).checked_mul(format.bytes());
        let end = length.and_then(|length| offset.checked_add(length as u64));
        match (length, end) {
            (Some(length), Some(end)) if end <= source.length() => place.length = length,
            _ => {
                let reason = format!(
                    "shape {:?} at byte {offset} exceeds the file's {}",
                    place.shape,
                    source.length()
                );
                return refuse(reason);
            }
        }
    }
    Ok(())
}

/// Reads the header in chunks, forward only.
struct Reader<'a> {
    source: &'a Source,
    chunk: Vec<u8>,
    /// Position of the chunk's first byte.
    chunk_start: u64,
    /// Position of the next byte.
    position: u64,
}

impl<'a> Reader<'a> {
    fn new(source: &'a Source) -> Self {
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

    fn array<const N: usize>(&mut self, what: &str) -> Result<[u8; N], Error> {
        let bytes = self.bytes(what, N)?;
        Ok(bytes.try_into().expect("as many bytes were asked for"))
    }

    fn u32(&mut self, what: &str) -> Result<u32, Error> {
        self.array(what).map(u32::from_le_bytes)
    }

    fn u64(&mut self, what: &str) -> Result<u64, Error> {
        self.array(what).map(u64::from_le_bytes)
    }

    /// A count of things that take at least `least` bytes each: at most `limit`, and no more than the file can hold.
    fn count(&mut self, what: &str, limit: u64, least: u64) -> Result<usize, Error> {
        let count = self.u64(what)?;
        if count > limit || count.saturating_mul(least) > self.remaining() {
            return Err(self.refuse(what, format!("a count of {count} with {} bytes left", self.remaining())));
        }
        Ok(count as usize)
    }

    fn text(&mut self, what: &str) -> Result<String, Error> {
        let length = self.count(what, LONGEST_STRING, 1)?;
        let bytes = self.bytes(what, length)?.to_vec();
        String::from_utf8(bytes).map_err(|_| self.refuse(what, "not UTF-8".to_owned()))
    }

    /// A value of the type with this number.
    fn value(&mut self, key: &str, kind: u32) -> Result<Value, Error> {
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
    fn place(&mut self, name: &str) -> Result<Place, Error> {
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

impl Metadata {
    /// The place of `key`, for errors.
    pub(crate) fn place(&self, key: &str) -> String {
        format!("{}: {key}", self.place)
    }

    /// A value of any type.
    pub(crate) fn value(&self, key: &str) -> Option<&Value> {
        self.values.get(key)
    }

    /// The error for a value that is not `expected`.
    fn wrong(&self, key: &str, expected: &str) -> Error {
        Error::format(self.place(key), format!("expected {expected}"))
    }

    /// A size from 1 to `limit`, unless absent. A list of one size per layer counts where all are equal.
    pub(crate) fn size(&self, key: &str, limit: usize) -> Result<Option<usize>, Error> {
        let number = match self.value(key) {
            None => return Ok(None),
            Some(Value::Integer(number)) => *number,
            Some(Value::Array(Array::Integers(list))) if !list.is_empty() => {
                if list.iter().any(|number| *number != list[0]) {
                    return Err(Error::unsupported(self.place(key), "another size for each layer"));
                }
                list[0].into()
            }
            Some(_) => return Err(self.wrong(key, "a whole number")),
        };
        match usize::try_from(number) {
            Ok(size) if (1..=limit).contains(&size) => Ok(Some(size)),
            _ => Err(Error::format(self.place(key), format!("expected 1 to {limit}, found {number}"))),
        }
    }

    /// A size that must be there.
    pub(crate) fn required_size(&self, key: &str, limit: usize) -> Result<usize, Error> {
        self.size(key, limit)?.ok_or_else(|| Error::format(self.place(key), "absent"))
    }

    /// A finite number, unless absent.
    pub(crate) fn number(&self, key: &str) -> Result<Option<f64>, Error> {
        match self.value(key) {
            None => Ok(None),
            Some(Value::Float(number)) if number.is_finite() => Ok(Some(*number)),
            Some(Value::Integer(number)) => Ok(Some(*number as f64)),
            Some(_) => Err(self.wrong(key, "a number")),
        }
    }

    /// True or false, unless absent.
    pub(crate) fn boolean(&self, key: &str) -> Result<Option<bool>, Error> {
        match self.value(key) {
            None => Ok(None),
            Some(Value::Boolean(value)) => Ok(Some(*value)),
            Some(_) => Err(self.wrong(key, "true or false")),
        }
    }

    /// A string, unless absent.
    pub(crate) fn text(&self, key: &str) -> Result<Option<&str>, Error> {
        match self.value(key) {
            None => Ok(None),
            Some(Value::Text(text)) => Ok(Some(text)),
            Some(_) => Err(self.wrong(key, "a string")),
        }
    }

    /// A token id below `limit`, unless absent.
    pub(crate) fn token(&self, key: &str, limit: usize) -> Result<Option<u32>, Error> {
        match self.value(key) {
            None => Ok(None),
            Some(Value::Integer(id)) if (0..limit as i128).contains(id) => Ok(u32::try_from(*id).ok()),
            Some(_) => Err(Error::format(self.place(key), format!("not a token id below {limit}"))),
        }
    }

    /// A list of strings, unless absent.
    pub(crate) fn texts(&self, key: &str) -> Result<Option<&[String]>, Error> {
        match self.value(key) {
            None => Ok(None),
            Some(Value::Array(Array::Texts(list))) => Ok(Some(list)),
            Some(_) => Err(self.wrong(key, "a list of strings")),
        }
    }

    /// A list of whole numbers, unless absent.
    pub(crate) fn integers(&self, key: &str) -> Result<Option<&[i64]>, Error> {
        match self.value(key) {
            None => Ok(None),
            Some(Value::Array(Array::Integers(list))) => Ok(Some(list)),
            Some(_) => Err(self.wrong(key, "a list of whole numbers")),
        }
    }

    /// A list of floats, unless absent.
    pub(crate) fn floats(&self, key: &str) -> Result<Option<&[f32]>, Error> {
        match self.value(key) {
            None => Ok(None),
            Some(Value::Array(Array::Floats(list))) => Ok(Some(list)),
            Some(_) => Err(self.wrong(key, "a list of numbers")),
        }
    }
}
