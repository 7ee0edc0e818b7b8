//! The Lease under which the agent of a node is found, as long as it is renewed.
//!
//! ```text
//!   write ──► renewed every 10 s ──stop──► deleted, unless another agent has written it since
//!     ▲              │ fails
//!     └── a pause ◄──┘
//! ```
//!
//! Each renewal is a server-side apply of the whole object: that makes it, takes it over from an agent that died, and
//! restores it if it was deleted or changed.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use k8s_openapi::{
    api::{
        coordination::v1::{Lease, LeaseSpec},
        core::v1::Node,
    },
    apimachinery::pkg::apis::meta::v1::{MicroTime, OwnerReference},
    jiff::Timestamp,
};
use kube::{
    Api, Client, Resource as _,
    api::{DeleteParams, ObjectMeta, Patch, PatchParams, Preconditions},
};
use tokio::time::{Instant, sleep, timeout};
use tokio_util::sync::CancellationToken;

use super::described;
use crate::metrics::Metrics;

/// Of every object of the agents, and the field manager of what they write.
const NAME: &str = "stillpoint-agent";
const RENEW: Duration = Duration::from_secs(10);
const GOOD_FOR: Duration = Duration::from_secs(30);
/// After a failure, twice as long after each further one, up to the time of renewal.
const PAUSE: Duration = Duration::from_secs(1);
/// For one request.
const PATIENCE: Duration = Duration::from_secs(5);
/// For taking the Lease away at the end: nobody waits longer for that.
const FAREWELL: Duration = Duration::from_secs(1);

/// When the Lease was last written, if ever. Clones are the same.
#[derive(Clone, Debug, Default)]
pub(crate) struct Announced(Arc<Mutex<Option<Instant>>>);

impl Announced {
    fn now(&self) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = Some(Instant::now());
    }

    /// An error if plugins do not find this agent.
    pub(crate) fn check(&self) -> Result<(), String> {
        let written = *self.0.lock().unwrap_or_else(PoisonError::into_inner);
        match written.map(|written| written.elapsed()) {
            None => Err("not written yet".into()),
            Some(age) if age > GOOD_FOR => Err(format!("not renewed for {age:.0?}")),
            Some(_) => Ok(()),
        }
    }
}

/// What a plugin must know of this agent.
pub(crate) struct Announcement {
    pub(crate) node: String,
    /// `https://IP:PORT`
    pub(crate) endpoint: String,
    /// SHA-256 of the certificate's DER, in hex.
    pub(crate) fingerprint: String,
}

impl Announcement {
    /// Keeps the Lease until `stop`, whatever Kubernetes does meanwhile; then takes it away.
    pub(crate) async fn keep(
        self,
        client: Client,
        namespace: String,
        metrics: Metrics,
        announced: Announced,
        stop: CancellationToken,
    ) {
        let mut keeper = Keeper {
            leases: Api::namespaced(client.clone(), &namespace),
            nodes: Api::all(client),
            identity: format!("{}_{}", self.node, uuid::Uuid::new_v4()),
            name: format!("{NAME}-{}", self.node),
            acquired: Timestamp::now(),
            announcement: self,
            metrics,
            announced,
            owner: Owner::Unknown,
            version: None,
        };
        let renewed = stop.run_until_cancelled(keeper.renew_for_ever(&namespace));
        if renewed.await.is_none() {
            keeper.take_away().await;
        }
    }
}

/// The node object, with which the Lease goes.
enum Owner {
    Unknown,
    /// There is none, or it may not be read.
    None,
    Node(OwnerReference),
}

struct Keeper {
    leases: Api<Lease>,
    nodes: Api<Node>,
    /// Of this process: what another has written is not ours to delete.
    identity: String,
    name: String,
    acquired: Timestamp,
    announcement: Announcement,
    metrics: Metrics,
    announced: Announced,
    owner: Owner,
    /// Of the Lease as it was last written here.
    version: Option<String>,
}

impl Keeper {
    async fn renew_for_ever(&mut self, namespace: &str) {
        let mut told = None;
        let mut pause = PAUSE;
        loop {
            match timeout(PATIENCE, self.renew()).await {
                Ok(Ok(())) => {
                    self.metrics.lease_renewed();
                    if told != Some(String::new()) {
                        tracing::info!(
                            lease = format!("{namespace}/{}", self.name),
                            endpoint = self.announcement.endpoint,
                            certificate = self.announcement.fingerprint,
                            "announced"
                        );
                    }
                    told = Some(String::new());
                    pause = PAUSE;
                    sleep(RENEW).await;
                }
                failed => {
                    let reason = match failed {
                        Ok(Err(error)) => described(&error),
                        _ => format!("no answer within {PATIENCE:?}"),
                    };
                    if told.as_ref() != Some(&reason) {
                        tracing::warn!(
                            lease = format!("{namespace}/{}", self.name),
                            reason,
                            "the Lease is not written, so plugins do not find this agent; trying again"
                        );
                    }
                    told = Some(reason);
                    sleep(pause).await;
                    pause = (pause * 2).min(RENEW);
                }
            }
        }
    }

    async fn renew(&mut self) -> kube::Result<()> {
        if matches!(self.owner, Owner::Unknown) {
            self.owner = self.find_owner().await?;
        }
        let written = self
            .leases
            .patch(
                &self.name,
                &PatchParams::apply(NAME).force(),
                &Patch::Apply(self.lease()),
            )
            .await?;
        self.version = written.metadata.resource_version;
        self.announced.now();
        Ok(())
    }

    fn lease(&self) -> Lease {
        let announcement = &self.announcement;
        let pair = |key: &str, value: &str| (key.to_owned(), value.to_owned());
        let seconds = i32::try_from(GOOD_FOR.as_secs()).ok();
        let owner = match &self.owner {
            Owner::Node(node) => Some(vec![node.clone()]),
            Owner::Unknown | Owner::None => None,
        };
        Lease {
            metadata: ObjectMeta {
                name: Some(self.name.clone()),
                labels: Some(BTreeMap::from([pair("app.kubernetes.io/name", NAME)])),
                annotations: Some(BTreeMap::from([
                    pair("stillpoint.io/endpoint", &announcement.endpoint),
                    pair(
                        "stillpoint.io/certificate-sha256",
                        &announcement.fingerprint,
                    ),
                ])),
                owner_references: owner,
                ..ObjectMeta::default()
            },
            spec: Some(LeaseSpec {
                holder_identity: Some(self.identity.clone()),
                lease_duration_seconds: seconds,
                acquire_time: Some(MicroTime(self.acquired)),
                renew_time: Some(MicroTime(Timestamp::now())),
                ..LeaseSpec::default()
            }),
        }
    }

    /// A Lease owned by its node is collected with it (`nodes: get`; without that it only goes stale).
    async fn find_owner(&self) -> kube::Result<Owner> {
        match self.nodes.get_metadata(&self.announcement.node).await {
            Ok(node) => Ok(node.owner_ref(&()).map_or(Owner::None, Owner::Node)),
            Err(kube::Error::Api(status)) if status.code == 403 => Ok(Owner::None),
            Err(kube::Error::Api(status)) if status.code == 404 => {
                let node = &self.announcement.node;
                tracing::warn!(
                    node,
                    "Kubernetes has no such node, so plugins look for another name: set --node-name (STILLPOINT_NODE_NAME)"
                );
                Ok(Owner::None)
            }
            Err(error) => Err(error),
        }
    }

    async fn take_away(&self) {
        let Some(version) = &self.version else {
            return;
        };
        let reason = match timeout(FAREWELL, self.delete(version)).await {
            Ok(Ok(())) => return,
            Ok(Err(error)) => described(&error),
            Err(_) => format!("no answer within {FAREWELL:?}"),
        };
        tracing::info!(
            lease = self.name,
            reason,
            "the Lease stays until it is stale"
        );
    }

    async fn delete(&self, version: &str) -> kube::Result<()> {
        match self.delete_version(version).await {
            Err(kube::Error::Api(status)) if status.code == 404 => Ok(()),
            // By another agent, or by a renewal of ours that the end overtook.
            Err(kube::Error::Api(status)) if status.code == 409 => {
                let lease = self.leases.get(&self.name).await?;
                let holder = lease.spec.and_then(|spec| spec.holder_identity);
                match lease.metadata.resource_version {
                    Some(version) if holder.as_ref() == Some(&self.identity) => {
                        self.delete_version(&version).await
                    }
                    _ => Ok(()),
                }
            }
            other => other,
        }
    }

    async fn delete_version(&self, version: &str) -> kube::Result<()> {
        let params = DeleteParams {
            preconditions: Some(Preconditions {
                resource_version: Some(version.to_owned()),
                uid: None,
            }),
            ..DeleteParams::default()
        };
        self.leases.delete(&self.name, &params).await.map(drop)
    }
}
