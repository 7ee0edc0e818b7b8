//! Snapshots: read, listed, awaited to the end of their background copy, tagged, deleted.

use std::{collections::BTreeMap, pin::pin, time::Duration};

use tokio::time::Instant;

use super::{
    bucket::Kind,
    client::{Client, gone, odd},
    core::Terms,
    operation::Following,
    pace, snapshot_map,
};
use crate::{
    model::{ProvisioningState, ResourceGroup, Snapshot, SnapshotId},
    ports::AzureError,
};

/// Between two looks at a background copy.
const COPY_FIRST: Duration = Duration::from_millis(500);
const COPY_LONGEST: Duration = Duration::from_secs(15);

/// How long after new tags were sent it is looked for them.
const GLANCE: Duration = Duration::from_millis(20);

impl Client {
    pub(super) async fn read_snapshot(
        &self,
        id: &SnapshotId,
    ) -> Result<snapshot_map::Read, AzureError> {
        let SnapshotId { group, name } = id;
        let snapshots = self.core.snapshots();
        let request = || snapshots.get(&group.subscription, &group.name, name).send();
        let terms = self.terms(Kind::Read, &group.subscription);
        let reply = self.core.call(terms, request).await;
        let reply = reply.map_err(|failed| failed.about(id))?;
        serde_json::from_slice(&reply.body).map_err(|error| odd(id, &error.to_string()))
    }

    pub(super) async fn list_snapshots(
        &self,
        group: &ResourceGroup,
    ) -> Result<Vec<Snapshot>, AzureError> {
        let url = self.core.wire.list_of(group);
        let found = self.pages(url, group, &group.subscription).await?;
        Ok(found
            .into_iter()
            .filter_map(snapshot_map::Read::into_snapshot)
            .collect())
    }

    pub(super) async fn await_copy(&self, id: &SnapshotId) -> Result<(), AzureError> {
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

    pub(super) async fn retag_snapshot(
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
        // Azure is slower to acknowledge new tags than to have them: whether they are there is seen meanwhile, if
        // there are requests to spare.
        let rich = self.core.budget(subscription).fill(Kind::Read) >= pace::PLENTY;
        let glance = async {
            if !rich {
                return None;
            }
            tokio::time::sleep(GLANCE).await;
            let seen = self.read_snapshot(id).await.ok()?.into_snapshot()?;
            Some(seen.state == ProvisioningState::Succeeded && seen.tags == tags)
        };
        let (mut call, mut glance) = (pin!(self.core.call(terms, request)), pin!(glance));
        let mut seen = None;
        let reply = loop {
            tokio::select! {
                biased;
                reply = &mut call => break reply.map_err(|failed| failed.about(id))?,
                there = &mut glance, if seen.is_none() => seen = Some(there == Some(true)),
            }
        };
        if seen == Some(true) {
            return Ok(());
        }
        let following = Following {
            at_once: true,
            ..self.following(id, subscription, &self.core.paces.update, sent)
        };
        let probe = || async { Ok(self.read_snapshot(id).await?.state()) };
        self.core.follow(following, reply, probe).await
    }

    pub(super) async fn remove_snapshot(&self, id: &SnapshotId) -> Result<(), AzureError> {
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

    pub(super) fn into_snapshot(
        read: snapshot_map::Read,
        id: &SnapshotId,
    ) -> Result<Snapshot, AzureError> {
        read.into_snapshot()
            .ok_or_else(|| odd(id, "its ID is not a snapshot's"))
    }
}
