//! One backup: its object, and how long it takes until that says that it is done.

use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail};
use futures::StreamExt as _;
use jiff::Timestamp;
use kube::{
    Api, ResourceExt as _,
    api::{ApiResource, DynamicObject, PostParams, WatchEvent, WatchParams},
    core::GroupVersionKind,
};
use serde_json::{Value, json};
use tokio::time::timeout;

use crate::World;

/// Of 50 pods by the stock plugin it takes five minutes.
const LASTS_AT_MOST: Duration = Duration::from_secs(1800);
/// As Velero names them.
const TERMINAL: [&str; 4] = ["Completed", "PartiallyFailed", "Failed", "FailedValidation"];

/// A backup that is done.
pub(super) struct Done {
    /// From the request for it until the event that says so.
    pub(super) took: Duration,
    /// The same by its own timestamps, which are whole seconds.
    pub(super) told: Duration,
}

/// Backs a namespace up, with all that is Velero's default. It must complete.
pub(super) async fn run(world: &World, name: &str, namespace: &str) -> Result<Done> {
    let kind = GroupVersionKind::gvk("velero.io", "v1", "Backup");
    let resource = ApiResource::from_gvk(&kind);
    let api: Api<DynamicObject> = Api::namespaced_with(world.client(), "velero", &resource);
    let spec = json!({ "spec": { "includedNamespaces": [namespace] } });
    let backup = DynamicObject::new(name, &resource).data(spec);
    let begun = Instant::now();
    let made = api.create(&PostParams::default(), &backup).await?;
    let version = made.resource_version().context("no resource version")?;
    let done = timeout(LASTS_AT_MOST, terminal(&api, name, version)).await;
    let done = done.with_context(|| format!("not done in {LASTS_AT_MOST:?}"))??;
    let took = begun.elapsed();
    let status = &done.data["status"];
    if status["phase"] != "Completed" {
        bail!("{status:#}\n{}", world.velero.log());
    }
    let (start, end) = (
        time(status, "startTimestamp")?,
        time(status, "completionTimestamp")?,
    );
    let told = end.duration_since(start).unsigned_abs();
    Ok(Done { took, told })
}

async fn terminal(
    api: &Api<DynamicObject>,
    name: &str,
    mut version: String,
) -> Result<DynamicObject> {
    let params = WatchParams::default().fields(&format!("metadata.name={name}"));
    loop {
        // A watch ends after some minutes by itself.
        let mut events = api.watch(&params, &version).await?.boxed();
        while let Some(event) = events.next().await {
            let object = match event? {
                WatchEvent::Added(object) | WatchEvent::Modified(object) => object,
                WatchEvent::Deleted(_) => bail!("backup {name} was deleted"),
                WatchEvent::Bookmark(_) => continue,
                WatchEvent::Error(status) => bail!("{status:?}"),
            };
            version = object.resource_version().unwrap_or(version);
            let phase = object.data["status"]["phase"].as_str();
            if phase.is_some_and(|phase| TERMINAL.contains(&phase)) {
                return Ok(object);
            }
        }
    }
}

fn time(status: &Value, name: &str) -> Result<Timestamp> {
    let text = status[name].as_str();
    let text = text.with_context(|| format!("no {name} in {status}"))?;
    Ok(text.parse()?)
}
