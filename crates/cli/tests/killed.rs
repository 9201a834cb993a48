//! A run that is killed with SIGKILL, again and again, ends with the figures of one that was left alone: the real binary,
//! the embedded model, the real engine.
#![cfg(unix)]
#![expect(clippy::unwrap_used, reason = "a test that cannot set itself up should stop")]

use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use serde_json::Value;

/// The budget is far above what the plan needs on any machine: what is planned does not depend on its speed.
const TASK: &str = r#"
[task]
name = "killed"
[data]
train = "rows.jsonl"
[prompt]
style = "arrow"
[in_context]
shots = [0, 4]
seeds = 2
search = false
[fine_tune]
labels = [9, 18]
seeds = 2
learning_rates = [3e-3]
epochs = 2
search_share = 0
hybrids = ["none"]
[budget]
time = "10h"
top_up = false
"#;

fn rows() -> String {
    let topics = [
        ("billing", ["invoice", "refund"]),
        ("delivery", ["parcel", "courier"]),
        ("login", ["password", "code"]),
    ];
    let openers = ["please check the", "a question about my", "what happened to the", "no news of the"];
    (0..72)
        .map(|row| {
            let (label, words) = topics[row % 3];
            let text = format!("{} {} number {}", openers[row / 3 % 4], words[row / 12 % 2], row * 37 % 101);
            format!("{{\"text\": \"{text}\", \"label\": \"{label}\"}}\n")
        })
        .collect()
}

fn folder() -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    task::atomic::write(&folder.path().join("weigh.toml"), TASK.as_bytes()).unwrap();
    task::atomic::write(&folder.path().join("rows.jsonl"), rows().as_bytes()).unwrap();
    folder
}

/// What it prints goes to a file: a full pipe would keep it from ending.
fn start(folder: &Path) -> Child {
    Command::new(env!("CARGO_BIN_EXE_weigh"))
        .args(["run", "--json", "--quiet"])
        .current_dir(folder)
        .stdout(std::fs::File::create(folder.join("result.json")).unwrap())
        .stderr(Stdio::inherit())
        .spawn()
        .unwrap()
}

/// The result, without what a clock measured.
fn figures(mut child: Child, folder: &Path) -> Value {
    assert!(child.wait().unwrap().success());
    let printed = std::fs::read(folder.join("result.json")).unwrap();
    let mut result: Value = serde_json::from_slice(&printed).unwrap();
    without_seconds(&mut result);
    let part = |name: &str| result[name].clone();
    serde_json::json!({"task": part("task"), "arms": part("arms"), "contrast": part("contrast"), "choice": result["verdict"]["choice"]})
}

fn without_seconds(value: &mut Value) {
    match value {
        Value::Object(map) => {
            map.retain(|key, _| !key.contains("seconds"));
            map.values_mut().for_each(without_seconds);
        }
        Value::Array(list) => list.iter_mut().for_each(without_seconds),
        _ => {}
    }
}

#[test]
fn a_run_that_is_killed_goes_on_and_ends_with_the_same_figures() {
    let alone = folder();
    let started = Instant::now();
    let expected = figures(start(alone.path()), alone.path());
    let whole = started.elapsed();
    assert!(expected["arms"].as_array().unwrap().len() > 8, "{expected}");

    let killed = folder();
    let mut kills = 0;
    // A part of the run that grows: however long one experiment takes, a later attempt gets beyond it.
    let mut patience = whole / 6;
    let last = loop {
        let mut child = start(killed.path());
        let begun = Instant::now();
        while begun.elapsed() < patience && child.try_wait().unwrap().is_none() {
            std::thread::sleep(Duration::from_millis(5));
        }
        if child.try_wait().unwrap().is_some() {
            break child;
        }
        child.kill().unwrap();
        child.wait().unwrap();
        kills += 1;
        patience = patience.mul_f64(1.15);
    };
    assert!(kills >= 2, "killed {kills} times in {whole:?}");
    assert_eq!(figures(last, killed.path()), expected, "after {kills} kills");

    // The same run is no worse than itself, but a dozen items do not show that to a hundredth of a point.
    let code = |arguments: &[&str]| {
        let mut weigh = Command::new(env!("CARGO_BIN_EXE_weigh"));
        let output = weigh.args(arguments).current_dir(killed.path()).output().unwrap();
        output.status.code().unwrap()
    };
    let compared = ["compare", "weigh.toml", "weigh.weigh", "--margin", "0.0001"];
    assert_eq!(code(&compared), 100);
    assert_eq!(code(&[&compared[..], &["--lenient"]].concat()), 0);
}

#[test]
fn a_session_that_is_over_ends_with_3() {
    let folder = folder();
    let arguments = ["run", "--quiet", "--stop-after", "1s"];
    let output = Command::new(env!("CARGO_BIN_EXE_weigh"))
        .args(arguments)
        .current_dir(folder.path())
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(3), "{said}");
}
