//! Snapshots: what is read of one, and what is asked of Azure for a new one.

use std::{collections::BTreeMap, time::SystemTime};

use super::{Access, DiskId, SnapshotId};

/// A snapshot's name; at most 80 characters of letters, digits, `_`, `-` and `.`.
pub type SnapshotName = String;

/// How far Azure is with a resource.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ProvisioningState {
    /// Not finished: `Creating`, `Updating`, `Deleting`.
    Running(String),
    /// Its data is fixed.
    Succeeded,
    /// It never will be: `Failed`, `Canceled`.
    Failed(String),
}

/// A snapshot as Azure describes it.
#[derive(Clone, Debug, PartialEq)]
pub struct Snapshot {
    /// Its resource ID, as Azure spells it.
    pub id: SnapshotId,
    /// Region.
    pub location: String,
    /// How far it is.
    pub state: ProvisioningState,
    /// Background copy, 0 to 100; `None` where there is none.
    pub completion_percent: Option<f64>,
    /// When Azure accepted it.
    pub created: Option<SystemTime>,
    /// The disk it was cut from; that disk may be gone.
    pub source: Option<DiskId>,
    /// The disk's unique ID at that time.
    pub source_unique_id: Option<String>,
    /// Size of the disk.
    pub gibibytes: Option<u32>,
    /// 512 or 4096 bytes.
    pub logical_sector_size: Option<i32>,
    /// Stores only what changed since the one before.
    pub incremental: bool,
    /// Its tags.
    pub tags: BTreeMap<String, String>,
}

/// A snapshot to be cut.
#[derive(Clone, Debug, PartialEq)]
pub struct SnapshotSpec {
    /// Where it goes, and its name.
    pub id: SnapshotId,
    /// Region: that of the disk.
    pub location: String,
    /// What is cut.
    pub source: DiskId,
    /// Stores only what changed since the one before.
    pub incremental: bool,
    /// The disk's own, which Azure does not pass on by itself.
    pub access: Access,
    /// Within Azure's rules.
    pub tags: BTreeMap<String, String>,
}
