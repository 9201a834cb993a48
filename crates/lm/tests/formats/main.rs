//! Files that the crate reads and writes, against the libraries that define their formats. Expected values come from
//! `fixtures/scripts/formats_*.py`.

#![expect(clippy::unwrap_used, reason = "a test that cannot set itself up should stop")]

mod adapter;
mod chat;
mod config;
mod tokenizer;
mod weights;

use std::path::{Path, PathBuf};

/// The path of a fixture.
fn fixture(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures").join(name)
}

/// A JSON fixture.
fn json(name: &str) -> serde_json::Value {
    serde_json::from_slice(&std::fs::read(fixture(name)).unwrap()).unwrap()
}

/// Writes a file of a test.
fn put(path: &Path, bytes: impl AsRef<[u8]>) {
    use std::io::Write;
    std::fs::File::create(path).and_then(|mut file| file.write_all(bytes.as_ref())).unwrap();
}

/// The largest difference of two lists of numbers; infinite where one is not a number or their lengths differ.
fn largest_difference(found: &[f32], expected: &[f32]) -> f32 {
    if found.len() != expected.len() {
        return f32::INFINITY;
    }
    let pairs = found.iter().zip(expected);
    pairs.map(|(found, expected)| (found - expected).abs()).fold(0.0, |largest, difference| {
        if difference <= largest {
            largest
        } else if difference.is_nan() {
            f32::INFINITY
        } else {
            difference
        }
    })
}

/// The path in an environment variable, or a line that says what is skipped.
#[expect(clippy::print_stderr, reason = "a test that is skipped says so")]
fn given(variable: &str) -> Option<PathBuf> {
    let path = std::env::var_os(variable).map(PathBuf::from);
    if path.is_none() {
        eprintln!("skipped: {variable} is not set");
    }
    path
}
