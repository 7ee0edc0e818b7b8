//! Lists with their pages, subscriptions, resource groups, SKUs and the endpoints' metadata.

use http::StatusCode;
use serde_json::{Value, json};

use super::{context::Context, refusal::Refusal, views};
use crate::{
    Kind, ResourceId, Sku,
    shared::Shared,
    sku::PREMIUM_TIERS,
    web::{Answer, Call},
    world::{Group, Subscription},
};

/// Disks or snapshots of a subscription or of a resource group.
pub(crate) fn resources(
    context: &Context<'_>,
    group: Option<&str>,
    kind: Kind,
) -> Result<Answer, Refusal> {
    let subscription = context.subscription;
    if let Some(group) = group {
        context
            .world
            .group(subscription, group)
            .ok_or_else(|| Refusal::Group(group.into()))?;
    }
    let here = |id: &ResourceId| {
        id.subscription.eq_ignore_ascii_case(subscription)
            && group.is_none_or(|group| group.eq_ignore_ascii_case(&id.group))
    };
    let mut found: Vec<Value> = match kind {
        Kind::Disk => context
            .world
            .disks
            .values()
            .filter(|disk| here(&disk.id))
            .map(views::disk)
            .collect(),
        Kind::Snapshot => context
            .world
            .snapshots
            .values()
            .filter(|snapshot| here(&snapshot.id))
            .map(views::snapshot)
            .collect(),
        Kind::DiskEncryptionSet
        | Kind::DiskAccess
        | Kind::VirtualMachine
        | Kind::StorageAccount => {
            return Err(Refusal::NotSimulated(format!("a list of {}", kind.name())));
        }
    };
    if group.is_none() {
        found.iter_mut().for_each(shout);
    }
    Ok(page(context, found))
}

/// Azure's lists of a whole subscription spell resource groups in capitals.
fn shout(view: &mut Value) {
    let id = view["id"]
        .as_str()
        .and_then(|id| id.parse::<ResourceId>().ok());
    if let Some(id) = id {
        let shouted = ResourceId {
            group: id.group.to_ascii_uppercase(),
            ..id
        };
        view["id"] = json!(shouted);
    }
}

fn page(context: &Context<'_>, found: Vec<Value>) -> Answer {
    let size = context.world.settings.page_size.max(1);
    let from: usize = context
        .call
        .parameter("$skiptoken")
        .and_then(|token| token.parse().ok())
        .unwrap_or(0);
    let end = found.len();
    let page: Vec<Value> = found.into_iter().skip(from).take(size).collect();
    let mut body = json!({"value": page});
    if from + size < end {
        let (base, path, version) = (context.call.base(), &context.call.path, context.version);
        body["nextLink"] = json!(format!(
            "{base}{path}?api-version={version}&$skiptoken={}",
            from + size
        ));
    }
    Answer::json(StatusCode::OK, &body)
}

fn subscription_view(subscription: &Subscription) -> Value {
    let Subscription { id, tenant, .. } = subscription;
    json!({"id": format!("/subscriptions/{id}"), "subscriptionId": id, "tenantId": tenant,
        "displayName": "Lab", "state": "Enabled"})
}

pub(crate) fn subscriptions(context: &Context<'_>) -> Answer {
    let all: Vec<_> = context
        .world
        .subscriptions
        .values()
        .map(subscription_view)
        .collect();
    Answer::json(StatusCode::OK, &json!({"value": all}))
}

pub(crate) fn subscription(context: &Context<'_>) -> Answer {
    let found = context
        .world
        .subscriptions
        .get(&context.subscription.to_ascii_lowercase());
    Answer::json(
        StatusCode::OK,
        &found.map(subscription_view).unwrap_or_default(),
    )
}

fn group_view(subscription: &str, group: &Group) -> Value {
    let Group { name, location } = group;
    json!({"id": format!("/subscriptions/{subscription}/resourceGroups/{name}"), "name": name,
        "type": "Microsoft.Resources/resourceGroups", "location": location,
        "properties": {"provisioningState": "Succeeded"}})
}

pub(crate) fn groups(context: &Context<'_>) -> Answer {
    let found = context
        .world
        .subscriptions
        .get(&context.subscription.to_ascii_lowercase());
    let groups = found
        .into_iter()
        .flat_map(|subscription| subscription.groups.values());
    let groups: Vec<_> = groups
        .map(|group| group_view(context.subscription, group))
        .collect();
    Answer::json(StatusCode::OK, &json!({"value": groups}))
}

pub(crate) fn group(context: &Context<'_>, name: &str) -> Result<Answer, Refusal> {
    let found = context
        .world
        .group(context.subscription, name)
        .ok_or_else(|| Refusal::Group(name.into()))?;
    Ok(Answer::json(
        StatusCode::OK,
        &group_view(context.subscription, found),
    ))
}

/// `Microsoft.Compute/skus`, disks and snapshots; `$filter=location eq 'x'` is honoured.
pub(crate) fn skus(context: &Context<'_>) -> Answer {
    let filter = context.call.parameter("$filter").unwrap_or_default();
    let wanted = filter.split('\'').nth(1).map(str::to_ascii_lowercase);
    let mut value = Vec::new();
    for (location, zones) in &context.world.settings.regions {
        if wanted.as_ref().is_some_and(|wanted| wanted != location) {
            continue;
        }
        let disks = Sku::DISKS
            .into_iter()
            .filter(|sku| !(sku.zone_redundant() && zones.is_empty()));
        let disks = disks.flat_map(|sku| {
            let mut entries = disk_skus(sku, location, zones);
            entries
                .iter_mut()
                .for_each(|entry| restrict(context, sku, location, entry));
            entries
        });
        value.extend(disks);
        let snapshots = Sku::SNAPSHOTS
            .into_iter()
            .filter(|sku| !(sku.zone_redundant() && zones.is_empty()));
        value.extend(snapshots.map(|sku| {
            entry(
                "snapshots",
                sku,
                "Standard",
                location,
                &[],
                sku.largest_gib(),
            )
        }));
    }
    Answer::json(StatusCode::OK, &json!({"value": value}))
}

/// What the subscription cannot have of it.
fn restrict(context: &Context<'_>, sku: Sku, location: &str, entry: &mut Value) {
    let withheld = context.world.settings.withheld.iter();
    let zones: Vec<_> = withheld
        .filter(|(one, _)| *one == sku)
        .map(|(_, zone)| zone)
        .collect();
    if !zones.is_empty() {
        entry["restrictions"] = json!([{
            "type": "Zone", "values": [location], "reasonCode": "NotAvailableForSubscription",
            "restrictionInfo": { "locations": [location], "zones": zones },
        }]);
    }
}

fn disk_skus(sku: Sku, location: &str, zones: &[String]) -> Vec<Value> {
    let zones = if sku.zone_redundant() { &[] } else { zones };
    if sku.premium() {
        let tiers = PREMIUM_TIERS.iter();
        return tiers
            .map(|(size, gib, _)| entry("disks", sku, size, location, zones, *gib))
            .collect();
    }
    let size = match sku {
        Sku::PremiumV2Lrs => "P",
        Sku::UltraSsdLrs => "U",
        Sku::StandardSsdLrs | Sku::StandardSsdZrs => "E80",
        Sku::StandardLrs | Sku::StandardZrs | Sku::PremiumLrs | Sku::PremiumZrs => "S80",
    };
    vec![entry(
        "disks",
        sku,
        size,
        location,
        zones,
        sku.largest_gib(),
    )]
}

fn entry(kind: &str, sku: Sku, size: &str, location: &str, zones: &[String], gib: u64) -> Value {
    json!({
        "resourceType": kind, "name": sku, "tier": sku.tier(), "size": size, "locations": [location],
        "locationInfo": [{"location": location, "zones": zones, "zoneDetails": []}],
        "capabilities": [{"name": "MaxSizeGiB", "value": gib.to_string()}], "restrictions": [],
    })
}

/// What clients of an unknown cloud ask first.
pub(crate) fn endpoints(shared: &Shared, call: &Call) -> Answer {
    let base = call.base();
    let audiences = shared.world().audiences.clone();
    let body = json!({
        "resourceManager": base,
        "authentication": {"loginEndpoint": base, "audiences": audiences, "tenant": "common", "identityProvider": "AAD"},
        "suffixes": {"storage": "core.windows.net"},
        "name": "StillpointLab",
    });
    Answer::json(StatusCode::OK, &body)
}
