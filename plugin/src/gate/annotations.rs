//! What a gate writes on a content: at admission that a hold was begun and, whatever becomes of it, a verdict that says
//! no more than that; at its end what the copy is worth. The same keys, without hold and state, are on the snapshot.

use std::collections::BTreeMap;

use json_patch::{AddOperation, PatchOperation, TestOperation, jsonptr::PointerBuf};

use crate::model::{Consistency, Worth};

/// The hold's ID: that the API server has stored it proves that it took the gate's answer, given while it held.
pub(crate) const HOLD: &str = "stillpoint.io/hold";
/// `pending` until the verdict is there.
pub(crate) const STATE: &str = "stillpoint.io/state";
pub(crate) const CONSISTENCY: &str = "stillpoint.io/consistency";
pub(crate) const REASON: &str = "stillpoint.io/consistency-reason";
pub(crate) const FROZEN: &str = "stillpoint.io/frozen-ms";

pub(crate) const PENDING: &str = "pending";
pub(crate) const COMPLETE: &str = "complete";

type Annotations = BTreeMap<&'static str, String>;

/// Of a content whose driver is about to be asked.
pub(super) fn begun(hold: &str) -> Annotations {
    [
        (HOLD, hold.to_owned()),
        (STATE, PENDING.to_owned()),
        (CONSISTENCY, Consistency::Crash.to_string()),
        (REASON, "the hold has not ended well yet".to_owned()),
        (FROZEN, "0".to_owned()),
    ]
    .into()
}

/// What a copy is worth.
pub(crate) fn of_worth(worth: &Worth) -> Annotations {
    [
        (CONSISTENCY, worth.consistency.to_string()),
        (REASON, worth.reason.clone()),
        (FROZEN, worth.frozen.as_millis().to_string()),
    ]
    .into()
}

/// Sets annotations of an object that has some.
pub(crate) fn set(annotations: Annotations) -> impl Iterator<Item = PatchOperation> {
    annotations.into_iter().map(|(key, value)| {
        PatchOperation::Add(AddOperation {
            path: pointer(key),
            value: value.into(),
        })
    })
}

/// Refuses the patch unless the annotation has that value.
pub(crate) fn test(key: &str, value: &str) -> PatchOperation {
    PatchOperation::Test(TestOperation {
        path: pointer(key),
        value: value.into(),
    })
}

fn pointer(key: &str) -> PointerBuf {
    PointerBuf::from_tokens(["metadata", "annotations", key])
}
