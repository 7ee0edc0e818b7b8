//! Snapshots as Azure writes them.
//!
//! Read by a form of our own: a LIST is read at every poll, and the crate's model buffers each entry and
//! fails a whole page for one that is odd. Written by the crate's model.

use std::{collections::BTreeMap, time::SystemTime};

use azure_mgmt_compute::package_2024_07_01::models;
use serde::Deserialize;

use super::{disk_map::access, operation::parse_state};
use crate::model::{ProvisioningState, Snapshot, SnapshotId, SnapshotSpec};

/// One snapshot as read.
#[derive(Deserialize)]
pub(super) struct Read {
    pub(super) id: String,
    #[serde(default)]
    location: String,
    #[serde(default)]
    tags: Option<BTreeMap<String, String>>,
    #[serde(default)]
    properties: Properties,
}

#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct Properties {
    provisioning_state: Option<String>,
    completion_percent: Option<f64>,
    copy_completion_error: Option<CopyError>,
    time_created: Option<String>,
    creation_data: Option<CreationData>,
    #[serde(rename = "diskSizeGB")]
    disk_size_gb: Option<u32>,
    incremental: Option<bool>,
}

#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct CreationData {
    source_resource_id: Option<String>,
    source_unique_id: Option<String>,
    logical_sector_size: Option<i32>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct CopyError {
    error_code: Option<String>,
    error_message: Option<String>,
}

/// One page of a list.
impl Read {
    /// How far it is.
    pub(super) fn state(&self) -> ProvisioningState {
        let state = self.properties.provisioning_state.as_deref();
        parse_state(state.unwrap_or("Unknown"))
    }

    /// Why its background copy ended for good, code and text.
    pub(super) fn copy_failure(&self) -> Option<(String, String)> {
        let error = self.properties.copy_completion_error.as_ref()?;
        Some((
            error.error_code.clone().unwrap_or_default(),
            error.error_message.clone().unwrap_or_default(),
        ))
    }

    /// For the use cases; `None` if its ID is none.
    pub(super) fn into_snapshot(self) -> Option<Snapshot> {
        let state = self.state();
        let id: SnapshotId = self.id.parse().ok()?;
        let creation = self.properties.creation_data.unwrap_or_default();
        let created = self.properties.time_created.as_deref();
        Some(Snapshot {
            id,
            location: self.location,
            state,
            completion_percent: self.properties.completion_percent,
            created: created
                .and_then(|time| time.parse::<jiff::Timestamp>().ok())
                .map(SystemTime::from),
            source: creation.source_resource_id.and_then(|id| id.parse().ok()),
            source_unique_id: creation.source_unique_id,
            gibibytes: self.properties.disk_size_gb,
            logical_sector_size: creation.logical_sector_size,
            incremental: self.properties.incremental.unwrap_or_default(),
            tags: self.tags.unwrap_or_default(),
        })
    }
}

/// The PUT of a new snapshot. Its SKU is left to Azure, which keeps snapshots zone-redundant where the region
/// can and locally redundant elsewhere; naming one would be refused in one of both.
pub(super) fn to_put(spec: &SnapshotSpec) -> models::Snapshot {
    let mut creation = models::CreationData::new(models::creation_data::CreateOption::Copy);
    creation.source_resource_id = Some(spec.source.to_string());
    let mut properties = models::SnapshotProperties::new(creation);
    properties.incremental = Some(spec.incremental);
    let access = access(&spec.access);
    properties.network_access_policy = access.network;
    properties.disk_access_id = access.disk_access;
    properties.public_network_access = access.public;
    properties.data_access_auth_mode = access.auth_mode;
    let mut resource = models::Resource::new(spec.location.clone());
    resource.tags = tags(&spec.tags);
    let mut snapshot = models::Snapshot::new(resource);
    snapshot.properties = Some(properties);
    snapshot
}

/// The PATCH of its tags.
pub(super) fn to_patch(new: &BTreeMap<String, String>) -> models::SnapshotUpdate {
    models::SnapshotUpdate {
        tags: Some(serde_json::json!(new)),
        ..models::SnapshotUpdate::new()
    }
}

pub(super) fn tags(tags: &BTreeMap<String, String>) -> Option<serde_json::Value> {
    (!tags.is_empty()).then(|| serde_json::json!(tags))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_snapshot_is_read_in_any_letter_case_of_its_ids() {
        let read: Read = serde_json::from_value(serde_json::json!({
            "id": "/subscriptions/S/resourcegroups/RG/providers/microsoft.compute/snapshots/n",
            "location": "westeurope",
            "extra": {"new": [1]},
            "properties": {
                "provisioningState": "Creating", "completionPercent": 40.5, "diskSizeGB": 4,
                "timeCreated": "2026-11-23T10:00:00.1234567+00:00", "incremental": true,
                "creationData": {
                    "createOption": "SomethingNew", "sourceUniqueId": "u", "logicalSectorSize": 4096,
                    "sourceResourceId": "/SUBSCRIPTIONS/s/RESOURCEGROUPS/rg/PROVIDERS/MICROSOFT.COMPUTE/DISKS/d"
                }
            }
        }))
        .unwrap();
        let snapshot = read.into_snapshot().unwrap();
        assert_eq!(
            snapshot.state,
            ProvisioningState::Running("Creating".to_owned())
        );
        assert_eq!(snapshot.source.unwrap().name, "d");
        assert_eq!(snapshot.gibibytes, Some(4));
        assert!(snapshot.created.is_some() && snapshot.incremental);
        assert_eq!(snapshot.logical_sector_size, Some(4096));
    }

    #[test]
    fn a_put_says_what_is_asked_and_nothing_else() {
        let group = crate::model::ResourceGroup {
            subscription: "s".to_owned(),
            name: "g".to_owned(),
        };
        let put = to_put(&SnapshotSpec {
            id: SnapshotId::new(group.clone(), "n"),
            location: "westeurope".to_owned(),
            source: crate::model::DiskId::new(group, "d"),
            incremental: true,
            access: crate::model::Access {
                network_access_policy: Some("DenyAll".to_owned()),
                disk_access: Some("/d".to_owned()),
                ..Default::default()
            },
            tags: BTreeMap::from([("a".to_owned(), "b".to_owned())]),
        });
        let mut json = serde_json::to_value(put).unwrap();
        // The crate writes one absent time as null.
        json["properties"]
            .as_object_mut()
            .unwrap()
            .remove("timeCreated");
        assert_eq!(
            json,
            serde_json::json!({
                "location": "westeurope", "tags": {"a": "b"},
                "properties": {"incremental": true, "networkAccessPolicy": "DenyAll", "creationData": {
                    "createOption": "Copy",
                    "sourceResourceId": "/subscriptions/s/resourceGroups/g/providers/Microsoft.Compute/disks/d"
                }}
            })
        );
    }
}
