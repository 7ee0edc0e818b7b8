//! Snapshots of managed disks: take, delete, sweep what a killed process left.
//!
//! A cut, for a set of volumes that are held together:
//!
//! ```text
//!  look up ─► reserve ─► hold ─► PUT ─► fixed ─► thaw ─► judge ─► copied ─► tag ─► taken
//!     ▲                   │       │       │                │        │        │
//!     │             refused: ─────┼───────┼─► auto: goes on unfrozen, crash-consistent
//!     │                   │       │       │   required: thaw, delete what there is, fail
//!     │                   │  hold lost: ──┴─► the same
//!     │                   │       │
//!     └── thaw, delete, wait ◄────┤ throttled, or no answer and nothing of this hold under its name
//!                                 └ refused, failed, out of time, cancelled: thaw, delete, fail
//! ```
//!
//! Every path thaws before it does anything that can take time. Every attempt has a fresh hold and fresh names. Until
//! the last step a snapshot is marked pending and crash-consistent, so whatever happens it never says too much.

mod attempt;
mod cleanup;
mod create;
mod cut;
mod error;
#[cfg(test)]
pub(crate) mod fake;
mod finish;
mod name;
mod prepare;
mod process;
mod sweep;

use std::{collections::BTreeMap, sync::Arc};

use tokio_util::sync::CancellationToken;

pub use error::SnapshotError;
pub use process::Process;

use crate::{
    config::{FreezeMode, Location},
    model::{Disk, DiskId, ResourceGroup, Sku, SnapshotId, Worth},
    ports::{Azure, Backups, Holder, News, Owners, Stage, Watcher},
    tags::Home,
};

/// The snapshots of one location.
#[derive(Clone)]
pub struct Snapshots {
    location: Arc<Location>,
    azure: Arc<dyn Azure>,
    holder: Arc<dyn Holder>,
    owners: Option<Arc<dyn Owners>>,
    backups: Option<Arc<dyn Backups>>,
    process: Arc<Process>,
    watcher: Option<Arc<dyn Watcher>>,
}

/// One volume to take a snapshot of.
#[derive(Clone, Debug)]
pub struct Volume {
    /// Its ID, as GetVolumeID gave it: a full disk ID, or a bare name.
    pub id: String,
    /// Velero's tags and the backup's labels.
    pub tags: BTreeMap<String, String>,
    /// The claim that it is of, if that is to be written down.
    pub home: Option<Home>,
}

/// A snapshot that was taken.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Taken {
    /// Of this disk.
    pub disk: DiskId,
    /// Its ID.
    pub snapshot: SnapshotId,
    /// What it is worth.
    pub worth: Worth,
}

/// What Velero keeps of a volume beside its snapshot.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct VolumeInfo {
    /// The disk's SKU.
    pub sku: Sku,
    /// Its provisioned IOPS; `None` where they come with the size.
    pub iops: Option<i64>,
}

impl Snapshots {
    /// The snapshots of that location.
    pub fn new(
        location: Arc<Location>,
        azure: Arc<dyn Azure>,
        holder: Arc<dyn Holder>,
        owners: Option<Arc<dyn Owners>>,
        backups: Option<Arc<dyn Backups>>,
        process: Arc<Process>,
    ) -> Self {
        Self {
            location,
            azure,
            holder,
            owners,
            backups,
            process,
            watcher: None,
        }
    }

    /// Where they go.
    pub fn group(&self) -> ResourceGroup {
        self.location.snapshots()
    }

    /// The same, watched.
    pub fn watched(self, watcher: Arc<dyn Watcher>) -> Self {
        let watcher = Some(watcher);
        Self { watcher, ..self }
    }

    fn reached(&self, disk: &DiskId, stage: Stage) {
        if let Some(watcher) = &self.watcher {
            watcher.reached(disk, stage);
        }
    }

    /// The freeze mode of a volume: the location's, unless its owners ask for another.
    pub async fn freeze_mode(&self, volume: &str) -> FreezeMode {
        let mode = self.location.settings.freeze;
        let (Some(owners), Ok(disk)) = (&self.owners, self.location.disk(volume)) else {
            return mode;
        };
        // Nothing changes `required`.
        if mode == FreezeMode::Required {
            return mode;
        }
        mode.overridden_by(owners.wish(&disk.into()).await)
    }

    /// What Velero keeps of a volume.
    ///
    /// # Errors
    /// If the ID is none, or Azure does not tell.
    pub async fn volume_info(&self, volume: &str) -> Result<VolumeInfo, SnapshotError> {
        let id = self
            .location
            .disk(volume)
            .map_err(SnapshotError::InvalidVolume)?;
        // Velero asks for the snapshot next.
        if self.location.settings.freeze != FreezeMode::Off {
            self.holder.expect(&id.clone().into());
        }
        let disk = self.look_up(&id).await?;
        let sku = disk.properties.sku.clone();
        let provisioned = sku.copies_in_background();
        let iops = disk.properties.iops_read_write.filter(|_| provisioned);
        self.process.saw(&disk);
        Ok(VolumeInfo { sku, iops })
    }

    /// Takes a snapshot of one volume.
    ///
    /// # Errors
    /// See [`SnapshotError`].
    pub async fn take(
        &self,
        volume: Volume,
        freeze: FreezeMode,
        cancel: &CancellationToken,
    ) -> Result<Taken, SnapshotError> {
        let disk = self
            .location
            .disk(&volume.id)
            .map_err(SnapshotError::InvalidVolume)?;
        let taken = self.take_together(vec![volume], freeze, cancel).await.pop();
        taken.unwrap_or(Err(SnapshotError::Cancelled { disk }))
    }

    /// Takes snapshots of volumes that are held together, so that they are of one instant; in the order asked for.
    ///
    /// Must run to its end: a caller that goes away cancels the token and lets this finish, which thaws at once and
    /// deletes what there is.
    pub async fn take_together(
        &self,
        volumes: Vec<Volume>,
        freeze: FreezeMode,
        cancel: &CancellationToken,
    ) -> Vec<Result<Taken, SnapshotError>> {
        let disks: Vec<_> = volumes
            .iter()
            .map(|volume| self.location.disk(&volume.id))
            .collect();
        let results = create::run(self, volumes, freeze, cancel).await;
        if let Some(owners) = &self.owners {
            for (disk, result) in disks.iter().zip(&results) {
                if let Ok(disk) = disk {
                    owners.tell(&disk.clone().into(), news(result, freeze));
                }
            }
        }
        results
    }

    /// Deletes a snapshot; gone already is success.
    ///
    /// # Errors
    /// If the ID is none, or Azure does not delete it.
    pub async fn delete(&self, snapshot: &str) -> Result<(), SnapshotError> {
        let id: SnapshotId = snapshot.parse().map_err(SnapshotError::InvalidSnapshot)?;
        let deleted = self.azure.delete_snapshot(&id).await;
        deleted.map_err(|error| SnapshotError::of_snapshot(&id, error))?;
        tracing::info!(snapshot = %id, "snapshot deleted");
        Ok(())
    }

    async fn look_up(&self, id: &DiskId) -> Result<Disk, SnapshotError> {
        self.azure
            .disk(id)
            .await
            .map_err(|error| SnapshotError::of_disk(id, error))
    }
}

fn news(result: &Result<Taken, SnapshotError>, mode: FreezeMode) -> News {
    match result {
        Ok(taken) => News::Taken {
            snapshot: taken.snapshot.name.clone(),
            worth: taken.worth.clone(),
            mode,
        },
        Err(error) => News::NotTaken(error.to_string()),
    }
}

#[cfg(test)]
mod tests;
