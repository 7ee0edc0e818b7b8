//! Why there is no snapshot.

use std::time::Duration;

use crate::{
    model::{DiskId, InvalidId, SnapshotId},
    ports::AzureError,
};

/// Why a snapshot was not taken or not deleted. Nothing is frozen, and nothing of ours is left in Azure unless the log
/// says so.
#[derive(Debug, thiserror::Error)]
pub enum SnapshotError {
    /// Not a volume's ID.
    #[error("volume ID: {0} (or the bare name of a disk in the cluster's resource group)")]
    InvalidVolume(#[source] InvalidId),
    /// Not a snapshot's ID.
    #[error("snapshot ID: {0}")]
    InvalidSnapshot(#[source] InvalidId),
    /// Azure did not do it, but may later.
    #[error("{resource}: {source}")]
    AzureUnable {
        /// The disk or snapshot.
        resource: String,
        /// What it said.
        source: Box<AzureError>,
    },
    /// Azure will not do it as things are.
    #[error("{resource}: {source}")]
    AzureRefused {
        /// The disk or snapshot.
        resource: String,
        /// What it said.
        source: Box<AzureError>,
    },
    /// The filesystem must be frozen and was not.
    #[error("{disk} is not frozen and `freeze` is `required`, so no snapshot was taken: {reason}")]
    NotFrozen {
        /// The disk.
        disk: DiskId,
        /// Why not.
        reason: String,
    },
    /// The filesystem did not stay frozen until the data was fixed.
    #[error(
        "{disk} did not stay frozen and `freeze` is `required`, so its snapshot was deleted: {reason}"
    )]
    NotHeld {
        /// The disk.
        disk: DiskId,
        /// What happened.
        reason: String,
    },
    /// Azure had not fixed the data in time.
    #[error("the snapshot of {disk} was not there after `apiTimeout` ({after:?}) and was deleted")]
    TimedOut {
        /// The disk.
        disk: DiskId,
        /// The time it was given.
        after: Duration,
    },
    /// The caller went away.
    #[error("the snapshot of {disk} was cancelled; what there was of it was deleted")]
    Cancelled {
        /// The disk.
        disk: DiskId,
    },
    /// Azure keeps incremental snapshots in the disk's own subscription only.
    #[error(
        "{disk} cannot have an incremental snapshot in {group}: Azure keeps those in the disk's own subscription; \
         {advice}"
    )]
    IncrementalElsewhere {
        /// The disk.
        disk: DiskId,
        /// Where the location wants it.
        group: String,
        /// What to do.
        advice: &'static str,
    },
}

impl SnapshotError {
    pub(super) fn of_disk(disk: &DiskId, source: AzureError) -> Self {
        Self::azure(disk.to_string(), source)
    }

    pub(super) fn of_snapshot(snapshot: &SnapshotId, source: AzureError) -> Self {
        Self::azure(snapshot.to_string(), source)
    }

    fn azure(resource: String, source: AzureError) -> Self {
        let retryable = source.is_retryable();
        let source = Box::new(source);
        if retryable {
            Self::AzureUnable { resource, source }
        } else {
            Self::AzureRefused { resource, source }
        }
    }

    /// Whether the same call may succeed a little later.
    pub fn is_retryable(&self) -> bool {
        match self {
            Self::AzureUnable { .. } | Self::NotHeld { .. } | Self::TimedOut { .. } => true,
            Self::InvalidVolume(_)
            | Self::InvalidSnapshot(_)
            | Self::AzureRefused { .. }
            | Self::NotFrozen { .. }
            | Self::Cancelled { .. }
            | Self::IncrementalElsewhere { .. } => false,
        }
    }
}
