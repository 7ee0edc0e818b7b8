//! Controllers, scheduler and kwok's nodes.

use std::time::Duration;

use k8s_openapi::api::{core::v1::Pod, storage::v1::VolumeAttachment};
use kube::{
    Api,
    api::{AttachParams, Patch},
};
use serde_json::json;
use stillpoint_cluster::{Cluster, Parts, until};

use crate::skip_if_missing;

const WITHIN: Duration = Duration::from_secs(60);
const VOLUME: &str = r#"
apiVersion: v1
kind: PersistentVolume
metadata: {name: data}
spec:
  accessModes: [ReadWriteOnce]
  capacity: {storage: 1Gi}
  claimRef: {namespace: shop, name: data}
  csi: {driver: disk.csi.azure.com, volumeHandle: /subscriptions/s/resourceGroups/g/providers/Microsoft.Compute/disks/data}
  nodeAffinity: {required: {nodeSelectorTerms: [
    {matchExpressions: [{key: topology.disk.csi.azure.com/zone, operator: In, values: [westeurope-2]}]}]}}
  persistentVolumeReclaimPolicy: Retain
---
apiVersion: v1
kind: PersistentVolumeClaim
metadata: {namespace: shop, name: data}
spec:
  accessModes: [ReadWriteOnce]
  resources: {requests: {storage: 1Gi}}
  storageClassName: ""
  volumeName: data
---
apiVersion: v1
kind: Pod
metadata: {namespace: shop, name: shop}
spec:
  containers: [{name: shop, image: shop, volumeMounts: [{name: data, mountPath: /data}]}]
  volumes: [{name: data, persistentVolumeClaim: {claimName: data}}]
"#;

#[tokio::test]
async fn pod_runs_in_the_zone_of_its_volume() {
    skip_if_missing!();
    let cluster = Cluster::start(Parts::All).await.unwrap();
    for (node, zone) in [
        ("node-1", "westeurope-1"),
        ("node-2", "westeurope-2"),
        ("node-3", "westeurope-3"),
    ] {
        cluster.add_node(node, zone).await.unwrap();
    }
    cluster
        .apply(json!({ "apiVersion": "v1", "kind": "Namespace", "metadata": { "name": "shop" } }))
        .await
        .unwrap();
    cluster.apply_yaml(VOLUME).await.unwrap();

    let pods: Api<Pod> = Api::namespaced(cluster.client(), "shop");
    let node = until("the pod runs", WITHIN, async || {
        let pod = pods.get("shop").await?;
        let phase = pod.status.and_then(|status| status.phase);
        Ok(pod
            .spec
            .and_then(|spec| spec.node_name)
            .filter(|_| phase.as_deref() == Some("Running")))
    });
    assert_eq!(node.await.unwrap(), "node-2");

    let attachments: Api<VolumeAttachment> = Api::all(cluster.client());
    let attachment = until("a controller asks for the disk", WITHIN, async || {
        Ok(attachments.list(&Default::default()).await?.items.pop())
    });
    let attachment = attachment.await.unwrap();
    assert_eq!(attachment.spec.node_name, "node-2");
    let name = attachment.metadata.name.unwrap();
    let attached = Patch::Merge(json!({ "status": { "attached": true } }));
    attachments
        .patch_status(&name, &Default::default(), &attached)
        .await
        .unwrap();

    // As Velero's hooks do.
    let file = cluster.directory().join("from-the-pod");
    let command = ["touch", file.to_str().unwrap()];
    let process = pods.exec("shop", command, &AttachParams::default()).await;
    // Its end has to be taken before it is joined, or there may be nobody left to tell.
    let mut process = process.unwrap();
    let status = process.take_status().unwrap().await.unwrap();
    assert_eq!(status.status.as_deref(), Some("Success"), "{status:?}");
    process.join().await.unwrap();
    assert!(file.exists(), "{command:?} ran elsewhere, or not at all");
}
