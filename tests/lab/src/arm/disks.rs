//! `Microsoft.Compute/disks`: PUT, PATCH, GET, DELETE.

use http::StatusCode;
use serde_json::json;

use super::{
    body::{self, Body, DiskProperties},
    context::Context,
    disk_rules::{self, Source},
    lifecycle, operations, performance, protection,
    refusal::Refusal,
    rules, views,
};
use crate::{
    Kind, Moment, ResourceId, Sku,
    shared::Shared,
    store,
    web::Answer,
    world::{Disk, Provisioning, World},
};

pub(crate) fn put(context: &mut Context<'_>, id: &ResourceId) -> Result<Answer, Refusal> {
    let (body, ignored) = body::parse::<DiskProperties>(context.call)?;
    context.note_ignored(ignored);
    if context.world.disks.contains_key(&id.key()) {
        return update(context, id, body, true);
    }
    let arrived = context.call.arrived;
    let (disk, source) = build(context.world, context.shared, id, body, arrived)?;
    if let Some(source) = &source {
        let linked = "Microsoft.Compute/disks/beginGetAccess/action";
        context.authorize_linked("Microsoft.Compute/disks/write", id, linked, &source.id)?;
    }
    let encryption = disk.properties.encryption.as_ref();
    context.authorize_encryption("Microsoft.Compute/disks/write", id, encryption)?;
    let world = &mut *context.world;
    let retry_after = world.settings.retry_after;
    let operation = operations::begin(world, arrived, id, &disk.location, false, retry_after);
    let mut shown = views::disk(&disk);
    shown["properties"]["provisioningState"] = json!("Updating");
    let disk = Disk {
        operation: operation.clone(),
        ..disk
    };
    let done = arrived.instant + world.settings.disk_duration + context.call.effects.stay;
    let work = lifecycle::DiskWork {
        id: id.clone(),
        operation: operation.clone(),
        done,
        fail: context.call.effects.fail.clone(),
        source: source.map(|source| source.file),
        file: disk.file.clone(),
        bytes: disk.size_gib << 30,
    };
    world.disks.insert(id.key(), disk);
    context
        .shared
        .spawn(lifecycle::disk(std::sync::Arc::clone(context.shared), work));
    Ok(operations::accepted(
        context,
        StatusCode::ACCEPTED,
        &operation,
        Some(shown),
    ))
}

/// A disk that follows the rules, not yet in the world, its file not yet made.
pub(crate) fn build(
    world: &World,
    shared: &Shared,
    id: &ResourceId,
    body: Body<DiskProperties>,
    created: Moment,
) -> Result<(Disk, Option<Source>), Refusal> {
    rules::name(Kind::Disk, &id.name)?;
    rules::tags(body.tags.as_ref())?;
    let location = rules::location(&world.settings, Kind::Disk, body.location.as_deref())?;
    let asked = body.sku.and_then(|sku| sku.name);
    let sku = rules::sku(asked.as_deref(), &Sku::DISKS, Sku::StandardLrs)?;
    let zones = body.zones.unwrap_or_default();
    rules::zones(&world.settings, id, &location, sku, &zones)?;
    let mut properties = body.properties.ok_or(Refusal::Missing("properties"))?;
    let source = disk_rules::source(world, &location, sku, &properties)?;
    let size_gib = disk_rules::size(sku, properties.disk_size_gib, source.as_ref())?;
    check(world, &location, sku, size_gib, &properties)?;
    if let Some(source) = &source {
        properties.os_type = properties.os_type.or_else(|| source.os.0.clone());
        properties.hyper_v_generation = properties
            .hyper_v_generation
            .or_else(|| source.os.1.clone());
    }
    if sku.provisioned()
        && let Some(creation) = &mut properties.creation_data
    {
        creation.logical_sector_size.get_or_insert(4096);
    }
    let disk = Disk {
        id: canonical(world, id),
        location,
        zones,
        sku,
        tags: body.tags,
        properties,
        source_unique_id: source.as_ref().map(|source| source.unique_id.clone()),
        unique_id: uuid::Uuid::new_v4().to_string(),
        size_gib,
        state: Provisioning::Creating,
        operation: String::new(),
        created,
        attached_to: None,
        file: shared.store.fresh("disk"),
        incrementals: std::collections::VecDeque::new(),
    };
    Ok((disk, source))
}

/// The ID with its resource group as that was named when it was made.
pub(crate) fn canonical(world: &World, id: &ResourceId) -> ResourceId {
    let group = world
        .group(&id.subscription, &id.group)
        .map_or(&*id.group, |group| &*group.name);
    ResourceId::new(&id.subscription, group, id.kind, &id.name)
}

fn check(
    world: &World,
    location: &str,
    sku: Sku,
    gib: u64,
    properties: &DiskProperties,
) -> Result<(), Refusal> {
    performance::check(sku, gib, properties)?;
    protection::check(world, location, properties)
}

/// PUT on an existing disk (`whole`), or PATCH: what is named changes, if it can.
pub(crate) fn update(
    context: &mut Context<'_>,
    id: &ResourceId,
    body: Body<DiskProperties>,
    whole: bool,
) -> Result<Answer, Refusal> {
    rules::tags(body.tags.as_ref())?;
    let world = &mut *context.world;
    let disk = world
        .disks
        .get(&id.key())
        .ok_or_else(|| missing(id))?
        .clone();
    if whole {
        let location = rules::location(&world.settings, Kind::Disk, body.location.as_deref())?;
        if location != disk.location {
            return Err(Refusal::Moved {
                name: id.name.clone(),
                existing: disk.location,
                group: id.group.clone(),
                asked: location,
            });
        }
    }
    not_busy(&disk)?;
    if body
        .zones
        .as_ref()
        .is_some_and(|zones| *zones != disk.zones)
    {
        return Err(Refusal::Change("zones".into()));
    }
    let asked = body.properties.unwrap_or_default();
    if asked.creation_data.is_some() && !same_source(&asked, &disk.properties) {
        return Err(Refusal::Change("creationData".into()));
    }
    let name = body.sku.and_then(|sku| sku.name);
    let sku = rules::sku(name.as_deref(), &Sku::DISKS, disk.sku)?;
    let fixed = |sku: Sku| (sku.provisioned(), sku.zone_redundant());
    if fixed(sku) != fixed(disk.sku) || (sku.provisioned() && sku != disk.sku) {
        return Err(Refusal::Change("sku.name".into()));
    }
    let mut properties = body::overlay(
        &disk.properties,
        &DiskProperties {
            creation_data: None,
            ..asked
        },
    )?;
    let gib = properties.disk_size_gib.unwrap_or(disk.size_gib);
    if gib < disk.size_gib {
        return Err(Refusal::NotAllowed(format!(
            "The disk '{}' cannot be reduced from {} to {gib} GiB.",
            id.name, disk.size_gib
        )));
    }
    disk_rules::size(sku, Some(gib), None)?;
    // A tier that the disk had as another SKU does not hinder the change.
    if !sku.premium() && disk.sku.premium() {
        properties.tier = None;
    }
    check(world, &disk.location, sku, gib, &properties)?;
    if gib > disk.size_gib {
        store::grow(&disk.file, gib << 30).map_err(|error| Refusal::Storage(error.to_string()))?;
        lifecycle::fail_pending(world, &disk);
    }
    let arrived = context.call.arrived;
    let retry_after = world.settings.retry_after;
    let operation = operations::begin(world, arrived, id, &disk.location, false, retry_after);
    let duration = world.settings.update_duration + context.call.effects.stay;
    let tags = if whole {
        body.tags
    } else {
        body.tags.or_else(|| disk.tags.clone())
    };
    let state = Provisioning::Updating;
    let changed = Disk {
        sku,
        properties,
        size_gib: gib,
        tags,
        state,
        operation: operation.clone(),
        ..disk
    };
    let shown = views::disk(&changed);
    world.disks.insert(id.key(), changed);
    lifecycle::update(context, id, &operation, arrived.instant + duration);
    Ok(operations::accepted(
        context,
        StatusCode::ACCEPTED,
        &operation,
        Some(shown),
    ))
}

fn same_source(asked: &DiskProperties, stored: &DiskProperties) -> bool {
    let (Some(asked), Some(stored)) = (&asked.creation_data, &stored.creation_data) else {
        return false;
    };
    let lower = |id: &Option<String>| id.as_ref().map(|id| id.to_ascii_lowercase());
    let option = asked.create_option.is_none() || asked.create_option == stored.create_option;
    let sector = asked.logical_sector_size.is_none()
        || asked.logical_sector_size == stored.logical_sector_size;
    option && sector && lower(&asked.source_resource_id) == lower(&stored.source_resource_id)
}

pub(crate) fn delete(context: &mut Context<'_>, id: &ResourceId) -> Result<Answer, Refusal> {
    let Some(disk) = context.world.disks.get(&id.key()).cloned() else {
        return Ok(Answer::empty(StatusCode::NO_CONTENT));
    };
    if disk.state == Provisioning::Deleting {
        return Ok(operations::accepted(
            context,
            StatusCode::ACCEPTED,
            &disk.operation,
            None,
        ));
    }
    not_busy(&disk)?;
    if let Some(machine) = &disk.attached_to {
        return Err(Refusal::NotAllowed(format!(
            "Disk {} is attached to VM {machine}.",
            id.name
        )));
    }
    lifecycle::delete(context, id, &disk.location)
}

pub(crate) fn missing(id: &ResourceId) -> Refusal {
    Refusal::Resource {
        kind: id.kind,
        name: id.name.clone(),
        group: id.group.clone(),
    }
}

fn not_busy(disk: &Disk) -> Result<(), Refusal> {
    if disk.state.running() {
        let state = disk.state.name();
        return Err(Refusal::Busy(format!(
            "Another operation is in progress on disk '{}', whose provisioning state is '{state}'.",
            disk.id.name
        )));
    }
    Ok(())
}
