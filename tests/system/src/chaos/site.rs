//! The node's cluster: a real API server, to which the agent's way can be cut, and the objects that lead to its volumes.

use std::{fs, net::SocketAddr, path::PathBuf, time::Duration};

use anyhow::{Context as _, Result};
use serde_json::{Value, json};
use stillpoint_cluster::{Cluster, Parts, until};

use super::link::Link;
use crate::rig::{Rig, Volume};

const SOON: Duration = Duration::from_secs(30);
const LEASE: &str = "stillpoint-agent-node-1";
const NAMESPACES: &str = "
{apiVersion: v1, kind: Namespace, metadata: {name: velero}}
---
{apiVersion: v1, kind: Namespace, metadata: {name: shop}}
---
{apiVersion: v1, kind: Node, metadata: {name: node-1}}
";

/// Fields are dropped in their order.
pub(super) struct Site {
    /// Between the agent and the API server.
    pub(super) api: Link,
    /// The agent's.
    pub(super) kubeconfig: PathBuf,
    /// Who wrote the Lease as it was last seen.
    holder: String,
    cluster: Cluster,
}

impl Site {
    pub(super) async fn start(rig: &Rig) -> Result<Self> {
        let cluster = Cluster::start(Parts::Api).await?;
        cluster.apply_yaml(NAMESPACES).await?;
        let mut config: Value = serde_json::from_slice(&fs::read(cluster.kubeconfig())?)?;
        let server = config.pointer_mut("/clusters/0/cluster/server");
        let server = server.context("a kubeconfig names a server")?;
        let direct: SocketAddr = server
            .as_str()
            .and_then(|url| url.strip_prefix("https://")?.parse().ok())
            .context("the API server's address")?;
        let (api, address) = Link::tcp(direct).await?;
        *server = json!(format!("https://{address}"));
        let kubeconfig = rig.scratch().join("agent.kubeconfig");
        fs::write(&kubeconfig, config.to_string())?;
        Ok(Self {
            cluster,
            api,
            kubeconfig,
            holder: String::new(),
        })
    }

    /// As Velero's server has it, with the account `velero/velero` that agents accept.
    pub(super) async fn plugins_kubeconfig(&self) -> Result<PathBuf> {
        self.cluster.apply_yaml(RIGHTS).await?;
        let token = self.cluster.token("velero", "velero", None).await?;
        self.cluster.kubeconfig_with("velero", &token)
    }

    /// PV and attachment of a volume of the node.
    pub(super) async fn add(&self, volume: &Volume) -> Result<()> {
        let name = &volume.id.name;
        self.cluster.apply(volume.persistent_volume()).await?;
        let attachment = json!({
            "apiVersion": "storage.k8s.io/v1", "kind": "VolumeAttachment",
            "metadata": { "name": format!("{name}-on-node-1") },
            "spec": {
                "attacher": "disk.csi.azure.com", "nodeName": "node-1",
                "source": { "persistentVolumeName": format!("pvc-{name}") },
            },
            "status": { "attached": true },
        });
        self.cluster.apply(attachment).await.map(drop)
    }

    async fn lease(&self) -> Result<Option<Value>> {
        let leases: kube::Api<k8s_openapi::api::coordination::v1::Lease> =
            kube::Api::namespaced(self.cluster.client(), "velero");
        let lease = leases.get_opt(LEASE).await?;
        Ok(lease.map(serde_json::to_value).transpose()?)
    }

    /// Waits until the agent that was started last is announced.
    pub(super) async fn announced(&mut self) -> Result<()> {
        let before = self.holder.clone();
        self.holder = until("the agent is announced", SOON, async || {
            let lease = self.lease().await?.unwrap_or_default();
            let holder = lease
                .pointer("/spec/holderIdentity")
                .and_then(Value::as_str);
            Ok(holder.filter(|holder| *holder != before).map(str::to_owned))
        })
        .await?;
        Ok(())
    }

    /// The Lease is as if nobody had renewed it for long, or as if somebody just had.
    pub(super) async fn renewed(&self, ago: Duration) -> Result<()> {
        let ago = jiff::SignedDuration::try_from(ago)?;
        let time = (jiff::Timestamp::now() - ago).strftime("%Y-%m-%dT%H:%M:%S.%6fZ");
        let patch = json!({ "spec": { "renewTime": time.to_string() } });
        let leases: kube::Api<k8s_openapi::api::coordination::v1::Lease> =
            kube::Api::namespaced(self.cluster.client(), "velero");
        let params = kube::api::PatchParams::default();
        let patch = kube::api::Patch::Merge(patch);
        match leases.patch(LEASE, &params, &patch).await {
            // An agent that ends takes it away.
            Err(kube::Error::Api(status)) if status.code == 404 => Ok(()),
            patched => Ok(patched.map(drop)?),
        }
    }
}

const RIGHTS: &str = "
apiVersion: rbac.authorization.k8s.io/v1
kind: ClusterRoleBinding
metadata: {name: velero}
roleRef: {apiGroup: rbac.authorization.k8s.io, kind: ClusterRole, name: cluster-admin}
subjects: [{kind: ServiceAccount, namespace: velero, name: velero}]
";
