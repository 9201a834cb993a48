//! The binary from outside: standard output, standard error and exit codes.
#![expect(clippy::unwrap_used, reason = "a test that cannot set itself up should stop")]

use std::path::Path;
use std::process::{Command, Output};

fn weigh(folder: &Path, arguments: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_weigh"))
        .args(arguments)
        .current_dir(folder)
        .env("NO_COLOR", "1")
        .env("COLUMNS", "100")
        .output()
        .unwrap()
}

/// Exit code, standard output and standard error as one text, the folder's own path taken out.
fn told(folder: &Path, output: &Output) -> String {
    let text = format!(
        "code {}\n--- stdout\n{}--- stderr\n{}",
        output.status.code().unwrap_or(-1),
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr)
    );
    text.replace(&format!("{}/", folder.display()), "")
}

fn write(folder: &Path, name: &str, bytes: impl AsRef<[u8]>) {
    task::atomic::write(&folder.join(name), bytes.as_ref()).unwrap();
}

/// A folder with a task file and rows.
fn task(toml: &str, rows: impl AsRef<[u8]>) -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    write(folder.path(), "weigh.toml", toml);
    write(folder.path(), "rows.jsonl", rows);
    folder
}

const PLAIN: &str = "[data]\ntrain = \"rows.jsonl\"\n";

fn rows(count: usize) -> String {
    let topics = [
        ("billing", "invoice refund charge"),
        ("delivery", "parcel courier late"),
        ("login", "password code lock"),
    ];
    (0..count)
        .map(|row| {
            let (label, words) = topics[row % 3];
            let word = words.split(' ').nth(row / 3 % 3).unwrap();
            format!(
                "{{\"text\": \"case {row} about the {word} of number {}\", \"label\": \"{label}\"}}\n",
                row * 37 % 101
            )
        })
        .collect()
}

#[test]
fn help_lists_the_verbs() {
    let folder = tempfile::tempdir().unwrap();
    insta::assert_snapshot!(told(folder.path(), &weigh(folder.path(), &["--help"])));
}

#[test]
fn a_missing_task_file_is_named() {
    let folder = tempfile::tempdir().unwrap();
    insta::assert_snapshot!(told(folder.path(), &weigh(folder.path(), &["run"])));
}

#[test]
fn an_unknown_key_gets_the_nearest_known_one() {
    let folder = task("[data]\ntrian = \"rows.jsonl\"\n", rows(9));
    insta::assert_snapshot!(told(folder.path(), &weigh(folder.path(), &["run"])));
}

#[test]
fn a_missing_data_file_is_named() {
    let folder = task("[data]\ntrain = \"absent.jsonl\"\n", "");
    insta::assert_snapshot!(told(folder.path(), &weigh(folder.path(), &["check"])));
}

#[test]
fn bad_rows_are_counted_and_the_first_is_named() {
    let folder = task(PLAIN, format!("{}not json\n{{\"text\": 3}}\n", rows(9)));
    insta::assert_snapshot!(told(folder.path(), &weigh(folder.path(), &["check"])));
}

#[test]
fn invalid_utf8_is_told_with_its_line() {
    let mut bytes = rows(4).into_bytes();
    bytes.extend(b"{\"text\": \"caf\xe9\", \"label\": \"login\"}\n");
    let folder = task(PLAIN, bytes);
    insta::assert_snapshot!(told(folder.path(), &weigh(folder.path(), &["check"])));
}

#[test]
fn a_ten_megabyte_row_is_refused() {
    let long = format!("{}{{\"text\": \"{}\", \"label\": \"login\"}}\n", rows(6), "word ".repeat(2_000_000));
    let folder = task(PLAIN, long);
    insta::assert_snapshot!(told(folder.path(), &weigh(folder.path(), &["check"])));
}

#[test]
fn empty_data_is_an_error() {
    let folder = task(PLAIN, "");
    insta::assert_snapshot!(told(folder.path(), &weigh(folder.path(), &["run"])));
}

#[test]
fn one_class_is_an_error() {
    let lines: String = (0..20)
        .map(|row| format!("{{\"text\": \"row {row} {}\", \"label\": \"same\"}}\n", row * 7))
        .collect();
    let folder = task(PLAIN, lines);
    insta::assert_snapshot!(told(folder.path(), &weigh(folder.path(), &["run"])));
}

#[test]
fn a_truncated_gguf_is_an_error() {
    let folder = task(&format!("{PLAIN}[model]\nsource = \"model.gguf\"\n"), rows(60));
    write(folder.path(), "model.gguf", b"GGUF\x03\x00\x00\x00\xff\xff");
    insta::assert_snapshot!(told(folder.path(), &weigh(folder.path(), &["run", "--quiet"])));
}

#[test]
fn an_absent_model_is_an_error() {
    let folder = task(&format!("{PLAIN}[model]\nsource = \"nowhere.gguf\"\n"), rows(60));
    insta::assert_snapshot!(told(folder.path(), &weigh(folder.path(), &["run"])));
}

#[test]
fn a_context_too_small_for_one_demonstration_is_an_error() {
    let folder = task(&format!("{PLAIN}[model]\ncontext = 16\n"), rows(60));
    insta::assert_snapshot!(told(folder.path(), &weigh(folder.path(), &["run", "--quiet"])));
}

#[test]
fn a_verdict_needs_a_run() {
    let folder = task(PLAIN, rows(30));
    insta::assert_snapshot!(told(folder.path(), &weigh(folder.path(), &["verdict"])));
}

#[test]
fn a_probe_needs_a_run_and_a_tolerance_that_is_a_share() {
    let folder = task(PLAIN, rows(30));
    for (arguments, reason) in [
        (&["probe"][..], "there is no run yet; `weigh run weigh.toml` makes one"),
        (&["probe", "--tolerance", "2"], "--tolerance 2: write a share from 0 to 1"),
    ] {
        let output = told(folder.path(), &weigh(folder.path(), arguments));
        assert!(output.starts_with("code 1") && output.contains(reason), "{output}");
    }
}

#[test]
fn a_wrong_budget_is_an_error() {
    let folder = task(PLAIN, rows(30));
    insta::assert_snapshot!(told(folder.path(), &weigh(folder.path(), &["run", "--budget", "soon"])));
}

#[test]
fn threads_are_an_option_of_every_verb() {
    let folder = tempfile::tempdir().unwrap();
    insta::assert_snapshot!(told(folder.path(), &weigh(folder.path(), &["run", "--help"])));
}

#[test]
fn no_threads_at_all_is_an_error() {
    let folder = tempfile::tempdir().unwrap();
    insta::assert_snapshot!(told(folder.path(), &weigh(folder.path(), &["demo", "--threads", "0"])));
}

#[test]
fn options_that_make_no_sense_are_usage_errors() {
    let folder = task(PLAIN, rows(60));
    for arguments in [
        &["verdict", "--price", "input_prise=1"][..],
        &["verdict", "--price", "input_price=cheap"],
        &["compare", "weigh.toml"],
        &["audit"],
    ] {
        let output = weigh(folder.path(), arguments);
        assert_eq!(output.status.code(), Some(2), "{}", told(folder.path(), &output));
    }
    write(folder.path(), "prices.toml", "[[model]]\nname = \"a\"\ninput = -1\n");
    let output = weigh(folder.path(), &["verdict", "--price", "prices.toml"]);
    let text = told(folder.path(), &output);
    assert!(text.starts_with("code 2") && text.contains("must be at least 0"), "{text}");
}
