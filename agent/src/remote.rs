//! The agent's side towards the cluster: the TCP door, who may come in, and the Lease that says where it is.

use std::{
    net::{IpAddr, SocketAddr},
    sync::Arc,
};

use stillpoint_proto::agent::agent_server::AgentServer;
use thiserror::Error;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use crate::{
    account::Accounts,
    cli::RemoteOptions,
    door::{self, TcpDoor, TcpError},
    kubernetes::{Announced, Announcement, Kubernetes, KubernetesError, TokenReviews},
    metrics::Metrics,
    service::Service,
};

/// Why the agent cannot be asked from afar as it was told to be.
#[derive(Debug, Error)]
pub(crate) enum RemoteError {
    #[error(
        "--listen {0} needs Kubernetes, which knows the callers: run in a pod with a service account, or set --kubeconfig (STILLPOINT_KUBECONFIG)"
    )]
    NoKubernetes(SocketAddr),
    #[error(transparent)]
    Kubernetes(#[from] KubernetesError),
    #[error(transparent)]
    Door(#[from] TcpError),
    #[error(
        "at which address do plugins reach {0}? Set --advertise (STILLPOINT_ADVERTISE), in a pod to the pod's IP (fieldRef status.podIP)"
    )]
    NoAddress(SocketAddr),
}

/// An open TCP door.
pub(crate) struct Remote {
    kubernetes: Kubernetes,
    door: TcpDoor,
    accounts: Arc<Accounts>,
    announcement: Announcement,
    announced: Announced,
}

impl Remote {
    /// Opens the door if Kubernetes is configured; without Kubernetes there is nobody to let in.
    pub(crate) async fn open(
        options: &RemoteOptions,
        node: &str,
    ) -> Result<Option<Self>, RemoteError> {
        let configured = Kubernetes::configured(options.kubeconfig.as_deref()).await?;
        let Some(mut kubernetes) = configured else {
            if let Some(address) = options.listen {
                return Err(RemoteError::NoKubernetes(address));
            }
            tracing::info!(
                "no TCP door: not in a pod with a service account, and no --kubeconfig (STILLPOINT_KUBECONFIG)"
            );
            return Ok(None);
        };
        if let Some(namespace) = &options.namespace {
            kubernetes.namespace.clone_from(namespace);
        }
        let door = TcpDoor::open(options.listen).await?;
        let endpoint = endpoint(options.advertise, door.address)?;
        let reviews = TokenReviews::new(kubernetes.client.clone());
        let accepted: Vec<_> = options.accept.iter().map(ToString::to_string).collect();
        tracing::info!(
            listen = %door.address, endpoint, accept = accepted.join(","), "the TCP door is open"
        );
        Ok(Some(Self {
            accounts: Arc::new(Accounts::new(Arc::new(reviews), options.accept.clone())),
            announcement: Announcement {
                node: node.to_owned(),
                endpoint,
                fingerprint: door.identity.fingerprint.clone(),
            },
            announced: Announced::default(),
            kubernetes,
            door,
        }))
    }

    /// Whether plugins find this agent.
    pub(crate) fn announced(&self) -> Announced {
        self.announced.clone()
    }

    /// Serves until `closed`; announces itself until `end`. The task is done when the Lease is gone.
    pub(crate) fn serve(
        self,
        service: AgentServer<Service>,
        metrics: Metrics,
        end: CancellationToken,
        closed: CancellationToken,
    ) -> (
        impl Future<Output = Result<(), tonic::transport::Error>> + Send,
        JoinHandle<()>,
    ) {
        let Kubernetes { client, namespace } = self.kubernetes;
        let announced =
            self.announcement
                .keep(client, namespace, metrics.clone(), self.announced, end);
        let announced = tokio::spawn(announced);
        let closed = closed.cancelled_owned();
        let served = door::serve(self.door, self.accounts, metrics, service, closed);
        (served, announced)
    }
}

/// What plugins connect to.
fn endpoint(advertise: Option<IpAddr>, listening: SocketAddr) -> Result<String, RemoteError> {
    let ip = advertise.unwrap_or_else(|| listening.ip());
    if ip.is_unspecified() {
        return Err(RemoteError::NoAddress(listening));
    }
    Ok(format!("https://{}", SocketAddr::new(ip, listening.port())))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_endpoint_is_the_advertised_address_at_the_port_listened_on() {
        for (advertise, listen, expected) in [
            (Some("10.0.0.7"), "[::]:7443", Some("https://10.0.0.7:7443")),
            (Some("fd00::7"), "[::]:7443", Some("https://[fd00::7]:7443")),
            (None, "127.0.0.1:99", Some("https://127.0.0.1:99")),
            (None, "[::]:7443", None),
            (None, "0.0.0.0:7443", None),
        ] {
            let advertise = advertise.map(|ip| ip.parse().unwrap());
            let seen = endpoint(advertise, listen.parse().unwrap()).ok();
            assert_eq!(seen.as_deref(), expected, "{advertise:?} {listen}");
        }
    }
}
