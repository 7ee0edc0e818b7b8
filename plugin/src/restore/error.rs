//! Why no disk was made.

use crate::{
    model::{InvalidId, Sku, SnapshotId},
    ports::AzureError,
    tags::InvalidTag,
};

/// Why no disk was made from a snapshot. Nothing of it is left in Azure unless the log says so.
#[derive(Debug, thiserror::Error)]
pub enum RestoreError {
    /// Not a snapshot's ID.
    #[error("snapshot ID: {0}")]
    InvalidSnapshot(#[source] InvalidId),
    /// Not a volume's ID.
    #[error("volume ID: {0}")]
    InvalidVolume(#[source] InvalidId),
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
    /// The snapshot never was finished.
    #[error("{snapshot} cannot be restored: it is {state}; choose another backup")]
    Unfinished {
        /// The snapshot.
        snapshot: SnapshotId,
        /// What it is instead.
        state: String,
    },
    /// Someone changed our tags.
    #[error("{snapshot}: {source}")]
    Record {
        /// The snapshot.
        snapshot: SnapshotId,
        /// Which.
        source: Box<InvalidTag>,
    },
    /// Neither the snapshot nor Velero says what the disk was.
    #[error(
        "{snapshot} does not say which SKU its disk had, and neither does the backup: \
         expected a volume type such as Premium_LRS"
    )]
    NoSku {
        /// The snapshot.
        snapshot: SnapshotId,
    },
    /// Not a zone.
    #[error(
        "the backup's zone is `{zone}`, expected <region>-<number> such as westeurope-1, a number, or nothing"
    )]
    InvalidZone {
        /// What was given.
        zone: String,
    },
    /// The snapshot is elsewhere.
    #[error(
        "{snapshot} is in {location}, but the volume is to be in zone {zone}: a disk is made in its snapshot's region; \
         copy the snapshot to that region first, or map the zone with `zoneMapping` to one of {location}"
    )]
    OtherRegion {
        /// The snapshot.
        snapshot: SnapshotId,
        /// Its region.
        location: String,
        /// What was asked for.
        zone: String,
    },
    /// Sectors of 4096 bytes need a PremiumV2 or Ultra disk.
    #[error(
        "{snapshot} has sectors of {sector} bytes, which {sku} disks do not have: \
         restore to PremiumV2_LRS or UltraSSD_LRS (`skuMapping`)"
    )]
    SectorSize {
        /// The snapshot.
        snapshot: SnapshotId,
        /// Bytes.
        sector: i32,
        /// What was to be made.
        sku: Sku,
    },
    /// The caller went away.
    #[error("the restore of {snapshot} was cancelled; what there was of its disk was deleted")]
    Cancelled {
        /// The snapshot.
        snapshot: SnapshotId,
    },
}

impl RestoreError {
    pub(super) fn azure(resource: impl ToString, source: AzureError) -> Self {
        let resource = resource.to_string();
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
            Self::AzureUnable { .. } => true,
            Self::InvalidSnapshot(_)
            | Self::InvalidVolume(_)
            | Self::AzureRefused { .. }
            | Self::Unfinished { .. }
            | Self::Record { .. }
            | Self::NoSku { .. }
            | Self::InvalidZone { .. }
            | Self::OtherRegion { .. }
            | Self::SectorSize { .. }
            | Self::Cancelled { .. } => false,
        }
    }
}
