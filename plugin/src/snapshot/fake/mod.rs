//! An Azure and an agent for tests, with state and the real rules, on tokio's paused clock.
//!
//! A snapshot's content is cut at a moment of the test's choice between the PUT and Succeeded; whether its filesystem
//! stood still from before the PUT until Succeeded is what a test compares the tags with.

mod azure;
mod node;

use std::{
    collections::{BTreeMap, HashMap, VecDeque},
    sync::{Arc, Mutex},
    time::Duration,
};

use tokio::time::Instant;

use crate::{
    model::{
        Disk, DiskId, DiskProperties, DiskSpec, ResourceGroup, Sku, Snapshot, SnapshotId,
        SnapshotSpec,
    },
    ports::AzureError,
};
use node::Node;

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
            azure::accept(&mut state, &spec, FIXING, false);
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
