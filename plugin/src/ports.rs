//! What the use cases need of the world: Azure, something that holds filesystems frozen, and the cluster's people.

use std::{
    collections::{HashMap, HashSet},
    time::Duration,
};

use async_trait::async_trait;

use crate::{
    config::FreezeMode,
    model::{
        Disk, DiskId, DiskSpec, ResourceGroup, Sku, Snapshot, SnapshotId, SnapshotSpec, VolumeId,
        Worth,
    },
};

/// Managed disks and snapshots. Unless said otherwise a call retries throttling, 5xx and dropped
/// connections within the location's `apiTimeout`, honouring Retry-After.
#[async_trait]
pub trait Azure: Send + Sync {
    /// The disk. Costs one read.
    async fn disk(&self, id: &DiskId) -> Result<Disk, AzureError>;

    /// The snapshot. Costs one read.
    async fn snapshot(&self, id: &SnapshotId) -> Result<Snapshot, AzureError>;

    /// All snapshots of a resource group.
    async fn snapshots(&self, group: &ResourceGroup) -> Result<Vec<Snapshot>, AzureError>;

    /// Waits until the request budget has room for one more cut: its PUT, its share of the polls until
    /// its end, and the writes after it. Called before a freeze; the room is kept until the permit drops.
    async fn reserve_cut(&self, group: &ResourceGroup) -> Result<CutPermit, AzureError>;

    /// Sends the PUT of a new snapshot, once, without any retry: the filesystem is frozen meanwhile.
    /// Returns when Azure has accepted it. [`AzureError::Throttled`] means that Azure did nothing;
    /// [`AzureError::Unanswered`] that nobody knows: look with [`Azure::snapshot`].
    async fn cut(&self, permit: &CutPermit, snapshot: &SnapshotSpec) -> Result<(), AzureError>;

    /// Waits until the snapshot's data is fixed: `provisioningState` Succeeded. Polls at a short
    /// interval, one LIST of the group for all that are waited for. [`AzureError::Failed`] if Azure's operation
    /// failed. Not bounded in time: the caller has its hold's limit. What is not there yet may come.
    async fn fixed(&self, permit: &CutPermit, id: &SnapshotId) -> Result<Snapshot, AzureError>;

    /// Waits for the background copy of PremiumV2 and Ultra: `completionPercent` 100. Polls leisurely.
    async fn copied(&self, id: &SnapshotId) -> Result<(), AzureError>;

    /// Replaces the snapshot's tags.
    async fn tag_snapshot(
        &self,
        id: &SnapshotId,
        tags: std::collections::BTreeMap<String, String>,
    ) -> Result<(), AzureError>;

    /// Deletes the snapshot and waits until it is gone; gone already is success.
    async fn delete_snapshot(&self, id: &SnapshotId) -> Result<(), AzureError>;

    /// Makes a disk and waits until it is there. An answer that was lost, then a 409 or a disk of that
    /// name from that source, is success; the name is fresh for each call.
    async fn create_disk(&self, disk: &DiskSpec) -> Result<DiskId, AzureError>;

    /// Deletes a disk of our own that failed; gone already is success.
    async fn delete_disk(&self, id: &DiskId) -> Result<(), AzureError>;
}

/// Room in the request budget for one cut; given back when dropped.
#[must_use = "dropping the permit gives its room back"]
pub struct CutPermit(Option<Box<dyn FnOnce() + Send + Sync>>);

impl CutPermit {
    /// A permit that runs `give_back` when it drops.
    pub fn new(give_back: impl FnOnce() + Send + Sync + 'static) -> Self {
        Self(Some(Box::new(give_back)))
    }
}

impl Drop for CutPermit {
    fn drop(&mut self) {
        if let Some(give_back) = self.0.take() {
            give_back();
        }
    }
}

/// What a subscription has, beyond what somebody already knows the name of.
#[async_trait]
pub trait Catalogue: Send + Sync {
    /// All snapshots of a subscription.
    async fn all_snapshots(&self, subscription: &str) -> Result<Vec<Snapshot>, AzureError>;

    /// The kinds of disks that the subscription can have in a region (`westeurope`).
    async fn disk_offers(&self, subscription: &str, region: &str)
    -> Result<Vec<Offer>, AzureError>;
}

/// A kind of disk that can be had.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Offer {
    /// `Premium_LRS`, …
    pub sku: Sku,
    /// In which zones: `1`, `2`, …; a zone-redundant one is in none of them.
    pub zones: Vec<String>,
}

/// Why Azure did not do what was asked.
#[derive(Clone, Debug, thiserror::Error)]
pub enum AzureError {
    /// No such resource, or no such resource group or subscription (the message says which).
    #[error("{resource} does not exist: {message}")]
    NotFound {
        /// What was asked for.
        resource: String,
        /// Azure's words.
        message: String,
    },
    /// 429 that outlived `apiTimeout`, or any 429 of a call that is not retried. Azure did nothing.
    #[error("Azure throttles {resource}: {message}")]
    Throttled {
        /// What was asked for.
        resource: String,
        /// Azure's words.
        message: String,
        /// Retry-After.
        retry_after: Option<Duration>,
    },
    /// Nobody knows whether Azure acted: the connection broke, the answer was a 5xx or did not come in time.
    #[error("Azure gave no usable answer for {resource} within {after:?}: {message}")]
    Unanswered {
        /// What was asked for.
        resource: String,
        /// How it ended.
        message: String,
        /// Since the first attempt.
        after: Duration,
    },
    /// Another operation runs on the resource, or it exists otherwise (409).
    #[error("{resource} is in conflict ({code}): {message}")]
    Conflict {
        /// What was asked for.
        resource: String,
        /// Azure's code.
        code: String,
        /// Azure's words.
        message: String,
    },
    /// Azure refused for good: 400, 401, 403, … The hint says what to do where that is known (role, policy).
    #[error("Azure refused {resource} ({status} {code}): {message}{hint}")]
    Refused {
        /// What was asked for.
        resource: String,
        /// HTTP status.
        status: u16,
        /// Azure's code.
        code: String,
        /// Azure's words.
        message: String,
        /// Empty, or ` — ` and what to do.
        hint: String,
    },
    /// The operation was accepted and failed later.
    #[error("Azure's operation on {resource} ended as {code}: {message}")]
    Failed {
        /// What was asked for.
        resource: String,
        /// The state or Azure's code.
        code: String,
        /// Azure's words.
        message: String,
    },
    /// No token for Azure: the message names the credential, where it is set and what is wrong with it.
    #[error("cannot log in to Azure: {0}")]
    Credentials(String),
}

impl AzureError {
    /// Whether the same request may succeed later, as things are.
    pub fn is_retryable(&self) -> bool {
        match self {
            Self::Throttled { .. }
            | Self::Unanswered { .. }
            | Self::Conflict { .. }
            | Self::Failed { .. } => true,
            Self::NotFound { .. } | Self::Refused { .. } | Self::Credentials(_) => false,
        }
    }
}

/// Freezes the filesystems of volumes wherever they are mounted.
#[async_trait]
pub trait Holder: Send + Sync {
    /// A hold of that volume comes soon: makes ready for it in the background.
    fn expect(&self, _volume: &VolumeId) {}

    /// Begins a hold of all `volumes`, together. An error means that nothing is frozen.
    async fn hold(
        &self,
        hold: &str,
        volumes: &[VolumeId],
        limit: Duration,
    ) -> Result<Box<dyn Hold>, HolderError>;
}

/// A hold that has begun; dropping it lets go.
#[async_trait]
#[must_use = "dropping the hold thaws"]
pub trait Hold: Send + Sync {
    /// What became of each volume, in the order asked for.
    fn volumes(&self) -> &[VolumeHold];

    /// Returns when the hold is over without our doing: limit passed, agent stopped, connection lost.
    async fn lost(&mut self);

    /// Lets go and tells, in the order asked for, how the hold went. Never fails: a silent agent means "not held".
    async fn release(self: Box<Self>) -> Vec<HoldEnd>;
}

/// What became of one volume at the begin of a hold.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum VolumeHold {
    /// Its filesystem stands still.
    Frozen {
        /// `ext4`, `xfs`, …
        filesystem: String,
        /// The nodes, every one where it is mounted, or `this host`.
        nodes: Vec<String>,
    },
    /// It does not, and why.
    Refused(Refusal),
}

/// Why a volume was not frozen.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub struct Refusal {
    /// No agent sees it mounted.
    pub not_mounted: bool,
    /// For a person.
    pub message: String,
}

/// How one volume's hold ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HoldEnd {
    /// How long its filesystem stood still; zero if it never did.
    pub frozen: Duration,
    /// `Ok` if it stood still from the begin until the release.
    pub held: Result<(), String>,
}

/// Those who own a volume in the cluster: what they ask for, and what they are told.
#[async_trait]
pub trait Owners: Send + Sync {
    /// What the nearest annotation `stillpoint.io/freeze` asks for. Bounded in time; who cannot be asked asks for nothing.
    async fn wish(&self, volume: &VolumeId) -> Option<FreezeMode>;

    /// Tells them, in the background. Never fails.
    fn tell(&self, volume: &VolumeId, news: News);
}

/// What Velero has written down of its backups.
#[async_trait]
pub trait Backups: Send + Sync {
    /// The UID of the backup of that name. Bounded in time; `None` if nobody can tell.
    async fn uid(&self, name: &str) -> Option<String>;

    /// What Velero has written down, and will ever have, of those of these backups, by UID, that ended with fewer
    /// snapshots than they asked for: nothing if it gave the backup up in its middle. An error is the reason, for a person.
    async fn on_record(
        &self,
        backups: &HashSet<String>,
    ) -> Result<HashMap<String, HashSet<SnapshotId>>, String>;
}

/// Who looks on while snapshots are taken.
pub trait Watcher: Send + Sync {
    /// The disk's snapshot has come so far. Must not wait: a filesystem may be frozen meanwhile.
    fn reached(&self, disk: &DiskId, stage: Stage);
}

/// How far a snapshot is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stage {
    /// A hold is asked for.
    Freezing,
    /// The filesystem stands still, and Azure cuts.
    Frozen,
    /// Azure cuts, without a freeze.
    Cutting,
    /// The filesystem runs, as far as it ever stood still.
    Thawed,
    /// Azure copies in the background.
    Copying,
}

/// What became of a snapshot.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum News {
    /// It was taken.
    Taken {
        /// Its name.
        snapshot: String,
        /// What it is worth.
        worth: Worth,
        /// What was asked for.
        mode: FreezeMode,
    },
    /// It was not, and why.
    NotTaken(String),
}

/// Why no agent could be asked.
#[derive(Debug, thiserror::Error)]
pub enum HolderError {
    /// No agent is known for the volume.
    #[error("no agent to freeze with: {0}")]
    NoAgent(String),
    /// The agent did not answer as it should.
    #[error("the agent at {agent} did not hold the volume: {message}")]
    Agent {
        /// Its address.
        agent: String,
        /// What it said.
        message: String,
    },
}
