//! VolumeSnapshots that are there when a gate starts.

use anyhow::Result;
use futures::{StreamExt as _, TryStreamExt as _, stream};
use serde_json::json;
use stillpoint_system::table::progress;

use crate::{World, csi::objects};

const AT_ONCE: usize = 20;

/// Adds to those that are there until the gate has so many to know. Their controllers end.
pub(super) async fn make(world: &mut World, count: usize) -> Result<()> {
    if let Some(snapshots) = &mut world.snapshots {
        snapshots.controller.kill();
        snapshots.sidecar.kill();
    }
    let contents = objects::contents(world.client());
    let there = contents.list(&Default::default()).await?.items.len();
    progress(format!("A gate that knows {count} VolumeSnapshots …"));
    let world = &*world;
    let all = (there..count).map(async |number| {
        let name = format!("known-{number}");
        let disk = world.lab.disk_id(&format!("pvc-{number:036}")).to_string();
        let snapshot = world.lab.snapshot_id(&format!("snapshot-{number:036}"));
        let content = json!({
            "apiVersion": "snapshot.storage.k8s.io/v1", "kind": "VolumeSnapshotContent",
            "metadata": { "name": format!("snapcontent-{name}") },
            "spec": {
                "driver": "disk.csi.azure.com", "deletionPolicy": "Retain",
                "volumeSnapshotClassName": "managed-csi",
                "source": { "volumeHandle": disk },
                "volumeSnapshotRef": { "namespace": "default", "name": name, "uid": name },
            },
            "status": { "readyToUse": true, "snapshotHandle": snapshot.to_string() },
        });
        world.cluster.apply(content).await?;
        objects::take(world, "default", &name, &name).await
    });
    stream::iter(all)
        .buffer_unordered(AT_ONCE)
        .try_collect()
        .await
}
