//! The shop: a claim of the CSI driver's and an in-tree one, each with its Deployment, both in zone 1; and a person with the
//! rights that the README lists, and no others.

use std::{fs, path::PathBuf, time::Duration};

use anyhow::Result;
use k8s_openapi::api::{apps::v1::Deployment, core::v1::Node};
use kube::{
    Api,
    api::{Patch, PatchParams},
};
use serde_json::json;
use stillpoint_cluster::until;
use stillpoint_e2e::{Options, World, in_tree, world::SOON};

/// The namespace.
pub(crate) const SHOP: &str = "shop";
/// Where snapshots go.
pub(crate) const BACKUPS: &str = "backups";
/// How long Azure takes for one: bars are seen meanwhile.
const CUT: Duration = Duration::from_millis(700);

const CLAIM: &str = "
apiVersion: v1
kind: PersistentVolumeClaim
metadata: {namespace: shop, name: data, labels: {app: web}}
spec:
  accessModes: [ReadWriteOnce]
  storageClassName: managed-csi-premium
  resources: {requests: {storage: 1Gi}}
";

const DEPLOYMENT: &str = "
apiVersion: apps/v1
kind: Deployment
metadata: {namespace: shop, name: NAME}
spec:
  strategy: {type: Recreate}
  selector: {matchLabels: {app: NAME}}
  template:
    metadata: {labels: {app: NAME}}
    spec:
      containers: [{name: NAME, image: NAME, volumeMounts: [{name: data, mountPath: /data}]}]
      volumes: [{name: data, persistentVolumeClaim: {claimName: CLAIM}}]
";

/// See the module.
pub(crate) struct Scene {
    pub(crate) world: World,
    pub(crate) kubeconfig: PathBuf,
    pub(crate) authority: PathBuf,
    pub(crate) credentials: PathBuf,
}

impl Scene {
    pub(crate) async fn start() -> Result<Self> {
        let mut options = Options::default();
        options.lab.snapshot.duration = CUT;
        let world = World::start(options).await?;
        let subscription = &world.lab.endpoints().subscription;
        world
            .lab
            .add_resource_group(subscription, BACKUPS, "westeurope")?;

        let directory = world.scratch();
        fs::create_dir_all(&directory)?;
        let authority = directory.join("azure.pem");
        fs::write(&authority, world.lab.ca_pem())?;
        let credentials = directory.join("credentials");
        fs::write(&credentials, world.lab.credentials_file())?;

        let namespace =
            json!({ "apiVersion": "v1", "kind": "Namespace", "metadata": { "name": SHOP } });
        world.cluster.apply(namespace).await?;
        let rights = include_str!("../../../../deploy/kubectl/rights.yaml");
        let rights = rights.replace(
            "SUBJECT",
            "{kind: ServiceAccount, namespace: shop, name: person}",
        );
        world.cluster.apply_yaml(&rights).await?;
        let token = world.cluster.token(SHOP, "person", None).await?;
        let kubeconfig = world.cluster.kubeconfig_with("person", &token)?;
        let scene = Self {
            world,
            kubeconfig,
            authority,
            credentials,
        };
        scene.open().await?;
        Ok(scene)
    }

    /// Both volumes come to be in zone 1.
    async fn open(&self) -> Result<()> {
        self.cordon(&["node-2", "node-3"], true).await?;
        let cluster = &self.world.cluster;
        cluster.apply_yaml(CLAIM).await?;
        in_tree::volume(&self.world, SHOP).await?;
        for (name, claim) in [("web", "data"), ("old", "legacy")] {
            let deployment = DEPLOYMENT.replace("NAME", name).replace("CLAIM", claim);
            cluster.apply_yaml(&deployment).await?;
        }
        self.world.running(SHOP, 2).await?;
        self.cordon(&["node-2", "node-3"], false).await
    }

    pub(crate) async fn cordon(&self, names: &[&str], cordoned: bool) -> Result<()> {
        let nodes: Api<Node> = Api::all(self.world.client());
        let patch = Patch::Merge(json!({ "spec": { "unschedulable": cordoned } }));
        for name in names {
            nodes.patch(name, &PatchParams::default(), &patch).await?;
        }
        Ok(())
    }

    pub(crate) async fn scale(&self, deployment: &str, replicas: i32) -> Result<()> {
        let deployments: Api<Deployment> = Api::namespaced(self.world.client(), SHOP);
        let patch = Patch::Merge(json!({ "spec": { "replicas": replicas } }));
        deployments
            .patch(deployment, &PatchParams::default(), &patch)
            .await?;
        until("it is scaled", SOON, async || {
            let status = deployments
                .get(deployment)
                .await?
                .status
                .unwrap_or_default();
            Ok((status.ready_replicas.unwrap_or_default() == replicas).then_some(()))
        })
        .await
    }
}
