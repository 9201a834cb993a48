//! References that are made from the code: the task file, its JSON Schema, the command line, and what `--json` prints.

use std::fmt::Write as _;
use std::path::Path;
use std::process::Command;

use anyhow::{Context, Result, bail, ensure};

/// The page of what `--json` prints.
const RECORD: &str = "docs/record.md";

/// Files whose public types stand in that page, outermost first.
const SOURCES: [&str; 18] = [
    "crates/eval/src/comparison.rs",
    "crates/task/src/record.rs",
    "crates/task/src/record/experiment.rs",
    "crates/task/src/prompt_search.rs",
    "crates/task/src/search_budget.rs",
    "crates/eval/src/arm.rs",
    "crates/eval/src/metrics.rs",
    "crates/eval/src/interval.rs",
    "crates/eval/src/curve.rs",
    "crates/eval/src/table.rs",
    "crates/eval/src/contrast.rs",
    "crates/eval/src/contrast/floor.rs",
    "crates/eval/src/replication.rs",
    "crates/eval/src/economics.rs",
    "crates/eval/src/economics/break_even.rs",
    "crates/eval/src/effort.rs",
    "crates/eval/src/gates.rs",
    "crates/eval/src/verdict.rs",
];

/// Writes every generated reference anew.
pub(crate) fn run() -> Result<()> {
    let root = root()?;
    task::atomic::write(&root.join(RECORD), record(root)?.as_bytes())?;
    for tests in [&["-p", "weigh-task", "--test", "task_file"][..], &["-p", "weigh", "reference"]] {
        let status = Command::new(env!("CARGO"))
            .arg("test")
            .args(tests)
            .env("UPDATE_DOCS", "1")
            .current_dir(root)
            .status()
            .context("starting cargo")?;
        ensure!(status.success(), "cargo test {} failed", tests.join(" "));
    }
    Ok(())
}

/// Fails where the page of `--json` is not the one made from the code; tests of the crates check the other pages.
pub(crate) fn check(root: &Path) -> Result<()> {
    let stored = std::fs::read_to_string(root.join(RECORD)).unwrap_or_default();
    ensure!(stored == record(root)?, "{RECORD} is stale: cargo xtask generate");
    Ok(())
}

fn root() -> Result<&'static Path> {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().context("xtask lies in the workspace")
}

fn record(root: &Path) -> Result<String> {
    let mut out = String::from(
        "# What `--json` prints\n\n`weigh run --json` and `weigh verdict --json` print one object, `Comparison`; `weigh report --format json` \
         adds the test items. Types are those of the code: `Option` may be null or absent, `Vec` is a list, `BTreeMap` an object. Names of \
         variants are written in snake_case.\n\n<!-- Made from the code by cargo xtask generate -->\n",
    );
    for file in SOURCES {
        let text = std::fs::read_to_string(root.join(file)).with_context(|| file.to_owned())?;
        types(&text, &mut out).with_context(|| file.to_owned())?;
    }
    Ok(out)
}

/// The serialisable public types of a source file with their documentation. It relies on the house's format: rustfmt's, one field
/// a line, each one documented.
fn types(text: &str, out: &mut String) -> Result<()> {
    let text = text.split("#[cfg(test)]").next().unwrap_or_default();
    let mut documentation = String::new();
    let mut derived = false;
    let mut lines = text.lines();
    while let Some(line) = lines.next() {
        if let Some(words) = line.strip_prefix("///") {
            push(&mut documentation, words);
        } else if line.starts_with("#[derive") {
            derived = line.contains("Serialize");
        } else if line.starts_with("#[") {
            continue;
        } else {
            let opened = line.strip_prefix("pub struct ").or_else(|| line.strip_prefix("pub enum "));
            if let Some(name) = opened.and_then(|rest| rest.strip_suffix(" {")).filter(|_| derived) {
                let _ = write!(out, "\n## {name}\n{documentation}\n\n");
                members(&mut lines, out).with_context(|| name.to_owned())?;
            }
            documentation.clear();
            derived = false;
        }
    }
    Ok(())
}

fn push(documentation: &mut String, words: &str) {
    if !documentation.is_empty() {
        documentation.push(' ');
    }
    documentation.push_str(words.trim());
}

/// The rows of a type's table, up to its closing brace.
fn members<'a>(lines: &mut impl Iterator<Item = &'a str>, out: &mut String) -> Result<()> {
    out.push_str("| name | type | meaning |\n|---|---|---|\n");
    let mut documentation = String::new();
    for line in lines {
        if line == "}" {
            return Ok(());
        }
        let line = line.trim();
        if let Some(words) = line.strip_prefix("///") {
            push(&mut documentation, words);
        } else if let Some(field) = line.strip_prefix("pub ") {
            let (name, kind) = field.trim_end_matches(',').split_once(": ").context(field.to_owned())?;
            let kind = kind.replace('|', "\\|");
            let _ = writeln!(out, "| `{name}` | `{kind}` | {} |", documentation.replace('|', "\\|"));
            documentation.clear();
        } else if !line.is_empty() && !line.starts_with('#') && !line.starts_with('}') {
            // A variant, or a field of one.
            let name = line.trim_end_matches([',', '{', ' ']);
            let (name, kind) = name.split_once(": ").unwrap_or((name, ""));
            let kind = if kind.is_empty() { String::new() } else { format!("`{kind}`") };
            let _ = writeln!(out, "| `{name}` | {kind} | {} |", documentation.replace('|', "\\|"));
            documentation.clear();
        }
    }
    bail!("the type has no end")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fields_and_variants_become_rows() {
        let text = "/// A thing.\n/// Of two lines.\n#[derive(Clone, Serialize)]\npub struct Thing {\n    /// How much.\n    #[serde(default)]\n    pub much: Option<f64>,\n}\n\n/// Not shown.\npub struct Hidden {\n    pub a: u8,\n}\n\n/// Which.\n#[derive(Serialize)]\npub enum Which {\n    /// This one.\n    This,\n}\n";
        let mut out = String::new();
        types(text, &mut out).expect("it is in the house's format");
        let row = "| name | type | meaning |\n|---|---|---|\n";
        assert_eq!(
            out,
            format!(
                "\n## Thing\nA thing. Of two lines.\n\n{row}| `much` | `Option<f64>` | How much. |\n\n## Which\nWhich.\n\n{row}| `This` |  | This one. |\n"
            )
        );
    }
}
