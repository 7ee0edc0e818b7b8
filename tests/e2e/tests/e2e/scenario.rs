//! Steps of one backup's life, each asserted.

use std::{collections::BTreeMap, fs, path::Path};

use anyhow::{Context as _, Result};
use k8s_openapi::api::core::v1::PersistentVolume;
use kube::{
    ResourceExt as _,
    api::{Patch, PatchParams},
};
use serde_json::json;
use stillpoint_e2e::{
    Options, World,
    files::{self, Content},
    postgres,
};
use stillpoint_lab::SnapshotView;
use stillpoint_loopfs::{Kind, Mounted};
use stillpoint_system::{inspect, writers};

use crate::{
    application::{Application, assert_writable, database_is_whole},
    shop,
};

const ZONE_MAPPING: &str =
    "westeurope-1=westeurope-2,westeurope-2=westeurope-3,westeurope-3=westeurope-1";
/// The same, as nodes have it.
const NODE_MAPPING: [(&str, &str, &str); 3] = [
    ("node-1", "node-2", "westeurope-2"),
    ("node-2", "node-3", "westeurope-3"),
    ("node-3", "node-1", "westeurope-1"),
];

/// What a claim had when it was backed up.
struct Before {
    claim: &'static str,
    pod: &'static str,
    node: String,
    volume: PersistentVolume,
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_backed_up_while_it_was_written_comes_back_in_other_zones() {
    if let Some(why) = World::missing().or_else(postgres::missing) {
        eprintln!("SKIPPED: {why}");
        return;
    }
    let mut world = World::start(Options::default()).await.unwrap();
    shop::open(&world).await.unwrap();
    // It looks for kinds of objects when it starts, and then every five minutes.
    world.velero.start().await.unwrap();
    if let Err(error) = life(&world).await {
        panic!("{error:?}\n{}", world.velero.log());
    }
}

async fn life(world: &World) -> Result<()> {
    let before = before(world).await?;
    let application = Application::start(world).await?;
    let sums = application.postgres.sums()?;

    world
        .completes("backup", "first", &["--include-namespaces=shop"])
        .await?;
    application.stop()?;
    let frozen = frozen(world, &before)?;
    told(world, &before).await?;

    shop::lose(world).await?;

    world.map_zones(ZONE_MAPPING).await?;
    world
        .completes("restore", "back", &["--from-backup=first"])
        .await?;
    let said = world.velero.cli(&["restore", "logs", "back"]).await?;
    assert!(said.contains("level=info"), "{said}");
    restored(world, &before, &frozen).await?;
    shop::assert_objects(world).await?;
    database_is_whole(world, sums).await?;

    deleted(world).await?;
    expired(world).await?;
    assert_writable(world).await
}

/// All pods run on their nodes, and all claims are bound.
async fn before(world: &World) -> Result<Vec<Before>> {
    let running = shop::running(world).await?;
    let mut before = Vec::new();
    for (claim, pod) in shop::CLAIMS {
        before.push(Before {
            claim,
            pod,
            node: node_of(&running, pod)?,
            volume: world.volume(shop::NAME, claim).await?,
        });
    }
    Ok(before)
}

fn node_of(running: &BTreeMap<String, String>, pod: &str) -> Result<String> {
    let found = running.iter().find(|(name, _)| name.starts_with(pod));
    Ok(found.with_context(|| format!("no pod {pod}"))?.1.clone())
}

/// What each snapshot holds, by claim, read before anything could be replayed.
fn frozen(world: &World, before: &[Before]) -> Result<BTreeMap<&'static str, Content>> {
    let mut found = BTreeMap::new();
    for volume in before {
        let snapshot = snapshot_of(world, volume)?;
        let tags = &snapshot.tags;
        assert_eq!(tags["stillpoint-consistency"], "filesystem", "{tags:?}");
        assert_eq!(tags["stillpoint-state"], "complete", "{tags:?}");
        assert_eq!(tags["velero.io-backup"], "first", "{tags:?}");
        assert_eq!(tags["velero.io-pv"], volume.volume.name_any(), "{tags:?}");
        let copy = world.lab.copy_of(&snapshot.id)?;
        let journal = inspect::journal(&copy, Kind::Ext4)?;
        assert!(journal.clean, "{}: {journal:?}", volume.claim);
        let mounted = mount(world, &copy)?;
        let content = files::all(mounted.path())?;
        if content.contains_key(Path::new("files")) {
            let seen = writers::check_files(mounted.path());
            assert!(
                seen.whole > 20 && seen.torn == 0,
                "{}: {seen:?}",
                volume.claim
            );
        } else {
            assert!(content.contains_key(Path::new("postgresql/PG_VERSION")));
        }
        found.insert(volume.claim, content);
    }
    assert_eq!(world.lab.snapshots().len(), before.len());
    Ok(found)
}

fn snapshot_of(world: &World, volume: &Before) -> Result<SnapshotView> {
    let disk = volume.volume.name_any();
    let mut snapshots = world.lab.snapshots().into_iter();
    let found = snapshots.find(|snapshot| snapshot.source.name == disk);
    found.with_context(|| format!("no snapshot of {disk}"))
}

fn mount(world: &World, image: &Path) -> Result<Mounted> {
    let directory = world.scratch();
    fs::create_dir_all(&directory)?;
    inspect::mount_as_is(image, Kind::Ext4, &directory.join("copy"))
}

/// Events, the backup's log and its description tell of every volume.
async fn told(world: &World, before: &[Before]) -> Result<()> {
    let logs = world.velero.cli(&["backup", "logs", "first"]).await?;
    let details = world.described("first").await?;
    for volume in before {
        let snapshot = snapshot_of(world, volume)?;
        let millis = &snapshot.tags["stillpoint-frozen-ms"];
        let entry = logs.lines().find(|line| {
            line.contains("snapshot taken") && line.contains(&snapshot.source.to_string())
        });
        let entry = entry.with_context(|| format!("no entry of {}:\n{logs}", volume.claim))?;
        for part in [&format!("frozen_ms={millis}"), &volume.node] {
            assert!(entry.contains(part), "{part} is not in {entry}");
        }
        let id = snapshot.id.to_string();
        assert!(details.contains(&id), "{id} is not in\n{details}");
        let message = world.told(shop::NAME, volume.claim, "SnapshotFrozen");
        let message = message.await?;
        assert!(message.contains(&format!("{millis} ms")), "{message}");
    }
    assert!(details.contains("Phase:  Completed"), "{details}");
    Ok(())
}

/// Every claim is bound, its pod is where its disk is, and the disk holds what was frozen.
async fn restored(
    world: &World,
    before: &[Before],
    frozen: &BTreeMap<&'static str, Content>,
) -> Result<()> {
    let running = shop::running(world).await?;
    for was in before {
        let claim = was.claim;
        let mut mapping = NODE_MAPPING.iter();
        let (_, node, zone) = mapping.find(|(old, ..)| *old == was.node).context("zone")?;
        assert_eq!(node_of(&running, was.pod)?, *node, "{claim}");
        let volume = world.volume(shop::NAME, claim).await?;
        let labels = volume.labels();
        assert_eq!(labels["topology.kubernetes.io/zone"], *zone, "{claim}");
        for (key, value) in labels.iter().filter(|(key, _)| key.ends_with("/zone")) {
            assert_eq!(value, zone, "{claim}: {key}");
        }
        let annotations = volume.annotations();
        assert_eq!(annotations["stillpoint.io/consistency"], "filesystem");
        let csi = volume.spec.and_then(|spec| spec.csi).context("no CSI")?;
        assert_eq!(csi.driver, "disk.csi.azure.com", "{claim}");
        let path = world.mounted(shop::NAME, claim).await?;
        let name = was.volume.name_any();
        assert_eq!(world.driver.replayed(&name), Some(false), "{claim}");
        files::assert_same(&files::all(&path)?, &frozen[claim], claim);
    }
    Ok(())
}

/// `velero backup delete` takes snapshots and blobs with it, and the restore.
async fn deleted(world: &World) -> Result<()> {
    let delete = ["backup", "delete", "first", "--confirm"];
    world.velero.cli(&delete).await?;
    world.backup_is_gone("first").await
}

/// So does the end of the time to live that a schedule gives.
async fn expired(world: &World) -> Result<()> {
    let schedule = ["schedule", "create", "nightly", "--schedule=0 3 * * *"];
    let more = ["--include-namespaces=shop", "--ttl=24h"];
    world.velero.cli(&[&schedule[..], &more].concat()).await?;
    world
        .completes("backup", "second", &["--from-schedule=nightly"])
        .await?;
    assert_eq!(world.lab.snapshots().len(), shop::CLAIMS.len());
    // A day later.
    let past = json!({ "status": { "expiration": "2026-01-01T00:00:00Z" } });
    world
        .backups()
        .patch("second", &PatchParams::default(), &Patch::Merge(past))
        .await?;
    world.backup_is_gone("second").await
}
