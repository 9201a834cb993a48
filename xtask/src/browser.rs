//! The report's page in a headless browser: it decides as the program does, its sliders work, axe-core finds no serious fault.

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, ensure};

/// Names under which Chromium is installed.
const NAMES: [&str; 4] = ["chromium", "chromium-browser", "google-chrome", "chrome"];

const USAGE: &str = "usage: cargo xtask browser [--axe PATH]

Tests the report's page in headless Chromium (WEIGH_CHROMIUM names another one). With the path of axe.min.js (npm package
axe-core) accessibility is checked too. Says so and passes where there is no Chromium.";

/// Runs the ignored tests of the report in a browser.
pub(crate) fn run(arguments: &[&str]) -> Result<()> {
    let axe = match arguments {
        [] => None,
        ["--axe", path] => Some(std::path::absolute(path)?),
        _ => anyhow::bail!("{USAGE}"),
    };
    let Some(chromium) = chromium() else {
        eprintln!("browser: skipped, there is no Chromium (looked for {})", NAMES.join(", "));
        return Ok(());
    };
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).parent().context("xtask lies in the workspace")?;
    let mut command = Command::new(env!("CARGO"));
    command
        .args(["test", "-p", "weigh-report", "--test", "browser", "--", "--ignored", "--nocapture"])
        .env("WEIGH_CHROMIUM", &chromium)
        .current_dir(root);
    if let Some(axe) = axe {
        command.env("WEIGH_AXE", axe);
    }
    let status = command.status().context("starting cargo")?;
    ensure!(status.success(), "the page failed in {}", chromium.display());
    Ok(())
}

fn chromium() -> Option<PathBuf> {
    if let Some(given) = std::env::var_os("WEIGH_CHROMIUM") {
        return Some(given.into());
    }
    let path = std::env::var_os("PATH")?;
    let places: Vec<PathBuf> = std::env::split_paths(&path).collect();
    NAMES.iter().find_map(|name| places.iter().map(|place| place.join(name)).find(|file| file.is_file()))
}
