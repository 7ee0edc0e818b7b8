//! The snapshots that Azure has.

use anyhow::{Context as _, Result};
use stillpoint_lab::SnapshotView;
use stillpoint_loopfs::Kind;
use stillpoint_system::inspect::{self, Journal};
use tokio::task;

use crate::World;

impl World {
    /// The snapshots of a backup, by their tags.
    pub fn snapshots_of(&self, backup: &str) -> Vec<SnapshotView> {
        let mut snapshots = self.lab.snapshots();
        let name = |one: &SnapshotView| one.tags.get("velero.io-backup").cloned();
        snapshots.retain(|one| name(one).as_deref() == Some(backup));
        snapshots
    }

    /// The only snapshot of a backup.
    pub fn snapshot_of(&self, backup: &str) -> Result<SnapshotView> {
        let mut snapshots = self.snapshots_of(backup);
        let first = snapshots.pop();
        first
            .filter(|_| snapshots.is_empty())
            .with_context(|| format!("not one snapshot of {backup}"))
    }

    /// The journal of the filesystem that a snapshot holds.
    pub fn journal(&self, snapshot: &SnapshotView) -> Result<Journal> {
        let copy = self.lab.copy_of(&snapshot.id)?;
        task::block_in_place(|| {
            let journal = inspect::journal(&copy, Kind::Ext4);
            std::fs::remove_file(&copy)?;
            journal
        })
    }
}
