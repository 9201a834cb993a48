//! Parquet files as rows, where the program was built with the feature `parquet`.

use std::path::Path;

use anyhow::Result;
use task::intake::Rows;

/// Reads all rows of `path`; nested values become JSON.
#[cfg(feature = "parquet")]
pub(super) fn read(path: &Path) -> Result<Rows> {
    use anyhow::{Context, bail};
    use parquet::file::reader::{FileReader, SerializedFileReader};

    let file = std::fs::File::open(path).with_context(|| path.display().to_string())?;
    let reader = SerializedFileReader::new(file).with_context(|| path.display().to_string())?;
    let mut rows = Vec::new();
    for row in reader.get_row_iter(None)? {
        match row.with_context(|| path.display().to_string())?.to_json_value() {
            serde_json::Value::Object(row) => rows.push(row),
            other => bail!("{}: a row is {other}, not an object", path.display()),
        }
    }
    Ok(Rows::other(rows))
}

/// Says that this build cannot.
#[cfg(not(feature = "parquet"))]
pub(super) fn read(path: &Path) -> Result<Rows> {
    anyhow::bail!(
        "{}: this program was built without Parquet (cargo install --features parquet); or save the rows as JSONL or CSV",
        path.display()
    )
}
