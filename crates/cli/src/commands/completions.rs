//! `weigh completions`.

use anyhow::Result;
use clap::CommandFactory;

use crate::args::Args;

/// Writes the completion script of `shell` to standard output.
pub(crate) fn completions(shell: clap_complete::Shell) -> Result<()> {
    clap_complete::generate(shell, &mut Args::command(), "weigh", &mut std::io::stdout());
    Ok(())
}
