//! What a snapshot is worth, from what was seen. Pure; in doubt it is crash-consistent.

use std::time::Duration;

use super::Standing;
use crate::{
    model::{Consistency, Disk, Worth},
    ports::HoldEnd,
};

/// Whether the disk was attached nowhere while it was cut.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Attachment {
    /// Attached, as far as was looked.
    Attached,
    /// Attached nowhere, before and after.
    Nowhere,
    /// Attached nowhere before, but not so after, or nobody can tell.
    Changed(String),
}

/// `machines`: to how many the disk is attached, as far as Azure was asked.
pub(crate) fn judge(
    machines: usize,
    standing: &Standing,
    end: Option<&HoldEnd>,
    attachment: &Attachment,
) -> Worth {
    let frozen = end.map_or(Duration::ZERO, |end| end.frozen);
    let (consistency, reason) = match (standing, end.map(|end| &end.held), attachment) {
        (Standing::Still { nodes, .. }, Some(Ok(())), _) if machines > nodes.len() => (
            Consistency::Crash,
            format!(
                "attached to {machines} machines, and only {} of them held it",
                nodes.len()
            ),
        ),
        (Standing::Still { .. }, Some(Ok(())), Attachment::Changed(change)) => (
            Consistency::Crash,
            format!("frozen, but not wherever it was attached: {change}"),
        ),
        (Standing::Still { filesystem, nodes }, Some(Ok(())), _) => (
            Consistency::Filesystem,
            format!(
                "{filesystem} on {} held from before the PUT until Succeeded",
                nodes.join(" and ")
            ),
        ),
        (Standing::Still { .. }, Some(Err(reason)), _) => (
            Consistency::Crash,
            format!("frozen, but not held until Succeeded: {reason}"),
        ),
        (Standing::Still { .. }, None, _) => (
            Consistency::Crash,
            "frozen, but nobody knows until when".to_owned(),
        ),
        (Standing::Moving { .. }, _, Attachment::Nowhere) => (
            Consistency::Unmounted,
            "attached nowhere before and after".to_owned(),
        ),
        (Standing::Moving { reason, .. }, _, Attachment::Changed(change)) => {
            (Consistency::Crash, format!("{change}; {reason}"))
        }
        (Standing::Moving { reason, .. }, _, Attachment::Attached) => {
            (Consistency::Crash, reason.clone())
        }
    };
    Worth {
        consistency,
        reason,
        frozen,
    }
}

/// What a second look at a disk says.
pub(crate) fn attachment(before: &Disk, after: &Disk) -> Attachment {
    let is_new = |machine: &String| {
        let known = before.attached_to.iter();
        !known
            .into_iter()
            .any(|old| old.eq_ignore_ascii_case(machine))
    };
    if before.unique_id != after.unique_id {
        Attachment::Changed("the disk was replaced by another meanwhile".to_owned())
    } else if !before.attached_to.is_empty() {
        match after.attached_to.iter().find(|machine| is_new(machine)) {
            Some(machine) => Attachment::Changed(format!("it was attached to {machine} meanwhile")),
            None => Attachment::Attached,
        }
    } else if after.attached_to.is_empty() {
        Attachment::Nowhere
    } else {
        Attachment::Changed("the disk was attached meanwhile".to_owned())
    }
}
