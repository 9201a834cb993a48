//! What was typed.

use std::path::PathBuf;

use clap::{Parser, Subcommand};

/// Prompt it, or train it? Brings in-context learning and fine-tuning to their best on the same model, data and locked test set,
/// measures both, and gives a verdict that can be defended.
#[derive(Debug, Parser)]
#[command(name = "weigh", version, arg_required_else_help = true, max_term_width = 100)]
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
        /// Stop this session after so long, at the end of the experiment that is running (exit code 3); the same command goes on
        #[arg(long, value_name = "TIME")]
        stop_after: Option<String>,
    },
    /// Decide again from the stored record (new prices, new volume); no model is needed
    Verdict {
        /// The task file
        #[arg(default_value = "weigh.toml", value_name = "FILE")]
        task: PathBuf,
        /// Other prices: a price file (FILE or FILE#MODEL), or one of [economics] such as input_price=0.15; may be repeated
        #[arg(long, value_name = "FILE|KEY=VALUE")]
        price: Vec<String>,
        /// Another number of requests a month
        #[arg(long, value_name = "N")]
        volume: Option<f64>,
    },
    /// Compare a later run with an earlier one; exit code 100 where it may be worse
    Compare {
        /// The earlier run: its task file or its folder (tickets.1.weigh)
        #[arg(value_name = "RUN_A")]
        before: PathBuf,
        /// The later run
        #[arg(value_name = "RUN_B")]
        after: PathBuf,
        /// By how much it may be worse [default: decision.margin of the later run]
        #[arg(long, value_name = "DELTA")]
        margin: Option<f64>,
        /// What the exit code is about
        #[arg(long, value_enum, default_value_t = ComparedArm::Verdict)]
        arm: ComparedArm,
        /// Pass where the items cannot tell
        #[arg(long)]
        lenient: bool,
    },
    /// The log of what a run rests on and did, chained by hashes
    Audit {
        /// What to do with it
        #[command(subcommand)]
        action: AuditAction,
    },
    /// Read the task file and the data, and report on them; no model is needed
    Check {
        /// The task file
        #[arg(default_value = "weigh.toml", value_name = "FILE")]
        task: PathBuf,
    },
    /// Print a completion script for a shell
    Completions {
        /// bash, elvish, fish, powershell or zsh
        shell: clap_complete::Shell,
    },
}

/// What a comparison of two runs is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub(crate) enum ComparedArm {
    /// What each run's verdict would use
    Verdict,
    /// The prompts
    InContext,
    /// The fine-tuned models
    FineTune,
    /// The floors
    Floor,
}

/// What to do with the audit log.
#[derive(Clone, Debug, Subcommand)]
pub(crate) enum AuditAction {
    /// Check the chain, and the record against it; exit code 100 where something was changed, dropped or moved
    Verify {
        /// The task file
        #[arg(default_value = "weigh.toml", value_name = "FILE")]
        task: PathBuf,
        /// The hash of an entry that was noted before and must still be there
        #[arg(long, value_name = "HASH")]
        head: Option<String>,
    },
    /// Print the entries
    Show {
        /// The task file
        #[arg(default_value = "weigh.toml", value_name = "FILE")]
        task: PathBuf,
    },
}
