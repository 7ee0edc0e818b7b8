//! The port [`Azure`] on the resource manager.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use async_trait::async_trait;
use tokio::time::Instant;

use super::{
    bucket::Kind,
    core::{Core, Terms},
    environment::Environment,
    operation::Following,
    snapshot_map,
    watch::Watch,
};
use crate::{
    model::{
        Disk, DiskId, DiskSpec, ProvisioningState, ResourceGroup, Snapshot, SnapshotId,
        SnapshotSpec,
    },
    ports::{Azure, AzureError, CutPermit},
};

/// The PUT of a cut; its caller's hold ends earlier as a rule.
const CUT: Duration = Duration::from_secs(60);

/// Managed disks and snapshots, as one location reaches them. Clones share everything.
#[derive(Clone)]
pub struct Client {
    pub(super) core: Arc<Core>,
    environment: Environment,
    api_timeout: Duration,
}

impl std::fmt::Debug for Client {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Client")
            .field("environment", &self.environment)
            .field("api_timeout", &self.api_timeout)
            .finish_non_exhaustive()
    }
}

impl Client {
    pub(super) fn new(core: Arc<Core>, environment: Environment, api_timeout: Duration) -> Self {
        Self {
            core,
            environment,
            api_timeout,
        }
    }

    /// What the location and its credentials say besides: groups and cloud.
    pub fn environment(&self) -> &Environment {
        &self.environment
    }

    /// Logs in if that has not happened yet. For those who want to know at once whether they can.
    pub async fn log_in(&self) -> Result<(), AzureError> {
        let deadline = Instant::now() + self.api_timeout;
        let ensured = self.core.wire.tokens.ensure(deadline).await;
        ensured.map_err(|failure| failure.into_error(&"Azure", self.api_timeout))
    }

    #[cfg(test)]
    pub(super) fn shares_with(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.core, &other.core)
    }

    pub(super) fn terms<'a>(&self, kind: Kind, subscription: &'a str) -> Terms<'a> {
        Terms {
            kind,
            subscription,
            reserved: false,
            within: self.api_timeout,
        }
    }

    pub(super) fn following<'a>(
        &self,
        resource: &'a (dyn std::fmt::Display + Sync),
        subscription: &'a str,
        pace: &'a super::pace::Pace,
        sent: Instant,
    ) -> Following<'a> {
        Following {
            resource,
            subscription,
            pace,
            within: self.api_timeout,
            sent,
            at_once: false,
        }
    }
}

#[async_trait]
impl Azure for Client {
    async fn disk(&self, id: &DiskId) -> Result<Disk, AzureError> {
        Ok(self.read_disk(id).await?.disk)
    }

    async fn snapshot(&self, id: &SnapshotId) -> Result<Snapshot, AzureError> {
        Self::into_snapshot(self.read_snapshot(id).await?, id)
    }

    async fn snapshots(&self, group: &ResourceGroup) -> Result<Vec<Snapshot>, AzureError> {
        self.list_snapshots(group).await
    }

    async fn reserve_cut(&self, group: &ResourceGroup) -> Result<CutPermit, AzureError> {
        let room = self.core.budget(&group.subscription).reserve().await;
        self.log_in().await?;
        self.core.wire.warm().await;
        Ok(CutPermit::new(move || drop(room)))
    }

    async fn cut(&self, _: &CutPermit, snapshot: &SnapshotSpec) -> Result<(), AzureError> {
        let SnapshotId { group, name } = &snapshot.id;
        let body = snapshot_map::to_put(snapshot);
        let snapshots = self.core.snapshots();
        let request = snapshots.create_or_update(&group.subscription, &group.name, name, body);
        self.core.budget(&group.subscription).take(Kind::Write);
        let sent = Instant::now();
        let reply = self.core.once(CUT, request.send()).await;
        let operation = reply
            .as_ref()
            .ok()
            .and_then(|reply| reply.operation.clone());
        let operation = operation.filter(|url| self.core.wire.owns(url));
        self.core.watch.accepted(&snapshot.id, sent, operation);
        reply
            .map(drop)
            .map_err(|failure| failure.into_error(&snapshot.id, sent.elapsed()))
    }

    async fn fixed(&self, _: &CutPermit, id: &SnapshotId) -> Result<Snapshot, AzureError> {
        Watch::fixed(&self.core, id).await
    }

    async fn copied(&self, id: &SnapshotId) -> Result<(), AzureError> {
        self.await_copy(id).await
    }

    async fn tag_snapshot(
        &self,
        id: &SnapshotId,
        tags: BTreeMap<String, String>,
    ) -> Result<(), AzureError> {
        self.retag_snapshot(id, tags).await
    }

    async fn delete_snapshot(&self, id: &SnapshotId) -> Result<(), AzureError> {
        self.remove_snapshot(id).await
    }

    async fn create_disk(&self, disk: &DiskSpec) -> Result<DiskId, AzureError> {
        self.make_disk(disk).await
    }

    async fn delete_disk(&self, id: &DiskId) -> Result<(), AzureError> {
        self.remove_disk(id).await
    }
}

/// For a resource that is being deleted, not being there is the end.
pub(super) fn gone(read: Result<(), AzureError>) -> Result<ProvisioningState, AzureError> {
    match read {
        Ok(()) => Ok(ProvisioningState::Running("Deleting".to_owned())),
        Err(AzureError::NotFound { .. }) => Ok(ProvisioningState::Succeeded),
        Err(error) => Err(error),
    }
}

pub(super) fn odd(resource: &dyn std::fmt::Display, reason: &str) -> AzureError {
    AzureError::Unanswered {
        resource: resource.to_string(),
        message: format!("Azure's answer cannot be read: {reason}"),
        after: Duration::ZERO,
    }
}
