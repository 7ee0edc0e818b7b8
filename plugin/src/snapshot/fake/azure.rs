//! Disks and snapshots.

use std::{
    collections::BTreeMap,
    sync::Arc,
    time::{Duration, SystemTime},
};

use async_trait::async_trait;
use tokio::time::{Instant, sleep};

use super::{FIXING, Put, State, World, failed, missing, unanswered};
use crate::{
    model::{
        Disk, DiskId, DiskSpec, ProvisioningState, ResourceGroup, Snapshot, SnapshotId,
        SnapshotSpec,
    },
    ports::{Azure, AzureError, CutPermit},
};

pub(super) fn accept(state: &mut State, spec: &SnapshotSpec, fixing: Duration, frozen: bool) {
    assert_eq!(
        spec.tags["stillpoint-state"], "pending",
        "the PUT says that it is pending"
    );
    assert_eq!(
        spec.tags["stillpoint-consistency"], "crash",
        "the PUT understates"
    );
    place(state, spec, fixing, frozen);
}

/// A PUT is accepted, ours or another program's.
fn place(state: &mut State, spec: &SnapshotSpec, fixing: Duration, frozen: bool) {
    assert!(spec.id.name.len() <= 80 && spec.tags.len() <= 50);
    assert!(
        !state.snapshots.contains_key(&spec.id),
        "a name is used once"
    );
    let source = state.disks.get(&spec.source);
    let copies = source.is_some_and(|disk| disk.properties.sku.copies_in_background());
    assert!(
        spec.incremental || !copies,
        "PremiumV2 and Ultra are incremental only"
    );
    if state.attaches_at_put
        && let Some(disk) = state.disks.get_mut(&spec.source)
    {
        disk.attached_to.push("vm-2".to_owned());
    }
    state
        .fixed_at
        .insert(spec.id.clone(), Instant::now() + fixing);
    state.frozen_at_put.insert(spec.id.clone(), frozen);
    let snapshot = Snapshot {
        id: spec.id.clone(),
        location: spec.location.clone(),
        state: ProvisioningState::Running("Creating".to_owned()),
        completion_percent: copies.then_some(0.0),
        created: Some(SystemTime::now()),
        source: Some(spec.source.clone()),
        source_unique_id: None,
        gibibytes: Some(64),
        logical_sector_size: None,
        incremental: spec.incremental,
        tags: spec.tags.clone(),
    };
    state.snapshots.insert(spec.id.clone(), snapshot);
}

impl World {
    /// Another program's PUT, accepted. Whether the disk's filesystem stood still.
    pub(crate) fn foreign_put(&self, spec: &SnapshotSpec, fixing: Duration) -> bool {
        let source = spec.source.clone().into();
        let frozen = self.node.lock().unwrap().is_frozen(&source);
        place(&mut self.lock(), spec, fixing, frozen);
        frozen
    }

    /// The same; its operation will fail.
    pub(crate) fn foreign_put_that_fails(&self, spec: &SnapshotSpec) {
        place(&mut self.lock(), spec, FIXING, false);
        self.lock().fails.push(spec.id.clone());
    }
}

fn answer(
    state: &mut State,
    put: Option<Put>,
    spec: &SnapshotSpec,
    frozen: bool,
) -> Result<(), AzureError> {
    let resource = spec.id.to_string();
    match put {
        None => accept(state, spec, FIXING, frozen),
        Some(Put::Slow(fixing)) => accept(state, spec, fixing, frozen),
        Some(Put::Fails) => {
            accept(state, spec, FIXING, frozen);
            state.fails.push(spec.id.clone());
        }
        Some(Put::Throttled(retry_after)) => {
            return Err(AzureError::Throttled {
                resource,
                message: "429".to_owned(),
                retry_after,
            });
        }
        Some(Put::Unanswered(None)) => return Err(unanswered(&spec.id)),
        Some(Put::Unanswered(Some(after))) => {
            if after.is_zero() {
                accept(state, spec, FIXING, frozen);
            } else {
                let at = Instant::now() + after;
                state.appears.insert(spec.id.clone(), (at, spec.clone()));
            }
            return Err(unanswered(&spec.id));
        }
        Some(Put::Conflict { landed }) => {
            if landed {
                accept(state, spec, FIXING, frozen);
            }
            let (code, message) = ("Conflict".to_owned(), "409".to_owned());
            return Err(AzureError::Conflict {
                resource,
                code,
                message,
            });
        }
        Some(Put::Refused) => {
            return Err(AzureError::Refused {
                resource,
                status: 403,
                code: "AuthorizationFailed".to_owned(),
                message: "no".to_owned(),
                hint: String::new(),
            });
        }
        Some(Put::NoDisk) => {
            state.disks.remove(&spec.source);
            return Err(missing(&spec.source));
        }
        Some(Put::Hangs) => accept(state, spec, FIXING, frozen),
    }
    Ok(())
}

#[async_trait]
impl Azure for World {
    async fn disk(&self, id: &DiskId) -> Result<Disk, AzureError> {
        sleep(Duration::from_millis(20)).await;
        let mut state = self.lock();
        state.calls.push("disk");
        state.disks.get(id).cloned().ok_or_else(|| missing(id))
    }

    async fn snapshot(&self, id: &SnapshotId) -> Result<Snapshot, AzureError> {
        sleep(Duration::from_millis(20)).await;
        let mut state = self.lock();
        state.calls.push("snapshot");
        state.snapshots.get(id).cloned().ok_or_else(|| missing(id))
    }

    async fn snapshots(&self, group: &ResourceGroup) -> Result<Vec<Snapshot>, AzureError> {
        let state = self.lock();
        Ok(state
            .snapshots
            .values()
            .filter(|one| one.id.group == *group)
            .cloned()
            .collect())
    }

    async fn reserve_cut(&self, _group: &ResourceGroup) -> Result<CutPermit, AzureError> {
        self.lock().permits += 1;
        let state = Arc::clone(&self.state);
        Ok(CutPermit::new(move || state.lock().unwrap().permits -= 1))
    }

    async fn cut(&self, _permit: &CutPermit, spec: &SnapshotSpec) -> Result<(), AzureError> {
        let frozen = self
            .node
            .lock()
            .unwrap()
            .is_frozen(&spec.source.clone().into());
        let put = {
            let mut state = self.lock();
            state.calls.push("cut");
            state.puts.pop_front()
        };
        sleep(Duration::from_millis(50)).await;
        let hangs = matches!(put, Some(Put::Hangs));
        let answer = answer(&mut self.lock(), put, spec, frozen);
        if hangs {
            std::future::pending::<()>().await;
        }
        answer
    }

    async fn fixed(&self, _permit: &CutPermit, id: &SnapshotId) -> Result<Snapshot, AzureError> {
        loop {
            {
                let mut state = self.lock();
                let done = state
                    .fixed_at
                    .get(id)
                    .is_some_and(|at| *at <= Instant::now());
                if done && state.fails.contains(id) {
                    let gone = ProvisioningState::Failed("Failed".to_owned());
                    if let Some(snapshot) = state.snapshots.get_mut(id) {
                        snapshot.state = gone;
                    }
                    return Err(failed(id));
                }
                if done && let Some(snapshot) = state.snapshots.get_mut(id) {
                    snapshot.state = ProvisioningState::Succeeded;
                    return Ok(snapshot.clone());
                }
            }
            sleep(Duration::from_millis(20)).await;
        }
    }

    async fn copied(&self, id: &SnapshotId) -> Result<(), AzureError> {
        let copies = self.lock().copies.clone().unwrap_or(Ok(Duration::ZERO));
        sleep(copies?).await;
        let mut state = self.lock();
        let snapshot = state.snapshots.get_mut(id).ok_or_else(|| missing(id))?;
        snapshot.completion_percent = Some(100.0);
        Ok(())
    }

    async fn tag_snapshot(
        &self,
        id: &SnapshotId,
        tags: BTreeMap<String, String>,
    ) -> Result<(), AzureError> {
        sleep(Duration::from_millis(50)).await;
        let mut state = self.lock();
        state.calls.push("tag");
        if state.tag_fails {
            return Err(unanswered(id));
        }
        assert!(tags.len() <= 50);
        if tags["stillpoint-consistency"] == "filesystem" {
            assert!(
                state.frozen_at_put[id],
                "{id} was not frozen when its PUT came"
            );
        }
        state.snapshots.get_mut(id).ok_or_else(|| missing(id))?.tags = tags;
        Ok(())
    }

    async fn delete_snapshot(&self, id: &SnapshotId) -> Result<(), AzureError> {
        let source = self
            .lock()
            .snapshots
            .get(id)
            .and_then(|one| one.source.clone());
        let frozen = source.is_some_and(|disk| self.node.lock().unwrap().is_frozen(&disk.into()));
        assert!(!frozen, "nothing is deleted while its disk is frozen");
        sleep(Duration::from_millis(50)).await;
        let mut state = self.lock();
        state.calls.push("delete");
        state.snapshots.remove(id);
        Ok(())
    }

    async fn create_disk(&self, spec: &DiskSpec) -> Result<DiskId, AzureError> {
        sleep(Duration::from_millis(50)).await;
        let mut state = self.lock();
        state.calls.push("create");
        let made = Disk {
            id: spec.id.clone(),
            unique_id: "restored".to_owned(),
            location: spec.location.clone(),
            gibibytes: spec.gibibytes.unwrap_or(64),
            attached_to: vec![],
            tags: spec.tags.clone(),
            properties: spec.properties.clone(),
        };
        state.disks.insert(spec.id.clone(), made);
        state.created.push(spec.clone());
        match state.create_fails.clone() {
            Some(error) => Err(error),
            None => Ok(spec.id.clone()),
        }
    }

    async fn delete_disk(&self, id: &DiskId) -> Result<(), AzureError> {
        self.lock().disks.remove(id);
        Ok(())
    }
}
