//! The house rules that the compiler does not know: which crate may use which, and how long a file may get.

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, bail, ensure};

/// Which crates of the workspace each crate may use (ARCHITECTURE.md). Dev-dependencies count too.
const EDGES: &[(&str, &[&str])] = &[
    ("weigh-kernels", &[]),
    ("weigh-lm", &["weigh-kernels"]),
    ("weigh-task", &[]),
    ("weigh-eval", &["weigh-task"]),
    ("weigh-adapt", &["weigh-task", "weigh-eval", "weigh-lm"]),
    ("weigh-report", &["weigh-task", "weigh-eval"]),
    ("weigh", &["weigh-task", "weigh-eval", "weigh-lm", "weigh-adapt", "weigh-report"]),
    ("xtask", &["weigh-kernels", "weigh-lm", "weigh-task", "weigh-eval", "weigh-adapt"]),
];

/// Lines beyond which a source file fails, its test module not counted.
const LINES: usize = 800;

/// Checks edges and file lengths below `root`.
pub(crate) fn check(root: &Path) -> Result<()> {
    check_edges(root)?;
    let mut long = Vec::new();
    for folder in ["crates", "xtask"] {
        long_files(&root.join(folder), &mut long)?;
    }
    ensure!(long.is_empty(), "files over {LINES} lines without tests: {long:?}");
    Ok(())
}

fn check_edges(root: &Path) -> Result<()> {
    let output = Command::new(env!("CARGO"))
        .args(["metadata", "--format-version", "1", "--no-deps"])
        .current_dir(root)
        .output()
        .context("starting cargo metadata")?;
    ensure!(output.status.success(), "cargo metadata failed");
    let metadata: serde_json::Value = serde_json::from_slice(&output.stdout)?;
    let packages = metadata["packages"].as_array().context("cargo metadata lists packages")?;
    let ours: Vec<&str> = packages.iter().filter_map(|package| package["name"].as_str()).collect();
    for package in packages {
        let name = package["name"].as_str().unwrap_or_default();
        let Some((_, allowed)) = EDGES.iter().find(|(known, _)| *known == name) else {
            bail!("crate {name} is not in the list of edges (xtask/src/layout.rs and ARCHITECTURE.md)");
        };
        for dependency in package["dependencies"].as_array().into_iter().flatten() {
            let used = dependency["name"].as_str().unwrap_or_default();
            ensure!(
                !ours.contains(&used) || allowed.contains(&used),
                "{name} may not use {used} (ARCHITECTURE.md)"
            );
        }
    }
    Ok(())
}

fn long_files(folder: &Path, long: &mut Vec<(PathBuf, usize)>) -> Result<()> {
    for entry in std::fs::read_dir(folder)? {
        let path = entry?.path();
        if path.is_dir() && !path.ends_with("target") {
            long_files(&path, long)?;
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            let text = std::fs::read_to_string(&path)?;
            let lines = text.lines().take_while(|line| !line.starts_with("#[cfg(test)]")).count();
            if lines > LINES {
                long.push((path, lines));
            }
        }
    }
    Ok(())
}
