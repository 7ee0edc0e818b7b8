//! Deletes what nobody has the ID of: snapshots that killed processes left pending; those whose ID a plugin that was
//! killed could not say any more; and those that a backup had already taken when Velero itself was killed, which remembers
//! snapshots only once the backup ends.

use std::{
    collections::{HashMap, HashSet},
    time::SystemTime,
};

use super::{Snapshots, prepare::ABANDONED};
use crate::{
    model::{Snapshot, SnapshotId},
    ports::AzureError,
    tags::Marks,
};

impl Snapshots {
    /// Sweeps the location's resource group in the background, the first time in this process.
    pub fn sweep_in_background(&self) {
        let group = self.location.snapshots();
        if !self.process.sweeps(&group) {
            return;
        }
        let site = self.clone();
        tokio::spawn(async move {
            match site.sweep(SystemTime::now()).await {
                Ok(0) => {}
                Ok(swept) => tracing::info!(group = %group, swept, "swept abandoned snapshots"),
                Err(error) => {
                    tracing::warn!(group = %group, %error, "cannot sweep abandoned snapshots")
                }
            }
        });
    }

    /// Deletes the abandoned snapshots of the location's resource group; returns how many.
    ///
    /// # Errors
    /// If they cannot be listed. One that cannot be deleted is logged and stays.
    pub async fn sweep(&self, now: SystemTime) -> Result<usize, AzureError> {
        let mut swept = 0;
        let snapshots = self.azure.snapshots(&self.location.snapshots()).await?;
        let on_record = self.on_record(&snapshots).await;
        for snapshot in snapshots {
            if !self.is_abandoned(&snapshot, &on_record, now) {
                continue;
            }
            match self.azure.delete_snapshot(&snapshot.id).await {
                Ok(()) => {
                    swept += 1;
                    tracing::info!(snapshot = %snapshot.id, "abandoned snapshot deleted");
                }
                Err(error) => {
                    tracing::warn!(snapshot = %snapshot.id, %error, "abandoned snapshot stays");
                }
            }
        }
        Ok(swept)
    }

    /// What Velero has on record of the backups that lost snapshots, by UID.
    async fn on_record(&self, snapshots: &[Snapshot]) -> HashMap<String, HashSet<SnapshotId>> {
        let complete = snapshots.iter().map(|one| Marks::read(&one.tags));
        let complete = complete.filter(|marks| !marks.pending && marks.hold.is_some());
        let of: HashSet<_> = complete.filter_map(|marks| marks.backup_uid).collect();
        let Some(backups) = self.backups.as_deref().filter(|_| !of.is_empty()) else {
            return HashMap::new();
        };
        let found: Result<_, String> = backups.on_record(&of).await;
        found.unwrap_or_else(|reason| {
            tracing::info!(reason, "snapshots that a backup has lost are not swept");
            HashMap::new()
        })
    }

    /// Whether nobody can be at work on it and nobody has its ID. The name ends in the hold of the PUT that made it, so a
    /// copy that only carries its tags is not ours.
    fn is_abandoned(
        &self,
        snapshot: &Snapshot,
        on_record: &HashMap<String, HashSet<SnapshotId>>,
        now: SystemTime,
    ) -> bool {
        let marks = Marks::read(&snapshot.tags);
        let ours = marks.hold.as_ref().is_some_and(|hold| {
            !hold.is_empty() && snapshot.id.name.ends_with(hold) && !self.process.is_at_work(hold)
        });
        let forgotten = || {
            let backup = marks.backup_uid.as_ref();
            let recorded = backup.and_then(|uid| on_record.get(uid));
            recorded.is_some_and(|recorded| !recorded.contains(&snapshot.id))
        };
        ours && if marks.pending {
            is_over(snapshot, &marks, now)
        } else {
            forgotten()
        }
    }
}

/// Other processes, of this cluster or another that uses the group, may be at work on a pending one: each writes down
/// until when, as their timeouts differ.
fn is_over(snapshot: &Snapshot, marks: &Marks, now: SystemTime) -> bool {
    let created = snapshot.created;
    let old = created.is_some_and(|created| created + ABANDONED <= now);
    old && marks.pending_until.is_none_or(|until| until <= now)
}
