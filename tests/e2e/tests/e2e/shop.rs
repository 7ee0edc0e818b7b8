//! The application: a namespace with a bit of everything.

use std::collections::BTreeMap;

use anyhow::Result;
use k8s_openapi::{
    api::core::v1::{ConfigMap, Secret},
    apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition,
};
use kube::{
    Api,
    api::{ApiResource, DeleteParams, DynamicObject},
    core::GroupVersionKind,
};
use stillpoint_e2e::{World, in_tree};

/// Its namespace.
pub(crate) const NAME: &str = "shop";
/// Its claims, and the beginning of their pods' names. PostgreSQL has the first volume; the last is in-tree.
pub(crate) const CLAIMS: [(&str, &str); 4] = [
    ("data-db-0", "db-0"),
    ("data-db-1", "db-1"),
    ("data-db-2", "db-2"),
    ("legacy", "legacy-"),
];
/// How many pods it has.
const PODS: usize = 6;

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
    world.cluster.apply_yaml(OBJECTS).await?;
    in_tree::open(world, NAME).await
}

/// Fails unless the objects without a volume are what [`open`] made.
pub(crate) async fn assert_objects(world: &World) -> Result<()> {
    let settings: Api<ConfigMap> = Api::namespaced(world.client(), NAME);
    let data = settings.get("settings").await?.data.unwrap_or_default();
    assert_eq!(data["colour"], "green");
    let secrets: Api<Secret> = Api::namespaced(world.client(), NAME);
    let data = secrets.get("password").await?.data.unwrap_or_default();
    assert!(data["password"].0 == b"open sesame", "another password");
    let kind = GroupVersionKind::gvk("shop.example.com", "v1", "Cart");
    let carts = ApiResource::from_gvk(&kind);
    let carts: Api<DynamicObject> = Api::namespaced_with(world.client(), NAME, &carts);
    assert_eq!(carts.get("full").await?.data["spec"]["pears"], 3);
    Ok(())
}

/// Waits until all pods run: the node of each, by its name.
pub(crate) async fn running(world: &World) -> Result<BTreeMap<String, String>> {
    world.running(NAME, PODS).await
}

/// Deletes the namespace, and with it the volumes and their disks; the custom resource too.
pub(crate) async fn lose(world: &World) -> Result<()> {
    let customs: Api<CustomResourceDefinition> = Api::all(world.client());
    customs
        .delete("carts.shop.example.com", &DeleteParams::default())
        .await?;
    world.lose(NAME).await
}
