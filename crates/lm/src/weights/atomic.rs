//! The one way in which this crate writes files.

use std::fs::{File, OpenOptions};
use std::io::{BufWriter, Write};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};

use crate::Error;

/// Writes `path` through a temporary file in the same folder that is synced and then renamed: whatever happens, `path`
/// holds either what it held before or all that `fill` wrote.
///
/// # Errors
/// [`Error::Io`] names `path`; the temporary file is removed.
pub(crate) fn write_atomically(
    path: &Path,
    fill: impl FnOnce(&mut BufWriter<File>) -> std::io::Result<()>,
) -> Result<(), Error> {
    let temporary = temporary_beside(path);
    let written = write_and_rename(path, &temporary, fill);
    if written.is_err() {
        // The first error is the one to report; a temporary file that stays behind is harmless.
        let _ = std::fs::remove_file(&temporary);
    }
    written.map_err(|error| Error::io(path, error))
}

/// A name in the folder of `path` that no other writer uses.
fn temporary_beside(path: &Path) -> PathBuf {
    static COUNTER: AtomicU64 = AtomicU64::new(0);
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    let number = COUNTER.fetch_add(1, Ordering::Relaxed);
    path.with_file_name(format!(".{name}.{}.{number}.tmp", std::process::id()))
}

/// The steps of an atomic write.
fn write_and_rename(
    path: &Path,
    temporary: &Path,
    fill: impl FnOnce(&mut BufWriter<File>) -> std::io::Result<()>,
) -> std::io::Result<()> {
    let file = OpenOptions::new().write(true).create(true).truncate(true).open(temporary)?;
    let mut writer = BufWriter::with_capacity(1 << 20, file);
    fill(&mut writer)?;
    writer.flush()?;
    writer.get_ref().sync_all()?;
    drop(writer);
    std::fs::rename(temporary, path)?;
    if let Some(Ok(folder)) = path.parent().map(File::open) {
        // Makes the rename itself durable; not every file system can sync a folder, and the file is whole anyway.
        let _ = folder.sync_all();
    }
    Ok(())
}
