//! What becomes of backups, and of a namespace with its volumes.

use std::{collections::BTreeMap, time::Duration};

use anyhow::{Context as _, Result, ensure};
use k8s_openapi::api::core::v1::{Namespace, PersistentVolume, PersistentVolumeClaim, Pod};
use kube::{Api, api::DeleteParams};
use serde_json::Value;
use stillpoint_cluster::until;

use crate::{World, world::SOON};

impl World {
    /// `velero KIND create NAME … --wait`, which must complete.
    pub async fn completes(&self, kind: &str, name: &str, more: &[&str]) -> Result<()> {
        let create = [&[kind, "create", name, "--wait"][..], more].concat();
        let said = self.velero.cli(&create).await?;
        let object = self.velero.cli(&[kind, "get", name, "-o", "json"]).await?;
        let object: Value = serde_json::from_str(&object)?;
        let phase = &object["status"]["phase"];
        ensure!(phase == "Completed", "{said}\n{object:#}");
        Ok(())
    }

    /// Waits until no backup of that name, no blob and no snapshot is left.
    pub async fn backup_is_gone(&self, name: &str) -> Result<()> {
        until("the backup is gone", SOON, async || {
            let left = self.velero.cli(&["backup", "get"]).await?;
            let (blobs, snapshots) = (self.blobs().await?, self.lab.snapshots());
            ensure!(
                !left.contains(name) && blobs.is_empty() && snapshots.is_empty(),
                "{left} {blobs:?} {snapshots:?}"
            );
            Ok(Some(()))
        })
        .await
    }

    /// Waits until so many pods of a namespace run and no others are there: the node of each, by its name.
    pub async fn running(&self, namespace: &str, count: usize) -> Result<BTreeMap<String, String>> {
        let pods: Api<Pod> = Api::namespaced(self.client(), namespace);
        let within = SOON + Duration::from_secs(count as u64);
        until("all pods run", within, async || {
            let mut running = BTreeMap::new();
            let mut waiting = Vec::new();
            for pod in pods.list(&Default::default()).await? {
                let (spec, status) = (pod.spec.unwrap_or_default(), pod.status.unwrap_or_default());
                let name = pod.metadata.name.unwrap_or_default();
                match (spec.node_name, status.phase.as_deref()) {
                    (Some(node), Some("Running")) if pod.metadata.deletion_timestamp.is_none() => {
                        running.insert(name, node);
                    }
                    _ => waiting.push((name, status.conditions)),
                }
            }
            ensure!(running.len() == count, "{running:?}; {waiting:?}");
            Ok(Some(running))
        })
        .await
    }

    /// The PersistentVolume of a bound claim.
    pub async fn volume(&self, namespace: &str, claim: &str) -> Result<PersistentVolume> {
        let claims: Api<PersistentVolumeClaim> = Api::namespaced(self.client(), namespace);
        let claim = claims.get(claim).await?;
        let phase = claim.status.and_then(|status| status.phase);
        ensure!(phase.as_deref() == Some("Bound"), "a claim is {phase:?}");
        let name = claim.spec.and_then(|spec| spec.volume_name);
        let volumes: Api<PersistentVolume> = Api::all(self.client());
        Ok(volumes
            .get(&name.context("a claim without a volume")?)
            .await?)
    }

    /// Deletes a namespace, and waits until there are no volumes and no disks any more.
    pub async fn lose(&self, namespace: &str) -> Result<()> {
        self.lose_all(&[namespace]).await
    }

    /// Deletes all of these namespaces, and waits until there are no volumes and no disks any more.
    pub async fn lose_all(&self, doomed: &[&str]) -> Result<()> {
        let namespaces: Api<Namespace> = Api::all(self.client());
        let volumes: Api<PersistentVolume> = Api::all(self.client());
        for namespace in doomed {
            namespaces
                .delete(namespace, &DeleteParams::default())
                .await?;
        }
        for namespace in doomed {
            until(&format!("{namespace} is gone"), SOON, async || {
                let left = namespaces.get_opt(namespace).await?;
                ensure!(left.is_none(), "{:?}", left.and_then(|left| left.status));
                Ok(Some(()))
            })
            .await?;
        }
        until("volumes and disks are gone", SOON, async || {
            let (left, disks) = (
                volumes.list(&Default::default()).await?.items,
                self.lab.disks(),
            );
            ensure!(left.is_empty() && disks.is_empty(), "{disks:?} {left:?}");
            Ok(Some(()))
        })
        .await
    }
}
