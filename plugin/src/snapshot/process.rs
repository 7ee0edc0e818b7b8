//! What one plugin process remembers across locations: holds at work, disks seen a moment ago, locations swept.

use std::{
    collections::{HashMap, HashSet},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use tokio::time::Instant;

use crate::model::{Disk, DiskId, ResourceGroup};

/// How long a disk is remembered: Velero asks for its type and then for the snapshot.
const FRESH: Duration = Duration::from_secs(30);

/// One per process, shared by all locations.
#[derive(Default)]
pub struct Process {
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    holds: HashSet<String>,
    disks: HashMap<DiskId, (Instant, Disk)>,
    swept: HashSet<ResourceGroup>,
}

impl Process {
    fn state(&self) -> MutexGuard<'_, State> {
        // Each change is one call on a collection: a panic elsewhere leaves nothing half done.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Marks a hold as at work until the guard drops.
    pub(super) fn begin(self: &Arc<Self>, hold: &str) -> AtWork {
        self.state().holds.insert(hold.to_owned());
        AtWork {
            process: Arc::clone(self),
            hold: hold.to_owned(),
        }
    }

    pub(super) fn is_at_work(&self, hold: &str) -> bool {
        self.state().holds.contains(hold)
    }

    pub(super) fn saw(&self, disk: &Disk) {
        let now = Instant::now();
        let mut state = self.state();
        state.disks.retain(|_, (at, _)| now - *at < FRESH);
        state.disks.insert(disk.id.clone(), (now, disk.clone()));
    }

    /// A disk seen a moment ago; once.
    pub(super) fn recent(&self, id: &DiskId) -> Option<Disk> {
        let (at, disk) = self.state().disks.remove(id)?;
        (at.elapsed() < FRESH).then_some(disk)
    }

    /// Whether this is the first time that the group is to be swept.
    pub(super) fn sweeps(&self, group: &ResourceGroup) -> bool {
        self.state().swept.insert(group.clone())
    }
}

/// A hold is at work: its snapshots are nobody else's to delete.
#[must_use]
pub(super) struct AtWork {
    process: Arc<Process>,
    hold: String,
}

impl Drop for AtWork {
    fn drop(&mut self) {
        self.process.state().holds.remove(&self.hold);
    }
}
