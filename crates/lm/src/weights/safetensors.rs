//! The safetensors format: eight bytes of header length, a JSON header, then the tensors without gaps.

use std::collections::BTreeMap;
use std::io::Write;
use std::path::Path;

use serde_json::{Map, Value, json};

use super::element::Element;
use super::{Dtype, PartReader, Source, Tensors, beyond, write_atomically};
use crate::Error;

/// The longest header, as the reference implementation has it.
const LARGEST_HEADER: u64 = 100_000_000;

/// A safetensors file, its header parsed and checked, its tensors read on demand.
pub(crate) struct SafetensorsFile {
    source: Source,
    entries: BTreeMap<String, Entry>,
}

/// Where a tensor lies.
struct Entry {
    dtype: String,
    shape: Vec<usize>,
    offset: u64,
    length: usize,
}

impl SafetensorsFile {
    /// Reads and checks the header.
    ///
    /// # Errors
    /// [`Error::Format`] names the tensor whose shape, type and place do not agree, or the part that is cut off.
    pub(crate) fn new(source: Source) -> Result<Self, Error> {
        let refuse = |reason: String| Error::format(source.place(), reason);
        if source.length() < 8 {
            return Err(refuse(format!("{} bytes, too short for a safetensors file", source.length())));
        }
        let prefix = source.read(0, 8)?;
        let length = u64::from_le_bytes(prefix.try_into().expect("eight bytes were read"));
        if length > LARGEST_HEADER || length > source.length() - 8 {
            return Err(refuse(format!("a header of {length} bytes in a file of {}", source.length())));
        }
        let header = source.read(8, length as usize)?;
        let header: Map<String, Value> =
            serde_json::from_slice(&header).map_err(|error| refuse(format!("header: {error}")))?;
        let mut entries = BTreeMap::new();
        for (name, value) in header {
            if name == "__metadata__" {
                continue;
            }
            let entry = Entry::new(&value, 8 + length)
                .map_err(|reason| Error::format(format!("{}: {name}", source.place()), reason))?;
            entries.insert(name, entry);
        }
        let file = Self { source, entries };
        file.check_places(8 + length)?;
        Ok(file)
    }

    /// The bytes of the file.
    pub(crate) fn source(&self) -> &Source {
        &self.source
    }

    /// A tensor, and its numbers where they are of a kind that is read.
    fn readable(&self, name: &str) -> Result<(&Entry, Element), Error> {
        let place = || format!("{}: {name}", self.source.place());
        let entry = self.entries.get(name).ok_or_else(|| Error::format(place(), "no such tensor"))?;
        let element = element(&entry.dtype)
            .ok_or_else(|| Error::unsupported(place(), format!("numbers of type {}", entry.dtype)))?;
        Ok((entry, element))
    }

    /// Checks that the tensors cover the file from `start` to its end, once.
    fn check_places(&self, start: u64) -> Result<(), Error> {
        let mut entries: Vec<_> = self.entries.iter().collect();
        entries.sort_by_key(|(_, entry)| (entry.offset, entry.length));
        let mut end = start;
        for (name, entry) in entries {
            if entry.offset != end {
                let reason = format!("begins at byte {}, where byte {end} is due", entry.offset);
                return Err(Error::format(format!("{}: {name}", self.source.place()), reason));
            }
            // No overflow: every entry was checked to end within a u64.
            end += entry.length as u64;
        }
        if end != self.source.length() {
            let reason = format!("{} bytes, where the header speaks of {end}", self.source.length());
            return Err(Error::format(self.source.place(), reason));
        }
        Ok(())
    }
}

impl Entry {
    /// One value of the header; the reason where it is none.
    fn new(value: &Value, start: u64) -> Result<Self, String> {
        let sizes = |key: &str| {
            let list = value.get(key)?.as_array()?;
            list.iter().map(Value::as_u64).collect::<Option<Vec<u64>>>()
        };
        let dtype = value.get("dtype").and_then(Value::as_str).ok_or("no dtype")?.to_owned();
        let shape = sizes("shape").ok_or("shape is not a list of sizes")?;
        let shape: Vec<usize> = shape
            .into_iter()
            .map(usize::try_from)
            .collect::<Result<_, _>>()
            .map_err(|error| error.to_string())?;
        let offsets = sizes("data_offsets").ok_or("data_offsets are not two positions")?;
        let [begin, end] = offsets[..] else { return Err("data_offsets are not two positions".to_owned()) };
        let length = end.checked_sub(begin).ok_or("data_offsets run backwards")?;
        let length = usize::try_from(length).map_err(|error| error.to_string())?;
        let offset = begin.checked_add(start).ok_or("data_offsets overflow")?;
        end.checked_add(start).ok_or("data_offsets overflow")?;
        let count = shape.iter().try_fold(1usize, |count, &size| count.checked_mul(size));
        let bytes = |element: Element| count.and_then(|count| count.checked_mul(element.size()));
        if count.is_none() || element(&dtype).is_some_and(|element| bytes(element) != Some(length)) {
            return Err(format!("{length} bytes for {dtype} of shape {shape:?}"));
        }
        Ok(Self { dtype, shape, offset, length })
    }
}

/// The number format of a header's `dtype`.
fn element(dtype: &str) -> Option<Element> {
    match dtype {
        "F64" => Some(Element::F64),
        "F32" => Some(Element::F32),
        "F16" => Some(Element::F16),
        "BF16" => Some(Element::Bf16),
        _ => None,
    }
}

impl Tensors for SafetensorsFile {
    fn names(&self) -> Vec<String> {
        self.entries.keys().cloned().collect()
    }

    fn shape(&self, name: &str) -> Option<Vec<usize>> {
        self.entries.get(name).map(|entry| entry.shape.clone())
    }

    fn read(&self, name: &str) -> Result<Vec<f32>, Error> {
        let (entry, element) = self.readable(name)?;
        Ok(element.decode(&self.source.read(entry.offset, entry.length)?))
    }

    fn parts(&self, name: &str) -> Result<PartReader<'_>, Error> {
        let (entry, element) = self.readable(name)?;
        Ok(Box::new(move |first, out| {
            let (begin, length) = (first * element.size(), out.len() * element.size());
            if begin + length > entry.length {
                return Err(beyond(first, out.len(), entry.length / element.size()));
            }
            self.source.with(entry.offset + begin as u64, length, |bytes| element.decode_into(bytes, out))
        }))
    }
}

/// Several safetensors files that hold one model.
pub(crate) struct Shards {
    files: Vec<SafetensorsFile>,
    /// The file that holds each tensor.
    places: BTreeMap<String, usize>,
}

impl Shards {
    /// Joins the files; a tensor may be in one of them only.
    pub(crate) fn new(files: Vec<SafetensorsFile>) -> Result<Self, Error> {
        let mut places = BTreeMap::new();
        for (index, file) in files.iter().enumerate() {
            for name in file.entries.keys() {
                if places.insert(name.clone(), index).is_some() {
                    let place = format!("{}: {name}", file.source.place());
                    return Err(Error::format(place, "also in another shard"));
                }
            }
        }
        Ok(Self { files, places })
    }

    fn file(&self, name: &str) -> Result<&SafetensorsFile, Error> {
        let index =
            self.places.get(name).ok_or_else(|| Error::format(name, "no such tensor in any shard"))?;
        Ok(&self.files[*index])
    }
}

impl Tensors for Shards {
    fn names(&self) -> Vec<String> {
        self.places.keys().cloned().collect()
    }

    fn shape(&self, name: &str) -> Option<Vec<usize>> {
        self.places.get(name).and_then(|&index| self.files[index].shape(name))
    }

    fn read(&self, name: &str) -> Result<Vec<f32>, Error> {
        self.file(name)?.read(name)
    }

    fn parts(&self, name: &str) -> Result<PartReader<'_>, Error> {
        self.file(name)?.parts(name)
    }
}

/// Writes a safetensors file, atomically: the tensors (name, shape, row-major values) in the order of their names, all
/// in `dtype`, with `metadata` in the header (`format: pt` is what the Python libraries expect).
///
/// # Errors
/// [`Error::Shape`] where the values are not as many as the shape says, [`Error::Format`] where a name occurs twice,
/// [`Error::Io`] where the file cannot be written.
pub fn write_safetensors(
    path: &Path,
    tensors: &[(String, Vec<usize>, &[f32])],
    dtype: Dtype,
    metadata: &BTreeMap<String, String>,
) -> Result<(), Error> {
    let mut tensors: Vec<_> = tensors.iter().collect();
    tensors.sort_by(|left, right| left.0.cmp(&right.0));
    let header = header(path, &tensors, dtype, metadata)?;
    write_atomically(path, |file| {
        file.write_all(&(header.len() as u64).to_le_bytes())?;
        file.write_all(&header)?;
        let mut bytes = Vec::new();
        for chunk in tensors.iter().flat_map(|(_, _, values)| values.chunks(1 << 16)) {
            bytes.clear();
            dtype.encode(chunk, &mut bytes);
            file.write_all(&bytes)?;
        }
        Ok(())
    })
}

/// The JSON header, padded with spaces so that the tensors begin at a multiple of eight bytes.
fn header(
    path: &Path,
    tensors: &[&(String, Vec<usize>, &[f32])],
    dtype: Dtype,
    metadata: &BTreeMap<String, String>,
) -> Result<Vec<u8>, Error> {
    let mut header = Map::new();
    if !metadata.is_empty() {
        header.insert("__metadata__".to_owned(), json!(metadata));
    }
    let mut end = 0;
    for (name, shape, values) in tensors {
        if shape.iter().product::<usize>() != values.len() {
            let found = Some(vec![values.len()]);
            return Err(Error::Shape { name: name.clone(), expected: shape.clone(), found });
        }
        let begin = end;
        end += values.len() * dtype.size();
        let entry = json!({"dtype": dtype.name(), "shape": shape, "data_offsets": [begin, end]});
        if header.insert(name.clone(), entry).is_some() {
            return Err(Error::format(format!("{}: {name}", path.display()), "two tensors of this name"));
        }
    }
    let mut header = serde_json::to_vec(&header).expect("a map of plain values serialises");
    header.resize(header.len().next_multiple_of(8), b' ');
    Ok(header)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A file of this header and so many bytes of data.
    fn file(header: &str, data: usize) -> Vec<u8> {
        let length = (header.len() as u64).to_le_bytes();
        [length.as_slice(), header.as_bytes(), &vec![1; data]].concat()
    }

    fn open(bytes: Vec<u8>) -> Result<SafetensorsFile, Error> {
        SafetensorsFile::new(Source::memory("test", bytes))
    }

    /// Two matrices and a list of every kind that is read.
    fn valid() -> Vec<u8> {
        let header = concat!(
            r#"{"__metadata__":{"format":"pt"},"a":{"dtype":"F32","shape":[2,3],"data_offsets":[0,24]},"#,
            r#""b":{"dtype":"BF16","shape":[4],"data_offsets":[24,32]},"c":{"dtype":"F64","shape":[],"#,
            r#""data_offsets":[32,40]},"d":{"dtype":"I64","shape":[1],"data_offsets":[40,48]}}"#
        );
        file(header, 48)
    }

    #[test]
    fn a_valid_file_opens_and_unknown_numbers_are_named_when_read() {
        let file = open(valid()).unwrap();
        assert_eq!(file.names(), ["a", "b", "c", "d"]);
        assert_eq!((file.read("a").unwrap().len(), file.read("c").unwrap().len()), (6, 1));
        assert!(matches!(file.read("d"), Err(Error::Unsupported { .. })));
        assert!(file.read("e").is_err());
    }

    #[test]
    fn wrong_headers_are_refused() {
        for (header, data) in [
            (r#"{"a":{"dtype":"F32","shape":[2],"data_offsets":[0,4]}}"#, 4),
            (r#"{"a":{"dtype":"F32","shape":[1],"data_offsets":[0,4]}}"#, 5),
            (r#"{"a":{"dtype":"F32","shape":[1],"data_offsets":[0,4]}}"#, 3),
            (r#"{"a":{"dtype":"F32","shape":[1],"data_offsets":[4,8]}}"#, 8),
            (r#"{"a":{"dtype":"F32","shape":[1],"data_offsets":[4,0]}}"#, 4),
            (
                r#"{"a":{"dtype":"F32","shape":[1],"data_offsets":[0,4]},"b":{"dtype":"F32","shape":[1],"data_offsets":[0,4]}}"#,
                4,
            ),
            (
                r#"{"a":{"dtype":"F32","shape":[1],"data_offsets":[0,4]},"b":{"dtype":"F32","shape":[1],"data_offsets":[8,12]}}"#,
                12,
            ),
            (r#"{"a":{"dtype":"F32","shape":[-1],"data_offsets":[0,4]}}"#, 4),
            (r#"{"a":{"dtype":"F32","shape":[1.0],"data_offsets":[0,4]}}"#, 4),
            (r#"{"a":{"dtype":"F32","shape":[4611686018427387904,4],"data_offsets":[0,0]}}"#, 0),
            (r#"{"a":{"dtype":"X","shape":[1],"data_offsets":[0,18446744073709551615]}}"#, 4),
            (
                r#"{"a":{"dtype":"X","shape":[1],"data_offsets":[18446744073709551615,18446744073709551615]}}"#,
                4,
            ),
            (r#"{"a":{"shape":[1],"data_offsets":[0,4]}}"#, 4),
            (r#"{"a":{"dtype":"F32","data_offsets":[0,4]}}"#, 4),
            (r#"{"a":{"dtype":"F32","shape":[1]}}"#, 4),
            (r#"{"a":{"dtype":"F32","shape":[1],"data_offsets":[0]}}"#, 4),
            (r#"{"a":3}"#, 0),
            ("[]", 0),
            ("{", 0),
            ("", 0),
        ] {
            assert!(open(file(header, data)).is_err(), "{header}");
        }
        for length in [u64::MAX, 1 << 40, 100_000_001, 9] {
            assert!(open([length.to_le_bytes().as_slice(), b"{}"].concat()).is_err(), "{length}");
        }
    }

    #[test]
    fn every_length_and_every_byte_of_the_header_may_be_wrong() {
        let bytes = valid();
        for length in 0..bytes.len() {
            assert!(open(bytes[..length].to_vec()).is_err(), "{length}");
        }
        for position in 0..bytes.len() - 48 {
            for byte in 0..=255 {
                let mut damaged = bytes.clone();
                damaged[position] = byte;
                if let Ok(file) = open(damaged) {
                    for name in file.names() {
                        let count = file.shape(&name).unwrap().iter().product::<usize>();
                        assert!(file.read(&name).is_err() || file.read(&name).unwrap().len() == count);
                    }
                }
            }
        }
    }
}
