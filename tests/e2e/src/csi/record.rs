//! Snapshots as they were last seen: Velero deletes its own when a backup ends.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, PoisonError},
};

use anyhow::Result;
use futures::StreamExt as _;
use kube::{
    Api, ResourceExt as _,
    api::{DynamicObject, ListParams, WatchEvent, WatchParams},
};
use tokio::task::JoinHandle;

use super::objects;
use crate::World;

/// Watches until it is dropped.
#[derive(Debug)]
pub struct Record {
    snapshots: Seen,
    contents: Seen,
    tasks: [JoinHandle<()>; 2],
}

/// By namespace and name.
type Seen = Arc<Mutex<BTreeMap<(Option<String>, String), DynamicObject>>>;

impl Record {
    /// Begins with what is there.
    pub async fn begin(world: &World) -> Result<Self> {
        let (snapshots, contents) = (Seen::default(), Seen::default());
        let client = world.client();
        let tasks = [
            follow(objects::all_snapshots(client.clone()), &snapshots).await?,
            follow(objects::contents(client), &contents).await?,
        ];
        Ok(Self {
            snapshots,
            contents,
            tasks,
        })
    }

    /// The VolumeSnapshots.
    pub fn snapshots(&self) -> Vec<DynamicObject> {
        all(&self.snapshots)
    }

    /// The VolumeSnapshotContents that a driver was asked for. Velero replaces its own by one that names the handle.
    pub fn contents(&self) -> Vec<DynamicObject> {
        all(&self.contents)
    }
}

impl Drop for Record {
    fn drop(&mut self) {
        self.tasks.iter().for_each(JoinHandle::abort);
    }
}

fn all(seen: &Seen) -> Vec<DynamicObject> {
    let seen = seen.lock().unwrap_or_else(PoisonError::into_inner);
    seen.values().cloned().collect()
}

async fn follow(api: Api<DynamicObject>, seen: &Seen) -> Result<JoinHandle<()>> {
    let list = api.list(&ListParams::default()).await?;
    let mut version = list.metadata.resource_version.unwrap_or_default();
    list.items.into_iter().for_each(|object| note(seen, object));
    let seen = Arc::clone(seen);
    Ok(tokio::spawn(async move {
        // A watch ends by itself, and with an outage of the API server.
        loop {
            let Ok(events) = api.watch(&WatchParams::default(), &version).await else {
                tokio::time::sleep(std::time::Duration::from_millis(100)).await;
                continue;
            };
            let mut events = events.boxed();
            while let Some(Ok(event)) = events.next().await {
                if let WatchEvent::Added(object) | WatchEvent::Modified(object) = event {
                    version = object.resource_version().unwrap_or(version);
                    note(&seen, object);
                }
            }
        }
    }))
}

fn note(seen: &Seen, object: DynamicObject) {
    if !object.data["spec"]["source"]["snapshotHandle"].is_null() {
        return;
    }
    let key = (object.namespace(), object.name_any());
    let mut seen = seen.lock().unwrap_or_else(PoisonError::into_inner);
    seen.insert(key, object);
}
