//! The hash of a model's weights, made beside whatever else is done.

use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::thread::JoinHandle;

use sha2::{Digest as _, Sha256};

use super::Source;
use crate::Error;

/// SHA-256 of a model's weights, on a thread of its own until someone asks for it: a first answer does not wait.
#[derive(Clone, Debug)]
pub struct WeightsHash(Arc<Pending>);

#[derive(Debug)]
struct Pending {
    thread: Mutex<Option<JoinHandle<Result<String, Error>>>>,
    /// The hash, or why there is none.
    value: OnceLock<Result<String, (String, String)>>,
    place: String,
}

impl WeightsHash {
    /// Hashes `sources`, one after another.
    pub(crate) fn begin(place: String, sources: Vec<Source>) -> Self {
        let thread = std::thread::spawn(move || hash(&sources));
        Self(Arc::new(Pending { thread: Mutex::new(Some(thread)), value: OnceLock::new(), place }))
    }

    /// The hash in hexadecimal: of the file, or of the shards one after another in the order of their names. Waits for
    /// it, if it must.
    ///
    /// # Errors
    /// [`Error::Format`] where a file that was there could not be read to its end.
    pub fn hexadecimal(&self) -> Result<&str, Error> {
        let value = self.0.value.get_or_init(|| {
            let thread = self.0.thread.lock().unwrap_or_else(PoisonError::into_inner).take();
            match thread.map(JoinHandle::join) {
                Some(Ok(result)) => result.map_err(|error| (self.0.place.clone(), error.to_string())),
                _ => Err((self.0.place.clone(), "its hash was not finished".to_owned())),
            }
        });
        value.as_deref().map_err(|(place, reason)| Error::format(place.clone(), reason.clone()))
    }
}

/// SHA-256 of the sources, one after another.
fn hash(sources: &[Source]) -> Result<String, Error> {
    let mut hasher = Sha256::new();
    sources.iter().try_for_each(|source| source.hash(&mut hasher))?;
    Ok(hasher.finalize().iter().map(|byte| format!("{byte:02x}")).collect())
}
