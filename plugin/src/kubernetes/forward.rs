//! To agents through the API server: from a laptop no pod's address can be reached, but its ports can be forwarded.

use std::{io, sync::Arc, time::Duration};

use async_trait::async_trait;
use k8s_openapi::api::core::v1::Pod;
use kube::{Api, ResourceExt as _, api::ListParams};

use super::{Kubernetes, described};
use crate::agent::{AgentAddress, Reach, Stream};

/// The API server, the kubelet, the pod: each is asked anew, perhaps from far away.
const PATIENCE: Duration = Duration::from_secs(15);
/// Of every agent's pod.
const AGENTS: &str = "app.kubernetes.io/name=stillpoint-agent";

/// Forwards ports of the agents' pods.
pub struct PortForwards(Arc<Kubernetes>);

impl PortForwards {
    /// Those of that cluster.
    pub fn new(kubernetes: Arc<Kubernetes>) -> Self {
        Self(kubernetes)
    }

    async fn forward(&self, node: &str, address: &AgentAddress) -> Result<Stream, String> {
        let cluster = self.0.cluster().await?;
        let namespace = &cluster.namespace;
        let (ip, port) = address
            .authority
            .rsplit_once(':')
            .and_then(|(ip, port)| Some((ip, port.parse::<u16>().ok()?)))
            .ok_or_else(|| format!("`{}` is no address", address.authority))?;
        let pods: Api<Pod> = Api::namespaced(cluster.client.clone(), namespace);
        let running = ListParams::default()
            .labels(AGENTS)
            .fields(&format!("spec.nodeName={node},status.phase=Running"));
        let running = pods.list(&running).await;
        let running = running.map_err(|error| {
            format!(
                "the agents' pods in {namespace} cannot be listed: {}",
                described(&error)
            )
        })?;
        let there = || {
            let pods = running.items.iter();
            pods.filter(|pod| pod.metadata.deletion_timestamp.is_none())
        };
        let announced = |pod: &&Pod| {
            let status = pod.status.as_ref();
            status.and_then(|status| status.pod_ip.as_deref()) == Some(ip.trim_matches(['[', ']']))
        };
        // While one takes over from another there are two; which it is the certificate tells.
        let pod = there().find(announced).or_else(|| there().next());
        let pod = pod.ok_or_else(|| {
            format!(
                "no pod with {AGENTS} runs on {node} in namespace {namespace} (`--agent-namespace`)"
            )
        })?;
        let name = pod.name_any();
        let forwarded = pods.portforward(&name, &[port]).await;
        let mut forwarded = forwarded.map_err(|error| {
            let reason = described(&error);
            format!("port {port} of pod {namespace}/{name} cannot be forwarded: {reason} (it needs `pods/portforward: create`)")
        })?;
        if let Some(broken) = forwarded.take_error(port) {
            tokio::spawn(async move {
                if let Some(reason) = broken.await {
                    tracing::info!(pod = name, port, reason, "the forwarded port is closed");
                }
            });
        }
        let stream = forwarded.take_stream(port);
        Ok(Box::new(stream.ok_or("it was forwarded to nobody")?))
    }
}

#[async_trait]
impl Reach for PortForwards {
    async fn connect(&self, node: &str, address: &AgentAddress) -> io::Result<Stream> {
        let forwarded = self.forward(node, address).await;
        forwarded.map_err(io::Error::other)
    }

    fn patience(&self) -> Duration {
        PATIENCE
    }
}
