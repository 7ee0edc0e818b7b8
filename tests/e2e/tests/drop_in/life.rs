//! Steps of one backup's life, each asserted.

use std::{collections::BTreeMap, fs::File};

use anyhow::{Context as _, Result, ensure};
use kube::ResourceExt as _;
use stillpoint_cluster::until;
use stillpoint_e2e::{
    Options, Plugin, World,
    application::Pod,
    files::{self, Content},
    world::SOON,
};
use stillpoint_system::{namespace::Namespace, writers::Writer};

const SHOP: &str = "shop";
const PODS: usize = 3;

pub(crate) async fn run(namespace: &Namespace, stock: &Plugin) -> Result<()> {
    let options = Options {
        plugin: stock.clone(),
        ..Options::default().public(namespace)
    };
    let mut world = World::start(options).await?;
    let ended = life(&mut world).await;
    ended.with_context(|| world.velero.log())
}

async fn life(world: &mut World) -> Result<()> {
    world.deploy(SHOP, PODS, 1).await?;
    let pods = world.deployed(SHOP, PODS, 1).await?;
    let written = write(&pods).await?;
    world
        .completes("backup", "old", &["--include-namespaces", SHOP])
        .await?;
    ensure!(world.lab.snapshots().len() == PODS, "not all were cut");
    for snapshot in world.lab.snapshots() {
        let ours = snapshot.tags.keys().any(|key| key.contains("stillpoint"));
        ensure!(!ours, "{snapshot:?} is not of the stock plugin");
    }

    moved(world).await?;
    world.lose(SHOP).await?;
    world
        .completes("restore", "back", &["--from-backup=old"])
        .await?;
    restored(world, &pods, &written).await?;

    let delete = ["backup", "delete", "old", "--confirm"];
    world.velero.cli(&delete).await?;
    world.backup_is_gone("old").await
}

/// Files on every volume, all of them on its disk: what is cut without a freeze holds them too.
async fn write(pods: &[Pod]) -> Result<BTreeMap<String, Content>> {
    let mut written = BTreeMap::new();
    for volume in pods.iter().flat_map(|pod| &pod.volumes) {
        let writer = Writer::files(&volume.path)?;
        until("the writer writes", SOON, async || {
            Ok((writer.count() > 20).then_some(()))
        })
        .await?;
        writer.stop()?;
        rustix::fs::syncfs(File::open(&volume.path)?)?;
        written.insert(volume.claim.clone(), files::all(&volume.path)?);
    }
    Ok(written)
}

/// As the README says. Locations and credentials stay.
async fn moved(world: &mut World) -> Result<()> {
    world.exchange_plugin(&Plugin::Stillpoint, &[]).await?;
    let plugins = world.velero.cli(&["plugin", "get"]).await?;
    for kind in ["ObjectStore", "VolumeSnapshotter"] {
        let found = plugins.lines().any(|line| {
            let words: Vec<_> = line.split_whitespace().collect();
            words == ["velero.io/azure", kind]
        });
        ensure!(found, "no {kind} of the stock plugin's name in\n{plugins}");
    }
    ensure!(plugins.contains("stillpoint.io/azure"), "{plugins}");
    let logs = world.velero.cli(&["backup", "logs", "old"]).await?;
    ensure!(logs.contains("level=info"), "{logs}");
    Ok(())
}

/// Pods run where their disks are, PersistentVolumes say so, and the disks hold what was written.
async fn restored(
    world: &World,
    before: &[Pod],
    written: &BTreeMap<String, Content>,
) -> Result<()> {
    let after = world.deployed(SHOP, PODS, 1).await?;
    for (was, is) in before.iter().zip(&after) {
        assert_eq!((&was.name, &was.node), (&is.name, &is.node));
        for volume in &is.volumes {
            let claim = &volume.claim;
            let pv = world.volume(SHOP, claim).await?;
            let zone = zone_of(&is.node);
            assert_eq!(pv.labels()["topology.kubernetes.io/zone"], zone, "{claim}");
            let spec = pv.spec.context("a PV without spec")?;
            let handle = spec.csi.context("no CSI volume")?.volume_handle;
            let disk = world.lab.disk(&handle.parse()?).context("no such disk")?;
            assert_eq!(disk["zones"][0], zone[zone.len() - 1..], "{claim}: {disk}");
            let affinity = serde_json::to_value(&spec.node_affinity)?;
            let term = &affinity["required"]["nodeSelectorTerms"][0]["matchExpressions"][0];
            assert_eq!(term["key"], "topology.disk.csi.azure.com/zone", "{claim}");
            assert_eq!(term["values"], serde_json::json!([zone]), "{claim}");
            files::assert_same(&files::all(&volume.path)?, &written[claim], claim);
        }
    }
    Ok(())
}

fn zone_of(node: &str) -> String {
    node.replace("node-", "westeurope-")
}
