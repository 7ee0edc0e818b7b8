//! The agent at a real kube-apiserver: found by its Lease, asked with real tokens.

#[path = "../../../src/door/tests/client.rs"]
mod client;
mod doctor;
mod flood;
mod lease;
mod pod;
mod tokens;

use std::{net::SocketAddr, process::Command, time::Duration};

use k8s_openapi::api::coordination::v1::Lease;
use kube::Api;
use serde_json::json;
use stillpoint_cluster::{Cluster, Parts, until};
use stillpoint_loopfs::Kind;
use stillpoint_proto::agent::StatusRequest;
use tonic::Status;

use self::client::Client;
use crate::harness::{Node, PATIENCE};

const AUDIENCE: &str = "stillpoint-agent";
/// Beyond two renewals of a Lease.
const RENEWED: Duration = Duration::from_secs(40);

/// A cluster's API and one node of it, with an agent that may do what its role says and no more.
struct Site {
    // Dropped before the cluster.
    node: Node,
    kubeconfig: std::path::PathBuf,
    cluster: Cluster,
}

impl Site {
    /// `None` where that cannot be, said loudly.
    async fn start() -> Option<Self> {
        if let Some(why) = stillpoint_cluster::missing() {
            eprintln!("SKIPPED: {why}");
            return None;
        }
        let node = Node::prepared(&[Kind::Ext4])?;
        let cluster = Cluster::start(Parts::Api).await.unwrap();
        let there = json!({ "apiVersion": "v1", "kind": "Node", "metadata": { "name": "node-1" } });
        cluster.apply(there).await.unwrap();
        let chart = json!({ "gate": { "enabled": false } });
        cluster.apply_chart(&chart).await.unwrap();
        let kubeconfig = cluster.agent_kubeconfig("node-1").await.unwrap();
        let mut site = Self {
            node,
            kubeconfig,
            cluster,
        };
        site.start_agent();
        Some(site)
    }

    fn start_agent(&mut self) {
        // Nothing secret is logged, however much is.
        self.start_agent_with("trace");
    }

    fn start_agent_with(&mut self, log: &str) {
        let kubeconfig = self.kubeconfig.clone();
        self.node.start_with(|command: &mut Command| {
            command
                .args(["--node-name", "node-1", "--listen", "127.0.0.1:0"])
                .arg("--kubeconfig")
                .arg(kubeconfig)
                .env("STILLPOINT_LOG", log);
        });
    }

    fn leases(&self) -> Api<Lease> {
        Api::namespaced(self.cluster.client(), "velero")
    }

    /// The Lease once it is there and another than `before`.
    async fn lease(&self, before: Option<&Lease>) -> Lease {
        let leases = self.leases();
        let before = before.map(holder);
        let found = until("the agent's Lease", RENEWED, async || {
            let lease = leases.get_opt("stillpoint-agent-node-1").await?;
            Ok(lease.filter(|lease| Some(holder(lease)) != before))
        });
        found.await.unwrap()
    }

    /// Asks the agent that the Lease names.
    async fn status(&self, lease: &Lease, token: &str) -> Result<String, Status> {
        let mut client = self.client(lease, token).await.unwrap();
        let status = client.agent.status(StatusRequest {}).await?;
        Ok(status.into_inner().node)
    }

    async fn client(&self, lease: &Lease, token: &str) -> Result<Client, String> {
        let fingerprint = annotation(lease, "stillpoint.io/certificate-sha256");
        let endpoint = annotation(lease, "stillpoint.io/endpoint");
        let address: SocketAddr = endpoint.strip_prefix("https://").unwrap().parse().unwrap();
        Client::connect(address, fingerprint, token).await
    }

    async fn token(&self, account: &str, audience: &str) -> String {
        let token = self.cluster.token("velero", account, Some(audience));
        token.await.unwrap()
    }
}

fn annotation<'a>(lease: &'a Lease, name: &str) -> &'a str {
    &lease.metadata.annotations.as_ref().unwrap()[name]
}

fn holder(lease: &Lease) -> String {
    let spec = lease.spec.as_ref().unwrap();
    spec.holder_identity.clone().unwrap()
}
