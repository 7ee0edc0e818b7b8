//! A disk whose snapshots are copied in the background after their data is fixed.

use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use stillpoint_cluster::until;
use stillpoint_e2e::{application::writes, csi::objects, world::SOON};
use stillpoint_loopfs::Kind;
use stillpoint_system::{inspect, writers::Writer};

use crate::scene::{NAME, Scene};

const CLAIM: &str = "swift";
const OBJECTS: &str = "
apiVersion: storage.k8s.io/v1
kind: StorageClass
metadata: {name: premium-v2}
provisioner: disk.csi.azure.com
parameters: {skuName: PremiumV2_LRS}
reclaimPolicy: Delete
volumeBindingMode: WaitForFirstConsumer
---
apiVersion: v1
kind: PersistentVolumeClaim
metadata: {namespace: till, name: swift}
spec:
  accessModes: [ReadWriteOnce]
  storageClassName: premium-v2
  resources: {requests: {storage: 1Gi}}
---
apiVersion: v1
kind: Pod
metadata: {namespace: till, name: swift}
spec:
  containers: [{name: swift, image: swift, volumeMounts: [{name: data, mountPath: /data}]}]
  volumes: [{name: data, persistentVolumeClaim: {claimName: swift}}]
";

/// The hold ends at Succeeded: the copy takes longer than anything may be held.
pub(crate) async fn copy_in_the_background_is_not_waited_for(scene: &Scene) -> Result<()> {
    let world = &scene.world;
    world.cluster.apply_yaml(OBJECTS).await?;
    let writer = Writer::files(&world.mounted(NAME, CLAIM).await?)?;
    writes(CLAIM, &writer).await?;
    let before = world.lab.settings().snapshot.copy;
    world
        .lab
        .change_settings(|lab| lab.snapshot.copy = Duration::from_secs(60));
    writer.longest_stall();
    objects::take(world, NAME, CLAIM, CLAIM).await?;
    let said = scene.said_of(CLAIM).await?;
    writes(CLAIM, &writer).await?;
    world.lab.change_settings(|lab| lab.snapshot.copy = before);
    ensure!(said.consistency == "filesystem", "{}", said.reason);

    let content = until("it has a handle", SOON, async || {
        let content = scene.content_of(CLAIM).await?.context("no content")?;
        objects::handle(&content).map(|_| Some(content))
    })
    .await?;
    ensure!(content.data["status"]["readyToUse"] != true, "{content:?}");
    let made = scene.made(&content)?;
    let (percent, state) = (made.completion_percent, &made.state);
    ensure!(percent < 100.0 && state == "Succeeded", "{percent} {state}");
    ensure!(made.incremental, "a full snapshot of a Premium SSD v2");
    let journal = inspect::journal(&world.lab.copy_of(&made.id)?, Kind::Ext4)?;
    ensure!(journal.clean, "{journal:?}");
    writer.stop()
}
