//! Velero with its feature EnableCSI: the volumes of the CSI driver by VolumeSnapshots that the gate has held, and beside
//! them an in-tree volume by the plugin.

use std::{collections::BTreeMap, fs};

use anyhow::{Context as _, Result, ensure};
use k8s_openapi::api::core::v1::Node;
use kube::{
    Api,
    api::{DynamicObject, Patch, PatchParams},
    core::ResourceExt as _,
};
use serde_json::{Value, json};
use stillpoint_cluster::until;
use stillpoint_e2e::{
    World,
    application::{Volume, writes},
    csi::{Record, objects},
    in_tree,
    world::SOON,
};
use stillpoint_lab::{ResourceId, SnapshotView};
use stillpoint_system::writers::{self, Writer};

use crate::scene::said;

/// Of Velero's server.
pub(crate) const WORKERS: usize = 5;
/// Namespaces with pods and volumes of each. The volumes of one pod are one block, so one worker's.
const APPLICATIONS: [(&str, usize, usize); 3] =
    [("single", 1, 1), ("several", 1, 5), ("spread", 5, 1)];
const IN_TREE: &str = "old";
const VOLUMES: usize = 12;
/// Files are written by as many; two cores are not enough for more, and the others have lighter writers.
const FILES: usize = 4;
const ATTEMPTS: u32 = 5;

const NODES: [&str; 3] = ["node-1", "node-2", "node-3"];
/// Where everything comes back.
const NEW: &str = "westeurope-3";
/// The in-tree volume's, by the plugin.
const MAPPING: &str = "westeurope-1=westeurope-3";

/// A volume before it is lost.
struct Before {
    namespace: &'static str,
    volume: Volume,
}

pub(crate) async fn life(world: &mut World) -> Result<()> {
    admit_pods(world, &NODES[..2]).await?;
    let before = deploy(world).await?;
    let writers = write(&before).await?;
    let record = Record::begin(world).await?;
    let backup = back_up(world).await?;

    for (writer, was) in writers.iter().zip(&before) {
        writes(&was.volume.claim, writer).await?;
    }
    held(world, &record, &backup, &before).await?;
    held_by_the_plugin(world, &backup, &before).await?;
    writers.into_iter().try_for_each(Writer::stop)?;
    drop(record);

    admit_pods(world, &NODES[2..]).await?;
    let mut doomed = vec![IN_TREE];
    doomed.extend(APPLICATIONS.map(|(namespace, ..)| namespace));
    world.lose_all(&doomed).await?;
    world.map_zones(MAPPING).await?;
    let from = format!("--from-backup={backup}");
    world.completes("restore", "back", &[&from]).await?;
    for was in &before {
        restored(world, was).await?;
    }

    let delete = ["backup", "delete", &backup, "--confirm"];
    world.velero.cli(&delete).await?;
    until("the backup's snapshots are gone", SOON, async || {
        let left = world.lab.snapshots();
        ensure!(left.is_empty(), "{left:?}");
        Ok(Some(()))
    })
    .await
}

/// Lets pods onto these nodes only.
async fn admit_pods(world: &World, to: &[&str]) -> Result<()> {
    let nodes: Api<Node> = Api::all(world.client());
    for node in NODES {
        let taint = json!([{ "key": "away", "effect": "NoSchedule" }]);
        let taints = if to.contains(&node) { json!([]) } else { taint };
        let patch = Patch::Merge(json!({ "spec": { "taints": taints } }));
        nodes.patch(node, &PatchParams::default(), &patch).await?;
    }
    Ok(())
}

/// Everything, with a note on each volume that says whose it is; the in-tree one last.
async fn deploy(world: &World) -> Result<Vec<Before>> {
    for (namespace, pods, volumes) in APPLICATIONS {
        world.deploy(namespace, pods, volumes).await?;
    }
    let namespace = json!({
        "apiVersion": "v1", "kind": "Namespace", "metadata": { "name": IN_TREE },
    });
    world.cluster.apply(namespace).await?;
    in_tree::open(world, IN_TREE).await?;

    let mut found = Vec::new();
    for (namespace, pods, volumes) in APPLICATIONS {
        let deployed = world.deployed(namespace, pods, volumes).await?;
        let volumes = deployed.into_iter().flat_map(|pod| pod.volumes);
        found.extend(volumes.map(|volume| (namespace, volume)));
    }
    let volume = Volume {
        claim: in_tree::NAME.into(),
        pv: in_tree::NAME.into(),
        node: NODES[0].into(),
        path: world.mounted(IN_TREE, in_tree::NAME).await?,
    };
    found.push((IN_TREE, volume));
    ensure!(found.len() == VOLUMES, "{} volumes", found.len());

    let mut before = Vec::new();
    for (namespace, volume) in found {
        fs::write(volume.path.join("note"), note(namespace, &volume.claim))?;
        let zone = zone(world, &world.lab.disk_id(&volume.pv))?;
        ensure!(
            zone != json!(["3"]),
            "{namespace}/{} is there",
            volume.claim
        );
        before.push(Before { namespace, volume });
    }
    Ok(before)
}

fn note(namespace: &str, claim: &str) -> String {
    format!("of {namespace}/{claim}")
}

fn zone(world: &World, disk: &ResourceId) -> Result<Value> {
    Ok(world.lab.disk(disk).context("no such disk")?["zones"].take())
}

fn writes_files(number: usize) -> bool {
    number.is_multiple_of(VOLUMES / FILES)
}

async fn write(before: &[Before]) -> Result<Vec<Writer>> {
    let mut writers = Vec::new();
    for (number, was) in before.iter().enumerate() {
        let path = &was.volume.path;
        writers.push(match writes_files(number) {
            true => Writer::files(path)?,
            false => Writer::blocks(path)?,
        });
    }
    for (writer, was) in writers.iter().zip(before) {
        writes(&was.volume.claim, writer).await?;
    }
    Ok(writers)
}

async fn back_up(world: &mut World) -> Result<String> {
    let namespaces = APPLICATIONS.map(|(namespace, ..)| namespace).join(",");
    let namespaces = format!("{namespaces},{IN_TREE}");
    for attempt in 1..=ATTEMPTS {
        let name = format!("all-{attempt}");
        if world.is_backed_up(&name, &namespaces).await? {
            return Ok(name);
        }
    }
    anyhow::bail!("the server died each time")
}

/// Each CSI volume has one VolumeSnapshot of the backup, with the verdict `filesystem` wherever it is told, and its copy
/// is that.
async fn held(world: &World, record: &Record, backup: &str, before: &[Before]) -> Result<()> {
    let (_, csi) = before.split_last().context("no volumes")?;
    let taken = until("every snapshot has its verdict", SOON, async || {
        let taken = of_backup(record, backup);
        ensure!(taken.len() == csi.len(), "{} snapshots", taken.len());
        for snapshot in taken.values() {
            said(snapshot.annotations())?;
        }
        Ok(Some(taken))
    })
    .await?;
    for was in csi {
        let claim = &was.volume.claim;
        let snapshot = &taken[&(was.namespace.to_owned(), claim.clone())];
        let name = snapshot.name_any();
        let content = snapshot.data["status"]["boundVolumeSnapshotContentName"].as_str();
        let content = content.with_context(|| format!("{name} has no content"))?;
        let contents = record.contents();
        let content = contents.iter().find(|one| one.name_any() == content);
        let content = content.context("nobody saw the content")?;
        let verdicts = [said(snapshot.annotations())?, said(content.annotations())?];
        for verdict in &verdicts {
            let reason = &verdict.reason;
            ensure!(verdict.consistency == "filesystem", "{name}: {reason}");
            ensure!(!verdict.frozen.is_zero(), "{name}");
        }
        let millis = format!("{} ms", verdicts[0].frozen.as_millis());
        let told = [
            world.told(was.namespace, claim, "SnapshotFrozen").await?,
            world
                .told_of("VolumeSnapshot", was.namespace, &name, "SnapshotFrozen")
                .await?,
        ];
        for message in told {
            ensure!(message.contains(&millis), "{message}: {millis}");
        }
        let id = objects::handle(content)?;
        let made = until("the snapshot has its tags", SOON, async || {
            let made = world.lab.snapshot(&id).context("not in Azure")?;
            let worth = made.tags.get("stillpoint-consistency");
            ensure!(
                worth.is_some_and(|it| it == "filesystem"),
                "{:?}",
                made.tags
            );
            Ok(Some(made))
        })
        .await?;
        ensure!(made.source.name == was.volume.pv, "{made:?}");
        clean(world, &made)?;
    }
    Ok(())
}

/// The VolumeSnapshots that Velero made for a backup, by namespace and claim.
fn of_backup(record: &Record, backup: &str) -> BTreeMap<(String, String), DynamicObject> {
    let mut found = BTreeMap::new();
    for snapshot in record.snapshots() {
        let of = snapshot.labels().get("velero.io/backup-name");
        let claim = snapshot.data["spec"]["source"]["persistentVolumeClaimName"].as_str();
        if let (true, Some(claim)) = (of.is_some_and(|of| of == backup), claim) {
            let key = (snapshot.namespace().unwrap_or_default(), claim.to_owned());
            found.insert(key, snapshot);
        }
    }
    found
}

fn clean(world: &World, made: &SnapshotView) -> Result<()> {
    let journal = world.journal(made)?;
    ensure!(journal.clean, "{made:?}: {journal:?}");
    Ok(())
}

/// The in-tree volume is none of the CSI driver's: Velero has the plugin take it.
async fn held_by_the_plugin(world: &World, backup: &str, before: &[Before]) -> Result<()> {
    let was = before.last().context("no volumes")?;
    let made = world.snapshot_of(backup)?;
    ensure!(made.source.name == was.volume.pv, "{made:?}");
    let worth = &made.tags["stillpoint-consistency"];
    ensure!(worth == "filesystem", "{:?}", made.tags);
    world
        .told(was.namespace, &was.volume.claim, "SnapshotFrozen")
        .await?;
    clean(world, &made)
}

/// The claim has a disk in the new zone with the data that was frozen, and its pod is there: the storage class makes a new
/// PersistentVolume where the pod gets its node; nothing of the old one's zone comes back.
async fn restored(world: &World, was: &Before) -> Result<()> {
    let (namespace, claim) = (was.namespace, &was.volume.claim);
    let path = world.mounted(namespace, claim).await?;
    let volume = world.volume(namespace, claim).await?;
    let pv = volume.name_any();
    let spec = volume.spec.context("a PV without a spec")?;
    let csi = spec.csi.context("no CSI volume")?;
    let disk = zone(world, &csi.volume_handle.parse()?)?;
    ensure!(disk == json!(["3"]), "{namespace}/{claim}: {disk}");
    let affinity = serde_json::to_string(&spec.node_affinity)?;
    ensure!(affinity.contains(NEW), "{namespace}/{claim}: {affinity}");
    let replayed = world.driver.replayed(&pv);
    ensure!(replayed == Some(false), "{namespace}/{claim}: {replayed:?}");
    let found = fs::read_to_string(path.join("note"))?;
    ensure!(found == note(namespace, claim), "{found}");
    if path.join("files").exists() {
        let seen = writers::check_files(&path);
        ensure!(seen.whole > 0 && seen.torn == 0, "{claim}: {seen:?}");
    }
    fs::write(path.join("new"), claim)?;
    Ok(())
}
