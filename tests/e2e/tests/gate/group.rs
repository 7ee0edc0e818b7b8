//! A group snapshot by the stand-in; Azure's driver makes none.

use anyhow::{Context as _, Result, ensure};
use k8s_openapi::api::core::v1::PersistentVolumeClaim;
use kube::{
    Api, ResourceExt as _,
    api::{ApiResource, DynamicObject, Patch, PatchParams},
    core::GroupVersionKind,
};
use serde_json::json;
use stillpoint_cluster::until;
use stillpoint_e2e::world::SOON;
use stillpoint_lab::SnapshotView;
use stillpoint_loopfs::Kind;
use stillpoint_system::inspect;

use crate::scene::{NAME, Said, Scene, said};

const GROUP: &str = "nightly";
const OBJECTS: &str = "
apiVersion: groupsnapshot.storage.k8s.io/v1
kind: VolumeGroupSnapshotClass
metadata: {name: groups}
driver: disk.csi.azure.com
deletionPolicy: Delete
---
apiVersion: groupsnapshot.storage.k8s.io/v1
kind: VolumeGroupSnapshot
metadata: {namespace: till, name: nightly}
spec:
  volumeGroupSnapshotClassName: groups
  source: {selector: {matchLabels: {group: nightly}}}
";
/// Of the scene's volumes.
const VOLUMES: [usize; 2] = [0, 1];

/// All volumes of the group stand still until all of them are cut.
pub(crate) async fn volumes_of_a_group_are_held_together(scene: &Scene) -> Result<()> {
    let claims: Api<PersistentVolumeClaim> = Api::namespaced(scene.world.client(), NAME);
    let label = Patch::Merge(json!({ "metadata": { "labels": { "group": GROUP } } }));
    for number in VOLUMES {
        let claim = &scene.volume(number).claim;
        claims.patch(claim, &PatchParams::default(), &label).await?;
        scene.writer(number).longest_stall();
    }
    scene.world.cluster.apply_yaml(OBJECTS).await?;
    let verdict = verdict(scene).await?;
    ensure!(verdict.consistency == "filesystem", "{}", verdict.reason);

    scene.all_write().await?;
    scene
        .event("VolumeGroupSnapshot", GROUP, "SnapshotFrozen")
        .await?;
    let mut made = Vec::new();
    for number in VOLUMES {
        let claim = &scene.volume(number).claim;
        scene
            .event("PersistentVolumeClaim", claim, "SnapshotFrozen")
            .await?;
        let snapshot = of_group(scene, number)?;
        let journal = inspect::journal(&scene.world.lab.copy_of(&snapshot.id)?, Kind::Ext4)?;
        ensure!(journal.clean, "{claim}: {journal:?}");
        made.push(snapshot);
    }
    // From the first PUT to the last end.
    let begin = made
        .iter()
        .map(|one| one.accepted)
        .min_by_key(|it| it.instant);
    let end = made.iter().filter_map(|one| one.succeeded);
    let end = end.max_by_key(|it| it.instant).context("not made")?;
    let whole = end.since(&begin.context("no snapshots")?);
    for number in VOLUMES {
        let stall = scene.writer(number).longest_stall();
        ensure!(
            stall >= whole,
            "{number} stood still for {stall:?} of {whole:?}"
        );
    }
    Ok(())
}

/// On the group and its content.
async fn verdict(scene: &Scene) -> Result<Said> {
    let client = || scene.world.client();
    let groups: Api<DynamicObject> =
        Api::namespaced_with(client(), NAME, &resource("VolumeGroupSnapshot"));
    let contents: Api<DynamicObject> =
        Api::all_with(client(), &resource("VolumeGroupSnapshotContent"));
    until("the group has its verdict", SOON, async || {
        let group = groups.get(GROUP).await?;
        let status = &group.data["status"];
        let content = status["boundVolumeGroupSnapshotContentName"].as_str();
        let content = contents.get(content.context("unbound")?).await?;
        let of_content = said(content.annotations())?;
        let of_group = said(group.annotations())
            .with_context(|| format!("the content: {}", of_content.reason))?;
        ensure!(of_content.reason == of_group.reason, "{}", of_group.reason);
        ensure!(status["readyToUse"] == true, "{status}");
        Ok(Some(of_group))
    })
    .await
}

fn resource(kind: &str) -> ApiResource {
    let group = "groupsnapshot.storage.k8s.io";
    ApiResource::from_gvk(&GroupVersionKind::gvk(group, "v1", kind))
}

fn of_group(scene: &Scene, number: usize) -> Result<SnapshotView> {
    let disk = &scene.volume(number).pv;
    let mut all = scene.world.lab.snapshots().into_iter();
    let found =
        all.find(|one| one.source.name == *disk && one.id.name.starts_with("groupsnapshot-"));
    found.with_context(|| format!("no snapshot of {disk}"))
}
