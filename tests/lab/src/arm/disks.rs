//! `Microsoft.Compute/disks`: PUT, PATCH, GET, DELETE.

use http::StatusCode;
use serde_json::{Value, json};

use super::{
    body::{self, Body, DiskProperties, Encryption},
    context::Context,
    disk_rules::{self, Source},
    lifecycle, operations,
    refusal::Refusal,
    rules::{self, Access},
};
use crate::{
    Kind, Moment, ResourceId, Sku,
    shared::Shared,
    sku::premium_tier,
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
    let world = &mut *context.world;
    let retry_after = world.settings.retry_after;
    let operation = operations::begin(world, arrived, id, &disk.location, false, retry_after);
    let mut shown = view(&disk);
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
    disk_rules::performance(sku, gib, properties)?;
    rules::one_of(
        "osType",
        properties.os_type.as_deref(),
        &["Linux", "Windows"],
    )?;
    rules::one_of(
        "hyperVGeneration",
        properties.hyper_v_generation.as_deref(),
        &["V1", "V2"],
    )?;
    rules::encryption(world, location, properties.encryption.as_ref())?;
    rules::access(
        world,
        location,
        &Access {
            policy: properties.network_access_policy.as_deref(),
            disk_access: properties.disk_access_id.as_deref(),
            public: properties.public_network_access.as_deref(),
            auth_mode: properties.data_access_auth_mode.as_deref(),
        },
    )
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
    let shown = view(&changed);
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
        kind: id.kind.name().into(),
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

/// As GET shows it.
pub(crate) fn view(disk: &Disk) -> Value {
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
        shown_encryption(disk.properties.encryption.as_ref()),
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
pub(crate) fn shown_encryption(encryption: Option<&Encryption>) -> Value {
    let set = encryption.and_then(|encryption| encryption.disk_encryption_set_id.as_ref());
    let kind = encryption.and_then(|encryption| encryption.kind.as_deref());
    match set {
        Some(set) => {
            json!({"type": kind.unwrap_or("EncryptionAtRestWithCustomerKey"), "diskEncryptionSetId": set})
        }
        None => json!({"type": "EncryptionAtRestWithPlatformKey"}),
    }
}
