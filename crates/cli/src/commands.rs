//! One module a verb.

mod adapter;
mod audit;
mod check;
mod compare;
mod completions;
mod demo;
mod doctor;
pub(crate) mod dry_run;
mod init;
mod manual;
mod model;
mod probe;
mod report;
mod run;
mod ship;
mod tune;
mod verdict;

use anyhow::Result;

use crate::args::{AdapterCommand, Args, Command};
use crate::printer::Printer;

/// Runs the verb that was typed.
pub(crate) fn dispatch(args: Args, printer: &Printer) -> Result<()> {
    if let Some(threads) = args.global.threads {
        adapt::local::set_threads(usize::from(threads));
    }
    match args.command {
        Command::Demo { to } => demo::demo(to.as_deref(), printer),
        Command::Run { task, budget, dry_run: true, .. } => {
            dry_run::dry_run(&task, budget.as_deref(), printer)
        }
        Command::Run { task, budget, fresh, stop_after, .. } => {
            run::run(&task, budget.as_deref(), fresh, stop_after.as_deref(), printer)
        }
        Command::Verdict { task, price, volume } => verdict::verdict(&task, &price, volume, printer),
        Command::Compare { before, after, margin, arm, lenient } => {
            compare::compare(&before, &after, margin, arm, lenient, printer)
        }
        Command::Audit { action } => audit::audit(&action, printer),
        Command::Probe { task, tolerance } => probe::probe(&task, tolerance, printer),
        Command::Check { task } => check::check(&task, printer),
        Command::Ship { task, to, what, format, dtype } => {
            ship::ship(&task, to.as_deref(), &ship::Wish { what, format, dtype }, printer)
        }
        Command::Tune { task, show } => tune::tune(&task, show, printer),
        Command::Adapter { command: AdapterCommand::Check { folder, fold } } => {
            adapter::check(&folder, fold.as_deref(), printer)
        }
        Command::Init { data, options } => init::init(&data, &options, printer),
        Command::Report { task, format, to, open } => {
            report::report(&task, format, to.as_deref(), open, printer)
        }
        Command::Doctor => doctor::doctor(printer),
        Command::Help { topic } => manual::help(topic.as_deref(), printer),
        Command::Man => manual::man(printer),
        Command::Completions { shell } => completions::completions(shell),
    }
}
