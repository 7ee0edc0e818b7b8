//! Steps of a volume's life with snapshots, each asserted.

use std::{fs, time::Duration};

use anyhow::{Context as _, Result, ensure};
use k8s_openapi::api::core::v1::Node;
use kube::{
    Api,
    api::{Patch, PatchParams},
};
use serde_json::{Value, json};
use stillpoint_cluster::until;
use stillpoint_e2e::{
    Options, World,
    application::{Pod, Volume},
    csi::objects,
    world::SOON,
};
use stillpoint_lab::{Action, Fault};
use stillpoint_loopfs::Kind;
use stillpoint_system::{
    inspect,
    writers::{self, Writer},
};

const NAME: &str = "till";
const NOTE: &str = "what was written before";

pub(crate) async fn run(options: Options) -> Result<()> {
    let mut world = World::start(options).await?;
    let ended = life(&mut world).await;
    let snapshots = world.snapshots.as_ref().context("no snapshots")?;
    ended.with_context(|| format!("{}\n{}", world.velero.log(), snapshots.log()))
}

async fn life(world: &mut World) -> Result<()> {
    world.deploy(NAME, 1, 1).await?;
    let (pod, volume) = only(world).await?;
    let note = volume.path.join("note");
    fs::write(&note, NOTE)?;
    fs::File::open(&note)?.sync_all()?;
    let writer = Writer::files(&volume.path)?;
    until("the writer writes", SOON, async || {
        Ok((writer.count() > 20).then_some(()))
    })
    .await?;

    by_hand(world, &volume).await?;
    after_a_kill(world, &volume).await?;
    refused(world, &volume).await?;
    failed(world, &volume).await?;
    let included = ["--include-namespaces", NAME];
    world.completes("backup", "first", &included).await?;
    writer.stop()?;
    let zone = zone(world, &volume).await?;
    cordon(world, &pod.node).await?;
    world.lose(NAME).await?;
    ensure!(world.lab.snapshots().len() == 1, "the backup's snapshot");

    let from = ["--from-backup=first"];
    world.completes("restore", "back", &from).await?;
    restored(world, &zone).await?;

    let delete = ["backup", "delete", "first", "--confirm"];
    world.velero.cli(&delete).await?;
    world.backup_is_gone("first").await
}

async fn only(world: &World) -> Result<(Pod, Volume)> {
    let mut pods = world.deployed(NAME, 1, 1).await?;
    let mut pod = pods.pop().context("no pod")?;
    let volume = pod.volumes.pop().context("no volume")?;
    Ok((pod, volume))
}

/// A person's VolumeSnapshot is Azure's, as it says, and goes with it.
async fn by_hand(world: &World, volume: &Volume) -> Result<()> {
    objects::take(world, NAME, "by-hand", &volume.claim).await?;
    let content = objects::ready(world, NAME, "by-hand", SOON).await?;
    let id = objects::handle(&content)?;
    let snapshots = objects::snapshots(world.client(), NAME);
    let uid = snapshots.get("by-hand").await?.metadata.uid;
    assert_eq!(id.name, format!("snapshot-{}", uid.context("a UID")?));
    let made = world.lab.snapshot(&id).context("not in Azure")?;
    assert_eq!(made.source.name, volume.pv);
    assert_eq!(made.state, "Succeeded");
    assert!(made.incremental, "a full snapshot");
    let tags = &made.tags;
    assert_eq!(tags["kubernetes.io-created-for-snapshot-name"], "by-hand");
    let journal = inspect::journal(&world.lab.copy_of(&id)?, Kind::Ext4)?;
    assert!(!journal.clean, "nobody froze it: {journal:?}");
    remove(world, "by-hand").await
}

/// The driver dies in the middle; the next finds what it had begun.
async fn after_a_kill(world: &mut World, volume: &Volume) -> Result<()> {
    let before = world.lab.settings().snapshot.duration;
    world
        .lab
        .change_settings(|lab| lab.snapshot.duration = Duration::from_secs(3));
    objects::take(world, NAME, "again", &volume.claim).await?;
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
    remove(world, "again").await
}

/// What Azure refuses is tried again a second later.
async fn refused(world: &World, volume: &Volume) -> Result<()> {
    world.lab.inject(on_put(Action::Status {
        status: 403,
        code: None,
        message: None,
        retry_after: None,
    }));
    objects::take(world, NAME, "refused", &volume.claim).await?;
    objects::ready(world, NAME, "refused", SOON).await?;
    ensure!(world.lab.faults().is_empty(), "nothing was refused");
    remove(world, "refused").await
}

/// What Azure accepts and then fails to make is found by the next attempt, and taken for a snapshot that is not ready.
async fn failed(world: &World, volume: &Volume) -> Result<()> {
    world.lab.inject(on_put(Action::FailOperation {
        code: "InternalExecutionError".into(),
        message: "It failed.".into(),
    }));
    objects::take(world, NAME, "failed", &volume.claim).await?;
    let snapshots = objects::snapshots(world.client(), NAME);
    until("the failed snapshot has a handle", SOON, async || {
        let status = snapshots.get("failed").await?.data["status"].take();
        let name = status["boundVolumeSnapshotContentName"].as_str();
        let name = name.with_context(|| format!("unbound: {status}"))?;
        let content = objects::contents(world.client()).get(name).await?;
        let id = objects::handle(&content)?;
        let state = world.lab.snapshot(&id).context("not in Azure")?.state;
        assert_eq!(state, "Failed");
        assert_ne!(content.data["status"]["readyToUse"], true, "{content:?}");
        Ok(Some(()))
    })
    .await?;
    remove(world, "failed").await
}

fn on_put(action: Action) -> Fault {
    Fault {
        method: Some("PUT".into()),
        path: "**/snapshots/*".into(),
        skip: 0,
        times: 1,
        action,
    }
}

/// Deletes a VolumeSnapshot, the only one.
async fn remove(world: &World, name: &str) -> Result<()> {
    let snapshots = objects::snapshots(world.client(), NAME);
    snapshots.delete(name, &Default::default()).await?;
    until("no snapshot is left in Azure", SOON, async || {
        let left = world.lab.snapshots();
        ensure!(left.is_empty(), "{left:?}");
        Ok(Some(()))
    })
    .await
}

/// Where a volume's disk is. Of labels Velero gives the restored PersistentVolume those of the old one.
async fn zone(world: &World, volume: &Volume) -> Result<Value> {
    let spec = world.volume(NAME, &volume.claim).await?.spec;
    let csi = spec.and_then(|spec| spec.csi).context("no CSI volume")?;
    let disk = world.lab.disk(&csi.volume_handle.parse()?);
    Ok(disk.context("no such disk")?["zones"].take())
}

/// Lets no pod onto a node again.
async fn cordon(world: &World, node: &str) -> Result<()> {
    let nodes: Api<Node> = Api::all(world.client());
    let cordon = Patch::Merge(json!({ "spec": { "unschedulable": true } }));
    nodes.patch(node, &PatchParams::default(), &cordon).await?;
    Ok(())
}

/// The claim has a disk in another zone than it had, with what was written before the snapshot.
async fn restored(world: &World, before: &Value) -> Result<()> {
    let (_, volume) = only(world).await?;
    assert_eq!(fs::read_to_string(volume.path.join("note"))?, NOTE);
    let seen = writers::check_files(&volume.path);
    assert!(seen.whole > 20 && seen.torn == 0, "{seen:?}");
    assert_ne!(zone(world, &volume).await?, *before);
    let replayed = world.driver.replayed(&volume.pv);
    assert_eq!(replayed, Some(true), "nobody froze it");
    Ok(())
}
