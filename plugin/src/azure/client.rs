//! The port [`Azure`] on the resource manager.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use async_trait::async_trait;
use tokio::time::Instant;
use url::Url;

use super::{
    bucket::Kind,
    core::{Core, Reply, Terms},
    disk_map,
    environment::Environment,
    failure::Failure,
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
/// Between two looks at a background copy.
const COPY_FIRST: Duration = Duration::from_millis(500);
const COPY_LONGEST: Duration = Duration::from_secs(15);

/// Managed disks and snapshots, as one location reaches them. Clones share everything.
#[derive(Clone)]
pub struct Client {
    core: Arc<Core>,
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

    fn terms<'a>(&self, kind: Kind, subscription: &'a str) -> Terms<'a> {
        Terms {
            kind,
            subscription,
            reserved: false,
            within: self.api_timeout,
        }
    }

    async fn read_disk(&self, id: &DiskId) -> Result<disk_map::Read, AzureError> {
        let DiskId { group, name } = id;
        let disks = self.core.disks();
        let request = || disks.get(&group.subscription, &group.name, name).send();
        let terms = self.terms(Kind::Read, &group.subscription);
        let reply = self.core.call(terms, request).await;
        let reply = reply.map_err(|failed| failed.about(id))?;
        disk_map::read(&reply.body, id).map_err(|reason| odd(id, &reason))
    }

    async fn read_snapshot(&self, id: &SnapshotId) -> Result<snapshot_map::Read, AzureError> {
        let SnapshotId { group, name } = id;
        let snapshots = self.core.snapshots();
        let request = || snapshots.get(&group.subscription, &group.name, name).send();
        let terms = self.terms(Kind::Read, &group.subscription);
        let reply = self.core.call(terms, request).await;
        let reply = reply.map_err(|failed| failed.about(id))?;
        serde_json::from_slice(&reply.body).map_err(|error| odd(id, &error.to_string()))
    }

    fn into_snapshot(read: snapshot_map::Read, id: &SnapshotId) -> Result<Snapshot, AzureError> {
        read.into_snapshot()
            .ok_or_else(|| odd(id, "its ID is not a snapshot's"))
    }

    /// A disk that is there although its PUT was refused, or nobody heard of it: ours if it comes from our
    /// source, since its name is fresh.
    async fn adopt(&self, spec: &DiskSpec) -> Result<Option<Reply>, AzureError> {
        match self.read_disk(&spec.id).await {
            Ok(read) if read.source.as_ref() == Some(&spec.source) => {
                tracing::info!(disk = %spec.id, "the disk was there already, from this snapshot");
                Ok(Some(Reply {
                    status: 202,
                    operation: None,
                    location: None,
                    retry_after: None,
                    body: bytes::Bytes::new(),
                }))
            }
            Ok(_) | Err(AzureError::NotFound { .. }) => Ok(None),
            Err(error) => Err(error),
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
        let mut found = Vec::new();
        let mut url = self.core.wire.list_of(group);
        loop {
            let terms = self.terms(Kind::Read, &group.subscription);
            let reply = self.core.call(terms, || self.core.wire.get(&url)).await;
            let read = reply.map_err(|failed| failed.about(group))?;
            let page: snapshot_map::Page = serde_json::from_slice(&read.body)
                .map_err(|error| odd(group, &error.to_string()))?;
            let parsed = page
                .value
                .into_iter()
                .filter_map(snapshot_map::Read::into_snapshot);
            found.extend(parsed);
            let Some(link) = page.next_link.filter(|link| !link.is_empty()) else {
                return Ok(found);
            };
            url = Url::parse(&link).map_err(|error| odd(group, &error.to_string()))?;
        }
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
        let mut wait = COPY_FIRST;
        loop {
            let read = self.read_snapshot(id).await?;
            let failed = |code, message| AzureError::Failed {
                resource: id.to_string(),
                code,
                message,
            };
            if let Some((code, message)) = read.copy_failure() {
                return Err(failed(code, message));
            }
            let snapshot = Self::into_snapshot(read, id)?;
            match snapshot.state {
                ProvisioningState::Failed(state) => {
                    return Err(failed(state, "its background copy ended".to_owned()));
                }
                ProvisioningState::Succeeded
                    if snapshot
                        .completion_percent
                        .is_none_or(|percent| percent >= 100.0) =>
                {
                    return Ok(());
                }
                ProvisioningState::Succeeded | ProvisioningState::Running(_) => {}
            }
            tokio::time::sleep(wait).await;
            wait = (wait.mul_f64(1.3)).min(COPY_LONGEST);
        }
    }

    async fn tag_snapshot(
        &self,
        id: &SnapshotId,
        tags: BTreeMap<String, String>,
    ) -> Result<(), AzureError> {
        let SnapshotId { group, name } = id;
        let subscription = &group.subscription;
        let snapshots = self.core.snapshots();
        let patch = snapshot_map::to_patch(&tags);
        let request = || {
            snapshots
                .update(subscription, &group.name, name, patch.clone())
                .send()
        };
        let sent = Instant::now();
        let terms = Terms {
            reserved: true,
            ..self.terms(Kind::Write, subscription)
        };
        let reply = self.core.call(terms, request).await;
        let reply = reply.map_err(|failed| failed.about(id))?;
        let following = self.following(id, subscription, &self.core.paces.update, sent);
        let probe = || async { Ok(self.read_snapshot(id).await?.state()) };
        self.core.follow(following, reply, probe).await
    }

    async fn delete_snapshot(&self, id: &SnapshotId) -> Result<(), AzureError> {
        let SnapshotId { group, name } = id;
        let subscription = &group.subscription;
        let snapshots = self.core.snapshots();
        let request = || snapshots.delete(subscription, &group.name, name).send();
        let probe = || async { gone(self.read_snapshot(id).await.map(drop)) };
        let pace = &self.core.paces.snapshot_delete;
        let sent = Instant::now();
        let terms = Terms {
            reserved: true,
            ..self.terms(Kind::Delete, subscription)
        };
        match self.core.call(terms, request).await {
            Ok(reply) => {
                let following = self.following(id, subscription, pace, sent);
                self.core.follow(following, reply, probe).await
            }
            Err(failed) if failed.failure.is_gone() => Ok(()),
            Err(failed) => Err(failed.about(id)),
        }
    }

    async fn create_disk(&self, disk: &DiskSpec) -> Result<DiskId, AzureError> {
        let DiskId { group, name } = &disk.id;
        let subscription = &group.subscription;
        let disks = self.core.disks();
        let body = disk_map::to_put(disk);
        let request = || {
            disks
                .create_or_update(subscription, &group.name, name, body.clone())
                .send()
        };
        let sent = Instant::now();
        let terms = self.terms(Kind::Write, subscription);
        let reply = match self.core.call(terms, request).await {
            Ok(reply) => reply,
            Err(failed) if failed.ambiguous || may_exist(&failed.failure) => {
                match self.adopt(disk).await? {
                    Some(reply) => reply,
                    None => return Err(failed.about(&disk.id)),
                }
            }
            Err(failed) => return Err(failed.about(&disk.id)),
        };
        let pace = &self.core.paces.disk_create;
        let following = self.following(&disk.id, subscription, pace, sent);
        let probe = || async { Ok(self.read_disk(&disk.id).await?.state) };
        self.core.follow(following, reply, probe).await?;
        Ok(disk.id.clone())
    }

    async fn delete_disk(&self, id: &DiskId) -> Result<(), AzureError> {
        let DiskId { group, name } = id;
        let subscription = &group.subscription;
        let disks = self.core.disks();
        let request = || disks.delete(subscription, &group.name, name).send();
        let probe = || async { gone(self.read_disk(id).await.map(drop)) };
        let sent = Instant::now();
        let terms = self.terms(Kind::Delete, subscription);
        match self.core.call(terms, request).await {
            Ok(reply) => {
                let pace = &self.core.paces.disk_delete;
                let following = self.following(id, subscription, pace, sent);
                self.core.follow(following, reply, probe).await
            }
            Err(failed) if failed.failure.is_gone() => Ok(()),
            Err(failed) => Err(failed.about(id)),
        }
    }
}

impl Client {
    fn following<'a>(
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
        }
    }
}

fn may_exist(failure: &Failure) -> bool {
    failure.is_ambiguous() || failure.status() == Some(409)
}

/// For a resource that is being deleted, not being there is the end.
fn gone(read: Result<(), AzureError>) -> Result<ProvisioningState, AzureError> {
    match read {
        Ok(()) => Ok(ProvisioningState::Running("Deleting".to_owned())),
        Err(AzureError::NotFound { .. }) => Ok(ProvisioningState::Succeeded),
        Err(error) => Err(error),
    }
}

fn odd(resource: &dyn std::fmt::Display, reason: &str) -> AzureError {
    AzureError::Unanswered {
        resource: resource.to_string(),
        message: format!("Azure's answer cannot be read: {reason}"),
        after: Duration::ZERO,
    }
}
