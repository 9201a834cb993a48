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
        /// CSV, TSV, JSONL (columns, chats, openai/evals), Parquet, a JSON list or a promptfoo configuration
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
        /// Stop this session after so long, at the end of the experiment that is running (exit code 3); the same command goes on
        #[arg(long, value_name = "TIME")]
        stop_after: Option<String>,
        /// Print the plan with tokens, seconds and money, and what the test set can tell; run nothing
        #[arg(long)]
        dry_run: bool,
    },
    /// Decide again from the stored record (new prices, new volume); no model is needed
    Verdict {
        /// The task file
        #[arg(default_value = "weigh.toml", value_name = "FILE")]
        task: PathBuf,
        /// Other prices: a price file (FILE or FILE#MODEL), or a key of the economics section such as input_price=0.15; may be repeated
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
    /// Ask the finalists a frozen set of prompts again and compare the answers
    ///
    /// Exit code 100 where an answer changed.
    Probe {
        /// The task file
        #[arg(default_value = "weigh.toml", value_name = "FILE")]
        task: PathBuf,
        /// Share of answers that may change
        #[arg(long, value_name = "SHARE", default_value_t = 0.0)]
        tolerance: f64,
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
    /// Write the winner as files that other programs read, checked against what was measured
    Ship {
        /// The task file of a finished run
        #[arg(default_value = "weigh.toml", value_name = "FILE")]
        task: PathBuf,
        /// The folder to write to [default: `shipment` beside the task file]
        #[arg(long, value_name = "DIR")]
        to: Option<PathBuf>,
        /// What to ship, whatever the verdict says
        #[arg(long, value_enum)]
        what: Option<ShipWhat>,
        /// Format of weights
        #[arg(long, value_enum, default_value_t = ShipFormat::Safetensors)]
        format: ShipFormat,
        /// Number format of a whole model's weights
        #[arg(long, value_enum, default_value_t = ShipDtype::Bf16)]
        dtype: ShipDtype,
    },
    /// Look at what fine-tuning is given; no model is trained
    Tune {
        /// The task file
        #[arg(default_value = "weigh.toml", value_name = "FILE")]
        task: PathBuf,
        /// Show so many training rows token by token, with what the loss is on
        #[arg(long, value_name = "ROWS", default_value_t = 3)]
        show: usize,
    },
    /// Look at an adapter in PEFT's format
    Adapter {
        /// What to do
        #[command(subcommand)]
        command: AdapterCommand,
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

/// What `weigh ship` writes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub(crate) enum ShipWhat {
    /// The best prompt: prompt.json and prompt.txt
    Prompt,
    /// The adapter of the best LoRA run
    Adapter,
    /// The adapter that the best prompt taught
    Distilled,
    /// The adapter that was tuned after demonstrations, with the prompt.json that it wants
    FewShotTuned,
    /// The trained prefix
    VirtualTokens,
    /// The whole tuned model; an adapter is merged into it
    Model,
}

/// Formats of weights.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub(crate) enum ShipFormat {
    /// A folder for PEFT or transformers
    Safetensors,
    /// One file for llama.cpp
    Gguf,
}

/// Number formats.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub(crate) enum ShipDtype {
    /// 32 bits
    F32,
    /// 16 bits, the upper half of 32
    Bf16,
    /// 16 bits, IEEE
    F16,
}

/// Verbs of `weigh adapter`.
#[derive(Debug, Subcommand)]
pub(crate) enum AdapterCommand {
    /// Say which servers load the adapter and compute what it was trained to, and why not
    Check {
        /// The folder with adapter_config.json and adapter_model.safetensors
        #[arg(value_name = "DIR")]
        folder: PathBuf,
        /// Write a copy that every server reads right: plain LoRA, the scale in B
        #[arg(long, value_name = "DIR")]
        fold: Option<PathBuf>,
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
