//! CSI snapshots as they are without a gate: none of them frozen.

use std::{fs, path::Path, time::Duration};

use anyhow::{Context as _, Result, ensure};
use k8s_openapi::api::core::v1::{Namespace, Node, PersistentVolume, PersistentVolumeClaim, Pod};
use kube::{
    Api,
    api::{Patch, PatchParams},
};
use serde_json::json;
use stillpoint_cluster::until;
use stillpoint_e2e::{
    Options, World,
    csi::{Maker, objects},
    world::SOON,
};
use stillpoint_loopfs::Kind;
use stillpoint_system::{
    inspect,
    writers::{self, Writer},
};

use crate::scenario::run;

const NAME: &str = "till";
const CLAIM: &str = "data-till-0";
const POD: &str = "till-0";
const NOTE: &str = "what was written before";
const OBJECTS: &str = "
apiVersion: v1
kind: Namespace
metadata: {name: till}
---
apiVersion: apps/v1
kind: StatefulSet
metadata: {namespace: till, name: till}
spec:
  replicas: 1
  serviceName: till
  selector: {matchLabels: {app: till}}
  template:
    metadata: {labels: {app: till}}
    spec: {containers: [{name: till, image: till, volumeMounts: [{name: data, mountPath: /data}]}]}
  volumeClaimTemplates:
  - metadata: {name: data}
    spec:
      accessModes: [ReadWriteOnce]
      storageClassName: managed-csi-premium
      resources: {requests: {storage: 1Gi}}
";

#[tokio::test(flavor = "multi_thread")]
async fn snapshots_by_the_stand_in_are_ready_and_restored_into_another_zone() {
    unguarded(Maker::StandIn(Duration::from_millis(200))).await;
}

/// All that can be done with a snapshot, by hand and by Velero.
async fn unguarded(maker: Maker) {
    let options = Options {
        csi: Some(maker),
        ..Options::default()
    };
    let Some(mut world) = World::start(options).await.unwrap() else {
        return;
    };
    if let Err(error) = life(&mut world).await {
        let snapshots = world.snapshots.as_ref().unwrap();
        panic!("{error:?}\n{}\n{}", world.velero.log(), snapshots.log());
    }
}

async fn life(world: &mut World) -> Result<()> {
    world.cluster.apply_yaml(OBJECTS).await?;
    let path = world.mounted(NAME, CLAIM).await?;
    fs::write(path.join("note"), NOTE)?;
    fs::File::open(path.join("note"))?.sync_all()?;
    let writer = Writer::files(&path)?;
    until("the writer writes", SOON, async || {
        Ok((writer.count() > 20).then_some(()))
    })
    .await?;

    by_hand(world).await?;
    after_a_kill(world).await?;
    run(world, "backup", "first", &["--include-namespaces=till"]).await?;
    writer.stop()?;
    let zone = volume(world).await?.1;
    lose(world).await?;
    ensure!(world.lab.snapshots().len() == 1, "the backup's snapshot");

    run(world, "restore", "back", &["--from-backup=first"]).await?;
    restored(world, &zone).await?;

    let delete = ["backup", "delete", "first", "--confirm"];
    world.velero.cli(&delete).await?;
    none_left(world).await
}

/// A person's VolumeSnapshot is Azure's, as it says, and goes with it.
async fn by_hand(world: &World) -> Result<()> {
    objects::take(world, NAME, "by-hand", CLAIM).await?;
    let content = objects::ready(world, NAME, "by-hand", SOON).await?;
    let id = objects::handle(&content)?;
    let snapshots = objects::snapshots(world.client(), NAME);
    let uid = snapshots.get("by-hand").await?.metadata.uid;
    assert_eq!(id.name, format!("snapshot-{}", uid.context("a UID")?));
    let made = world.lab.snapshot(&id).context("not in Azure")?;
    assert_eq!(made.source.name, volume(world).await?.0);
    assert_eq!(made.state, "Succeeded");
    assert!(made.incremental, "a full snapshot");
    let tags = &made.tags;
    assert_eq!(tags["kubernetes.io-created-for-snapshot-name"], "by-hand");
    let journal = inspect::journal(&world.lab.copy_of(&id)?, Kind::Ext4)?;
    assert!(!journal.clean, "nobody froze it: {journal:?}");

    snapshots.delete("by-hand", &Default::default()).await?;
    none_left(world).await
}

/// The driver dies in the middle; the next finds what it had begun.
async fn after_a_kill(world: &mut World) -> Result<()> {
    let before = world.lab.settings().snapshot.duration;
    world
        .lab
        .change_settings(|lab| lab.snapshot.duration = Duration::from_secs(3));
    objects::take(world, NAME, "again", CLAIM).await?;
    until("the snapshot is begun", SOON, async || {
        Ok((!world.lab.snapshots().is_empty()).then_some(()))
    })
    .await?;
    let snapshots = world.snapshots.as_mut().context("no snapshots")?;
    snapshots.kill_driver();
    snapshots.start_driver().await?;
    objects::ready(world, NAME, "again", SOON).await?;
    assert_eq!(world.lab.snapshots().len(), 1);
    world
        .lab
        .change_settings(|lab| lab.snapshot.duration = before);
    let snapshots = objects::snapshots(world.client(), NAME);
    snapshots.delete("again", &Default::default()).await?;
    none_left(world).await
}

/// The claim's PersistentVolume and the zone of its disk. Of labels Velero gives the new one those of the old.
async fn volume(world: &World) -> Result<(String, String)> {
    let claims: Api<PersistentVolumeClaim> = Api::namespaced(world.client(), NAME);
    let name = claims.get(CLAIM).await?.spec;
    let name = name.and_then(|spec| spec.volume_name).context("unbound")?;
    let volumes: Api<PersistentVolume> = Api::all(world.client());
    let csi = volumes.get(&name).await?.spec.and_then(|spec| spec.csi);
    let disk = csi.context("no CSI volume")?.volume_handle.parse()?;
    let zone = world.lab.disk(&disk).context("no disk")?["zones"].take();
    Ok((name, zone.to_string()))
}

/// Deletes the namespace and with it the disk, and lets no pod onto its node again.
async fn lose(world: &World) -> Result<()> {
    let pods: Api<Pod> = Api::namespaced(world.client(), NAME);
    let node = pods.get(POD).await?.spec.and_then(|spec| spec.node_name);
    let nodes: Api<Node> = Api::all(world.client());
    let cordon = Patch::Merge(json!({ "spec": { "unschedulable": true } }));
    nodes
        .patch(&node.context("no node")?, &PatchParams::default(), &cordon)
        .await?;
    let namespaces: Api<Namespace> = Api::all(world.client());
    namespaces.delete(NAME, &Default::default()).await?;
    until("namespace and disk are gone", SOON, async || {
        let (left, disks) = (namespaces.get_opt(NAME).await?, world.lab.disks());
        ensure!(left.is_none() && disks.is_empty(), "{disks:?} {left:?}");
        Ok(Some(()))
    })
    .await
}

/// The claim has a disk in another zone than it had, with what was written before the snapshot.
async fn restored(world: &World, zone: &str) -> Result<()> {
    let path = world.mounted(NAME, CLAIM).await?;
    assert_eq!(fs::read_to_string(path.join("note"))?, NOTE);
    let seen = writers::check_files(Path::new(&path));
    assert!(seen.whole > 20 && seen.torn == 0, "{seen:?}");
    let (name, restored) = volume(world).await?;
    assert_ne!(restored, zone);
    assert_eq!(world.driver.replayed(&name), Some(true), "nobody froze it");
    Ok(())
}

async fn none_left(world: &World) -> Result<()> {
    until("no snapshot is left in Azure", SOON, async || {
        let left = world.lab.snapshots();
        ensure!(left.is_empty(), "{left:?}");
        Ok(Some(()))
    })
    .await
}
