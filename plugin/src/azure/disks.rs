//! Managed disks: read, made from a snapshot, deleted.

use tokio::time::Instant;

use super::{
    bucket::Kind,
    client::{Client, gone, odd},
    core::Reply,
    disk_map,
    failure::Failure,
};
use crate::{
    model::{DiskId, DiskSpec},
    ports::AzureError,
};

impl Client {
    pub(super) async fn read_disk(&self, id: &DiskId) -> Result<disk_map::Read, AzureError> {
        let DiskId { group, name } = id;
        let disks = self.core.disks();
        let request = || disks.get(&group.subscription, &group.name, name).send();
        let terms = self.terms(Kind::Read, &group.subscription);
        let reply = self.core.call(terms, request).await;
        let reply = reply.map_err(|failed| failed.about(id))?;
        disk_map::read(&reply.body, id).map_err(|reason| odd(id, &reason))
    }

    pub(super) async fn make_disk(&self, disk: &DiskSpec) -> Result<DiskId, AzureError> {
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

    pub(super) async fn remove_disk(&self, id: &DiskId) -> Result<(), AzureError> {
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

fn may_exist(failure: &Failure) -> bool {
    failure.is_ambiguous() || failure.status() == Some(409)
}
