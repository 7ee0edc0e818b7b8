//! Kubernetes' own part of CSI snapshots.

use std::time::Duration;

use kube::{
    Api,
    api::{ApiResource, DynamicObject},
    core::GroupVersionKind,
};
use stillpoint_cluster::{Cluster, Parts, until};

use crate::skip_if_missing;

const OBJECTS: &str = "
apiVersion: v1
kind: PersistentVolume
metadata: {name: data}
spec:
  accessModes: [ReadWriteOnce]
  capacity: {storage: 1Gi}
  claimRef: {namespace: default, name: data}
  csi: {driver: disk.csi.azure.com, volumeHandle: a-disk}
---
apiVersion: v1
kind: PersistentVolumeClaim
metadata: {namespace: default, name: data}
spec:
  accessModes: [ReadWriteOnce]
  resources: {requests: {storage: 1Gi}}
  storageClassName: ''
  volumeName: data
status: {phase: Bound}
---
apiVersion: snapshot.storage.k8s.io/v1
kind: VolumeSnapshotClass
metadata: {name: managed}
driver: disk.csi.azure.com
deletionPolicy: Delete
";
const SNAPSHOT: &str = "
apiVersion: snapshot.storage.k8s.io/v1
kind: VolumeSnapshot
metadata: {namespace: default, name: NAME}
spec: {volumeSnapshotClassName: managed, source: {persistentVolumeClaimName: data}}
";

#[tokio::test]
async fn snapshot_controller_asks_for_the_disk_of_the_claim_also_after_a_kill() {
    skip_if_missing!();
    let cluster = Cluster::start(Parts::Api).await.unwrap();
    let mut controller = cluster.start_snapshot_controller().await.unwrap();
    cluster.apply_yaml(OBJECTS).await.unwrap();
    for name in ["first", "second"] {
        let snapshot = SNAPSHOT.replace("NAME", name);
        cluster.apply_yaml(&snapshot).await.unwrap();
        assert_eq!(asked(&cluster, name).await, "a-disk", "{name}");
        controller.kill();
        controller.start().await.unwrap();
    }
}

/// The volume handle in the VolumeSnapshotContent of a VolumeSnapshot.
async fn asked(cluster: &Cluster, name: &str) -> String {
    let kind = GroupVersionKind::gvk("snapshot.storage.k8s.io", "v1", "VolumeSnapshotContent");
    let kind = ApiResource::from_gvk(&kind);
    let contents: Api<DynamicObject> = Api::all_with(cluster.client(), &kind);
    let within = Duration::from_secs(60);
    until("a VolumeSnapshotContent", within, async || {
        let contents = contents.list(&Default::default()).await?;
        let mut specs = contents.items.into_iter().map(|found| found.data);
        let found = specs.find(|found| found["spec"]["volumeSnapshotRef"]["name"] == name);
        let handle = found.map(|found| found["spec"]["source"]["volumeHandle"].clone());
        Ok(handle.and_then(|handle| handle.as_str().map(str::to_owned)))
    })
    .await
    .unwrap()
}
