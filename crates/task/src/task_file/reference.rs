//! The reference of the task file, made from the table.

use std::fmt::Write as _;

use super::keys::{KEYS, SECTIONS};

/// The whole reference as Markdown: the content of `docs/task-file.md`.
pub fn reference() -> String {
    let mut text = String::from(INTRODUCTION);
    for section in SECTIONS {
        let _ = write!(text, "\n## [{}]\n{}\n\n", section.name, section.meaning);
        text.push_str("| key | type | default | meaning |\n|---|---|---|---|\n");
        for key in KEYS.iter().filter(|key| key.section == section.name) {
            let default = match key.default {
                "" => "absent".to_owned(),
                value => format!("`{value}`"),
            };
            let kind = key.kind.describe();
            let meaning = key.meaning.replace('|', "\\|");
            let _ = writeln!(text, "| `{}` | {kind} | {default} | {meaning} |", key.name);
        }
    }
    text
}

const INTRODUCTION: &str = "\
# The task file

One TOML file describes a task: the data, the model, what both arms try, and when a difference counts. Every key has a
default; a key or section that is not listed here is an error. Paths are relative to the task file (`~/` is the home
folder). A run keeps what it found in a folder beside the task file: `tickets.toml` has its run in `tickets.weigh/`.

<!-- Made from crates/task/src/task_file/keys.rs: UPDATE_DOCS=1 cargo test -p weigh-task -->
";
