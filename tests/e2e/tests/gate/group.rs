//! A group snapshot. Azure's driver makes none, so what a driver and its sidecar do is done here; the rest is real.

use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use kube::{
    Api, ResourceExt as _,
    api::{ApiResource, DynamicObject, Patch, PatchParams},
    core::GroupVersionKind,
};
use serde_json::json;
use stillpoint_cluster::until;
use stillpoint_e2e::world::SOON;
use stillpoint_lab::ResourceId;
use stillpoint_loopfs::Kind;
use stillpoint_system::{arm::Arm, inspect};

use crate::scene::{NAME, Scene, said};

const MARK: &str = "groupsnapshot.storage.kubernetes.io/volumegroupsnapshot-being-created";
const GROUP: &str = "nightly";
/// Of the scene's volumes.
const VOLUMES: [usize; 2] = [0, 1];

/// All volumes of the group stand still until all of them are cut.
pub(crate) async fn volumes_of_a_group_are_held_together(scene: &Scene) -> Result<()> {
    let arm = Arm::login(&scene.world.lab).await?;
    let disks = VOLUMES.map(|number| scene.world.lab.disk_id(&scene.volume(number).pv));
    let content = make(scene, &disks).await?;
    let before = VOLUMES.map(|number| {
        let writer = scene.writer(number);
        writer.longest_stall();
        writer.count()
    });

    // The answer comes when they are frozen.
    let contents = contents(scene);
    let mark = json!({ "metadata": { "annotations": { MARK: "yes" } } });
    let marked = patch(&contents, &content, &mark).await?;
    let annotations = marked.annotations();
    let state = annotations.get("stillpoint.io/state");
    ensure!(state.is_some_and(|state| state == "pending"), "{annotations:?}");

    let [first, second] = VOLUMES.map(|number| {
        let uid = marked.uid().unwrap_or_default();
        scene.world.lab.snapshot_id(&format!("group-{uid}-{number}"))
    });
    let (one, other) = tokio::join!(
        cut(&arm, &disks[0], &first),
        cut(&arm, &disks[1], &second)
    );
    one.and(other)?;
    let done = json!({ "status": { "volumeGroupSnapshotHandle": "group-1", "readyToUse": true } });
    let status = Patch::Merge(&done);
    let params = PatchParams::default();
    contents.patch_status(&content, &params, &status).await?;
    let unmark = json!({ "metadata": { "annotations": { MARK: null } } });
    patch(&contents, &content, &unmark).await?;

    let verdict = until("the group's verdict", SOON, async || {
        let content = contents.get(&content).await?;
        let annotations = content.annotations();
        let state = annotations.get("stillpoint.io/state");
        ensure!(state.is_some_and(|state| state == "complete"), "{annotations:?}");
        said(annotations).map(Some)
    })
    .await?;
    ensure!(verdict.consistency == "filesystem", "{}", verdict.reason);
    let groups: Api<DynamicObject> =
        Api::namespaced_with(scene.world.client(), NAME, &resource("VolumeGroupSnapshot"));
    until("the group has it too", SOON, async || {
        let group = groups.get(GROUP).await?;
        let of_group = said(group.annotations())?;
        Ok((of_group.consistency == "filesystem").then_some(()))
    })
    .await?;
    scene
        .event("VolumeGroupSnapshot", GROUP, "SnapshotFrozen")
        .await?;
    scene.all_write().await?;
    for ((number, id), before) in VOLUMES.into_iter().zip([first, second]).zip(before) {
        let volume = scene.volume(number);
        let claim = ("PersistentVolumeClaim", &volume.claim);
        scene.event(claim.0, claim.1, "SnapshotFrozen").await?;
        let made = scene.world.lab.snapshot(&id).context("not in Azure")?;
        let journal = inspect::journal(&scene.world.lab.copy_of(&id)?, Kind::Ext4)?;
        ensure!(journal.clean, "{}: {journal:?}", volume.claim);
        let succeeded = made.succeeded.context("not made")?;
        let (stall, own) = (
            scene.writer(number).longest_stall(),
            succeeded.since(&made.accepted),
        );
        ensure!(stall >= own, "{}: {stall:?} of {own:?}", volume.claim);
        ensure!(scene.writer(number).count() > before, "nobody wrote");
    }
    contents.delete(&content, &Default::default()).await?;
    Ok(())
}

fn resource(kind: &str) -> ApiResource {
    let group = "groupsnapshot.storage.k8s.io";
    ApiResource::from_gvk(&GroupVersionKind::gvk(group, "v1", kind))
}

fn contents(scene: &Scene) -> Api<DynamicObject> {
    Api::all_with(scene.world.client(), &resource("VolumeGroupSnapshotContent"))
}

/// A VolumeGroupSnapshot, and the content that snapshot-controller makes of it: its name.
async fn make(scene: &Scene, disks: &[ResourceId]) -> Result<String> {
    let api = "groupsnapshot.storage.k8s.io/v1";
    let group = json!({
        "apiVersion": api, "kind": "VolumeGroupSnapshot",
        "metadata": { "namespace": NAME, "name": GROUP },
        "spec": { "source": { "selector": { "matchLabels": { "app": "app" } } } },
    });
    let group = scene.world.cluster.apply(group).await?;
    let uid = group.uid().context("no UID")?;
    let name = format!("groupsnapcontent-{uid}");
    let handles: Vec<_> = disks.iter().map(ToString::to_string).collect();
    let content = json!({
        "apiVersion": api, "kind": "VolumeGroupSnapshotContent",
        "metadata": { "name": name },
        "spec": {
            "driver": "disk.csi.azure.com",
            "deletionPolicy": "Retain",
            "source": { "volumeHandles": handles },
            "volumeGroupSnapshotRef": {
                "apiVersion": api, "kind": "VolumeGroupSnapshot",
                "namespace": NAME, "name": GROUP, "uid": uid,
            },
        },
    });
    scene.world.cluster.apply(content).await?;
    Ok(name)
}

async fn patch(
    contents: &Api<DynamicObject>,
    name: &str,
    change: &serde_json::Value,
) -> Result<DynamicObject> {
    let params = PatchParams::default();
    Ok(contents.patch(name, &params, &Patch::Merge(change)).await?)
}

/// As a driver does.
async fn cut(arm: &Arm, disk: &ResourceId, snapshot: &ResourceId) -> Result<()> {
    let body = json!({
        "location": "westeurope",
        "properties": {
            "creationData": { "createOption": "Copy", "sourceResourceId": disk.to_string() },
            "incremental": true,
        },
    });
    let begun = arm.put(snapshot, &body).await?;
    arm.finish(begun, Duration::from_millis(50)).await
}
