//! Managed disks as Azure writes them, and its rules about which property goes with which SKU.

use azure_mgmt_compute::package_2024_07_01::models;

use super::{operation::parse_state, snapshot_map::tags};
use crate::model::{
    Disk, DiskId, DiskProperties, DiskSpec, Encryption, ProvisioningState, Sku, SnapshotId,
};

/// What is read of a disk.
pub(super) struct Read {
    pub(super) disk: Disk,
    pub(super) state: ProvisioningState,
    /// The snapshot that it was made from.
    pub(super) source: Option<SnapshotId>,
}

/// Reads a disk; `asked` is the ID that it was asked by. The error says what Azure left out.
pub(super) fn read(body: &[u8], asked: &DiskId) -> Result<Read, String> {
    let disk: models::Disk = serde_json::from_slice(body).map_err(|error| error.to_string())?;
    let properties = disk.properties.ok_or("it has no properties")?;
    let creation = &properties.creation_data;
    let source = creation.source_resource_id.as_deref();
    let size = properties
        .disk_size_gb
        .and_then(|size| u32::try_from(size).ok());
    let state = properties
        .provisioning_state
        .as_deref()
        .unwrap_or("Succeeded");
    let mut attached_to: Vec<String> = Vec::new();
    for machine in disk.managed_by.into_iter().chain(disk.managed_by_extended) {
        if !attached_to
            .iter()
            .any(|known| known.eq_ignore_ascii_case(&machine))
        {
            attached_to.push(machine);
        }
    }
    let sku = disk.sku.and_then(|sku| sku.name).ok_or("it has no SKU")?;
    let id = disk.resource.id.and_then(|id| id.parse().ok());
    Ok(Read {
        state: parse_state(state),
        source: source.and_then(|id| id.parse().ok()),
        disk: Disk {
            id: id.unwrap_or_else(|| asked.clone()),
            unique_id: properties.unique_id.unwrap_or_default(),
            location: disk.resource.location,
            gibibytes: size.ok_or("it has no size")?,
            attached_to,
            tags: disk
                .resource
                .tags
                .and_then(|tags| serde_json::from_value(tags).ok())
                .unwrap_or_default(),
            properties: DiskProperties {
                sku: Sku::new(word(&sku).unwrap_or_default()),
                zones: disk.zones,
                tier: properties.tier,
                bursting: properties.bursting_enabled,
                iops_read_write: properties.disk_iops_read_write,
                mbps_read_write: properties.disk_m_bps_read_write,
                iops_read_only: properties.disk_iops_read_only,
                mbps_read_only: properties.disk_m_bps_read_only,
                max_shares: properties.max_shares,
                optimized_for_frequent_attach: properties.optimized_for_frequent_attach,
                performance_plus: creation.performance_plus,
                logical_sector_size: creation.logical_sector_size,
                network_access_policy: properties.network_access_policy.as_ref().and_then(word),
                disk_access: properties.disk_access_id,
                public_network_access: properties.public_network_access.as_ref().and_then(word),
                data_access_auth_mode: properties.data_access_auth_mode.as_ref().and_then(word),
                encryption: properties.encryption.map(|encryption| Encryption {
                    kind: encryption.type_.as_ref().and_then(word),
                    set: encryption.disk_encryption_set_id,
                }),
            },
        },
    })
}

/// The PUT of a new disk. What its SKU cannot have is left out: the SKU may be another than the original's.
pub(super) fn to_put(spec: &DiskSpec) -> models::Disk {
    let wanted = &spec.properties;
    let provisioned = wanted.sku.copies_in_background();
    let is_premium = ["Premium_LRS", "Premium_ZRS"]
        .iter()
        .any(|name| wanted.sku == Sku::new(*name));
    let shared = wanted.max_shares.is_some_and(|shares| shares > 1);
    let only = |fits: bool, value: Option<i64>| value.filter(|_| fits);

    let mut creation = models::CreationData::new(models::creation_data::CreateOption::Copy);
    creation.source_resource_id = Some(spec.source.to_string());
    // Others have 512 bytes and refuse to be asked.
    creation.logical_sector_size = wanted.logical_sector_size.filter(|_| provisioned);
    creation.performance_plus = wanted.performance_plus.filter(|on| *on && !provisioned);

    let mut properties = models::DiskProperties::new(creation);
    properties.disk_size_gb = spec.gibibytes.and_then(|size| i32::try_from(size).ok());
    properties.disk_iops_read_write = only(provisioned, wanted.iops_read_write);
    properties.disk_m_bps_read_write = only(provisioned, wanted.mbps_read_write);
    properties.disk_iops_read_only = only(provisioned && shared, wanted.iops_read_only);
    properties.disk_m_bps_read_only = only(provisioned && shared, wanted.mbps_read_only);
    properties.tier = wanted.tier.clone().filter(|_| is_premium);
    properties.bursting_enabled = wanted.bursting.filter(|on| *on && is_premium);
    properties.max_shares = wanted.max_shares.filter(|_| shared);
    properties.optimized_for_frequent_attach =
        wanted.optimized_for_frequent_attach.filter(|on| *on);
    properties.network_access_policy = from_word(wanted.network_access_policy.as_deref());
    properties.disk_access_id = wanted.disk_access.clone().filter(|_| {
        let policy = wanted.network_access_policy.as_deref();
        policy.is_some_and(|policy| policy.eq_ignore_ascii_case("AllowPrivate"))
    });
    properties.public_network_access = from_word(wanted.public_network_access.as_deref());
    properties.data_access_auth_mode = from_word(wanted.data_access_auth_mode.as_deref());
    properties.encryption = wanted
        .encryption
        .as_ref()
        .filter(|encryption| encryption.set.is_some())
        .map(|encryption| models::Encryption {
            disk_encryption_set_id: encryption.set.clone(),
            type_: from_word(encryption.kind.as_deref()),
        });

    let mut resource = models::Resource::new(spec.location.clone());
    resource.tags = tags(&spec.tags);
    let mut disk = models::Disk::new(resource);
    disk.sku = Some(models::DiskSku {
        name: from_word(Some(wanted.sku.as_str())),
        tier: None,
    });
    if !wanted.sku.is_zone_redundant() {
        disk.zones.clone_from(&wanted.zones);
    }
    disk.properties = Some(properties);
    disk
}

/// Azure's word for one of the crate's variants; unknown words are kept by them.
fn word<T: serde::Serialize>(variant: &T) -> Option<String> {
    match serde_json::to_value(variant) {
        Ok(serde_json::Value::String(word)) => Some(word),
        _ => None,
    }
}

fn from_word<T: serde::de::DeserializeOwned>(word: Option<&str>) -> Option<T> {
    serde_json::from_value(serde_json::Value::String(word?.to_owned())).ok()
}
