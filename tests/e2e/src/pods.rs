//! Pods with a volume each, on all nodes.

use std::{collections::BTreeMap, path::PathBuf};

use anyhow::{Context as _, Result, ensure};
use k8s_openapi::api::core::v1::{PersistentVolumeClaim, Pod};
use kube::{
    Api,
    api::{Patch, PatchParams},
};
use serde_json::json;
use stillpoint_cluster::until;
use stillpoint_system::writers::Writer;

use crate::{World, world::SOON};

const OBJECTS: &str = "
apiVersion: v1
kind: Namespace
metadata: {name: NAMESPACE}
---
apiVersion: apps/v1
kind: StatefulSet
metadata: {namespace: NAMESPACE, name: app}
spec:
  replicas: COUNT
  serviceName: app
  podManagementPolicy: Parallel
  selector: {matchLabels: {app: app}}
  template:
    metadata: {labels: {app: app}}
    spec:
      containers: [{name: app, image: app, volumeMounts: [{name: data, mountPath: /data}]}]
      topologySpreadConstraints:
      - maxSkew: 1
        topologyKey: topology.kubernetes.io/zone
        whenUnsatisfiable: DoNotSchedule
        labelSelector: {matchLabels: {app: app}}
  volumeClaimTemplates:
  - metadata: {name: data}
    spec:
      accessModes: [ReadWriteOnce]
      storageClassName: managed-csi-premium
      resources: {requests: {storage: 1Gi}}
";

/// A pod's volume.
#[derive(Clone, Debug)]
pub struct Volume {
    /// Its claim.
    pub claim: String,
    /// Its PersistentVolume, and its disk's name.
    pub pv: String,
    /// Where its pod runs.
    pub node: String,
    /// Where it is mounted.
    pub path: PathBuf,
}

impl Volume {
    /// A writer of files on it, once it writes.
    pub async fn writer(&self) -> Result<Writer> {
        let writer = Writer::files(&self.path)?;
        writes(&self.claim, &writer).await?;
        Ok(writer)
    }
}

/// Waits until a writer has written more: its filesystem is not frozen.
pub async fn writes(claim: &str, writer: &Writer) -> Result<()> {
    let before = writer.count();
    until(&format!("{claim} is written to"), SOON, async || {
        Ok((writer.count() > before + 2).then_some(()))
    })
    .await
}

/// Has a claim ask for that freeze.
pub async fn ask(world: &World, namespace: &str, claim: &str, freeze: &str) -> Result<()> {
    let claims: Api<PersistentVolumeClaim> = Api::namespaced(world.client(), namespace);
    let asks = json!({ "metadata": { "annotations": { "stillpoint.io/freeze": freeze } } });
    let params = PatchParams::default();
    claims.patch(claim, &params, &Patch::Merge(asks)).await?;
    Ok(())
}

/// Makes a namespace with a StatefulSet `app` of so many pods, and waits until they run.
pub async fn open(world: &World, namespace: &str, count: usize) -> Result<Vec<Volume>> {
    let objects = OBJECTS.replace("NAMESPACE", namespace);
    let objects = objects.replace("COUNT", &count.to_string());
    world.cluster.apply_yaml(&objects).await?;
    until("all pods run, with their volumes", SOON, async || {
        let nodes = nodes(world, namespace).await?;
        let volumes = volumes(world, namespace, &nodes).await?;
        ensure!(volumes.len() == count, "{volumes:?}");
        Ok(Some(volumes))
    })
    .await
}

/// The nodes of the pods that run, by the pods' names.
async fn nodes(world: &World, namespace: &str) -> Result<BTreeMap<String, String>> {
    let pods: Api<Pod> = Api::namespaced(world.client(), namespace);
    let mut nodes = BTreeMap::new();
    for pod in pods.list(&Default::default()).await? {
        let phase = pod.status.and_then(|status| status.phase);
        let node = pod.spec.and_then(|spec| spec.node_name);
        if phase.as_deref() == Some("Running") {
            let name = pod.metadata.name.context("a pod has a name")?;
            nodes.extend(node.map(|node| (name, node)));
        }
    }
    Ok(nodes)
}

async fn volumes(
    world: &World,
    namespace: &str,
    nodes: &BTreeMap<String, String>,
) -> Result<Vec<Volume>> {
    let claims: Api<PersistentVolumeClaim> = Api::namespaced(world.client(), namespace);
    let mut volumes = Vec::new();
    for claim in claims.list(&Default::default()).await? {
        let pv = claim.spec.and_then(|spec| spec.volume_name);
        let claim = claim.metadata.name.context("a claim has a name")?;
        let node = claim.strip_prefix("data-").and_then(|pod| nodes.get(pod));
        let path = pv.as_deref().and_then(|pv| world.driver.path(pv));
        if let (Some(pv), Some(node), Some(path)) = (pv, node.cloned(), path) {
            volumes.push(Volume {
                claim,
                pv,
                node,
                path,
            });
        }
    }
    Ok(volumes)
}
