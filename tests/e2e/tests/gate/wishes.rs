//! What owners ask for by `stillpoint.io/freeze`.

use anyhow::{Context as _, Result, ensure};
use k8s_openapi::api::core::v1::PersistentVolumeClaim;
use kube::{
    Api,
    api::{Patch, PatchParams},
    core::ResourceExt as _,
};
use serde_json::json;
use stillpoint_cluster::until;
use stillpoint_e2e::{csi::objects::snapshots, world::SOON};

use crate::scene::{NAME, Scene, error};

pub(crate) async fn all(scene: &mut Scene) -> Result<()> {
    off(scene).await?;
    required(scene).await
}

async fn annotate(scene: &Scene, volume: usize, value: Option<&str>) -> Result<()> {
    let claims: Api<PersistentVolumeClaim> = Api::namespaced(scene.world.client(), NAME);
    let patch = json!({ "metadata": { "annotations": { "stillpoint.io/freeze": value } } });
    let claim = &scene.volume(volume).claim;
    claims
        .patch(claim, &PatchParams::default(), &Patch::Merge(patch))
        .await?;
    Ok(())
}

async fn off(scene: &Scene) -> Result<()> {
    annotate(scene, 1, Some("off")).await?;
    let taken = scene.take_of("off", 1).await?;
    let content = scene.ready(&taken).await?;
    let ours = content
        .annotations()
        .keys()
        .find(|key| key.starts_with("stillpoint.io/"));
    ensure!(ours.is_none(), "{ours:?}");
    annotate(scene, 1, None).await
}

/// Denied with a sentence while nobody can freeze it; held when somebody can.
async fn required(scene: &mut Scene) -> Result<()> {
    annotate(scene, 1, Some("required")).await?;
    let node = scene.node(1);
    scene.world.agent(&node)?.kill_container();
    let taken = scene.take_of("required", 1).await?;
    let all = snapshots(scene.world.client(), NAME);
    let said = until("the VolumeSnapshot says why not", SOON, async || {
        let snapshot = all.get(&taken.name).await?;
        Ok(error(&snapshot).map(str::to_owned))
    })
    .await?;
    ensure!(said.contains("Stillpoint: no snapshot"), "{said}");
    let content = scene.content(&taken).await?.context("no content")?;
    ensure!(
        content.data["status"]["snapshotHandle"].is_null(),
        "{:?}",
        content.data
    );
    scene.world.restart_agent(&node).await?;
    scene.expect(&taken, "filesystem", "held").await?;
    annotate(scene, 1, None).await
}
