//! An Azure and an agent for tests, with state and the real rules, on tokio's paused clock.
//!
//! A snapshot's content is cut at a moment of the test's choice between the PUT and Succeeded; whether its filesystem
//! stood still from before the PUT until Succeeded is what a test compares the tags with.

use std::{
    collections::{BTreeMap, HashMap, VecDeque},
    sync::{Arc, Mutex},
    time::{Duration, SystemTime},
};

use async_trait::async_trait;
use tokio::time::{Instant, sleep};

use crate::{
    model::{
        Disk, DiskId, DiskProperties, DiskSpec, ProvisioningState, ResourceGroup, Sku, Snapshot,
        SnapshotId, SnapshotSpec,
    },
    ports::{
        Azure, AzureError, CutPermit, Hold, HoldEnd, Holder, HolderError, Refusal, VolumeHold,
    },
};

pub(crate) fn group() -> ResourceGroup {
    ResourceGroup {
        subscription: "s-1".to_owned(),
        name: "cluster".to_owned(),
    }
}

pub(crate) fn disk_id(name: &str) -> DiskId {
    DiskId::new(group(), name)
}

pub(crate) fn properties(sku: &str) -> DiskProperties {
    DiskProperties {
        sku: Sku::new(sku),
        zones: vec!["1".to_owned()],
        tier: None,
        bursting: None,
        iops_read_write: None,
        mbps_read_write: None,
        iops_read_only: None,
        mbps_read_only: None,
        max_shares: None,
        optimized_for_frequent_attach: None,
        performance_plus: None,
        logical_sector_size: None,
        network_access_policy: None,
        disk_access: None,
        public_network_access: None,
        data_access_auth_mode: None,
        encryption: None,
    }
}

pub(crate) fn disk(name: &str) -> Disk {
    Disk {
        id: disk_id(name),
        unique_id: format!("unique-{name}"),
        location: "westeurope".to_owned(),
        gibibytes: 64,
        attached_to: vec!["vm-1".to_owned()],
        tags: BTreeMap::new(),
        properties: properties("Premium_LRS"),
    }
}

/// What the next PUT meets.
#[derive(Clone, Debug)]
pub(crate) enum Put {
    /// 429; Azure does nothing.
    Throttled(Option<Duration>),
    /// No answer; the snapshot appears after that time, or never.
    Unanswered(Option<Duration>),
    /// 409 although the snapshot is there: an answer was lost further down.
    Conflict {
        landed: bool,
    },
    Refused,
    /// 404: the disk went away.
    NoDisk,
    /// Accepted, then the operation fails.
    Fails,
    /// Accepted; the data is fixed after that time only.
    Slow(Duration),
    /// Never answered, as if the connection hung.
    Hangs,
}

#[derive(Default)]
pub(crate) struct State {
    pub(crate) disks: HashMap<DiskId, Disk>,
    pub(crate) snapshots: HashMap<SnapshotId, Snapshot>,
    fixed_at: HashMap<SnapshotId, Instant>,
    appears: HashMap<SnapshotId, (Instant, SnapshotSpec)>,
    fails: Vec<SnapshotId>,
    /// What stood still when the PUT came.
    frozen_at_put: HashMap<SnapshotId, bool>,
    pub(crate) puts: VecDeque<Put>,
    pub(crate) calls: Vec<&'static str>,
    pub(crate) tag_fails: bool,
    pub(crate) copies: Option<Result<Duration, AzureError>>,
    pub(crate) attaches_at_put: bool,
    pub(crate) create_fails: Option<AzureError>,
    pub(crate) created: Vec<DiskSpec>,
    permits: usize,
}

/// The whole world of a test.
#[derive(Clone, Default)]
pub(crate) struct World {
    pub(crate) state: Arc<Mutex<State>>,
    pub(crate) node: Arc<Mutex<Node>>,
}

pub(crate) const FIXING: Duration = Duration::from_millis(1500);

fn missing(resource: impl ToString) -> AzureError {
    AzureError::NotFound {
        resource: resource.to_string(),
        message: "ResourceNotFound".to_owned(),
    }
}

pub(crate) fn failed(resource: impl ToString) -> AzureError {
    AzureError::Failed {
        resource: resource.to_string(),
        code: "Failed".to_owned(),
        message: "internal".to_owned(),
    }
}

fn unanswered(id: &SnapshotId) -> AzureError {
    AzureError::Unanswered {
        resource: id.to_string(),
        message: "connection reset".to_owned(),
        after: Duration::from_millis(50),
    }
}

impl World {
    pub(crate) fn with(disks: impl IntoIterator<Item = Disk>) -> Self {
        let world = Self::default();
        world.lock().disks = disks
            .into_iter()
            .map(|disk| (disk.id.clone(), disk))
            .collect();
        world
    }

    pub(crate) fn lock(&self) -> std::sync::MutexGuard<'_, State> {
        let mut state = self.state.lock().unwrap();
        let now = Instant::now();
        let landed = state.appears.values().filter(|(at, _)| *at <= now);
        let landed: Vec<_> = landed.map(|(_, spec)| spec.clone()).collect();
        for spec in landed {
            state.appears.remove(&spec.id);
            accept(&mut state, &spec, FIXING, false);
        }
        state
    }

    pub(crate) fn calls(&self, name: &str) -> usize {
        self.lock()
            .calls
            .iter()
            .filter(|call| **call == name)
            .count()
    }

    /// Nothing is frozen, no room is kept; what is left is finished, has an ID that somebody got, and does not say too much.
    pub(crate) fn assert_clean(&self, ids: &[SnapshotId]) {
        let state = self.lock();
        assert_eq!(self.node.lock().unwrap().frozen, 0, "something is frozen");
        assert_eq!(state.permits, 0, "room in the budget is lost");
        assert!(state.appears.is_empty(), "a snapshot will still appear");
        for (id, snapshot) in &state.snapshots {
            assert!(ids.contains(id), "{id} is orphaned");
            assert_eq!(snapshot.tags["stillpoint-state"], "complete", "{id}");
        }
        assert_eq!(state.snapshots.len(), ids.len(), "a snapshot is missing");
    }
}

fn accept(state: &mut State, spec: &SnapshotSpec, fixing: Duration, frozen: bool) {
    assert_eq!(
        spec.tags["stillpoint-state"], "pending",
        "the PUT says that it is pending"
    );
    assert_eq!(
        spec.tags["stillpoint-consistency"], "crash",
        "the PUT understates"
    );
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
        let frozen = self.node.lock().unwrap().is_frozen(&spec.source);
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
        let frozen = source.is_some_and(|disk| self.node.lock().unwrap().is_frozen(&disk));
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

/// A node with its agent.
#[derive(Default)]
pub(crate) struct Node {
    /// Holds that last.
    pub(crate) frozen: usize,
    still: Vec<DiskId>,
    /// Volumes that are not frozen, and why.
    pub(crate) refuses: HashMap<DiskId, Refusal>,
    /// No agent answers.
    pub(crate) down: bool,
    /// The hold is lost after that time, whatever its limit.
    pub(crate) lost_after: Option<Duration>,
    /// The agent is silent at the release.
    pub(crate) lies_low: bool,
    pub(crate) holds: usize,
}

impl Node {
    fn is_frozen(&self, disk: &DiskId) -> bool {
        self.still.contains(disk)
    }

    fn thaw(&mut self, disks: &[DiskId]) {
        self.frozen -= 1;
        self.still.retain(|disk| !disks.contains(disk));
    }
}

#[async_trait]
impl Holder for World {
    async fn hold(
        &self,
        _hold: &str,
        volumes: &[DiskId],
        limit: Duration,
    ) -> Result<Box<dyn Hold>, HolderError> {
        sleep(Duration::from_millis(10)).await;
        let mut node = self.node.lock().unwrap();
        node.holds += 1;
        if node.down {
            let agent = "unix:/agent.sock".to_owned();
            return Err(HolderError::Agent {
                agent,
                message: "connection refused".to_owned(),
            });
        }
        let outcome = |disk: &DiskId| match node.refuses.get(disk) {
            Some(refusal) => VolumeHold::Refused(refusal.clone()),
            None => VolumeHold::Frozen {
                filesystem: "ext4".to_owned(),
                node: "node-1".to_owned(),
            },
        };
        let outcomes: Vec<_> = volumes.iter().map(outcome).collect();
        let frozen =
            |(_, outcome): &(&DiskId, &VolumeHold)| matches!(outcome, VolumeHold::Frozen { .. });
        let still: Vec<DiskId> = volumes
            .iter()
            .zip(&outcomes)
            .filter(frozen)
            .map(|(disk, _)| disk.clone())
            .collect();
        node.frozen += 1;
        node.still.extend(still.clone());
        let lasts = node.lost_after.map_or(limit, |lost| lost.min(limit));
        let since = Instant::now();
        Ok(Box::new(FakeHold {
            node: Arc::clone(&self.node),
            outcomes,
            still,
            since,
            until: since + lasts,
            thawed: false,
        }))
    }
}

struct FakeHold {
    node: Arc<Mutex<Node>>,
    outcomes: Vec<VolumeHold>,
    still: Vec<DiskId>,
    since: Instant,
    until: Instant,
    thawed: bool,
}

impl FakeHold {
    fn thaw(&mut self) {
        if !std::mem::replace(&mut self.thawed, true) {
            self.node.lock().unwrap().thaw(&self.still);
        }
    }
}

#[async_trait]
impl Hold for FakeHold {
    fn volumes(&self) -> &[VolumeHold] {
        &self.outcomes
    }

    async fn lost(&mut self) {
        tokio::time::sleep_until(self.until).await;
        self.thaw();
    }

    async fn release(mut self: Box<Self>) -> Vec<HoldEnd> {
        let held = Instant::now() < self.until && !self.thawed;
        let silent = self.node.lock().unwrap().lies_low;
        self.thaw();
        let frozen = Instant::now().min(self.until) - self.since;
        let ends = self.outcomes.iter().map(|outcome| match outcome {
            VolumeHold::Refused(refusal) => HoldEnd {
                frozen: Duration::ZERO,
                held: Err(refusal.message.clone()),
            },
            VolumeHold::Frozen { .. } if silent => HoldEnd {
                frozen,
                held: Err("the agent said nothing".to_owned()),
            },
            VolumeHold::Frozen { .. } if held => HoldEnd {
                frozen,
                held: Ok(()),
            },
            VolumeHold::Frozen { .. } => HoldEnd {
                frozen,
                held: Err("its limit passed".to_owned()),
            },
        });
        ends.collect()
    }
}

impl Drop for FakeHold {
    fn drop(&mut self) {
        self.thaw();
    }
}
