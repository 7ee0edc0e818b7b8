//! What is kept of a content.

use kube::{ResourceExt as _, core::DynamicObject};

use crate::gate::{
    annotations::{HOLD, PENDING, STATE},
    attempt::{text, volumes},
    ports::{Content, Kind, SnapshotRef},
};

pub(super) fn of_snapshot(object: &DynamicObject) -> Option<Content> {
    of(Kind::Snapshot, object)
}

pub(super) fn of_group(object: &DynamicObject) -> Option<Content> {
    of(Kind::Group, object)
}

/// `None` if its snapshot was not made by a driver for it.
fn of(kind: Kind, object: &DynamicObject) -> Option<Content> {
    let (spec, status) = (&object.data["spec"], &object.data["status"]);
    let volumes = volumes(kind, spec["driver"].as_str()?, &spec["source"]).ok()?;
    if volumes.is_empty() {
        return None;
    }
    let (reference, handle) = match kind {
        Kind::Snapshot => ("volumeSnapshotRef", "snapshotHandle"),
        Kind::Group => ("volumeGroupSnapshotRef", "volumeGroupSnapshotHandle"),
    };
    let reference = &spec[reference];
    let annotations = object.annotations();
    Some(Content {
        uid: object.uid()?,
        snapshot: SnapshotRef {
            namespace: text(&reference["namespace"]),
            name: text(&reference["name"]),
            uid: text(&reference["uid"]),
        },
        volumes,
        being_created: annotations.contains_key(kind.being_created()),
        hold: annotations.get(HOLD).cloned(),
        pending: annotations.get(STATE).map(String::as_str) == Some(PENDING),
        created: status[handle].is_string(),
        error: status["error"]["message"].as_str().map(str::to_owned),
    })
}
