//! Output for people.

use std::io::Write as _;

/// Prints to standard output; a reader that hung up (`| head`) is no error.
pub(crate) fn print(text: &str) {
    let _ = std::io::stdout().write_all(text.as_bytes());
}
