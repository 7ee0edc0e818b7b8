//! `Microsoft.Compute/snapshots`: PUT, PATCH, GET, DELETE.

use http::StatusCode;
use serde_json::json;

use super::{
    body::{self, Body, SnapshotProperties},
    context::Context,
    disks, lifecycle, operations, protection,
    refusal::Refusal,
    rules, snapshot_rules, views,
};
use crate::{
    Kind, ResourceId, Sku,
    web::Answer,
    world::{Provisioning, Snapshot},
};

pub(crate) fn put(context: &mut Context<'_>, id: &ResourceId) -> Result<Answer, Refusal> {
    let (body, ignored) = body::parse::<SnapshotProperties>(context.call)?;
    context.note_ignored(ignored);
    if context.world.snapshots.contains_key(&id.key()) {
        return update(context, id, body, true);
    }
    let (snapshot, limit) = build(context, id, body)?;
    let arrived = context.call.arrived;
    let settings = context.world.settings.snapshot;
    let operation = operations::begin(
        context.world,
        arrived,
        id,
        &snapshot.location,
        false,
        settings.retry_after,
    );
    let mut shown = views::snapshot(&snapshot);
    if settings.status == 202 {
        shown["properties"]["provisioningState"] = json!("Updating");
        shown["properties"]["isArmResource"] = json!(true);
    }
    let effects = &context.call.effects;
    let work = lifecycle::SnapshotWork {
        id: id.clone(),
        operation: operation.clone(),
        accepted: arrived.instant,
        duration: settings.duration + effects.stay,
        fraction: context.world.cut_fraction(),
        fail: limit.or_else(|| effects.fail.clone()),
    };
    let source = snapshot.source.key();
    context.world.snapshots.insert(
        id.key(),
        Snapshot {
            operation: operation.clone(),
            ..snapshot
        },
    );
    if effects.delete_source {
        lifecycle::remove_disk(context.world, &source);
    }
    context.shared.spawn(lifecycle::snapshot(
        std::sync::Arc::clone(context.shared),
        work,
    ));
    let status = StatusCode::from_u16(settings.status).unwrap_or(StatusCode::ACCEPTED);
    Ok(operations::accepted(
        context,
        status,
        &operation,
        Some(shown),
    ))
}

/// A snapshot that follows the rules, with the failure that its operation will end in, if any.
type Built = (Snapshot, Option<(String, String)>);

fn build(
    context: &mut Context<'_>,
    id: &ResourceId,
    body: Body<SnapshotProperties>,
) -> Result<Built, Refusal> {
    let world = &*context.world;
    rules::name(Kind::Snapshot, &id.name)?;
    rules::tags(body.tags.as_ref())?;
    let location = rules::location(&world.settings, Kind::Snapshot, body.location.as_deref())?;
    if body.zones.is_some() {
        return Err(Refusal::parameter("zones", "A snapshot has no zones."));
    }
    let mut properties = body.properties.ok_or(Refusal::Missing("properties"))?;
    let disk = snapshot_rules::source(world, &location, id, &properties)?.clone();
    let linked = "Microsoft.Compute/disks/beginGetAccess/action";
    context.authorize_linked("Microsoft.Compute/snapshots/write", id, linked, &disk.id)?;
    let incremental = properties.incremental.unwrap_or(false);
    let name = body.sku.and_then(|sku| sku.name);
    let sku = rules::sku(name.as_deref(), &Sku::SNAPSHOTS, Sku::StandardLrs)?;
    let zonal = world
        .settings
        .regions
        .get(&location)
        .is_some_and(|zones| !zones.is_empty());
    if sku.zone_redundant() && !zonal {
        let message = format!(
            "SKU {sku} is not supported in location '{location}', which has no availability zones."
        );
        return Err(Refusal::parameter("sku.name", message));
    }
    if incremental && sku == Sku::PremiumLrs {
        return Err(Refusal::parameter(
            "sku.name",
            "Incremental snapshots are Standard_LRS or Standard_ZRS.",
        ));
    }
    if disk.sku.provisioned() && !incremental {
        return Err(Refusal::NotAllowed(format!(
            "Only incremental snapshots are supported for disks of SKU {}.",
            disk.sku
        )));
    }
    if properties
        .disk_size_gib
        .is_some_and(|gib| gib < disk.size_gib)
    {
        return Err(Refusal::parameter(
            "diskSizeGB",
            format!("diskSizeGB is smaller than the source's {}.", disk.size_gib),
        ));
    }
    protection::check(world, &location, &properties)?;
    let encryption = properties.encryption.as_ref();
    context.authorize_encryption("Microsoft.Compute/snapshots/write", id, encryption)?;
    let limit = if incremental {
        snapshot_rules::limits(context.world, &disk)?
    } else {
        None
    };
    properties.incremental = Some(incremental);
    properties.os_type = properties
        .os_type
        .or_else(|| disk.properties.os_type.clone());
    properties.hyper_v_generation = properties
        .hyper_v_generation
        .or_else(|| disk.properties.hyper_v_generation.clone());
    properties.security_profile = properties
        .security_profile
        .or_else(|| disk.properties.security_profile.clone());
    let disk_creation = disk.properties.creation_data.as_ref();
    if let Some(creation) = &mut properties.creation_data {
        creation.logical_sector_size =
            disk_creation.and_then(|creation| creation.logical_sector_size);
    }
    let snapshot = Snapshot {
        id: disks::canonical(context.world, id),
        location,
        sku,
        tags: body.tags,
        properties,
        source: disk.id.clone(),
        source_unique_id: disk.unique_id.clone(),
        family: uuid::Uuid::new_v4().to_string(),
        unique_id: uuid::Uuid::new_v4().to_string(),
        size_bytes: disk.size_gib << 30,
        incremental,
        state: Provisioning::Creating,
        operation: String::new(),
        file: context.shared.store.fresh("snapshot"),
        accepted: context.call.arrived,
        cut: None,
        succeeded: None,
        copy: disk
            .sku
            .provisioned()
            .then_some(context.world.settings.snapshot.copy),
    };
    // All incremental snapshots of a disk are one family.
    let mut relatives = context.world.snapshots.values();
    let family = relatives
        .find(|other| other.incremental && incremental && other.source_unique_id == disk.unique_id);
    let family = family.map_or_else(|| snapshot.family.clone(), |other| other.family.clone());
    Ok((Snapshot { family, ..snapshot }, limit))
}

/// PUT on an existing snapshot (`whole`), or PATCH: tags and the like change, the data does not.
pub(crate) fn update(
    context: &mut Context<'_>,
    id: &ResourceId,
    body: Body<SnapshotProperties>,
    whole: bool,
) -> Result<Answer, Refusal> {
    rules::tags(body.tags.as_ref())?;
    let world = &mut *context.world;
    let snapshot = world
        .snapshots
        .get(&id.key())
        .ok_or_else(|| disks::missing(id))?
        .clone();
    if whole {
        let location = rules::location(&world.settings, Kind::Snapshot, body.location.as_deref())?;
        if location != snapshot.location {
            return Err(Refusal::Moved {
                name: id.name.clone(),
                existing: snapshot.location,
                group: id.group.clone(),
                asked: location,
            });
        }
    }
    let mut asked = body.properties.unwrap_or_default();
    if let Some(creation) = asked.creation_data.take() {
        let source = creation
            .source_resource_id
            .as_deref()
            .and_then(|source| source.parse::<ResourceId>().ok());
        if source.as_ref() != Some(&snapshot.source) {
            return Err(Refusal::Change("creationData.sourceResourceId".into()));
        }
    }
    if asked
        .incremental
        .is_some_and(|incremental| incremental != snapshot.incremental)
    {
        return Err(Refusal::Change("incremental".into()));
    }
    not_busy(&snapshot)?;
    if asked
        .disk_size_gib
        .is_some_and(|gib| gib << 30 != snapshot.size_bytes)
    {
        return Err(Refusal::Change("diskSizeGB".into()));
    }
    let name = body.sku.and_then(|sku| sku.name);
    let sku = rules::sku(name.as_deref(), &Sku::SNAPSHOTS, snapshot.sku)?;
    if sku != snapshot.sku && snapshot.incremental {
        return Err(Refusal::Change("sku.name".into()));
    }
    let properties = body::overlay(&snapshot.properties, &asked)?;
    protection::check(world, &snapshot.location, &properties)?;
    let arrived = context.call.arrived;
    let retry_after = world.settings.retry_after;
    let operation = operations::begin(world, arrived, id, &snapshot.location, false, retry_after);
    let done = arrived.instant + world.settings.update_duration + context.call.effects.stay;
    let tags = if whole {
        body.tags
    } else {
        body.tags.or_else(|| snapshot.tags.clone())
    };
    let state = Provisioning::Updating;
    let changed = Snapshot {
        sku,
        properties,
        tags,
        state,
        operation: operation.clone(),
        ..snapshot
    };
    let shown = views::snapshot(&changed);
    world.snapshots.insert(id.key(), changed);
    lifecycle::update(context, id, &operation, done);
    Ok(operations::accepted(
        context,
        StatusCode::ACCEPTED,
        &operation,
        Some(shown),
    ))
}

pub(crate) fn delete(context: &mut Context<'_>, id: &ResourceId) -> Result<Answer, Refusal> {
    let Some(snapshot) = context.world.snapshots.get(&id.key()).cloned() else {
        return Ok(Answer::empty(StatusCode::NO_CONTENT));
    };
    if snapshot.state == Provisioning::Deleting {
        return Ok(operations::accepted(
            context,
            StatusCode::ACCEPTED,
            &snapshot.operation,
            None,
        ));
    }
    not_busy(&snapshot)?;
    lifecycle::delete(context, id, &snapshot.location)
}

fn not_busy(snapshot: &Snapshot) -> Result<(), Refusal> {
    if snapshot.state.running() {
        return Err(Refusal::Busy(format!(
            "Another operation is in progress on snapshot '{}', whose provisioning state is '{}'.",
            snapshot.id.name,
            snapshot.state.name()
        )));
    }
    Ok(())
}
