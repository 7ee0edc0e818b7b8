//! The walk that the README shows.

use std::{fs, path::Path};

use anyhow::{Context as _, Result, ensure};
use k8s_openapi::api::core::v1::{PersistentVolume, PersistentVolumeClaim};
use kube::{Api, api::DeleteParams};
use stillpoint_cluster::until;
use stillpoint_e2e::world::SOON;

use crate::{
    golden,
    scene::{SHOP, Scene},
    shell::Shell,
};

const ORDERS: &str = "orders";
const GOOD: &str = "one pear, two plums";

pub(crate) async fn there_and_back(scene: &Scene) -> Result<()> {
    let world = &scene.world;
    let data = world.mounted(SHOP, "data").await?;
    let legacy = world.mounted(SHOP, "legacy").await?;
    write(&data, GOOD)?;
    write(&legacy, GOOD)?;
    let mut shell = Shell::new(scene);

    shell.run("status -n shop", 0).await?;
    let to = "--destination-resource-group backups";
    shell.run(&format!("snapshot data -n shop {to}"), 0).await?;
    assert_clean(scene).await?;

    write(&data, "rubbish")?;
    scene.scale("web", 0).await?;
    shell.say("kubectl -n shop scale deployment web --replicas 0", "");
    lose(scene, "data").await?;
    shell.say("kubectl -n shop delete pvc data", "");
    shell.run("snapshots -n shop", 0).await?;
    let back = "restore --latest-of data -n shop --zone 2 --apply";
    shell.run(back, 0).await?;
    scene.scale("web", 1).await?;
    shell.say("kubectl -n shop scale deployment web --replicas 1", "");
    is_back(scene, "web", "node-2").await?;
    ensure!(read(&world.mounted(SHOP, "data").await?)? == GOOD);

    shell
        .run(&format!("snapshot legacy -n shop {to}"), 0)
        .await?;
    write(&legacy, "rubbish")?;
    let back =
        "restore --latest-of legacy -n shop --zone 3 --as inline --patch deployment/old --yes";
    shell.run(back, 0).await?;
    is_back(scene, "old", "node-3").await?;
    let inline = inline(scene)?;
    let path = until("the inline volume is mounted", SOON, async || {
        Ok(world.driver.path(&inline))
    });
    ensure!(read(&path.await?)? == GOOD);
    golden::check_readme(&shell.seen)
}

fn write(volume: &Path, text: &str) -> Result<()> {
    let file = volume.join(ORDERS);
    fs::write(&file, text)?;
    Ok(fs::File::open(file)?.sync_all()?)
}

fn read(volume: &Path) -> Result<String> {
    Ok(fs::read_to_string(volume.join(ORDERS))?)
}

/// The snapshot was cut of a filesystem that stood still, and says where it is at home.
async fn assert_clean(scene: &Scene) -> Result<()> {
    let world = &scene.world;
    let snapshots = world.lab.snapshots();
    let [snapshot] = snapshots.as_slice() else {
        anyhow::bail!("{snapshots:?}");
    };
    ensure!(world.journal(snapshot)?.clean);
    let volume = world.volume(SHOP, "data").await?;
    let tags = &snapshot.tags;
    for (tag, expected) in [
        ("stillpoint-consistency", "filesystem"),
        ("stillpoint-namespace", SHOP),
        ("stillpoint-pvc", "data"),
        (
            "stillpoint-pv",
            volume.metadata.name.as_deref().unwrap_or_default(),
        ),
        ("stillpoint-storage-class", "managed-csi-premium"),
        ("stillpoint-capacity", "1Gi"),
        ("stillpoint-access-modes", "ReadWriteOnce"),
        ("stillpoint-filesystem", "ext4"),
        ("stillpoint-zone", "westeurope-1"),
        ("stillpoint-labels", "app=web"),
    ] {
        ensure!(
            tags.get(tag).map(String::as_str) == Some(expected),
            "{tag}: {tags:?}"
        );
    }
    let told = world.told(SHOP, "data", "SnapshotFrozen").await?;
    ensure!(told.contains(&snapshot.id.name), "{told}");
    Ok(())
}

/// The claim goes, and with it its volume and disk.
async fn lose(scene: &Scene, claim: &str) -> Result<()> {
    let client = scene.world.client();
    let claims: Api<PersistentVolumeClaim> = Api::namespaced(client.clone(), SHOP);
    let volumes: Api<PersistentVolume> = Api::all(client);
    let volume = scene.world.volume(SHOP, claim).await?.metadata.name;
    let volume = volume.context("a volume has a name")?;
    claims.delete(claim, &DeleteParams::default()).await?;
    until("the claim's volume is gone", SOON, async || {
        let left = volumes.get_opt(&volume).await?;
        Ok((left.is_none() && claims.get_opt(claim).await?.is_none()).then_some(()))
    })
    .await
}

async fn is_back(scene: &Scene, deployment: &str, node: &str) -> Result<()> {
    until(&format!("{deployment} runs on {node}"), SOON, async || {
        let running = scene.world.running(SHOP, 2).await?;
        let there = |(name, on): (&String, &String)| name.starts_with(deployment) && on == node;
        ensure!(running.iter().any(there), "{running:?}");
        Ok(Some(()))
    })
    .await
}

/// The disk that was made for the pod's own spec.
fn inline(scene: &Scene) -> Result<String> {
    let disks = scene.world.lab.disks();
    let found = disks.iter().find(|disk| disk.name.starts_with("legacy-"));
    Ok(found.context("no disk of legacy's snapshot")?.name.clone())
}
