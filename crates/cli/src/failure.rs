//! Errors as a person should see them: the message, a hint where one helps, and an exit code.

use std::process::ExitCode;

use crate::printer::Printer;

/// Exit code of a failure at run time.
const FAILED: u8 = 1;
/// Exit code of a wrong task file or data set (clap uses the same for wrong arguments).
const USAGE: u8 = 2;
/// Exit code of a session that stopped before everything was done, as asked.
pub(crate) const STOPPED: u8 = 3;
/// Exit code of a check that did not pass: a regression, a record that was changed.
const GATE_FAILED: u8 = 100;

/// Failures that are the binary's own.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Failure {
    /// What was typed makes no sense.
    #[error("{0}")]
    Usage(String),
    /// A check did not pass; the sentence says which.
    #[error("{0}")]
    Gate(String),
}

/// Prints `error` with its hint and gives the exit code.
pub(crate) fn report(error: &anyhow::Error, printer: &Printer) -> ExitCode {
    printer.error(&message(error));
    if let Some(hint) = hint(error) {
        printer.hint(&hint);
    }
    ExitCode::from(code(error))
}

/// The error and its causes; a cause that the message before it has told already is left out.
fn message(error: &anyhow::Error) -> String {
    let mut message = String::new();
    for cause in error.chain().map(ToString::to_string) {
        if message.is_empty() {
            message = cause;
        } else if !message.contains(&cause) {
            message = format!("{message}: {cause}");
        }
    }
    message
}

fn task_error(error: &anyhow::Error) -> Option<&task::Error> {
    error.chain().find_map(|cause| {
        cause.downcast_ref::<task::Error>().or_else(|| match cause.downcast_ref::<adapt::Error>() {
            Some(adapt::Error::Task(inner)) => Some(inner),
            _ => None,
        })
    })
}

fn is_stopped(error: &anyhow::Error) -> bool {
    error.chain().any(|cause| {
        matches!(cause.downcast_ref(), Some(adapt::Error::Stopped { .. } | adapt::Error::Interrupted))
    })
}

fn code(error: &anyhow::Error) -> u8 {
    match error.downcast_ref::<Failure>() {
        Some(Failure::Usage(_)) => return USAGE,
        Some(Failure::Gate(_)) => return GATE_FAILED,
        None => {}
    }
    if is_stopped(error) {
        return STOPPED;
    }
    match task_error(error) {
        Some(
            task::Error::TaskFile { .. }
            | task::Error::TaskFileLine { .. }
            | task::Error::Row { .. }
            | task::Error::Data(_),
        ) => USAGE,
        _ => FAILED,
    }
}

/// The command as it was typed.
fn typed() -> String {
    let quoted = |word: String| match word
        .chars()
        .all(|letter| letter.is_alphanumeric() || "-_./=#:~".contains(letter))
    {
        true => word,
        false => format!("'{word}'"),
    };
    let words = std::env::args().skip(1).map(quoted);
    std::iter::once("weigh".to_owned()).chain(words).collect::<Vec<_>>().join(" ")
}

fn hint(error: &anyhow::Error) -> Option<String> {
    if is_stopped(error) {
        return Some(format!("`{}` goes on where it stopped, and ends with the same figures", typed()));
    }
    if let Some(error) = task_error(error) {
        return match error {
            task::Error::TaskFile { .. } => {
                Some("`weigh help task-file` lists every key with its default".to_owned())
            }
            task::Error::Row { .. } => {
                Some("correct the row, or name other columns under [data] (input, target)".to_owned())
            }
            task::Error::Data(_) => Some("`weigh check` shows what was read".to_owned()),
            _ => None,
        };
    }
    error.chain().find_map(|cause| match cause.downcast_ref::<adapt::Error>() {
        Some(adapt::Error::Context { .. }) => Some(
            "give fewer or shorter demonstrations ([in_context] shots), or a model with a longer context"
                .to_owned(),
        ),
        _ => None,
    })
}
