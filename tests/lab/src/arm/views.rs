//! Disks and snapshots as GET shows them.

use serde_json::{Value, json};

use super::body::{self, Encryption};
use crate::{
    Moment,
    sku::premium_tier,
    world::{Disk, Snapshot},
};

/// A disk.
pub(crate) fn disk(disk: &Disk) -> Value {
    let mut properties = body::to_map(&disk.properties);
    let mut set = |name: &str, value: Value| {
        properties.insert(name.into(), value);
    };
    let (iops, mbps) = match disk.properties.tier.as_deref() {
        Some(tier) => crate::sku::PREMIUM_TIERS
            .iter()
            .find(|(name, ..)| *name == tier)
            .map_or_else(
                || disk.sku.performance(disk.size_gib),
                |(.., performance)| *performance,
            ),
        None => disk.sku.performance(disk.size_gib),
    };
    set("diskSizeGB", json!(disk.size_gib));
    set(
        "diskIOPSReadWrite",
        json!(disk.properties.iops.unwrap_or(iops)),
    );
    set(
        "diskMBpsReadWrite",
        json!(disk.properties.mbps.unwrap_or(mbps)),
    );
    if disk.sku.premium() {
        let tier = disk.properties.tier.clone();
        set(
            "tier",
            json!(tier.unwrap_or_else(|| premium_tier(disk.size_gib).0.into())),
        );
    }
    set(
        "encryption",
        encryption(disk.properties.encryption.as_ref()),
    );
    let policy = disk.properties.network_access_policy.clone();
    set(
        "networkAccessPolicy",
        json!(policy.unwrap_or_else(|| "AllowAll".into())),
    );
    let public = disk.properties.public_network_access.clone();
    set(
        "publicNetworkAccess",
        json!(public.unwrap_or_else(|| "Enabled".into())),
    );
    set("timeCreated", json!(disk.created.to_string()));
    set("provisioningState", json!(disk.state.name()));
    let attached = if disk.attached_to.is_some() {
        "Attached"
    } else {
        "Unattached"
    };
    set("diskState", json!(attached));
    set("diskSizeBytes", json!(disk.size_gib << 30));
    set("uniqueId", json!(disk.unique_id));
    if let Some(source) = &disk.source_unique_id {
        properties["creationData"]["sourceUniqueId"] = json!(source);
    }
    let mut view = json!({
        "name": disk.id.name,
        "id": disk.id.to_string(),
        "type": "Microsoft.Compute/disks",
        "location": disk.location,
    });
    if let Some(tags) = &disk.tags {
        view["tags"] = json!(tags);
    }
    if let Some(machine) = &disk.attached_to {
        view["managedBy"] = json!(machine);
    }
    if !disk.zones.is_empty() {
        view["zones"] = json!(disk.zones);
    }
    view["sku"] = json!({"name": disk.sku, "tier": disk.sku.tier()});
    view["properties"] = Value::Object(properties);
    view
}

/// The type is always there; it follows from the set if only that was given.
fn encryption(encryption: Option<&Encryption>) -> Value {
    let set = encryption.and_then(|encryption| encryption.disk_encryption_set_id.as_ref());
    let kind = encryption.and_then(|encryption| encryption.kind.as_deref());
    match set {
        Some(set) => {
            json!({"type": kind.unwrap_or("EncryptionAtRestWithCustomerKey"), "diskEncryptionSetId": set})
        }
        None => json!({"type": "EncryptionAtRestWithPlatformKey"}),
    }
}

/// A snapshot.
pub(crate) fn snapshot(snapshot: &Snapshot) -> Value {
    let now = Moment::now().instant;
    let mut properties = body::to_map(&snapshot.properties);
    let mut set = |name: &str, value: Value| {
        properties.insert(name.into(), value);
    };
    set("diskSizeGB", json!(snapshot.size_bytes >> 30));
    set(
        "encryption",
        encryption(snapshot.properties.encryption.as_ref()),
    );
    let policy = snapshot.properties.network_access_policy.clone();
    set(
        "networkAccessPolicy",
        json!(policy.unwrap_or_else(|| "AllowAll".into())),
    );
    let public = snapshot.properties.public_network_access.clone();
    set(
        "publicNetworkAccess",
        json!(public.unwrap_or_else(|| "Enabled".into())),
    );
    set("timeCreated", json!(snapshot.accepted.to_string()));
    set("provisioningState", json!(snapshot.state.name()));
    set("diskState", json!("Unattached"));
    set("diskSizeBytes", json!(snapshot.size_bytes));
    set("uniqueId", json!(snapshot.unique_id));
    if snapshot.incremental {
        set("incrementalSnapshotFamilyId", json!(snapshot.family));
        set("completionPercent", json!(snapshot.completion(now)));
    }
    properties["creationData"]["sourceUniqueId"] = json!(snapshot.source_unique_id);
    let mut view = json!({
        "name": snapshot.id.name,
        "id": snapshot.id.to_string(),
        "type": "Microsoft.Compute/snapshots",
        "location": snapshot.location,
    });
    if let Some(tags) = &snapshot.tags {
        view["tags"] = json!(tags);
    }
    view["sku"] = json!({"name": snapshot.sku, "tier": snapshot.sku.tier()});
    view["properties"] = Value::Object(properties);
    view
}
