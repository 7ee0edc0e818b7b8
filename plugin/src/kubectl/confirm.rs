//! Whether a person means it.

use std::{
    io::{self, BufRead as _, IsTerminal as _, Write as _},
    sync::atomic::{AtomicBool, Ordering},
};

use super::Failure;

/// A question is open: nothing is in the making.
static ASKING: AtomicBool = AtomicBool::new(false);

/// Whether an interruption is an answer.
pub(super) fn is_asking() -> bool {
    ASKING.load(Ordering::Relaxed)
}

/// Asks on a terminal; elsewhere somebody must have said yes before.
pub(super) fn confirm(question: &str, yes: bool) -> Result<(), Failure> {
    if yes {
        return Ok(());
    }
    if !io::stdin().is_terminal() {
        return Err(Failure::Unconfirmed(question.to_owned()));
    }
    let mut stderr = io::stderr();
    write!(stderr, "{question} [y/N] ")?;
    stderr.flush()?;
    let mut answer = String::new();
    ASKING.store(true, Ordering::Relaxed);
    let read = io::stdin().lock().read_line(&mut answer);
    ASKING.store(false, Ordering::Relaxed);
    read?;
    match answer.trim().to_ascii_lowercase().as_str() {
        "y" | "yes" => Ok(()),
        _ => Err(Failure::Declined),
    }
}
