//! Parquet files as data frames and data set hubs write them. The files were made by pyarrow: `fixtures/scripts/task_parquet.py`.

use std::path::{Path, PathBuf};

use task::Error;
use task::dataset::Dataset;
use task::intake::Rows;
use task::settings::Settings;

fn fixtures() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures")
}

fn load(name: &str) -> Result<Dataset, Error> {
    let text = format!("[data]\ntrain = \"{name}\"\nnear_duplicates = false\n");
    Dataset::load(&Settings::from_str(&text, &fixtures())?)
}

#[test]
fn whole_numbers_are_given_the_names_of_their_classes() {
    let dataset = load("tickets.parquet").expect("the file is whole");
    assert_eq!(dataset.labels, ["account", "delivery", "refund"]);
    let all = dataset.train.len() + dataset.dev.len() + dataset.test.len();
    assert_eq!(all, 30);
    for example in &dataset.train {
        assert!(example.input.ends_with(&example.target), "{} -> {}", example.input, example.target);
    }
}

#[test]
fn chats_are_read_from_nested_columns() {
    let dataset = load("chats.parquet").expect("the file is whole");
    assert_eq!(dataset.labels, ["account", "delivery", "refund"]);
}

#[test]
fn init_looks_at_the_same_rows() {
    let rows = Rows::read(&fixtures().join("tickets.parquet")).expect("the file is whole");
    assert_eq!(rows.rows.len(), 30);
    assert_eq!(rows.rows[1]["label"], "delivery");
}

#[test]
fn damaged_files_are_refused_and_never_panic() {
    let bytes = std::fs::read(fixtures().join("tickets.parquet")).expect("the file is there");
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("damaged.parquet");
    let mut refused = 0;
    // Every length, and every byte turned: a file may stay readable, but nothing may panic.
    for length in (0..bytes.len()).step_by(7) {
        task::atomic::write(&path, &bytes[..length]).expect("it can be written");
        assert!(Rows::read(&path).is_err(), "{length} bytes");
    }
    for position in (0..bytes.len()).step_by(3) {
        let mut damaged = bytes.clone();
        damaged[position] ^= 0x55;
        task::atomic::write(&path, &damaged).expect("it can be written");
        refused += usize::from(Rows::read(&path).is_err());
    }
    assert!(3 * refused > bytes.len() / 10, "{refused} of {}", bytes.len());
}
