//! What Azure allows as a snapshot's source, and how many.

use super::{body::SnapshotProperties, disks, refusal::Refusal, rules};
use crate::{
    Kind, Moment, ResourceId,
    world::{Disk, Provisioning, World},
};

/// Background copies of one PremiumV2 or Ultra disk at a time.
const PENDING: usize = 3;
/// Background copies of one subscription at a time.
const PENDING_OF_SUBSCRIPTION: usize = 50;

/// The disk that `creationData` names, if it can be cut.
pub(crate) fn source<'a>(
    world: &'a World,
    location: &str,
    id: &ResourceId,
    properties: &SnapshotProperties,
) -> Result<&'a Disk, Refusal> {
    let creation = properties
        .creation_data
        .as_ref()
        .ok_or(Refusal::Missing("creationData"))?;
    if creation.instant_access_duration_minutes.is_some() {
        return Err(Refusal::NotSimulated("instantAccessDurationMinutes".into()));
    }
    match creation.create_option.as_deref() {
        Some("Copy") => {}
        Some("CopyStart") => {
            let message = "CopyStart creation is not supported for this subscription.";
            return Err(Refusal::NotAllowed(message.into()));
        }
        Some(option @ ("Empty" | "Import" | "ImportSecure" | "CopyFromSanSnapshot")) => {
            return Err(Refusal::NotSimulated(format!(
                "createOption {option} of a snapshot"
            )));
        }
        None => return Err(Refusal::Missing("creationData.createOption")),
        Some(other) => rules::one_of(
            "creationData.createOption",
            Some(other),
            &["Copy", "CopyStart"],
        )?,
    }
    let target = "creationData.sourceResourceId";
    let text = creation
        .source_resource_id
        .as_deref()
        .ok_or(Refusal::Missing(target))?;
    let from: ResourceId = text
        .parse()
        .map_err(|_| Refusal::parameter(target, format!("'{text}' is not a resource ID.")))?;
    if from.kind != Kind::Disk {
        return Err(Refusal::NotSimulated(format!(
            "snapshots of {}",
            from.kind.name()
        )));
    }
    let disk = world
        .disks
        .get(&from.key())
        .ok_or_else(|| disks::missing(&from))?;
    if disk.location != location {
        return Err(Refusal::parameter(
            target,
            format!(
                "The source '{from}' is in location '{}', the snapshot in '{location}'.",
                disk.location
            ),
        ));
    }
    if properties.incremental == Some(true)
        && !from.subscription.eq_ignore_ascii_case(&id.subscription)
    {
        let message =
            "Incremental snapshots can be created only in the subscription of their source disk.";
        return Err(Refusal::NotAllowed(message.into()));
    }
    match disk.state {
        Provisioning::Succeeded | Provisioning::Updating => Ok(disk),
        Provisioning::Creating | Provisioning::Deleting | Provisioning::Failed => {
            Err(Refusal::Busy(format!(
                "Disk '{}' is in provisioning state '{}'.",
                from.name,
                disk.state.name()
            )))
        }
    }
}

/// Limits of one disk's incremental snapshots. Azure accepts what exceeds number and rate, and fails
/// it: `SnapshotsLimitReached` is recorded with a snapshot left in state Failed.
pub(crate) fn limits(world: &mut World, disk: &Disk) -> Result<Option<(String, String)>, Refusal> {
    let now = Moment::now().instant;
    let rule = world.settings.incremental;
    let own = || {
        world
            .snapshots
            .values()
            .filter(|snapshot| snapshot.source_unique_id == disk.unique_id)
    };
    let total = own()
        .filter(|snapshot| snapshot.incremental && snapshot.state != Provisioning::Failed)
        .count();
    if own().filter(|snapshot| snapshot.pending(now)).count() >= PENDING {
        return Err(Refusal::NotAllowed(format!(
            "Disk '{}' already has {PENDING} snapshots whose data is being copied. Retry when one is complete.",
            disk.id.name
        )));
    }
    let subscription = &disk.id.subscription;
    let copying = world.snapshots.values().filter(|snapshot| {
        snapshot.pending(now) && snapshot.id.subscription.eq_ignore_ascii_case(subscription)
    });
    if disk.sku.provisioned() && copying.count() >= PENDING_OF_SUBSCRIPTION {
        return Err(Refusal::NotAllowed(format!(
            "Subscription '{subscription}' already has {PENDING_OF_SUBSCRIPTION} snapshots whose data is being copied."
        )));
    }
    let Some(disk) = world.disks.get_mut(&disk.id.key()) else {
        return Ok(None);
    };
    disk.incrementals
        .retain(|at| now.saturating_duration_since(*at) < rule.window);
    if total >= rule.total || disk.incrementals.len() >= rule.most {
        let message =
            "The snapshot count was exceeded for a disk. Please retry the request after sometime.";
        return Ok(Some(("SnapshotsLimitReached".into(), message.into())));
    }
    disk.incrementals.push_back(now);
    Ok(None)
}
