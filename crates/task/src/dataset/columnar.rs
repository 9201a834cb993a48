//! Apache Parquet, as data set hubs and data frames write it: every row as the JSON object that JSONL would have.

use std::collections::BTreeMap;
use std::io::{BufRead, Read};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::PathBuf;

use bytes::Bytes;
use parquet::file::reader::{FileReader, SerializedFileReader};
use serde_json::{Map, Value};

use super::jsonl;
use super::read::{BadRows, Table};
use crate::Error;
use crate::settings::DataSettings;

/// Most bytes of a file; larger ones are worth splitting.
const LARGEST_FILE: u64 = 2 << 30;
/// Most rows of a file: what a damaged header may claim.
const MOST_ROWS: i64 = 50_000_000;

/// The file begins with this.
pub(crate) const MAGIC: &[u8] = b"PAR1";

pub(super) fn read(
    reader: &mut dyn BufRead,
    path: PathBuf,
    settings: &DataSettings,
    bad: &mut BadRows,
) -> Result<Table, Error> {
    let mut bytes = Vec::new();
    let read = reader.take(LARGEST_FILE + 1).read_to_end(&mut bytes);
    read.map_err(|source| Error::Io { path: path.clone(), source })?;
    let rows = rows(bytes).map_err(|reason| Error::Data(format!("{}: {reason}", path.display())))?;
    Ok(jsonl::read_objects(rows, path, settings, bad))
}

/// The rows in order. Whole numbers of a column that the file's own metadata calls a class label (Hugging Face's data sets) are given
/// the names that stand there.
///
/// # Errors
/// What is wrong with the file.
pub(crate) fn rows(bytes: Vec<u8>) -> Result<Vec<Map<String, Value>>, String> {
    if bytes.len() as u64 > LARGEST_FILE {
        return Err("a Parquet file of more than 2 GiB; split it".to_owned());
    }
    // The reader's own checks of a damaged file do not cover every case.
    catch_unwind(AssertUnwindSafe(|| decoded(bytes)))
        .unwrap_or_else(|_| Err("the file is damaged".to_owned()))
}

fn decoded(bytes: Vec<u8>) -> Result<Vec<Map<String, Value>>, String> {
    let reader = SerializedFileReader::new(Bytes::from(bytes)).map_err(|error| error.to_string())?;
    let file = reader.metadata().file_metadata();
    if !(0..=MOST_ROWS).contains(&file.num_rows()) {
        return Err(format!("{} rows are more than the {MOST_ROWS} that are read", file.num_rows()));
    }
    let metadata = file.key_value_metadata().map(Vec::as_slice).unwrap_or_default();
    let described =
        metadata.iter().find(|pair| pair.key == "huggingface").and_then(|pair| pair.value.as_deref());
    let names = described.map(class_names).unwrap_or_default();
    let rows = reader.get_row_iter(None).map_err(|error| error.to_string())?;
    rows.enumerate()
        .map(|(index, row)| match row.map(|row| row.to_json_value()) {
            Ok(Value::Object(mut row)) => {
                name_classes(&mut row, &names);
                Ok(row)
            }
            Ok(_) => Err(format!("row {} has no columns", index + 1)),
            Err(error) => Err(format!("row {}: {error}", index + 1)),
        })
        .collect()
}

/// The class names of each column of class labels: `info.features.COLUMN.names` of the metadata.
fn class_names(metadata: &str) -> BTreeMap<String, Vec<String>> {
    let parsed: Value = serde_json::from_str(metadata).unwrap_or_default();
    let features = parsed.pointer("/info/features").and_then(Value::as_object);
    let named = |feature: &Value| {
        let names = feature.get("names")?.as_array()?;
        names.iter().map(|name| name.as_str().map(str::to_owned)).collect::<Option<Vec<_>>>()
    };
    let features = features.into_iter().flatten();
    features.filter_map(|(column, feature)| Some((column.clone(), named(feature)?))).collect()
}

fn name_classes(row: &mut Map<String, Value>, names: &BTreeMap<String, Vec<String>>) {
    for (column, names) in names {
        let Some(value) = row.get_mut(column) else { continue };
        let class = value.as_u64().and_then(|number| usize::try_from(number).ok());
        if let Some(name) = class.and_then(|class| names.get(class)) {
            *value = Value::from(name.as_str());
        }
    }
}
