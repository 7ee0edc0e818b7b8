//! Velero's locations, and the accounts of agents and plugin with the rights that the README lists.

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

use crate::driver;

/// Where backups are.
pub(crate) const CONTAINER: &str = "backups";

const RIGHTS: &str = "
apiVersion: v1
kind: Namespace
metadata: {name: velero}
---
apiVersion: rbac.authorization.k8s.io/v1
kind: ClusterRole
metadata: {name: stillpoint-agent}
rules:
- {apiGroups: [authentication.k8s.io], resources: [tokenreviews], verbs: [create]}
- {apiGroups: [''], resources: [nodes], verbs: [get]}
---
apiVersion: rbac.authorization.k8s.io/v1
kind: ClusterRoleBinding
metadata: {name: stillpoint-agent}
roleRef: {apiGroup: rbac.authorization.k8s.io, kind: ClusterRole, name: stillpoint-agent}
subjects: [{kind: ServiceAccount, namespace: velero, name: stillpoint-agent}]
---
apiVersion: rbac.authorization.k8s.io/v1
kind: Role
metadata: {namespace: velero, name: stillpoint-agent}
rules:
- {apiGroups: [coordination.k8s.io], resources: [leases], verbs: [create, get, patch, delete]}
---
apiVersion: rbac.authorization.k8s.io/v1
kind: RoleBinding
metadata: {namespace: velero, name: stillpoint-agent}
roleRef: {apiGroup: rbac.authorization.k8s.io, kind: Role, name: stillpoint-agent}
subjects: [{kind: ServiceAccount, namespace: velero, name: stillpoint-agent}]
---
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

/// Namespace, accounts and storage class.
pub(crate) async fn rights(cluster: &Cluster) -> Result<()> {
    cluster.apply_yaml(RIGHTS).await?;
    // As the plugin is known to agents outside a pod.
    cluster.token("velero", "velero", None).await?;
    Ok(())
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

/// Credentials, and where backups go.
pub(crate) async fn backup_location(
    cluster: &Cluster,
    lab: &Lab,
    azurite: &Azurite,
    account: &Account,
) -> Result<()> {
    // Its endpoint and its key are looked up.
    let mut storage = NewStorageAccount::new(
        lab.storage_account_id(&account.name),
        &azurite.endpoint(&account.name),
    );
    storage.key1 = Some(account.key().parse()?);
    lab.create_storage_account(&storage)?;
    let mut config = lab.location_config();
    config.retain(|key, _| !["caCert", "credentialsFile"].contains(&key.as_str()));
    config.insert("storageAccount".into(), account.name.clone());
    let authorities = format!("{}{}", azurite.authority().pem(), lab.ca_pem());
    let credential = json!({ "name": "cloud-credentials", "key": "cloud" });
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
                "credential": credential,
            },
        }))
        .await?;
    Ok(())
}

/// The VolumeSnapshotLocation, with `more` in its config. Without it, disks are frozen or no snapshot is taken.
pub(crate) async fn snapshot_location(
    cluster: &Cluster,
    lab: &Lab,
    more: &[(&str, &str)],
) -> Result<()> {
    let mut config = lab.location_config();
    // Velero's own, from the Secret.
    config.remove("credentialsFile");
    config.insert("freeze".into(), "required".into());
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
