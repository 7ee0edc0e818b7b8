//! What an admission request tells: a driver is about to be asked for a snapshot, or it is not.
//!
//! csi-snapshotter sets the annotation `…-being-created` before it calls the driver and takes it off after success and after
//! a final error; so each attempt that admission can see begins with a request that newly sets it
//! (external-snapshotter, pkg/sidecar-controller: createSnapshotWrapper).

use std::time::Duration;

use k8s_openapi::jiff::Timestamp;
use kube::{
    ResourceExt as _,
    core::{DynamicObject, admission::AdmissionRequest},
};
use serde_json::Value;

use super::{
    annotations::{CONSISTENCY, HOLD, PENDING, STATE},
    ports::{ContentId, Kind, SnapshotRef},
};
use crate::{
    model::{Consistency, DiskId, VolumeId},
    pv::DRIVER,
};

/// A content as young as this was never attempted before; csi-snapshotter waits a second before it tries again.
const YOUNG: Duration = Duration::from_secs(2);

/// A driver is about to be asked for a snapshot.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Attempt {
    pub(super) content: ContentId,
    pub(super) snapshot: SnapshotRef,
    pub(super) driver: String,
    pub(super) volumes: Vec<VolumeId>,
    pub(super) class: Option<String>,
    /// No attempt came before it.
    pub(super) first: bool,
    /// The hold of the attempt before it, if there was one.
    pub(super) hold_before: Option<String>,
    /// What the content says of an earlier attempt: a copy that is consistent is there.
    pub(super) consistent_already: bool,
}

impl Kind {
    pub(crate) fn being_created(self) -> &'static str {
        match self {
            Self::Snapshot => "snapshot.storage.kubernetes.io/volumesnapshot-being-created",
            Self::Group => "groupsnapshot.storage.kubernetes.io/volumegroupsnapshot-being-created",
        }
    }

    fn of(resource: &str) -> Option<Self> {
        match resource {
            "volumesnapshotcontents" => Some(Self::Snapshot),
            "volumegroupsnapshotcontents" => Some(Self::Group),
            _ => None,
        }
    }
}

impl Attempt {
    /// `None` if the request is none: another change, a dry run, a static handle, a snapshot that is there already.
    ///
    /// # Errors
    /// If it is one that nobody can hold.
    pub(super) fn read(
        request: &AdmissionRequest<DynamicObject>,
        now: Timestamp,
    ) -> Result<Option<Self>, String> {
        let Some(kind) = Kind::of(&request.resource.resource) else {
            return Ok(None);
        };
        let Some(object) = request.object.as_ref().filter(|_| !request.dry_run) else {
            return Ok(None);
        };
        let marked =
            |object: &DynamicObject| object.annotations().contains_key(kind.being_created());
        if request.sub_resource.is_some()
            || !marked(object)
            || request.old_object.as_ref().is_some_and(marked)
            || object.metadata.deletion_timestamp.is_some()
        {
            return Ok(None);
        }
        // An update does not change the status, and what is patched may come of an old copy: what is stored counts.
        let stored = request.old_object.as_ref().unwrap_or(object);
        let (spec, status) = (&object.data["spec"], &stored.data["status"]);
        let driver = text(&spec["driver"]);
        let created = ["snapshotHandle", "volumeGroupSnapshotHandle"]
            .iter()
            .any(|handle| status[handle].is_string());
        let volumes = volumes(kind, &driver, &spec["source"])?;
        if volumes.is_empty() || created {
            return Ok(None);
        }
        let reference = match kind {
            Kind::Snapshot => &spec["volumeSnapshotRef"],
            Kind::Group => &spec["volumeGroupSnapshotRef"],
        };
        let class = match kind {
            Kind::Snapshot => &spec["volumeSnapshotClassName"],
            Kind::Group => &spec["volumeGroupSnapshotClassName"],
        };
        let annotations = stored.annotations();
        let born = object.metadata.creation_timestamp.as_ref();
        let young = born.is_some_and(|born| {
            Duration::try_from(now.duration_since(born.0)).unwrap_or_default() <= YOUNG
        });
        let says = |key: &str| annotations.get(key).map(String::as_str);
        let worth = says(CONSISTENCY).and_then(|worth| worth.parse::<Consistency>().ok());
        Ok(Some(Self {
            content: ContentId {
                kind,
                name: object.name_any(),
                uid: object.uid().unwrap_or_default(),
            },
            snapshot: SnapshotRef {
                namespace: text(&reference["namespace"]),
                name: text(&reference["name"]),
                uid: text(&reference["uid"]),
            },
            driver,
            volumes,
            class: class.as_str().map(str::to_owned),
            first: young && says(HOLD).is_none() && status["error"].is_null(),
            hold_before: says(HOLD).map(str::to_owned),
            consistent_already: says(STATE) != Some(PENDING)
                && worth.is_some_and(Consistency::is_consistent),
        }))
    }
}

/// What a content's `spec.source` names; nothing if that is a handle of a snapshot.
///
/// # Errors
/// If it is no volume of the driver.
pub(crate) fn volumes(kind: Kind, driver: &str, source: &Value) -> Result<Vec<VolumeId>, String> {
    let one = source["volumeHandle"].as_str().into_iter();
    let several = source["volumeHandles"].as_array().into_iter().flatten();
    match kind {
        Kind::Snapshot => one.map(|handle| volume(driver, handle)).collect(),
        Kind::Group => several
            .filter_map(Value::as_str)
            .map(|handle| volume(driver, handle))
            .collect(),
    }
}

fn volume(driver: &str, handle: &str) -> Result<VolumeId, String> {
    if driver == DRIVER {
        let disk = handle.parse::<DiskId>();
        let disk = disk.map_err(|error| format!("spec.source of the content: {error}"))?;
        return Ok(disk.into());
    }
    Ok(VolumeId::Other {
        driver: driver.to_owned(),
        handle: handle.to_owned(),
    })
}

pub(crate) fn text(value: &Value) -> String {
    value.as_str().unwrap_or_default().to_owned()
}
