//! The cluster as one location sees it.

use std::{
    collections::{HashMap, HashSet},
    sync::Arc,
};

use async_trait::async_trait;

use super::{
    Cluster, Kubernetes,
    attachment::{Attachment, Source},
    news,
    volume::Volume,
    wish,
};
use crate::{
    agent::{AgentAddress, Directory, Nodes, Token},
    config::{FreezeMode, ServiceAccount},
    model::{SnapshotId, VolumeId},
    ports::{Backups, News, Owners},
};

/// The cluster, asked as one account.
pub struct View {
    pub(super) kubernetes: Arc<Kubernetes>,
    pub(super) account: Option<ServiceAccount>,
}

impl View {
    pub(super) fn new(kubernetes: Arc<Kubernetes>, account: Option<ServiceAccount>) -> Self {
        Self {
            kubernetes,
            account,
        }
    }

    pub(super) async fn prepare(&self) {
        // What is wrong is told when it matters.
        if let Err(reason) = self.token().await {
            tracing::debug!(reason, "not ready for agents yet");
        }
    }
}

impl Cluster {
    /// The PVs that are that volume, by name.
    pub(super) fn volumes(&self, id: &VolumeId) -> Vec<(String, Volume)> {
        let is = |name: &str, volume: &Volume| {
            (volume.id == *id).then(|| (name.to_owned(), volume.clone()))
        };
        self.volumes.find(is)
    }

    /// The one that its owner uses.
    fn volume(&self, id: &VolumeId) -> Option<Volume> {
        let volumes = self.volumes(id);
        let mut volumes = volumes.into_iter().map(|(_, volume)| volume);
        let first = volumes.next()?;
        Some(if first.claim.is_some() {
            first
        } else {
            volumes.find(|other| other.claim.is_some()).unwrap_or(first)
        })
    }

    pub(super) fn nodes(&self, id: &VolumeId, volumes: &[(String, Volume)]) -> Vec<String> {
        let here = |_: &str, attachment: &Attachment| {
            let is = match &attachment.source {
                Source::Volume(name) => volumes.iter().any(|(known, _)| known == name),
                Source::Inline(inline) => inline == id,
            };
            is.then(|| attachment.node.clone())
        };
        sorted(self.attachments.find(here))
    }

    /// Where pods use it: some volumes are mounted without a VolumeAttachment, such as in-tree ones that are not migrated.
    async fn nodes_of_pods(&self, volumes: &[(String, Volume)]) -> Result<Vec<String>, String> {
        let mut nodes = Vec::new();
        for claim in volumes
            .iter()
            .filter_map(|(_, volume)| volume.claim.as_ref())
        {
            let pods = self.pods.of(claim).await?;
            nodes.extend(pods.into_iter().filter_map(|pod| pod.node));
        }
        Ok(sorted(nodes))
    }
}

fn sorted(mut names: Vec<String>) -> Vec<String> {
    names.sort_unstable();
    names.dedup();
    names
}

#[async_trait]
impl Directory for View {
    async fn nodes(&self, id: &VolumeId) -> Result<Nodes, String> {
        let cluster = self.kubernetes.cluster().await?;
        let stale = cluster.volumes.current().await?;
        let stale = stale.or(cluster.attachments.current().await?);
        let volumes = cluster.volumes(id);
        let mut names = cluster.nodes(id, &volumes);
        if names.is_empty() && volumes.is_empty() {
            let unsure = stale.map(|stale| format!(" ({stale})")).unwrap_or_default();
            return Err(format!("no PV of the cluster is this volume{unsure}"));
        }
        if names.is_empty() {
            names = cluster.nodes_of_pods(&volumes).await?;
        }
        Ok(Nodes { names, stale })
    }

    fn nodes_now(&self, id: &VolumeId) -> Vec<String> {
        let cluster = self.kubernetes.cluster.get();
        let cluster = cluster.and_then(|cluster| cluster.as_ref().ok());
        cluster.map_or(Vec::new(), |cluster| {
            cluster.nodes(id, &cluster.volumes(id))
        })
    }

    async fn agent(&self, node: &str, anew: bool) -> Result<AgentAddress, String> {
        self.kubernetes
            .cluster()
            .await?
            .leases
            .agent(node, anew)
            .await
    }

    async fn token(&self) -> Result<Token, String> {
        let cluster = self.kubernetes.cluster().await?;
        cluster.tokens(self.account.as_ref()).token().await
    }
}

#[async_trait]
impl Owners for View {
    async fn wish(&self, id: &VolumeId) -> Option<FreezeMode> {
        let silent = |reason: String| {
            tracing::warn!(
                volume = %id, reason,
                "annotations {} cannot be looked up, and count as not set", wish::ANNOTATION
            );
        };
        let cluster = self.kubernetes.cluster().await.map_err(silent).ok()?;
        cluster.volumes.current().await.map_err(silent).ok()?;
        wish::of(&cluster, &cluster.volume(id)?).await
    }

    fn tell(&self, id: &VolumeId, news: News) {
        let kubernetes = Arc::clone(&self.kubernetes);
        let id = id.clone();
        self.kubernetes.afterwards.spawn(async move {
            // Nobody waits for a first list to tell of something.
            let Some(Ok(cluster)) = kubernetes.cluster.get() else {
                return;
            };
            if let Some(claim) = cluster.volume(&id).and_then(|volume| volume.claim) {
                news::tell(cluster.client.clone(), &claim, &news).await;
            }
        });
    }
}

#[async_trait]
impl Backups for View {
    async fn uid(&self, name: &str) -> Option<String> {
        let unknown = |reason: String| {
            tracing::info!(
                backup = name,
                reason,
                "the Backup cannot be read; if it is given up, its snapshots stay"
            );
        };
        let cluster = self.kubernetes.cluster().await.map_err(unknown).ok()?;
        cluster.backups.uid(name).await.map_err(unknown).ok()?
    }

    async fn on_record(
        &self,
        backups: &HashSet<String>,
    ) -> Result<HashMap<String, HashSet<SnapshotId>>, String> {
        let cluster = self.kubernetes.cluster().await?;
        cluster.backups.on_record(backups).await
    }
}
