//! The container: a header, metadata (key, typed value), tensor places, aligned tensor data; little-endian.

mod metadata;
mod reader;

use std::collections::BTreeMap;
use std::ops::Range;

use super::blocks::BlockFormat;
use crate::Error;
use crate::weights::Source;
use reader::Reader;

pub(crate) use metadata::Metadata;

/// Most metadata keys or tensors that are read.
const MOST_ENTRIES: u64 = 1 << 16;

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
