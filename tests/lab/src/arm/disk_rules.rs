//! What Azure allows of a disk: source, size, sectors.

use super::{body::DiskProperties, refusal::Refusal, rules};
use crate::{
    Kind, Moment, ResourceId, Sku,
    world::{Provisioning, World},
};

/// Ultra and PremiumV2 disks that can be made from one snapshot at once; other disks.
const AT_ONCE: (usize, usize) = (5, 49);

/// What a disk is made of.
#[derive(Clone, Debug)]
pub(crate) struct Source {
    pub(crate) id: ResourceId,
    pub(crate) unique_id: String,
    pub(crate) bytes: u64,
    pub(crate) file: std::path::PathBuf,
    /// OS type and generation, which a copy inherits.
    pub(crate) os: (Option<String>, Option<String>),
}

/// The source that `creationData` names, if it can be copied from now.
pub(crate) fn source(
    world: &World,
    location: &str,
    sku: Sku,
    properties: &DiskProperties,
) -> Result<Option<Source>, Refusal> {
    let creation = properties
        .creation_data
        .as_ref()
        .ok_or(Refusal::Missing("creationData"))?;
    let option = creation
        .create_option
        .as_deref()
        .ok_or(Refusal::Missing("creationData.createOption"))?;
    let source = match (option, creation.source_resource_id.as_deref()) {
        ("Empty", None) => return sectors(sku, creation.logical_sector_size, None).map(|()| None),
        ("Empty", Some(_)) => {
            return Err(Refusal::parameter(
                "creationData.sourceResourceId",
                "sourceResourceId cannot be set with createOption Empty.",
            ));
        }
        ("Copy", Some(source)) => source,
        ("Copy", None) => return Err(Refusal::Missing("creationData.sourceResourceId")),
        (
            "Attach"
            | "FromImage"
            | "Import"
            | "ImportSecure"
            | "Restore"
            | "Upload"
            | "UploadPreparedSecure",
            _,
        ) => {
            return Err(Refusal::NotSimulated(format!("createOption {option}")));
        }
        (option, _) => {
            return rules::one_of(
                "creationData.createOption",
                Some(option),
                &["Empty", "Copy"],
            )
            .map(|()| None);
        }
    };
    let id: ResourceId = source.parse().map_err(|_| {
        Refusal::parameter(
            "creationData.sourceResourceId",
            format!("'{source}' is not a resource ID."),
        )
    })?;
    let (from, at, sector) = find(world, &id)?;
    if at != location {
        return Err(Refusal::parameter(
            "creationData.sourceResourceId",
            format!(
                "The source '{id}' is in location '{at}'; a disk in location '{location}' cannot be copied from it."
            ),
        ));
    }
    sectors(sku, creation.logical_sector_size, Some(sector))?;
    at_once(world, sku, &id)?;
    Ok(Some(from))
}

fn find(world: &World, id: &ResourceId) -> Result<(Source, String, u64), Refusal> {
    let missing = || Refusal::Resource {
        kind: id.kind,
        name: id.name.clone(),
        group: id.group.clone(),
    };
    match id.kind {
        Kind::Snapshot => {
            let snapshot = world.snapshots.get(&id.key()).ok_or_else(missing)?;
            let percent = snapshot.completion(Moment::now().instant);
            if snapshot.state != Provisioning::Succeeded || percent < 100.0 {
                return Err(Refusal::NotAllowed(format!(
                    "Snapshot '{}' cannot be used as a source: its provisioning state is '{}' and its data copy is \
                     {percent} percent complete. Retry after completionPercent is 100.",
                    id.name,
                    snapshot.state.name(),
                )));
            }
            let creation = snapshot.properties.creation_data.as_ref();
            let sector = creation
                .and_then(|creation| creation.logical_sector_size)
                .unwrap_or(512);
            let source = Source {
                id: snapshot.id.clone(),
                unique_id: snapshot.unique_id.clone(),
                bytes: snapshot.size_bytes,
                file: snapshot.file.clone(),
                os: (
                    snapshot.properties.os_type.clone(),
                    snapshot.properties.hyper_v_generation.clone(),
                ),
            };
            Ok((source, snapshot.location.clone(), sector))
        }
        Kind::Disk => {
            let disk = world.disks.get(&id.key()).ok_or_else(missing)?;
            if disk.state != Provisioning::Succeeded {
                let state = disk.state.name();
                return Err(Refusal::Busy(format!(
                    "Disk '{}' is in provisioning state '{state}'.",
                    id.name
                )));
            }
            let source = Source {
                id: disk.id.clone(),
                unique_id: disk.unique_id.clone(),
                bytes: disk.size_gib << 30,
                file: disk.file.clone(),
                os: (
                    disk.properties.os_type.clone(),
                    disk.properties.hyper_v_generation.clone(),
                ),
            };
            let creation = disk.properties.creation_data.as_ref();
            let sector = creation
                .and_then(|creation| creation.logical_sector_size)
                .unwrap_or(512);
            Ok((source, disk.location.clone(), sector))
        }
        Kind::DiskEncryptionSet
        | Kind::DiskAccess
        | Kind::VirtualMachine
        | Kind::StorageAccount => Err(Refusal::parameter(
            "creationData.sourceResourceId",
            format!("'{id}' is neither a disk nor a snapshot."),
        )),
    }
}

/// 4096-byte sectors exist on Ultra and PremiumV2 only, where they are the default; a copy has its source's.
fn sectors(sku: Sku, asked: Option<u64>, source: Option<u64>) -> Result<(), Refusal> {
    let refuse = |message: String| {
        Err(Refusal::parameter(
            "creationData.logicalSectorSize",
            message,
        ))
    };
    if let Some(size) = asked
        && ![512, 4096].contains(&size)
    {
        return refuse(format!(
            "logicalSectorSize '{size}' is invalid. Supported values are 512 and 4096."
        ));
    }
    if asked.is_some() && !sku.provisioned() {
        return refuse(format!(
            "logicalSectorSize can only be set for UltraSSD_LRS and PremiumV2_LRS disks, not {sku}."
        ));
    }
    let own = if sku.provisioned() {
        asked.unwrap_or(4096)
    } else {
        512
    };
    match source {
        Some(source) if source != own => refuse(format!(
            "The source has a logical sector size of {source}, a {sku} disk with {own} cannot be copied from it."
        )),
        Some(_) | None => Ok(()),
    }
}

fn at_once(world: &World, sku: Sku, source: &ResourceId) -> Result<(), Refusal> {
    let most = if sku.provisioned() {
        AT_ONCE.0
    } else {
        AT_ONCE.1
    };
    let copying = world.disks.values().filter(|disk| {
        let creation = disk.properties.creation_data.as_ref();
        let from = creation.and_then(|creation| creation.source_resource_id.as_deref());
        disk.state == Provisioning::Creating
            && from.and_then(|id| id.parse().ok()).as_ref() == Some(source)
    });
    if copying.count() >= most {
        return Err(Refusal::NotAllowed(format!(
            "At most {most} disks can be created from '{source}' at the same time. Retry when one is complete."
        )));
    }
    Ok(())
}

/// The size in GiB: at least the source's, at most the SKU's.
pub(crate) fn size(sku: Sku, asked: Option<u64>, source: Option<&Source>) -> Result<u64, Refusal> {
    let least = source.map(|source| source.bytes.div_ceil(1 << 30));
    let gib = asked.or(least).ok_or(Refusal::Missing("diskSizeGB"))?;
    let most = sku.largest_gib();
    if gib == 0 || gib > most {
        return Err(Refusal::parameter(
            "diskSizeGB",
            format!(
                "The value '{gib}' of parameter 'diskSizeGB' is out of range. The value must be between '1' and '{most}', inclusive."
            ),
        ));
    }
    match (source, least) {
        (Some(source), Some(least)) if gib < least => Err(Refusal::parameter(
            "diskSizeGB",
            format!(
                "diskSizeGB '{gib}' is smaller than the source '{}' of {least} GiB.",
                source.id
            ),
        )),
        _ => Ok(gib),
    }
}
