//! Project chores: `cargo xtask <chore>`.
#![expect(clippy::print_stderr, clippy::print_stdout, reason = "a chore talks to the person who runs it")]

mod browser;
mod check;
mod generate;
mod layout;
mod micro;
mod options;
mod peers;
mod verdicts;

use std::process::ExitCode;

const USAGE: &str = "usage: cargo xtask <chore>

  check      everything that CI checks: layout, format, lints, tests, documentation, the demo
  browser    the report's page in headless Chromium (`browser help`)
  generate   references made from the code: task file, JSON Schema, command line, record
  micro      the embedded model: corpus, tokenizer, train, evaluate, demo-data
  peers      the same work in this engine and in the Python stack, back to back (`peers help`)
  verdicts   how good the verdict is, on simulated worlds and by real runs (`verdicts help`)";

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let outcome = match arguments.iter().map(String::as_str).collect::<Vec<_>>().as_slice() {
        ["check"] => check::run(),
        ["browser", rest @ ..] => browser::run(rest),
        ["generate"] => generate::run(),
        ["micro", rest @ ..] => micro::run(rest),
        ["peers", rest @ ..] => peers::run(rest),
        ["verdicts", rest @ ..] => verdicts::run(rest),
        _ => Err(anyhow::anyhow!("{USAGE}")),
    };
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("xtask: {error:#}");
            ExitCode::FAILURE
        }
    }
}
