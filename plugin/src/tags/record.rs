//! What a snapshot does not remember of its disk, as tags `stillpoint-disk-<property>`.
//!
//! Azure's defaults are not written, so they read as `None`. `stillpoint-disk-sku` is always there: without
//! it a snapshot has no record.

use std::{collections::BTreeMap, str::FromStr};

use super::{
    InvalidTag,
    rules::{TagSet, find, find_long},
};
use crate::model::{DiskProperties, Encryption, Sku};

const SKU: &str = "stillpoint-disk-sku";
const ZONES: &str = "stillpoint-disk-zones";
const TIER: &str = "stillpoint-disk-tier";
const BURSTING: &str = "stillpoint-disk-bursting";
const IOPS: &str = "stillpoint-disk-iops";
const MBPS: &str = "stillpoint-disk-mbps";
const IOPS_READ_ONLY: &str = "stillpoint-disk-iops-read-only";
const MBPS_READ_ONLY: &str = "stillpoint-disk-mbps-read-only";
const MAX_SHARES: &str = "stillpoint-disk-max-shares";
const FREQUENT_ATTACH: &str = "stillpoint-disk-frequent-attach";
const PERFORMANCE_PLUS: &str = "stillpoint-disk-performance-plus";
const SECTOR_SIZE: &str = "stillpoint-disk-sector-size";
const NETWORK_POLICY: &str = "stillpoint-disk-network-policy";
const DISK_ACCESS: &str = "stillpoint-disk-access";
const PUBLIC_ACCESS: &str = "stillpoint-disk-public-access";
const AUTH_MODE: &str = "stillpoint-disk-auth-mode";
const ENCRYPTION: &str = "stillpoint-disk-encryption";
const ENCRYPTION_SET: &str = "stillpoint-disk-encryption-set";

/// The properties without those that Azure would give a new disk anyway.
pub(super) fn without_defaults(disk: &DiskProperties) -> DiskProperties {
    let differs = |value: &Option<String>, default: &str| {
        value
            .clone()
            .filter(|value| !value.eq_ignore_ascii_case(default))
    };
    let shared = disk.max_shares.is_some_and(|shares| shares > 1);
    let encryption = disk.encryption.as_ref().map(|encryption| Encryption {
        kind: differs(&encryption.kind, "EncryptionAtRestWithPlatformKey"),
        set: encryption.set.clone().filter(|set| !set.is_empty()),
    });
    DiskProperties {
        sku: disk.sku.clone(),
        zones: disk.zones.clone(),
        tier: disk.tier.clone(),
        bursting: disk.bursting.filter(|on| *on),
        iops_read_write: disk.iops_read_write,
        mbps_read_write: disk.mbps_read_write,
        iops_read_only: disk.iops_read_only.filter(|_| shared),
        mbps_read_only: disk.mbps_read_only.filter(|_| shared),
        max_shares: disk.max_shares.filter(|_| shared),
        optimized_for_frequent_attach: disk.optimized_for_frequent_attach.filter(|on| *on),
        performance_plus: disk.performance_plus.filter(|on| *on),
        logical_sector_size: disk.logical_sector_size,
        network_access_policy: differs(&disk.network_access_policy, "AllowAll"),
        disk_access: disk.disk_access.clone().filter(|id| !id.is_empty()),
        public_network_access: differs(&disk.public_network_access, "Enabled"),
        data_access_auth_mode: differs(&disk.data_access_auth_mode, "None"),
        encryption: encryption
            .filter(|encryption| encryption.kind.is_some() || encryption.set.is_some()),
    }
}

pub(super) fn write(disk: &DiskProperties, tags: &mut TagSet) {
    let disk = without_defaults(disk);
    let text = |value: &Option<i64>| value.map(|value| value.to_string());
    let small = |value: &Option<i32>| value.map(|value| value.to_string());
    let flag = |value: &Option<bool>| value.map(|value| value.to_string());
    let (encryption, set) = match disk.encryption {
        Some(Encryption { kind, set }) => (kind, set),
        None => (None, None),
    };
    let zones = (!disk.zones.is_empty()).then(|| disk.zones.join(","));
    for (key, value) in [
        (SKU, Some(disk.sku.to_string())),
        (ZONES, zones),
        (TIER, disk.tier),
        (BURSTING, flag(&disk.bursting)),
        (IOPS, text(&disk.iops_read_write)),
        (MBPS, text(&disk.mbps_read_write)),
        (IOPS_READ_ONLY, text(&disk.iops_read_only)),
        (MBPS_READ_ONLY, text(&disk.mbps_read_only)),
        (MAX_SHARES, small(&disk.max_shares)),
        (FREQUENT_ATTACH, flag(&disk.optimized_for_frequent_attach)),
        (PERFORMANCE_PLUS, flag(&disk.performance_plus)),
        (SECTOR_SIZE, small(&disk.logical_sector_size)),
        (NETWORK_POLICY, disk.network_access_policy),
        (DISK_ACCESS, disk.disk_access),
        (PUBLIC_ACCESS, disk.public_network_access),
        (AUTH_MODE, disk.data_access_auth_mode),
        (ENCRYPTION, encryption),
        (ENCRYPTION_SET, set),
    ] {
        if let Some(value) = value {
            tags.offer_long(key, &value);
        }
    }
}

pub(super) fn read(tags: &BTreeMap<String, String>) -> Result<Option<DiskProperties>, InvalidTag> {
    let Some(sku) = find(tags, SKU) else {
        return Ok(None);
    };
    let zones = find(tags, ZONES).unwrap_or_default();
    let encryption = Encryption {
        kind: find_long(tags, ENCRYPTION),
        set: find_long(tags, ENCRYPTION_SET),
    };
    Ok(Some(DiskProperties {
        sku: Sku::new(sku),
        zones: zones
            .split(',')
            .filter(|zone| !zone.is_empty())
            .map(str::to_owned)
            .collect(),
        tier: find_long(tags, TIER),
        bursting: parsed(tags, BURSTING, "true or false")?,
        iops_read_write: parsed(tags, IOPS, "a number")?,
        mbps_read_write: parsed(tags, MBPS, "a number")?,
        iops_read_only: parsed(tags, IOPS_READ_ONLY, "a number")?,
        mbps_read_only: parsed(tags, MBPS_READ_ONLY, "a number")?,
        max_shares: parsed(tags, MAX_SHARES, "a number")?,
        optimized_for_frequent_attach: parsed(tags, FREQUENT_ATTACH, "true or false")?,
        performance_plus: parsed(tags, PERFORMANCE_PLUS, "true or false")?,
        logical_sector_size: parsed(tags, SECTOR_SIZE, "512 or 4096")?,
        network_access_policy: find_long(tags, NETWORK_POLICY),
        disk_access: find_long(tags, DISK_ACCESS),
        public_network_access: find_long(tags, PUBLIC_ACCESS),
        data_access_auth_mode: find_long(tags, AUTH_MODE),
        encryption: Some(encryption)
            .filter(|encryption| encryption.kind.is_some() || encryption.set.is_some()),
    }))
}

pub(super) fn parsed<T: FromStr>(
    tags: &BTreeMap<String, String>,
    key: &'static str,
    expected: &'static str,
) -> Result<Option<T>, InvalidTag> {
    find(tags, key)
        .map(|value| {
            value.parse().map_err(|_| InvalidTag {
                key,
                value: value.to_owned(),
                expected,
            })
        })
        .transpose()
}
