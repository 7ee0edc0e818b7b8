//! A namespace with a StatefulSet whose pods have volumes.

use std::path::PathBuf;

use anyhow::{Context as _, Result};
use k8s_openapi::api::core::v1::PersistentVolumeClaim;
use kube::{
    Api,
    api::{Patch, PatchParams},
};
use serde_json::{Value, json};
use stillpoint_cluster::until;
use stillpoint_system::writers::Writer;

use crate::{World, world::SOON};

/// The StatefulSet, and the beginning of its pods' names.
const NAME: &str = "app";

/// A pod of it.
#[derive(Clone, Debug)]
pub struct Pod {
    /// Its name.
    pub name: String,
    /// Where it runs.
    pub node: String,
    /// In their order.
    pub volumes: Vec<Volume>,
}

/// A volume of a pod.
#[derive(Clone, Debug)]
pub struct Volume {
    /// Its claim.
    pub claim: String,
    /// Its PersistentVolume, and its disk.
    pub pv: String,
    /// Where its pod runs.
    pub node: String,
    /// Where the pod sees it.
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

impl World {
    /// Makes an application of so many pods with so many volumes each.
    pub async fn deploy(&self, namespace: &str, pods: usize, volumes: usize) -> Result<()> {
        let object = json!({
            "apiVersion": "v1", "kind": "Namespace", "metadata": { "name": namespace },
        });
        self.cluster.apply(object).await?;
        let set = stateful_set(namespace, pods, volumes);
        self.cluster.apply(set).await?;
        Ok(())
    }

    /// Waits until its pods run, and their volumes are mounted.
    pub async fn deployed(&self, namespace: &str, pods: usize, volumes: usize) -> Result<Vec<Pod>> {
        let running = self.running(namespace, pods).await?;
        let mut found = Vec::new();
        for (name, node) in running {
            let mut mounted = Vec::new();
            for number in 0..volumes {
                let claim = format!("{}-{name}", template(number));
                let path = self.mounted(namespace, &claim).await?;
                let pv = self.volume(namespace, &claim).await?;
                let pv = pv.metadata.name.context("a volume without a name")?;
                let node = node.clone();
                mounted.push(Volume {
                    claim,
                    pv,
                    node,
                    path,
                });
            }
            found.push(Pod {
                name,
                node,
                volumes: mounted,
            });
        }
        Ok(found)
    }

    /// The volumes of an application of so many pods with one each, once it runs.
    pub async fn volumes(&self, namespace: &str, pods: usize) -> Result<Vec<Volume>> {
        self.deploy(namespace, pods, 1).await?;
        let pods = self.deployed(namespace, pods, 1).await?;
        Ok(pods.into_iter().flat_map(|pod| pod.volumes).collect())
    }

    /// Has a claim ask for that freeze.
    pub async fn ask(&self, namespace: &str, claim: &str, freeze: &str) -> Result<()> {
        let claims: Api<PersistentVolumeClaim> = Api::namespaced(self.client(), namespace);
        let asks = json!({ "metadata": { "annotations": { "stillpoint.io/freeze": freeze } } });
        let params = PatchParams::default();
        claims.patch(claim, &params, &Patch::Merge(asks)).await?;
        Ok(())
    }
}

fn template(number: usize) -> String {
    format!("data-{number}")
}

fn stateful_set(namespace: &str, pods: usize, volumes: usize) -> Value {
    let labels = json!({ "app": NAME });
    let mounts = (0..volumes).map(template);
    let mounts = mounts.map(|name| json!({ "mountPath": format!("/{name}"), "name": name }));
    let mounts: Vec<_> = mounts.collect();
    let templates = (0..volumes).map(|number| {
        json!({
            "metadata": { "name": template(number) },
            "spec": {
                "accessModes": ["ReadWriteOnce"],
                "storageClassName": "managed-csi-premium",
                "resources": { "requests": { "storage": "1Gi" } },
            },
        })
    });
    let templates: Vec<_> = templates.collect();
    json!({
        "apiVersion": "apps/v1", "kind": "StatefulSet",
        "metadata": { "namespace": namespace, "name": NAME },
        "spec": {
            "replicas": pods,
            "serviceName": NAME,
            "podManagementPolicy": "Parallel",
            "selector": { "matchLabels": labels },
            "template": {
                "metadata": { "labels": labels },
                "spec": {
                    "containers": [{ "name": NAME, "image": NAME, "volumeMounts": mounts }],
                    "topologySpreadConstraints": [{
                        "maxSkew": 1,
                        "topologyKey": "topology.kubernetes.io/zone",
                        "whenUnsatisfiable": "DoNotSchedule",
                        "labelSelector": { "matchLabels": labels },
                        // A zone whose nodes take no pods does not count.
                        "nodeTaintsPolicy": "Honor",
                    }],
                },
            },
            "volumeClaimTemplates": templates,
        },
    })
}
