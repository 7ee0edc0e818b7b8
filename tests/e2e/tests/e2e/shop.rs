//! The application: a namespace with a bit of everything.

use std::collections::BTreeMap;

use anyhow::{Context as _, Result};
use k8s_openapi::api::core::v1::{Namespace, PersistentVolume, PersistentVolumeClaim, Pod};
use kube::{Api, api::DeleteParams};
use stillpoint_cluster::until;
use stillpoint_e2e::{World, world::SOON};

/// Its namespace.
pub(crate) const NAME: &str = "shop";
/// The claims of the StatefulSet.
pub(crate) const CLAIMS: [&str; 3] = ["data-db-0", "data-db-1", "data-db-2"];

const OBJECTS: &str = "
apiVersion: v1
kind: Namespace
metadata: {name: shop}
---
apiVersion: v1
kind: ConfigMap
metadata: {namespace: shop, name: settings}
data: {colour: green}
---
apiVersion: v1
kind: Secret
metadata: {namespace: shop, name: password}
stringData: {password: open sesame}
---
apiVersion: apiextensions.k8s.io/v1
kind: CustomResourceDefinition
metadata: {name: carts.shop.example.com}
spec:
  group: shop.example.com
  names: {kind: Cart, plural: carts}
  scope: Namespaced
  versions:
  - name: v1
    served: true
    storage: true
    schema: {openAPIV3Schema: {type: object, x-kubernetes-preserve-unknown-fields: true}}
---
apiVersion: shop.example.com/v1
kind: Cart
metadata: {namespace: shop, name: full}
spec: {pears: 3}
---
apiVersion: apps/v1
kind: Deployment
metadata: {namespace: shop, name: web}
spec:
  replicas: 2
  selector: {matchLabels: {app: web}}
  template:
    metadata: {labels: {app: web}}
    spec: {containers: [{name: web, image: web}]}
---
apiVersion: apps/v1
kind: StatefulSet
metadata: {namespace: shop, name: db}
spec:
  replicas: 3
  serviceName: db
  podManagementPolicy: Parallel
  selector: {matchLabels: {app: db}}
  template:
    metadata: {labels: {app: db}}
    spec:
      containers: [{name: db, image: db, volumeMounts: [{name: data, mountPath: /data}]}]
      topologySpreadConstraints:
      - maxSkew: 1
        topologyKey: topology.kubernetes.io/zone
        whenUnsatisfiable: DoNotSchedule
        labelSelector: {matchLabels: {app: db}}
  volumeClaimTemplates:
  - metadata: {name: data}
    spec:
      accessModes: [ReadWriteOnce]
      storageClassName: managed-csi-premium
      resources: {requests: {storage: 1Gi}}
";

/// Makes all of it.
pub(crate) async fn open(world: &World) -> Result<()> {
    world.cluster.apply_yaml(OBJECTS).await
}

/// Waits until that many pods run: the node of each, by its name.
pub(crate) async fn running(world: &World, count: usize) -> Result<BTreeMap<String, String>> {
    let pods: Api<Pod> = Api::namespaced(world.client(), NAME);
    until(&format!("{count} pods run"), SOON, async || {
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
        anyhow::ensure!(running.len() == count, "{running:?}; {waiting:?}");
        Ok(Some(running))
    })
    .await
}

/// The PersistentVolume of a bound claim.
pub(crate) async fn volume(world: &World, claim: &str) -> Result<PersistentVolume> {
    let claims: Api<PersistentVolumeClaim> = Api::namespaced(world.client(), NAME);
    let claim = claims.get(claim).await?;
    let phase = claim.status.and_then(|status| status.phase);
    anyhow::ensure!(phase.as_deref() == Some("Bound"), "a claim is {phase:?}");
    let name = claim.spec.and_then(|spec| spec.volume_name);
    let volumes: Api<PersistentVolume> = Api::all(world.client());
    Ok(volumes
        .get(&name.context("a claim without a volume")?)
        .await?)
}

/// Deletes the namespace, and with it the volumes and their disks.
pub(crate) async fn lose(world: &World) -> Result<()> {
    let namespaces: Api<Namespace> = Api::all(world.client());
    let volumes: Api<PersistentVolume> = Api::all(world.client());
    namespaces.delete(NAME, &DeleteParams::default()).await?;
    until("the namespace is gone", SOON, async || {
        let left = namespaces.get_opt(NAME).await?;
        anyhow::ensure!(left.is_none(), "{:?}", left.and_then(|left| left.status));
        Ok(Some(()))
    })
    .await?;
    until("volumes and disks are gone", SOON, async || {
        let (left, disks) = (
            volumes.list(&Default::default()).await?.items,
            world.lab.disks(),
        );
        anyhow::ensure!(left.is_empty() && disks.is_empty(), "{disks:?} {left:?}");
        Ok(Some(()))
    })
    .await
}
