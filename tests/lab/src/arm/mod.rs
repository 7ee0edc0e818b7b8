//! Azure Resource Manager, `Microsoft.Compute` and `Microsoft.Storage`: routes, tokens, request limits, then the
//! resources.
//!
//! ```text
//! token ─► subscription ─► request buckets ─► api-version ─► permission ─► locks ─► resource group ─► resource
//! ```

pub(crate) mod body;
pub(crate) mod context;
pub(crate) mod disk_rules;
pub(crate) mod disks;
pub mod facts;
pub(crate) mod lifecycle;
mod lists;
pub(crate) mod locks;
pub(crate) mod operations;
mod performance;
mod protection;
pub(crate) mod refusal;
pub(crate) mod route;
pub(crate) mod rules;
mod snapshot_rules;
pub(crate) mod snapshots;
pub(crate) mod storage_accounts;
pub(crate) mod views;

use std::sync::Arc;

use http::{Method, StatusCode};
use serde_json::json;

use self::{
    context::{Context, Principal},
    refusal::Refusal,
    route::{Route, Target},
};
use crate::{
    Kind,
    entra::tokens,
    limits::{Bucket, Buckets},
    shared::Shared,
    web::{Answer, Call},
    world::World,
};

/// Answers a request to ARM.
pub(crate) fn handle(shared: &Arc<Shared>, call: &Call) -> Answer {
    if call.path.eq_ignore_ascii_case("/metadata/endpoints") {
        return lists::endpoints(shared, call);
    }
    let mut world = shared.world();
    let mut headers = Vec::new();
    let answer = guarded(shared, &mut world, call, &mut headers);
    let mut answer = answer.unwrap_or_else(|refusal| {
        let tenant = world.tenants.first().cloned().unwrap_or_default();
        refusal.answer(&format!("{}/{tenant}", call.base()))
    });
    answer.headers.extend(headers);
    answer
}

fn guarded(
    shared: &Arc<Shared>,
    world: &mut World,
    call: &Call,
    headers: &mut Vec<(&'static str, String)>,
) -> Result<Answer, Refusal> {
    let (principal, tenant) = tokens::verify(world, call.header("authorization"))?;
    if let Some(record) = world.log.get(call.number) {
        record.principal = Some(principal.client.clone());
    }
    let route = Route::parse(&call.path).ok_or_else(|| Refusal::Path(call.path.clone()))?;
    let subscription = match &route.subscription {
        Some(subscription) => known_subscription(world, subscription, &tenant)?,
        None => String::new(),
    };
    if route.subscription.is_some() {
        throttle(world, call, &subscription, &principal, &route, headers)?;
    }
    let version = version(&route, call)?;
    let mut context = Context {
        shared,
        world,
        call,
        principal: &principal,
        subscription: &subscription,
        version,
    };
    dispatch(&mut context, &route)
}

fn known_subscription(world: &World, asked: &str, tenant: &str) -> Result<String, Refusal> {
    if asked.parse::<uuid::Uuid>().is_err() {
        return Err(Refusal::SubscriptionForm(asked.into()));
    }
    let found = world.subscriptions.get(&asked.to_ascii_lowercase());
    let found = found.ok_or_else(|| Refusal::Subscription(asked.into()))?;
    if found.tenant != tenant {
        return Err(Refusal::Tenant {
            seen: tenant.into(),
            expected: found.tenant.clone(),
        });
    }
    Ok(found.id.clone())
}

fn throttle(
    world: &mut World,
    call: &Call,
    subscription: &str,
    principal: &Principal,
    route: &Route,
    headers: &mut Vec<(&'static str, String)>,
) -> Result<(), Refusal> {
    let Some(limits) = world.settings.limits else {
        return Ok(());
    };
    let now = std::time::Instant::now();
    let key = (subscription.to_owned(), principal.client.clone());
    let buckets = world
        .buckets
        .entry(key)
        .or_insert_with(|| Buckets::new(&limits, now));
    let (bucket, kind, header): (&mut Bucket, _, _) = match call.method {
        Method::GET | Method::HEAD => (
            &mut buckets.reads,
            "read",
            "x-ms-ratelimit-remaining-subscription-reads",
        ),
        Method::DELETE => (
            &mut buckets.deletes,
            "delete",
            "x-ms-ratelimit-remaining-subscription-deletes",
        ),
        _ => (
            &mut buckets.writes,
            "write",
            "x-ms-ratelimit-remaining-subscription-writes",
        ),
    };
    let seconds = |wait: std::time::Duration| wait.as_secs_f64().ceil().max(1.0);
    match bucket.take(now) {
        Ok(left) => headers.push((header, left.to_string())),
        Err(wait) => {
            headers.push((header, "0".into()));
            #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss)]
            let seconds = seconds(wait) as u64;
            let (subscription, actor) = (subscription.to_owned(), principal.object.clone());
            return Err(Refusal::Throttled {
                kind,
                subscription,
                actor,
                seconds,
            });
        }
    }
    let creates = call.method == Method::PUT && matches!(route.target, Target::Resource { .. });
    if let (true, Some(bucket)) = (creates, &mut buckets.resource) {
        let taken = bucket.take(now);
        let left = taken.unwrap_or(0);
        let value = format!("Microsoft.Compute/HighCostSnapshotCreateHydrate3Min;{left}");
        headers.push(("x-ms-ratelimit-remaining-resource", value));
        if let Err(wait) = taken {
            #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss)]
            return Err(Refusal::ResourceThrottled {
                seconds: seconds(wait) as u64,
            });
        }
    }
    Ok(())
}

fn version<'a>(route: &Route, call: &'a Call) -> Result<&'a str, Refusal> {
    let seen = call.parameter("api-version").ok_or(Refusal::NoApiVersion)?;
    let known = route.api_versions();
    if known.is_empty() || known.contains(&seen) {
        return Ok(seen);
    }
    Err(Refusal::ApiVersion {
        location: "westeurope".into(),
        seen: seen.into(),
        kind: route.kind_name().into(),
        known: known.join(", "),
    })
}

fn dispatch(context: &mut Context<'_>, route: &Route) -> Result<Answer, Refusal> {
    let method = context.call.method.clone();
    let acts = matches!(
        route.target,
        Target::ListKeys { .. } | Target::Access { .. }
    );
    let verb = match method {
        Method::POST if acts => "action",
        Method::GET if !acts => "read",
        Method::PUT | Method::PATCH if !acts => "write",
        Method::DELETE if !acts => "delete",
        _ => return Err(Refusal::Method(method.to_string())),
    };
    let scope = route.scope(&context.call.path);
    context.authorize(&route.action(verb), scope)?;
    let reads = method == Method::GET;
    if !reads {
        locks::check(context.world, scope, &method)?;
    }
    match &route.target {
        _ if !reads && !acts && !matches!(route.target, Target::Resource { .. }) => {
            Err(Refusal::Method(method.to_string()))
        }
        Target::Subscriptions => Ok(lists::subscriptions(context)),
        Target::Subscription => Ok(lists::subscription(context)),
        Target::Groups => Ok(lists::groups(context)),
        Target::Group(group) => lists::group(context, group),
        Target::Skus => Ok(lists::skus(context)),
        Target::Operation { location, id } => operations::get(context, location, id),
        Target::List { group, kind } => lists::resources(context, group.as_deref(), *kind),
        Target::Access { id } => match context.world.group(&id.subscription, &id.group) {
            None => Err(Refusal::Group(id.group.clone())),
            Some(_) => match id.kind {
                Kind::Disk if context.world.disks.contains_key(&id.key()) => {
                    Err(Refusal::NotSimulated("an export".to_owned()))
                }
                Kind::Snapshot if context.world.snapshots.contains_key(&id.key()) => {
                    Err(Refusal::NotSimulated("an export".to_owned()))
                }
                _ => Err(disks::missing(id)),
            },
        },
        Target::Resource { id } | Target::ListKeys { id } => {
            let groups = context.world.group(&id.subscription, &id.group);
            groups.ok_or_else(|| Refusal::Group(id.group.clone()))?;
            if acts {
                return storage_accounts::list_keys(context, id);
            }
            resource(context, id, &method)
        }
    }
}

fn resource(
    context: &mut Context<'_>,
    id: &crate::ResourceId,
    method: &Method,
) -> Result<Answer, Refusal> {
    match (id.kind, method.as_str()) {
        (Kind::Disk, "PUT") => disks::put(context, id),
        (Kind::Disk, "DELETE") => disks::delete(context, id),
        (Kind::Disk, "PATCH") => {
            let (body, ignored) = body::parse(context.call)?;
            context.note_ignored(ignored);
            disks::update(context, id, body, false)
        }
        (Kind::Disk, _) => {
            let disk = context
                .world
                .disks
                .get(&id.key())
                .ok_or_else(|| disks::missing(id))?;
            Ok(Answer::json(StatusCode::OK, &views::disk(disk)))
        }
        (Kind::Snapshot, "PUT") => snapshots::put(context, id),
        (Kind::Snapshot, "DELETE") => snapshots::delete(context, id),
        (Kind::Snapshot, "PATCH") => {
            let (body, ignored) = body::parse(context.call)?;
            context.note_ignored(ignored);
            snapshots::update(context, id, body, false)
        }
        (Kind::Snapshot, _) => {
            let snapshot = context
                .world
                .snapshots
                .get(&id.key())
                .ok_or_else(|| disks::missing(id))?;
            Ok(Answer::json(StatusCode::OK, &views::snapshot(snapshot)))
        }
        (Kind::DiskEncryptionSet | Kind::DiskAccess, "GET") => {
            let (id, location) = context
                .world
                .registered
                .get(&id.key())
                .ok_or_else(|| disks::missing(id))?;
            let view = json!({"name": id.name, "id": id, "type": id.kind.to_string(), "location": location,
                "properties": {"provisioningState": "Succeeded"}});
            Ok(Answer::json(StatusCode::OK, &view))
        }
        (Kind::StorageAccount, "GET") => storage_accounts::get(context, id),
        (kind, method) => Err(Refusal::NotSimulated(format!(
            "{method} of {}",
            kind.name()
        ))),
    }
}
