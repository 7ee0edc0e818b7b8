//! PVs as they are found in clusters.

use serde_json::{Value, json};

/// As the CSI driver's provisioner writes it, with fields that no version knows yet.
pub(crate) fn csi(handle: &str) -> Value {
    json!({
        "apiVersion": "v1", "kind": "PersistentVolume",
        "metadata": {
            "name": "pvc-1",
            "labels": {
                "topology.kubernetes.io/region": "westeurope", "topology.kubernetes.io/zone": "westeurope-1", "app": "shop",
            },
            "annotations": {"pv.kubernetes.io/provisioned-by": "disk.csi.azure.com"},
            "fromTheFuture": {"deep": [1, {"a": null}]},
        },
        "spec": {
            "accessModes": ["ReadWriteOnce"], "capacity": {"storage": "1Gi"},
            "claimRef": {"kind": "PersistentVolumeClaim", "namespace": "restored", "name": "data"},
            "csi": {
                "driver": "disk.csi.azure.com", "volumeHandle": handle, "fsType": "ext4", "newField": true,
                "volumeAttributes": {
                    "csi.storage.k8s.io/pv/name": "pvc-1",
                    "csi.storage.k8s.io/pvc/name": "data",
                    "csi.storage.k8s.io/pvc/namespace": "shop",
                    "cachingMode": "ReadOnly", "skuName": "Premium_LRS", "requestedsizegib": "1",
                },
            },
            "nodeAffinity": {"required": {"nodeSelectorTerms": [{"matchExpressions": [
                {"key": "topology.disk.csi.azure.com/zone", "operator": "In", "values": ["westeurope-1"]},
                {"key": "kubernetes.io/arch", "operator": "In", "values": ["amd64"]},
            ]}]}},
            "persistentVolumeReclaimPolicy": "Delete", "storageClassName": "premium", "volumeMode": "Filesystem",
            "unknownToUs": 7,
        },
    })
}

/// As Kubernetes' own provisioner wrote it.
pub(crate) fn in_tree(uri: &str) -> Value {
    json!({
        "apiVersion": "v1", "kind": "PersistentVolume",
        "metadata": {
            "name": "pvc-2",
            "labels": {
                "failure-domain.beta.kubernetes.io/region": "westeurope",
                "failure-domain.beta.kubernetes.io/zone": "westeurope-1",
            },
            "annotations": {
                "pv.kubernetes.io/provisioned-by": "kubernetes.io/azure-disk",
                "pv.kubernetes.io/migrated-to": "disk.csi.azure.com",
            },
        },
        "spec": {
            "azureDisk": {
                "cachingMode": "ReadWrite", "diskName": "old", "diskURI": uri, "fsType": "xfs", "kind": "Managed", "readOnly": false,
            },
            "nodeAffinity": {"required": {"nodeSelectorTerms": [{"matchExpressions": [
                {"key": "failure-domain.beta.kubernetes.io/region", "operator": "In", "values": ["westeurope"]},
                {"key": "failure-domain.beta.kubernetes.io/zone", "operator": "In", "values": ["westeurope-1"]},
            ]}]}},
            "unknownToUs": [],
        },
    })
}
