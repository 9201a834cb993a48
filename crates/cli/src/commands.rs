//! One module a verb.

mod check;
mod completions;
mod demo;
mod doctor;
pub(crate) mod dry_run;
mod init;
mod manual;
mod model;
mod report;
mod run;
mod verdict;

use anyhow::Result;

use crate::args::{Args, Command};
use crate::printer::Printer;

/// Runs the verb that was typed.
pub(crate) fn dispatch(args: Args, printer: &Printer) -> Result<()> {
    if let Some(threads) = args.global.threads {
        adapt::local::set_threads(usize::from(threads));
    }
    match args.command {
        Command::Demo { to } => demo::demo(to.as_deref(), printer),
        Command::Init { data, options } => init::init(&data, &options, printer),
        Command::Run { task, budget, dry_run: true, .. } => {
            dry_run::dry_run(&task, budget.as_deref(), printer)
        }
        Command::Run { task, budget, fresh, .. } => run::run(&task, budget.as_deref(), fresh, printer),
        Command::Verdict { task } => verdict::verdict(&task, printer),
        Command::Report { task, format, to, open } => {
            report::report(&task, format, to.as_deref(), open, printer)
        }
        Command::Check { task } => check::check(&task, printer),
        Command::Doctor => doctor::doctor(printer),
        Command::Help { topic } => manual::help(topic.as_deref(), printer),
        Command::Man => manual::man(printer),
        Command::Completions { shell } => completions::completions(shell),
    }
}
