//! A volume of before there was a CSI driver, with its pod.

use anyhow::Result;

use crate::World;

/// Its zone; its claim, its PersistentVolume and its disk have the same name.
pub const ZONE: &str = "westeurope-1";
/// See there.
pub const NAME: &str = "legacy";

const VOLUME: &str = "
apiVersion: v1
kind: PersistentVolume
metadata:
  name: legacy
  annotations: {pv.kubernetes.io/provisioned-by: kubernetes.io/azure-disk}
  labels:
    failure-domain.beta.kubernetes.io/region: westeurope
    failure-domain.beta.kubernetes.io/zone: westeurope-1
spec:
  accessModes: [ReadWriteOnce]
  azureDisk: {kind: Managed, cachingMode: ReadOnly, fsType: ext4, diskName: legacy, diskURI: DISK}
  capacity: {storage: 1Gi}
  claimRef: {namespace: NAMESPACE, name: legacy}
  nodeAffinity: {required: {nodeSelectorTerms: [{matchExpressions: [
    {key: failure-domain.beta.kubernetes.io/zone, operator: In, values: [westeurope-1]}]}]}}
  persistentVolumeReclaimPolicy: Delete
---
apiVersion: v1
kind: PersistentVolumeClaim
metadata: {namespace: NAMESPACE, name: legacy}
spec:
  accessModes: [ReadWriteOnce]
  storageClassName: \"\"
  volumeName: legacy
  resources: {requests: {storage: 1Gi}}
";

const POD: &str = "
apiVersion: apps/v1
kind: Deployment
metadata: {namespace: NAMESPACE, name: legacy}
spec:
  strategy: {type: Recreate}
  selector: {matchLabels: {app: legacy}}
  template:
    metadata: {labels: {app: legacy}}
    spec:
      containers: [{name: legacy, image: legacy, volumeMounts: [{name: data, mountPath: /data}]}]
      volumes: [{name: data, persistentVolumeClaim: {claimName: legacy}}]
";

/// Makes the volume and its claim in a namespace that is there.
pub async fn volume(world: &World, namespace: &str) -> Result<()> {
    let disk = world.driver.disk(NAME, ZONE)?;
    let objects = VOLUME.replace("NAMESPACE", namespace);
    let objects = objects.replace("DISK", &disk.to_string());
    world.cluster.apply_yaml(&objects).await
}

/// The same with a pod.
pub async fn open(world: &World, namespace: &str) -> Result<()> {
    volume(world, namespace).await?;
    let pod = POD.replace("NAMESPACE", namespace);
    world.cluster.apply_yaml(&pod).await
}
