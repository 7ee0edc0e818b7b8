//! A volume whose pod is not running.

use anyhow::{Result, ensure};
use k8s_openapi::api::apps::v1::StatefulSet;
use kube::{
    Api,
    api::{Patch, PatchParams},
};
use serde_json::json;
use stillpoint_cluster::until;
use stillpoint_e2e::{World, world::SOON};

const NAMESPACE: &str = "asleep";

/// `required` is content with it: nobody can write to a disk that is attached nowhere.
pub(crate) async fn volume_of_a_pod_that_is_scaled_to_zero_needs_no_freeze(
    world: &World,
) -> Result<()> {
    let volumes = world.volumes(NAMESPACE, 1).await?;
    let volume = &volumes[0];
    let writer = volume.writer().await?;
    writer.stop()?;
    let sets: Api<StatefulSet> = Api::namespaced(world.client(), NAMESPACE);
    let none = Patch::Merge(json!({ "spec": { "replicas": 0 } }));
    sets.patch("app", &PatchParams::default(), &none).await?;
    until("the disk is detached", SOON, async || {
        Ok((!world.driver.is_attached(&volume.pv)).then_some(()))
    })
    .await?;

    world.ask(NAMESPACE, &volume.claim, "required").await?;
    world.begin_backup("asleep", NAMESPACE).await?;
    let (phase, status) = world.ended_backup("asleep").await?;
    ensure!(phase == "Completed", "{phase}: {status:#}");
    let snapshot = world.snapshot_of("asleep")?;
    let tags = &snapshot.tags;
    ensure!(tags["stillpoint-consistency"] == "unmounted", "{tags:?}");
    ensure!(tags["stillpoint-frozen-ms"] == "0", "{tags:?}");
    ensure!(world.journal(&snapshot)?.clean);
    world
        .told(NAMESPACE, &volume.claim, "SnapshotUnmounted")
        .await
        .map(drop)
}
