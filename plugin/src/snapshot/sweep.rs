//! Deletes what killed processes left: snapshots still marked pending, whose IDs nobody has.

use std::time::SystemTime;

use super::{Snapshots, prepare::ABANDONED};
use crate::{model::Snapshot, ports::AzureError, tags::Marks};

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
        for snapshot in self.azure.snapshots(&self.location.snapshots()).await? {
            if !self.is_abandoned(&snapshot, now) {
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

    /// Whether nobody can be at work on it and nobody has its ID. Other processes, of this cluster or another that uses the
    /// group, may be: each writes down until when, as their timeouts differ. The name ends in the hold of the PUT
    /// that made it, so a copy that only carries its tags is not ours.
    fn is_abandoned(&self, snapshot: &Snapshot, now: SystemTime) -> bool {
        let marks = Marks::read(&snapshot.tags);
        let ours = marks.hold.is_some_and(|hold| {
            !hold.is_empty() && snapshot.id.name.ends_with(&hold) && !self.process.is_at_work(&hold)
        });
        let old = snapshot
            .created
            .is_some_and(|created| created + ABANDONED <= now);
        ours && marks.pending && old && marks.pending_until.is_none_or(|until| until <= now)
    }
}
