//! PersistentVolumes as Velero hands them over: which disk one stands for, and one that stands for another disk.
//!
//! They stay JSON, so that fields unknown here survive.

mod affinity;
mod attributes;
mod convert;
mod error;
mod fresh;
mod inline;

use serde_json::{Map, Value, json};

pub use error::PvError;
pub use fresh::{Fresh, zone};
pub use inline::{Inline, InlineError};

use crate::{
    model::{Disk, DiskId, DiskProperties, Zone, region},
    tags::Origin,
};

/// The CSI driver for managed disks.
pub const DRIVER: &str = "disk.csi.azure.com";

const ZONE_LABEL: &str = "topology.kubernetes.io/zone";
const REGION_LABEL: &str = "topology.kubernetes.io/region";
const OLD_ZONE_LABEL: &str = "failure-domain.beta.kubernetes.io/zone";
const OLD_REGION_LABEL: &str = "failure-domain.beta.kubernetes.io/region";

/// Annotation: the ID of the snapshot that the disk was made from.
pub const SNAPSHOT_ANNOTATION: &str = "stillpoint.io/snapshot";
/// Annotation: what that snapshot was worth: `filesystem`, `unmounted`, `crash`, or `unknown` for the stock plugin's.
pub const CONSISTENCY_ANNOTATION: &str = "stillpoint.io/consistency";
/// Annotation: why.
pub const REASON_ANNOTATION: &str = "stillpoint.io/consistency-reason";

/// Annotation: the zone that the disk was restored to; none if it has none.
pub const ZONE_ANNOTATION: &str = "stillpoint.io/zone";

type Object = Map<String, Value>;

/// A restored disk, as its PV must describe it.
#[derive(Clone, Debug, PartialEq)]
pub struct RestoredDisk {
    /// The disk.
    pub id: DiskId,
    /// Its region as Kubernetes names it.
    pub region: String,
    /// Its zone; `None` if it has none.
    pub zone: Option<Zone>,
    /// What it is like.
    pub properties: DiskProperties,
    /// What it was made from; `None` if nobody knows.
    pub origin: Option<Origin>,
}

impl From<Disk> for RestoredDisk {
    fn from(disk: Disk) -> Self {
        let region = region(&disk.location);
        let zone = match disk.properties.zones.as_slice() {
            [number] => Some(Zone {
                region: region.clone(),
                number: number.clone(),
            }),
            _ => None,
        };
        Self {
            origin: Origin::read(&disk.tags),
            id: disk.id,
            region,
            zone,
            properties: disk.properties,
        }
    }
}

/// The ID of the managed disk that a PV stands for, as it is written there; `None` if it is another kind of volume.
///
/// # Errors
/// If it is ours but its ID cannot be read: an empty ID would make Velero skip the volume silently.
pub fn volume_id(pv: &Value) -> Result<Option<String>, PvError> {
    let spec = spec(pv)?;
    let (field, id) = if let Some(csi) = spec.get("csi").and_then(Value::as_object) {
        if text(csi, "driver") != Some(DRIVER) {
            return Ok(None);
        }
        ("spec.csi.volumeHandle", text(csi, "volumeHandle"))
    } else if let Some(disk) = spec.get("azureDisk").and_then(Value::as_object) {
        refuse_unmanaged(pv, disk)?;
        ("spec.azureDisk.diskURI", text(disk, "diskURI"))
    } else {
        return Ok(None);
    };
    let id = id.unwrap_or_default();
    match id.parse::<DiskId>() {
        Ok(_) => Ok(Some(id.to_owned())),
        Err(source) => Err(PvError::Handle {
            pv: name(pv),
            field,
            source,
        }),
    }
}

/// The PV, standing for the restored disk. In-tree ones become CSI if `convert`.
///
/// # Errors
/// If the PV is no managed disk's.
pub fn set_volume(mut pv: Value, disk: &RestoredDisk, convert: bool) -> Result<Value, PvError> {
    let name = name(&pv);
    let spec = spec_mut(&mut pv)?;
    let claim = spec.get("claimRef").and_then(Value::as_object).cloned();
    let in_tree = spec.contains_key("azureDisk");
    if in_tree && convert {
        convert::to_csi(spec);
    }
    let is_csi = if let Some(csi) = spec.get_mut("csi").and_then(Value::as_object_mut) {
        let driver = text(csi, "driver").unwrap_or_default();
        if driver != DRIVER {
            return Err(PvError::Driver {
                pv: name,
                driver: driver.to_owned(),
            });
        }
        csi.insert("volumeHandle".to_owned(), json!(disk.id.to_string()));
        attributes::set(csi, disk, claim.as_ref());
        true
    } else if let Some(in_tree) = spec.get_mut("azureDisk").and_then(Value::as_object_mut) {
        in_tree.insert("diskName".to_owned(), json!(disk.id.name));
        in_tree.insert("diskURI".to_owned(), json!(disk.id.to_string()));
        if disk.properties.sku.copies_in_background() {
            in_tree.insert("cachingMode".to_owned(), json!("None"));
        }
        false
    } else {
        return Err(PvError::NotOurs { pv: name });
    };
    let labels = pv
        .pointer("/metadata/labels")
        .and_then(Value::as_object)
        .cloned();
    affinity::set(
        spec_mut(&mut pv)?,
        disk,
        is_csi,
        &labels.unwrap_or_default(),
    );
    set_labels(&mut pv, disk)?;
    if in_tree && is_csi {
        convert::annotate(annotations(&mut pv)?);
    }
    set_annotations(annotations(&mut pv)?, disk);
    Ok(pv)
}

/// Zone and region, the old labels where the PV had them. A disk without a zone has no zone labels.
fn set_labels(pv: &mut Value, disk: &RestoredDisk) -> Result<(), PvError> {
    let labels = metadata(pv, "labels")?;
    let had_old = |label: &str, labels: &Object| labels.contains_key(label);
    let old = had_old(OLD_ZONE_LABEL, labels) || had_old(OLD_REGION_LABEL, labels);
    match &disk.zone {
        Some(zone) => {
            labels.insert(ZONE_LABEL.to_owned(), json!(zone.to_string()));
            labels.insert(REGION_LABEL.to_owned(), json!(zone.region));
            if old {
                labels.insert(OLD_ZONE_LABEL.to_owned(), json!(zone.to_string()));
            }
        }
        None => {
            labels.shift_remove(ZONE_LABEL);
            labels.shift_remove(OLD_ZONE_LABEL);
            if labels.contains_key(REGION_LABEL) {
                labels.insert(REGION_LABEL.to_owned(), json!(disk.region));
            }
        }
    }
    if old {
        labels.insert(OLD_REGION_LABEL.to_owned(), json!(disk.region));
    }
    Ok(())
}

fn set_annotations(annotations: &mut Object, disk: &RestoredDisk) {
    for annotation in [
        SNAPSHOT_ANNOTATION,
        CONSISTENCY_ANNOTATION,
        REASON_ANNOTATION,
        ZONE_ANNOTATION,
    ] {
        annotations.shift_remove(annotation);
    }
    if let Some(zone) = &disk.zone {
        annotations.insert(ZONE_ANNOTATION.to_owned(), json!(zone.to_string()));
    }
    let Some(origin) = &disk.origin else { return };
    let consistency = origin
        .consistency
        .map_or("unknown".to_owned(), |known| known.to_string());
    annotations.insert(
        SNAPSHOT_ANNOTATION.to_owned(),
        json!(origin.snapshot.to_string()),
    );
    annotations.insert(CONSISTENCY_ANNOTATION.to_owned(), json!(consistency));
    if !origin.reason.is_empty() {
        annotations.insert(REASON_ANNOTATION.to_owned(), json!(origin.reason));
    }
}

/// Blobs as disks, without a resource of their own; Kubernetes gave them up in 1.31 with the in-tree driver.
fn refuse_unmanaged(pv: &Value, disk: &Object) -> Result<(), PvError> {
    match text(disk, "kind") {
        Some(kind) if !kind.eq_ignore_ascii_case("Managed") => Err(PvError::Unmanaged {
            pv: name(pv),
            kind: kind.to_owned(),
        }),
        _ => Ok(()),
    }
}

fn name(pv: &Value) -> String {
    let name = pv.pointer("/metadata/name").and_then(Value::as_str);
    name.unwrap_or_default().to_owned()
}

fn spec(pv: &Value) -> Result<&Object, PvError> {
    let spec = pv.get("spec").and_then(Value::as_object);
    spec.ok_or_else(|| PvError::Shape {
        pv: name(pv),
        field: "spec",
    })
}

fn spec_mut(pv: &mut Value) -> Result<&mut Object, PvError> {
    let error = PvError::Shape {
        pv: name(pv),
        field: "spec",
    };
    pv.get_mut("spec")
        .and_then(Value::as_object_mut)
        .ok_or(error)
}

fn annotations(pv: &mut Value) -> Result<&mut Object, PvError> {
    metadata(pv, "annotations")
}

/// A map of the metadata, made if it is not there.
fn metadata<'a>(pv: &'a mut Value, field: &'static str) -> Result<&'a mut Object, PvError> {
    let pv_name = name(pv);
    let error = |field| PvError::Shape {
        pv: pv_name.clone(),
        field,
    };
    let Some(metadata) = pv.get_mut("metadata").and_then(Value::as_object_mut) else {
        return Err(error("metadata"));
    };
    let map = metadata.entry(field).or_insert_with(|| json!({}));
    if map.is_null() {
        *map = json!({});
    }
    map.as_object_mut().ok_or_else(|| error(field))
}

fn text<'a>(object: &'a Object, field: &str) -> Option<&'a str> {
    object.get(field).and_then(Value::as_str)
}

#[cfg(test)]
mod tests;
