//! `weigh`: prompt it, or train it?

mod args;
mod commands;
mod failure;
mod interrupt;
mod printer;
mod progress;

use std::process::ExitCode;

use clap::Parser;

fn main() -> ExitCode {
    let args = args::Args::parse();
    let printer = printer::Printer::new(args.global.json, args.global.quiet);
    match commands::dispatch(args, &printer) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => failure::report(&error, &printer),
    }
}
