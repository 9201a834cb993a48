//! Making room for a new run without losing the old one.

use std::path::{Path, PathBuf};

use super::{DATABASE, lock};
use crate::Error;

/// Moves the run in `folder` aside: `tickets.weigh` becomes `tickets.1.weigh`, or the next number that is free.
/// Returns the new place; `None` where there is no run.
///
/// # Errors
/// [`Error::Store`] where a process is running it; [`Error::Io`] where it cannot be moved.
pub fn archive(folder: &Path) -> Result<Option<PathBuf>, Error> {
    if !folder.join(DATABASE).exists() {
        return Ok(None);
    }
    let held = lock(folder)?;
    let stem = folder.file_stem().unwrap_or_default().to_string_lossy().into_owned();
    let free = (1u64..)
        .map(|number| folder.with_file_name(format!("{stem}.{number}.weigh")))
        .find(|place| !place.exists())
        .expect("there are more numbers than folders");
    std::fs::rename(folder, &free).map_err(|source| Error::Io { path: folder.to_path_buf(), source })?;
    drop(held);
    Ok(Some(free))
}
