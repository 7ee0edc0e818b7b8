//! Disks and PersistentVolumes for claims, and their end.

use std::collections::BTreeMap;

use anyhow::{Context as _, Result};
use k8s_openapi::{
    api::{
        core::v1::{PersistentVolume, PersistentVolumeClaim, PersistentVolumeClaimSpec},
        storage::v1::StorageClass,
    },
    apimachinery::pkg::apis::meta::v1::ObjectMeta,
};
use kube::{
    Api, Error,
    api::{DeleteParams, ListParams, PostParams},
};
use serde_json::json;
use stillpoint_lab::{NewDisk, ResourceId, Sku};
use stillpoint_loopfs::{self as loopfs, Kind};
use tokio::task;

use super::{NAME, State, handle};

impl State {
    /// A disk for each claim whose pod has got a node.
    pub(super) async fn provision(&self) -> Result<()> {
        let claims: Api<PersistentVolumeClaim> = Api::all(self.client.clone());
        let mut first = Ok(());
        for claim in claims.list(&ListParams::default()).await? {
            let annotations = claim.metadata.annotations.clone().unwrap_or_default();
            let spec = claim.spec.unwrap_or_default();
            let ours = annotations.get("volume.kubernetes.io/storage-provisioner");
            let node = annotations.get("volume.kubernetes.io/selected-node");
            let (Some(NAME), Some(node), None) =
                (ours.map(String::as_str), node, &spec.volume_name)
            else {
                continue;
            };
            let provisioned = self.claim(node, claim.metadata, spec).await;
            first = first.and(provisioned);
        }
        first
    }

    /// A disk for that claim, which has got that node.
    async fn claim(
        &self,
        node: &str,
        claim: ObjectMeta,
        spec: PersistentVolumeClaimSpec,
    ) -> Result<()> {
        let node = self.nodes.get(node).context("a node that is none")?;
        let uid = claim.uid.unwrap_or_default();
        let namespace = claim.namespace.unwrap_or_default();
        let name = claim.name.unwrap_or_default();
        let pv = format!("pvc-{uid}");
        let reference = json!({
            "apiVersion": "v1", "kind": "PersistentVolumeClaim",
            "namespace": namespace, "name": name, "uid": uid,
        });
        let tags = [
            ("k8s-azure-created-by", "kubernetes-azure-dd".into()),
            ("kubernetes.io-created-for-pv-name", pv.clone()),
            ("kubernetes.io-created-for-pvc-name", name.clone()),
            ("kubernetes.io-created-for-pvc-namespace", namespace.clone()),
        ];
        let tags = tags.map(|(key, value)| (key.into(), value)).into();
        let sku = self.sku(spec.storage_class_name.as_deref()).await?;
        let disk = match &spec.data_source {
            Some(source) => self.copy(source, &namespace, &pv, &node.zone, tags).await?,
            None => self.disk(&pv, &node.zone, sku, tags)?,
        };
        let volume = json!({
            "apiVersion": "v1", "kind": "PersistentVolume",
            "metadata": {
                "name": pv,
                "annotations": { "pv.kubernetes.io/provisioned-by": NAME },
            },
            "spec": {
                "accessModes": ["ReadWriteOnce"],
                "capacity": { "storage": "1Gi" },
                "claimRef": reference,
                "csi": {
                    "driver": NAME,
                    "fsType": "ext4",
                    "volumeHandle": disk.to_string(),
                    "volumeAttributes": {
                        "csi.storage.k8s.io/pv/name": pv,
                        "csi.storage.k8s.io/pvc/name": name,
                        "csi.storage.k8s.io/pvc/namespace": namespace,
                        "requestedsizegib": "1",
                        "skuName": sku.name(),
                    },
                },
                "nodeAffinity": { "required": { "nodeSelectorTerms": [{ "matchExpressions": [{
                    "key": "topology.disk.csi.azure.com/zone", "operator": "In", "values": [node.zone],
                }] }] } },
                "persistentVolumeReclaimPolicy": "Delete",
                "storageClassName": spec.storage_class_name,
                "volumeMode": spec.volume_mode,
            },
        });
        let volumes: Api<PersistentVolume> = Api::all(self.client.clone());
        let volume = serde_json::from_value(volume)?;
        match volumes.create(&PostParams::default(), &volume).await {
            // Kubernetes has not bound it yet.
            Err(Error::Api(status)) if status.code == 409 => {}
            made => drop(made?),
        }
        Ok(())
    }

    /// What a storage class asks for: Premium SSD if it does not say.
    async fn sku(&self, class: Option<&str>) -> Result<Sku> {
        let classes: Api<StorageClass> = Api::all(self.client.clone());
        let class = match class {
            Some(name) => classes.get_opt(name).await?,
            None => None,
        };
        let parameters = class.and_then(|class| class.parameters).unwrap_or_default();
        let name = parameters.get("skuName").map(String::as_str);
        Ok(name.map(str::parse).transpose()?.unwrap_or(Sku::PremiumLrs))
    }

    /// A formatted disk of 1 GiB, made if it is not there.
    pub(super) fn disk(
        &self,
        name: &str,
        zone: &str,
        sku: Sku,
        tags: BTreeMap<String, String>,
    ) -> Result<ResourceId> {
        let id = self.lab.disk_id(name);
        if self.lab.disk(&id).is_none() {
            let number = zone.rsplit_once('-').map(|(_, number)| number.to_owned());
            let disk = NewDisk {
                sku,
                zone: number,
                tags,
                ..NewDisk::new(id.clone())
            };
            self.lab.create_disk(&disk)?;
            let image = self.lab.disk_file(&id).context("the lab lost a disk")?;
            task::block_in_place(|| loopfs::format(&image, Kind::Ext4, disk.gib << 10))?;
        }
        Ok(id)
    }

    /// Deletes what its claim has left.
    pub(super) async fn reclaim(&self) -> Result<()> {
        let volumes: Api<PersistentVolume> = Api::all(self.client.clone());
        for volume in volumes.list(&ListParams::default()).await? {
            let Some(handle) = handle(&volume) else {
                continue;
            };
            let name = volume.metadata.name.unwrap_or_default();
            let policy = volume
                .spec
                .and_then(|spec| spec.persistent_volume_reclaim_policy);
            let phase = volume.status.and_then(|status| status.phase);
            let used = self.mounts().of(&name).is_some();
            if used
                || phase.as_deref() != Some("Released")
                || policy.as_deref() != Some("Delete")
                || volume.metadata.deletion_timestamp.is_some()
            {
                continue;
            }
            self.lab.delete_disk(&handle.parse()?);
            volumes.delete(&name, &DeleteParams::default()).await?;
        }
        Ok(())
    }
}
