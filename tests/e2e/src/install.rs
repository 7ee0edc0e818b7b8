//! The chart with its accounts and rights, nodes, and Velero's locations.

use std::{collections::BTreeMap, path::PathBuf, sync::Arc};

use anyhow::Result;
use base64::{Engine as _, engine::general_purpose::STANDARD};
use k8s_openapi::api::core::v1::Node;
use kube::{
    Api,
    api::{Patch, PatchParams},
};
use serde_json::{Value, json};
use stillpoint_cluster::Cluster;
use stillpoint_lab::{Lab, NewStorageAccount};
use stillpoint_system::blob::{Account, Azurite};

use crate::{Cloud, driver};

/// Where backups are.
pub(crate) const CONTAINER: &str = "backups";

const STORAGE: &str = "
apiVersion: storage.k8s.io/v1
kind: StorageClass
metadata: {name: managed-csi-premium}
provisioner: disk.csi.azure.com
reclaimPolicy: Delete
volumeBindingMode: WaitForFirstConsumer
---
apiVersion: storage.k8s.io/v1
kind: CSIDriver
metadata: {name: disk.csi.azure.com}
spec: {attachRequired: true, podInfoOnMount: false}
";

/// The chart without its gate, whose webhooks nobody answers yet, and a storage class. Returns the kubeconfig of the
/// plugin: Velero's account with the rights that the chart gives it, and no others.
pub(crate) async fn chart(cluster: &Cluster) -> Result<PathBuf> {
    let chart = json!({
        "gate": { "enabled": false },
        // As with it, so that the agents' pods stay when it comes.
        "agent": { "accept": ["velero/stillpoint-gate"] },
    });
    cluster.apply_chart(&chart).await?;
    cluster.apply_yaml(STORAGE).await?;
    let token = cluster.token("velero", "velero", None).await?;
    cluster.kubeconfig_with("plugin", &token)
}

/// A node with the old labels too, as Azure's cloud provider still sets them, and as the driver's node plugin registers
/// it: in-tree volumes are its own too.
pub(crate) async fn node(cluster: &Cluster, name: &str, zone: &str) -> Result<()> {
    cluster.add_node(name, zone).await?;
    let labels = json!({
        "failure-domain.beta.kubernetes.io/region": "westeurope",
        "failure-domain.beta.kubernetes.io/zone": zone,
    });
    let labels = Patch::Merge(json!({ "metadata": { "labels": labels } }));
    let nodes: Api<Node> = Api::all(cluster.client());
    nodes.patch(name, &PatchParams::default(), &labels).await?;
    cluster
        .apply(json!({
            "apiVersion": "storage.k8s.io/v1", "kind": "CSINode",
            "metadata": {
                "name": name,
                "annotations": { "storage.alpha.kubernetes.io/migrated-plugins": "kubernetes.io/azure-disk" },
            },
            "spec": { "drivers": [{
                "name": driver::NAME, "nodeID": name, "topologyKeys": ["topology.disk.csi.azure.com/zone"],
                "allocatable": { "count": 32 },
            }] },
        }))
        .await?;
    Ok(())
}

/// Credentials and locations; `more` goes into the config of the VolumeSnapshotLocation.
pub(crate) async fn locations(
    cluster: &Cluster,
    azure: &Azure,
    azurite: &Azurite,
    account: &Account,
    more: &[(&str, &str)],
) -> Result<()> {
    let lab = &azure.lab;
    // Its endpoint and its key are looked up.
    let mut storage = NewStorageAccount::new(
        lab.storage_account_id(&account.name),
        &azurite.endpoint(&account.name),
    );
    storage.key1 = Some(account.key().parse()?);
    lab.create_storage_account(&storage)?;
    let mut config = azure.config();
    // Velero's own, from `objectStorage`.
    config.remove("caCert");
    config.insert("storageAccount".into(), account.name.clone());
    let authorities = authorities(lab, azurite);
    cluster
        .apply(json!({
            "apiVersion": "v1", "kind": "Secret",
            "metadata": { "namespace": "velero", "name": "cloud-credentials" },
            "stringData": { "cloud": lab.credentials_file() },
        }))
        .await?;
    cluster
        .apply(json!({
            "apiVersion": "velero.io/v1", "kind": "BackupStorageLocation",
            "metadata": { "namespace": "velero", "name": "default" },
            "spec": {
                "provider": "velero.io/azure",
                "default": true,
                "objectStorage": {
                    "bucket": CONTAINER,
                    "prefix": "cluster-1",
                    "caCert": STANDARD.encode(authorities),
                },
                "config": config,
                "credential": { "name": "cloud-credentials", "key": "cloud" },
            },
        }))
        .await?;
    snapshot_location(cluster, azure, more).await
}

/// The VolumeSnapshotLocation, with `more` in its config.
pub(crate) async fn snapshot_location(
    cluster: &Cluster,
    azure: &Azure,
    more: &[(&str, &str)],
) -> Result<()> {
    let mut config = azure.config();
    let more = more
        .iter()
        .map(|(key, value)| ((*key).into(), (*value).into()));
    config.extend(more);
    let location: Value = json!({
        "apiVersion": "velero.io/v1", "kind": "VolumeSnapshotLocation",
        "metadata": { "namespace": "velero", "name": "default" },
        "spec": {
            "provider": "velero.io/azure",
            "config": config,
            "credential": { "name": "cloud-credentials", "key": "cloud" },
        },
    });
    cluster.apply(location).await?;
    Ok(())
}

/// Who signed what plugins speak to, in PEM.
pub(crate) fn authorities(lab: &Lab, azurite: &Azurite) -> String {
    format!("{}{}", azurite.authority().pem(), lab.ca_pem())
}

/// The simulated Azure, and how locations say where it is.
pub(crate) struct Azure {
    pub(crate) lab: Arc<Lab>,
    pub(crate) cloud: Cloud,
}

impl Azure {
    /// What both locations say of it.
    fn config(&self) -> BTreeMap<String, String> {
        let mut config = self.lab.location_config();
        // Velero's own, from the Secret.
        config.remove("credentialsFile");
        if self.cloud == Cloud::Public {
            config.retain(|key, _| ["resourceGroup", "subscriptionId"].contains(&key.as_str()));
        }
        config
    }
}
