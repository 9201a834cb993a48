//! Ctrl-C: once, and the run stops after the experiment that is running; twice, and it stops at once. Nothing that ended is lost.

use std::sync::atomic::{AtomicBool, Ordering};

use indicatif::MultiProgress;

use crate::failure::STOPPED;
use crate::printer::told;

static WANTED: AtomicBool = AtomicBool::new(false);

/// Listens from now on. Where the system allows no listener, Ctrl-C ends the program as it always does, which loses no more than
/// the experiment that is running. `view` is what is being drawn on the terminal meanwhile.
pub(crate) fn listen(view: MultiProgress) {
    let heard = move || {
        if WANTED.swap(true, Ordering::SeqCst) {
            std::process::exit(i32::from(STOPPED));
        }
        if std::io::IsTerminal::is_terminal(&std::io::stderr()) {
            // The view ends at the last column, so that the terminal's echo of ^C stands on a line of its own: back to the view.
            anstream::eprint!("\r\x1b[2K\x1b[1A");
        }
        view.suspend(|| {
            anstream::eprintln!(
                "{}",
                told("Stopping after the experiment that is running; Ctrl-C again abandons it. What ended is stored.")
            );
        });
    };
    // A second call in one process has no effect.
    let _ = ctrlc::set_handler(heard);
}

/// Whether Ctrl-C was pressed.
pub(crate) fn wanted() -> bool {
    WANTED.load(Ordering::SeqCst)
}
