//! Every snapshot that there is, and whose.

use std::time::Duration;

use anyhow::{Result, ensure};
use stillpoint_cluster::until;
use stillpoint_e2e::world::SOON;
use stillpoint_lab::SnapshotView;

use crate::scene::Scene;

/// Longer than any plugin can be at work on a snapshot.
const LONG_AGO: Duration = Duration::from_secs(24 * 3600);

type Snapshots = Vec<SnapshotView>;

impl Scene {
    /// What was left before is gone: the plugin has been started since.
    pub(crate) async fn are_swept(&mut self) -> Result<()> {
        let abandoned = std::mem::take(&mut self.abandoned);
        until("what was left is swept", SOON, async || {
            let there = |id: &&_| self.world.lab.snapshot(id).is_some();
            let left: Vec<_> = abandoned.iter().filter(there).collect();
            ensure!(left.is_empty(), "{left:?}");
            Ok(Some(()))
        })
        .await
    }

    /// The snapshots of a backup that it has, and those that it does not have. All others are a backup's, and all are
    /// what they are called.
    pub(crate) async fn account(&mut self, backup: &str) -> Result<(Snapshots, Snapshots)> {
        let lab = &self.world.lab;
        let made = until("Azure is done", SOON, async || {
            let snapshots = lab.snapshots();
            let done = snapshots.iter().all(|one| one.state != "Creating");
            Ok(done.then_some(snapshots))
        });
        let (mut taken, mut left) = (Vec::new(), Vec::new());
        for snapshot in made.await? {
            let tags = &snapshot.tags;
            let id = snapshot.id.to_string();
            let claimed = self.recorded.contains(&id);
            let pending = tags["stillpoint-state"] == "pending";
            ensure!(!(claimed && pending), "{snapshot:?}");
            if tags["stillpoint-consistency"] == "filesystem" {
                let journal = self.world.journal(&snapshot)?;
                ensure!(journal.clean && !pending, "{snapshot:?}: {journal:?}");
            }
            let of_this = tags["velero.io-backup"] == backup;
            ensure!(claimed || of_this, "nobody's: {snapshot:?}");
            if claimed && of_this {
                taken.push(snapshot);
            } else if !claimed {
                lab.backdate_snapshot(&snapshot.id, LONG_AGO)?;
                self.abandoned.push(snapshot.id.clone());
                left.push(snapshot);
            }
        }
        Ok((taken, left))
    }
}
