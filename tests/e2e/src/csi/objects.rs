//! Kubernetes' snapshots as its API has them.

use std::time::Duration;

use anyhow::{Context as _, Result};
use kube::{
    Api, Client,
    api::{ApiResource, DynamicObject},
    core::GroupVersionKind,
};
use serde_json::json;
use stillpoint_cluster::until;
use stillpoint_lab::ResourceId;

use crate::World;

/// The class that Velero and [`take`] use.
pub(super) const CLASS: &str = "
apiVersion: snapshot.storage.k8s.io/v1
kind: VolumeSnapshotClass
metadata: {name: managed-csi, labels: {velero.io/csi-volumesnapshot-class: 'true'}}
driver: disk.csi.azure.com
deletionPolicy: Delete
parameters: {incremental: 'true'}
";

/// The VolumeSnapshots of a namespace.
pub fn snapshots(client: Client, namespace: &str) -> Api<DynamicObject> {
    Api::namespaced_with(client, namespace, &resource("VolumeSnapshot"))
}

/// The VolumeSnapshots of all namespaces.
pub fn all_snapshots(client: Client) -> Api<DynamicObject> {
    Api::all_with(client, &resource("VolumeSnapshot"))
}

/// The VolumeSnapshotContents.
pub fn contents(client: Client) -> Api<DynamicObject> {
    Api::all_with(client, &resource("VolumeSnapshotContent"))
}

fn resource(kind: &str) -> ApiResource {
    ApiResource::from_gvk(&GroupVersionKind::gvk(
        "snapshot.storage.k8s.io",
        "v1",
        kind,
    ))
}

/// Makes a VolumeSnapshot of a claim, as a person does.
pub async fn take(world: &World, namespace: &str, name: &str, claim: &str) -> Result<()> {
    let snapshot = json!({
        "apiVersion": "snapshot.storage.k8s.io/v1", "kind": "VolumeSnapshot",
        "metadata": { "namespace": namespace, "name": name },
        "spec": {
            "volumeSnapshotClassName": "managed-csi",
            "source": { "persistentVolumeClaimName": claim },
        },
    });
    world.cluster.apply(snapshot).await.map(drop)
}

/// Waits until a VolumeSnapshot is ready, and returns its VolumeSnapshotContent.
pub async fn ready(
    world: &World,
    namespace: &str,
    name: &str,
    within: Duration,
) -> Result<DynamicObject> {
    let snapshots = snapshots(world.client(), namespace);
    let what = format!("VolumeSnapshot {namespace}/{name} is ready");
    let content = until(&what, within, async || {
        let status = snapshots.get(name).await?.data["status"].take();
        anyhow::ensure!(status["readyToUse"] == true, "{status}");
        Ok(status["boundVolumeSnapshotContentName"]
            .as_str()
            .map(str::to_owned))
    })
    .await?;
    Ok(contents(world.client()).get(&content).await?)
}

/// The snapshot in Azure that a VolumeSnapshotContent names.
pub fn handle(content: &DynamicObject) -> Result<ResourceId> {
    let handle = content.data["status"]["snapshotHandle"].as_str();
    let handle = handle.with_context(|| format!("no snapshotHandle: {:?}", content.data))?;
    Ok(handle.parse()?)
}
