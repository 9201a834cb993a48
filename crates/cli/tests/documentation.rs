//! The commands that the documentation shows: each one is known to the program, and the cheap ones run.

use std::path::{Path, PathBuf};
use std::process::{Command, Output};

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..")
}

fn weigh(folder: &Path, arguments: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_weigh")).args(arguments).current_dir(folder).output().expect("it starts")
}

/// Every line of a fenced block of shell that calls the program, without its comment, with the page that it stands in.
fn shown() -> Vec<(String, String)> {
    let mut pages: Vec<PathBuf> = vec![root().join("README.md")];
    for folder in ["docs", "docs/rows"] {
        let files = std::fs::read_dir(root().join(folder)).expect("the folder is there");
        pages.extend(
            files
                .map(|file| file.expect("a file").path())
                .filter(|path| path.extension().is_some_and(|e| e == "md")),
        );
    }
    let mut commands = Vec::new();
    for page in pages {
        let text = std::fs::read_to_string(&page).expect("pages are UTF-8");
        let (mut fenced, mut shell) = (false, false);
        for line in text.lines() {
            if line.trim_start().starts_with("```") {
                fenced = !fenced;
                shell = fenced && matches!(line.trim(), "```sh" | "```");
            } else if shell && line.starts_with("weigh ") {
                let command = line.split(" #").next().unwrap_or(line).split(" >").next().unwrap_or(line);
                commands.push((command.trim().to_owned(), page.display().to_string()));
            }
        }
    }
    commands
}

#[test]
fn every_command_shown_is_known() {
    let commands = shown();
    assert!(commands.len() >= 12, "pages show commands: {commands:?}");
    for (command, page) in commands {
        let mut arguments: Vec<&str> = command.split_whitespace().skip(1).collect();
        arguments.push("--help");
        let output = weigh(&root(), &arguments);
        let told = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{page}: `{command}`: {told}");
    }
}

/// A small task of which a run takes a moment and has everything that a page shows: all kinds of finalists, a frozen probe set.
const TASK: &str = r#"
[task]
name = "shown"
[data]
train = "tickets.csv"
test_share = 0.3
[prompt]
style = "arrow"
[in_context]
shots = [0, 4]
seeds = 1
selection = ["random"]
search = false
[fine_tune]
methods = ["lora"]
labels = [32]
seeds = 1
learning_rates = [3e-3]
epochs = 4
search_share = 0
hybrids = ["distilled", "few_shot"]
[probes]
items = 8
[budget]
time = "10h"
top_up = false
"#;

fn tickets() -> String {
    let mut text = String::from("text,label\n");
    for index in 0..90 {
        let (label, words) =
            [("cards", "my card was lost"), ("loans", "what is the rate of a loan")][index % 2];
        text += &format!("\"{words}, ticket {index} of {}\",{label}\n", index * 37 % 101);
    }
    text
}

fn copy(from: &Path, to: &Path) {
    std::fs::create_dir_all(to).expect("a folder");
    for entry in std::fs::read_dir(from).expect("the folder is there") {
        let entry = entry.expect("an entry");
        let (place, target) = (entry.path(), to.join(entry.file_name()));
        if place.is_dir() {
            copy(&place, &target);
        } else {
            std::fs::copy(&place, &target).expect("copied");
        }
    }
}

/// Every command that a page shows does what it says: those that need a run are given the copy of a finished one, `init` an empty
/// folder with the file that it is to look at. A browser is not opened: a program that does nothing stands for it.
#[test]
#[cfg(unix)]
fn every_command_shown_runs() {
    use std::os::unix::fs::PermissionsExt;
    let finished = tempfile::tempdir().expect("a folder");
    let at = |name: &str| finished.path().join(name);
    let write = |name: &str, text: &str| task::atomic::write(&at(name), text.as_bytes()).expect("written");
    write("tickets.csv", &tickets());
    for name in ["weigh", "old", "new"] {
        write(&format!("{name}.toml"), TASK);
    }
    let run = weigh(finished.path(), &["run", "--quiet"]);
    assert!(run.status.success(), "{}", String::from_utf8_lossy(&run.stderr));
    for name in ["old.weigh", "new.weigh"] {
        copy(&at("weigh.weigh"), &at(name));
    }
    std::fs::create_dir(at("examples")).expect("a folder");
    std::fs::copy(root().join("examples/prices.toml"), at("examples/prices.toml")).expect("copied");
    let programs = tempfile::tempdir().expect("a folder");
    for browser in ["xdg-open", "open"] {
        let place = programs.path().join(browser);
        task::atomic::write(&place, b"#!/bin/sh\n").expect("written");
        std::fs::set_permissions(&place, std::fs::Permissions::from_mode(0o755)).expect("executable");
    }
    for (command, page) in shown() {
        let place = tempfile::tempdir().expect("a folder");
        let words: Vec<&str> = command.split_whitespace().skip(1).collect();
        if let ["init", file] = words[..] {
            task::atomic::write(&place.path().join(file), tickets().as_bytes()).expect("written");
        } else {
            copy(finished.path(), place.path());
        }
        let output = Command::new(env!("CARGO_BIN_EXE_weigh"))
            .args(&words)
            .current_dir(place.path())
            .env("PATH", programs.path())
            .output()
            .expect("it starts");
        // So few items do not tell two runs apart.
        let passed = output.status.success() || (words[0] == "compare" && output.status.code() == Some(100));
        assert!(passed, "{page}: `{command}`: {}", String::from_utf8_lossy(&output.stderr));
    }
}

#[test]
fn a_newcomer_gets_from_a_file_to_a_task_file_that_runs() {
    let folder = tempfile::tempdir().expect("a folder");
    let mut text = String::from("message,queue\n");
    for index in 0..120 {
        let (queue, words) =
            [("cards", "my card was lost"), ("loans", "what is the rate of a loan")][index % 2];
        text += &format!("\"{words}, ticket {index} of {}\",{queue}\n", index * 37 % 101);
    }
    text += "write to ann@example.org about a card,cards\n";
    task::atomic::write(&folder.path().join("tickets.csv"), text.as_bytes()).expect("written");

    let init = weigh(folder.path(), &["init", "tickets.csv"]);
    let told = String::from_utf8_lossy(&init.stdout);
    assert!(init.status.success(), "{told}{}", String::from_utf8_lossy(&init.stderr));
    assert!(told.contains("`message` is the input by its name"), "{told}");
    assert!(told.contains("an email address (tickets.csv:122)"), "{told}");
    assert!(told.contains("weigh run --dry-run"), "{told}");

    let check = weigh(folder.path(), &["check"]);
    let again = String::from_utf8_lossy(&check.stdout);
    assert!(check.status.success());
    assert!(told.contains(again.trim_end()), "`weigh check` repeats the report: {again}");

    let twice = weigh(folder.path(), &["init", "tickets.csv"]);
    assert!(!twice.status.success(), "a task file is not overwritten");
    assert!(String::from_utf8_lossy(&twice.stderr).contains("--force"));
}

#[test]
fn help_knows_topics_and_verbs() {
    let folder = root();
    for (topic, words) in
        [("verdict", "How the verdict is made"), ("choose", "Prompt it, or train it?"), ("check", "data")]
    {
        let output = weigh(&folder, &["help", topic]);
        assert!(output.status.success(), "{topic}");
        assert!(String::from_utf8_lossy(&output.stdout).contains(words), "{topic}");
    }
    let unknown = weigh(&folder, &["help", "nothing"]);
    assert!(String::from_utf8_lossy(&unknown.stderr).contains("topics: guide"));
    let page = weigh(&folder, &["man"]);
    let page = String::from_utf8_lossy(&page.stdout);
    assert!(
        page.contains(".TH weigh 1") && page.contains("WEIGH INIT") && page.contains("EXIT STATUS"),
        "{page}"
    );
}
