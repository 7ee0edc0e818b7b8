//! Azure's rules for network access and encryption at rest, which disks and snapshots share.

use super::{
    body::{DiskProperties, Encryption, SnapshotProperties},
    refusal::Refusal,
    rules,
};
use crate::{Kind, ResourceId, world::World};

impl<'a> From<&'a DiskProperties> for Protection<'a> {
    fn from(properties: &'a DiskProperties) -> Self {
        Self {
            policy: properties.network_access_policy.as_deref(),
            disk_access: properties.disk_access_id.as_deref(),
            public: properties.public_network_access.as_deref(),
            auth_mode: properties.data_access_auth_mode.as_deref(),
            os_type: properties.os_type.as_deref(),
            generation: properties.hyper_v_generation.as_deref(),
            encryption: properties.encryption.as_ref(),
        }
    }
}

impl<'a> From<&'a SnapshotProperties> for Protection<'a> {
    fn from(properties: &'a SnapshotProperties) -> Self {
        Self {
            policy: properties.network_access_policy.as_deref(),
            disk_access: properties.disk_access_id.as_deref(),
            public: properties.public_network_access.as_deref(),
            auth_mode: properties.data_access_auth_mode.as_deref(),
            os_type: properties.os_type.as_deref(),
            generation: properties.hyper_v_generation.as_deref(),
            encryption: properties.encryption.as_ref(),
        }
    }
}

/// `networkAccessPolicy` and its kin, `encryption`, and what the disk is made for.
pub(crate) struct Protection<'a> {
    policy: Option<&'a str>,
    disk_access: Option<&'a str>,
    public: Option<&'a str>,
    auth_mode: Option<&'a str>,
    os_type: Option<&'a str>,
    generation: Option<&'a str>,
    encryption: Option<&'a Encryption>,
}

/// Refuses values that Azure does not know, and references to what is not registered.
pub(crate) fn check<'a>(
    world: &World,
    location: &str,
    properties: impl Into<Protection<'a>>,
) -> Result<(), Refusal> {
    let access: Protection<'_> = properties.into();
    let known: [(&'static str, Option<&str>, &[&str]); 5] = [
        ("osType", access.os_type, &["Linux", "Windows"]),
        ("hyperVGeneration", access.generation, &["V1", "V2"]),
        (
            "networkAccessPolicy",
            access.policy,
            &["AllowAll", "AllowPrivate", "DenyAll"],
        ),
        (
            "publicNetworkAccess",
            access.public,
            &["Enabled", "Disabled"],
        ),
        (
            "dataAccessAuthMode",
            access.auth_mode,
            &["None", "AzureActiveDirectory"],
        ),
    ];
    for (name, value, allowed) in known {
        rules::one_of(name, value, allowed)?;
    }
    encryption(world, location, access.encryption)?;
    match (access.policy == Some("AllowPrivate"), access.disk_access) {
        (true, Some(id)) => registered(world, Kind::DiskAccess, location, "diskAccessId", id),
        (true, None) => Err(Refusal::Missing("diskAccessId")),
        (false, Some(_)) => Err(Refusal::parameter(
            "diskAccessId",
            "diskAccessId can only be set with networkAccessPolicy AllowPrivate.",
        )),
        (false, None) => Ok(()),
    }
}

fn encryption(
    world: &World,
    location: &str,
    encryption: Option<&Encryption>,
) -> Result<(), Refusal> {
    let Some(Encryption {
        disk_encryption_set_id,
        kind,
    }) = encryption
    else {
        return Ok(());
    };
    let kinds = [
        "EncryptionAtRestWithPlatformKey",
        "EncryptionAtRestWithCustomerKey",
        "EncryptionAtRestWithPlatformAndCustomerKeys",
    ];
    rules::one_of("encryption.type", kind.as_deref(), &kinds)?;
    match (kind.as_deref(), disk_encryption_set_id.as_deref()) {
        (Some("EncryptionAtRestWithPlatformKey"), Some(_)) => Err(Refusal::parameter(
            "encryption.diskEncryptionSetId",
            "diskEncryptionSetId cannot be set with encryption type EncryptionAtRestWithPlatformKey.",
        )),
        (Some("EncryptionAtRestWithPlatformKey") | None, None) => Ok(()),
        (Some(_), None) => Err(Refusal::Missing("encryption.diskEncryptionSetId")),
        (_, Some(id)) => registered(
            world,
            Kind::DiskEncryptionSet,
            location,
            "encryption.diskEncryptionSetId",
            id,
        ),
    }
}

fn registered(
    world: &World,
    kind: Kind,
    location: &str,
    target: &str,
    id: &str,
) -> Result<(), Refusal> {
    let parsed: ResourceId = id
        .parse()
        .map_err(|_| Refusal::parameter(target, format!("'{id}' is not a resource ID.")))?;
    match world.registered.get(&parsed.key()) {
        Some((_, at)) if at == location => Ok(()),
        Some((_, at)) => Err(Refusal::parameter(
            target,
            format!(
                "'{id}' is in location '{at}', the resource that refers to it in '{location}'."
            ),
        )),
        None => Err(Refusal::Resource {
            kind,
            name: parsed.name,
            group: parsed.group,
        }),
    }
}
