//! What was typed.

use std::path::PathBuf;

use clap::{Parser, Subcommand};

/// Prompt it, or train it? Brings in-context learning and fine-tuning to their best on the same model, data and locked test set,
/// measures both, and gives a verdict that can be defended.
#[derive(Debug, Parser)]
#[command(
    name = "weigh",
    version,
    arg_required_else_help = true,
    max_term_width = 100,
    disable_help_subcommand = true
)]
#[command(after_help = "Start with `weigh demo`: the whole comparison in about a minute, offline.")]
pub(crate) struct Args {
    /// What to do.
    #[command(subcommand)]
    pub(crate) command: Command,
    /// Options of every verb.
    #[command(flatten)]
    pub(crate) global: Global,
}

/// Options of every verb.
#[derive(Clone, Debug, clap::Args)]
pub(crate) struct Global {
    /// Print the whole result as JSON on standard output
    #[arg(long, global = true)]
    pub(crate) json: bool,
    /// No progress and no hints on standard error
    #[arg(short, long, global = true)]
    pub(crate) quiet: bool,
    /// Threads to compute with [default: the machine's cores]
    #[arg(long, global = true, value_name = "N", value_parser = clap::value_parser!(u16).range(1..=1024))]
    pub(crate) threads: Option<u16>,
}

/// The verbs.
#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Run the whole comparison on the embedded model and a task of our own
    Demo {
        /// Keep the run in this folder instead of a temporary one
        #[arg(long, value_name = "DIR")]
        to: Option<PathBuf>,
    },
    /// Look at a file of rows, report on it, and write a commented task file
    Init {
        /// CSV, TSV, JSONL (columns, chats, openai/evals), a JSON list or a promptfoo configuration
        data: PathBuf,
        /// What is written, and what is known already
        #[command(flatten)]
        options: InitOptions,
    },
    /// Bring both arms to their best within the budget, and decide
    Run {
        /// The task file
        #[arg(default_value = "weigh.toml", value_name = "FILE")]
        task: PathBuf,
        /// Another budget than the task file's, e.g. 90s, 20m, 1h30m
        #[arg(long, value_name = "TIME")]
        budget: Option<String>,
        /// Put an earlier run of other settings aside and start anew
        #[arg(long)]
        fresh: bool,
        /// Print the plan with tokens, seconds and money, and what the test set can tell; run nothing
        #[arg(long)]
        dry_run: bool,
    },
    /// Decide again from the stored record (new prices, new volume); no model is needed
    Verdict {
        /// The task file
        #[arg(default_value = "weigh.toml", value_name = "FILE")]
        task: PathBuf,
    },
    /// Write the report of the stored run: one HTML file, or Markdown, JSON or CSV; no model is needed
    Report {
        /// The task file
        #[arg(default_value = "weigh.toml", value_name = "FILE")]
        task: PathBuf,
        /// The whole page; a comment for a pull request; everything for programs; the test items
        #[arg(long, value_enum, default_value_t = ReportFormat::Html)]
        format: ReportFormat,
        /// Write to this file; `-` is standard output [default: beside the task file for html, else standard output]
        #[arg(long, value_name = "FILE")]
        to: Option<PathBuf>,
        /// Open it in the browser
        #[arg(long)]
        open: bool,
    },
    /// Read the task file and the data, and report on them; no model is needed
    Check {
        /// The task file
        #[arg(default_value = "weigh.toml", value_name = "FILE")]
        task: PathBuf,
    },
    /// What this machine can do: cores, instructions, memory, which models fit, how long training takes
    Doctor,
    /// Help on a verb or a topic
    Help {
        /// A verb, or a topic such as `choose`, `verdict`, `inference-cost`
        topic: Option<String>,
    },
    /// Print the man page
    Man,
    /// Print a completion script for a shell
    Completions {
        /// bash, elvish, fish, powershell or zsh
        shell: clap_complete::Shell,
    },
}

/// Options of `weigh init`.
#[derive(Clone, Debug, clap::Args)]
pub(crate) struct InitOptions {
    /// Where to write the task file [default: weigh.toml]
    #[arg(long, value_name = "FILE")]
    pub(crate) to: Option<PathBuf>,
    /// Column of the input [default: guessed]
    #[arg(long, value_name = "COLUMN")]
    pub(crate) input: Option<String>,
    /// Column of the target [default: guessed]
    #[arg(long, value_name = "COLUMN")]
    pub(crate) target: Option<String>,
    /// Replace a task file that is there already
    #[arg(long)]
    pub(crate) force: bool,
}

/// How a report is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub(crate) enum ReportFormat {
    /// One self-contained page
    Html,
    /// For a pull request
    Markdown,
    /// Everything, for programs
    Json,
    /// The test items with every finalist's answer
    Csv,
}
