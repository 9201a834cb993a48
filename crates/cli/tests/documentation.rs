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
    assert!(told.contains("an email address: tickets.csv:122"), "{told}");
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
    assert!(String::from_utf8_lossy(&page.stdout).contains(".TH weigh 1"));
}
