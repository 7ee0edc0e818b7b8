//! What to do about a failure, where that is known.

use crate::azure::failure::Failure;

/// Empty, or ` — ` and what to do.
pub(super) fn hint(failure: &Failure) -> String {
    let _ = failure;
    String::new()
}
