//! A volume without a filesystem.

use anyhow::{Result, ensure};
use k8s_openapi::api::core::v1::PersistentVolumeClaim;
use kube::Api;
use stillpoint_cluster::until;
use stillpoint_e2e::{World, world::SOON};

const NAMESPACE: &str = "raw";
const OBJECTS: &str = "
apiVersion: v1
kind: Namespace
metadata: {name: raw}
---
apiVersion: v1
kind: PersistentVolumeClaim
metadata: {namespace: raw, name: disk}
spec:
  accessModes: [ReadWriteOnce]
  storageClassName: managed-csi-premium
  volumeMode: Block
  resources: {requests: {storage: 1Gi}}
---
apiVersion: v1
kind: Pod
metadata: {namespace: raw, name: raw}
spec:
  containers: [{name: raw, image: raw, volumeDevices: [{name: disk, devicePath: /dev/disk}]}]
  volumes: [{name: disk, persistentVolumeClaim: {claimName: disk}}]
";

/// `auto` takes it as after a power cut, and says so; `required` takes none.
pub(crate) async fn raw_device_cannot_be_frozen(world: &World) -> Result<()> {
    world.cluster.apply_yaml(OBJECTS).await?;
    let claims: Api<PersistentVolumeClaim> = Api::namespaced(world.client(), NAMESPACE);
    until("the disk is attached", SOON, async || {
        let spec = claims.get("disk").await?.spec;
        let pv = spec.and_then(|spec| spec.volume_name);
        Ok(pv.filter(|pv| world.driver.is_attached(pv)).map(drop))
    })
    .await?;

    world.begin_backup("raw-auto", NAMESPACE).await?;
    let (phase, status) = world.ended_backup("raw-auto").await?;
    ensure!(phase == "Completed", "{phase}: {status:#}");
    ensure!(status["warnings"] == 1, "{status:#}");
    let tags = world.snapshot_of("raw-auto")?.tags;
    ensure!(tags["stillpoint-consistency"] == "crash", "{tags:?}");
    let why = "is a raw block volume";
    ensure!(tags["stillpoint-reason"].contains(why), "{tags:?}");
    let told = world
        .told(NAMESPACE, "disk", "SnapshotCrashConsistent")
        .await?;
    ensure!(told.contains(why), "{told}");

    world.ask(NAMESPACE, "disk", "required").await?;
    world.begin_backup("raw-required", NAMESPACE).await?;
    let (phase, status) = world.ended_backup("raw-required").await?;
    ensure!(phase == "PartiallyFailed", "{phase}: {status:#}");
    ensure!(status["errors"] == 1, "{status:#}");
    ensure!(world.snapshots_of("raw-required").is_empty());
    let told = world.told(NAMESPACE, "disk", "SnapshotFailed").await?;
    ensure!(told.contains(why), "{told}");
    Ok(())
}
