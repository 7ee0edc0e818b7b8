//! A hold as those use it who have a snapshot cut: whether each volume stands still, how that ended, and what the copy is
//! worth by it.

mod held;
mod judge;

pub(crate) use held::{Held, Standing};
pub(crate) use judge::{Attachment, attachment, judge};

/// A hold's ID, fresh for each.
pub(crate) fn fresh_id() -> String {
    uuid::Uuid::new_v4().simple().to_string()
}
