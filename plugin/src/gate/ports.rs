//! What the gate needs of the cluster: what becomes of contents, what classes say, and someone to tell.

use async_trait::async_trait;
use tokio::sync::watch;

use crate::{
    config::FreezeMode,
    model::{VolumeId, Worth},
};

/// Whose snapshot is made.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Kind {
    /// VolumeSnapshotContent, of a VolumeSnapshot.
    Snapshot,
    /// VolumeGroupSnapshotContent, of a VolumeGroupSnapshot.
    Group,
}

/// A content by its name, and which of that name.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct ContentId {
    /// Its kind.
    pub kind: Kind,
    /// Its name.
    pub name: String,
    /// Its UID.
    pub uid: String,
}

/// The VolumeSnapshot or VolumeGroupSnapshot that a content is of.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct SnapshotRef {
    /// Its namespace.
    pub namespace: String,
    /// Its name.
    pub name: String,
    /// Its UID.
    pub uid: String,
}

/// What is known of a content.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Content {
    /// Its UID.
    pub uid: String,
    /// What it is of.
    pub snapshot: SnapshotRef,
    /// The volumes that it is of.
    pub volumes: Vec<VolumeId>,
    /// Its driver is, or may be, at work on it.
    pub being_created: bool,
    /// The hold that a gate put on it last.
    pub hold: Option<String>,
    /// That hold's verdict is still to come.
    pub pending: bool,
    /// The driver has told its handle.
    pub created: bool,
    /// Why its last attempt failed.
    pub error: Option<String>,
}

/// What a VolumeSnapshotClass or VolumeGroupSnapshotClass says.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Class {
    /// Its annotation `stillpoint.io/freeze`.
    pub wish: Option<FreezeMode>,
    /// `resourceGroup`: where the Azure driver puts its snapshots.
    pub resource_group: Option<String>,
    /// `subscriptionID`: the same.
    pub subscription: Option<String>,
    /// `location`: with it the Azure driver makes a copy in another region, from a snapshot of another name.
    pub location: Option<String>,
}

/// A verdict that is to be told.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Verdict {
    /// On this content.
    pub content: ContentId,
    /// And on this snapshot.
    pub snapshot: SnapshotRef,
    /// If it is still that of this hold.
    pub hold: String,
    /// What the copy is worth.
    pub worth: Worth,
    /// What was asked for; `None` if nobody knows any more.
    pub mode: Option<FreezeMode>,
    /// The volumes.
    pub volumes: Vec<VolumeId>,
    /// A snapshot was taken, or may have been: people are told, not only the content.
    pub taken: bool,
    /// Nobody is known to be at it any more: it does not count if there is a verdict already.
    pub orphan: bool,
}

/// The snapshots of the cluster.
#[async_trait]
pub trait Cluster: Send + Sync {
    /// What is known of a content at this moment.
    fn content(&self, id: &ContentId) -> Option<Content>;

    /// All contents with a verdict that is still to come.
    fn pending(&self) -> Vec<(ContentId, Content)>;

    /// Changes whenever what is known does.
    fn changes(&self) -> watch::Receiver<u64>;

    /// What a class says. Bounded in time.
    async fn class(&self, kind: Kind, name: &str) -> Result<Class, String>;

    /// Writes a verdict on the content and, if a snapshot was taken, on that and as an Event; tries again for a while. Whether
    /// it was ours to tell: another hold, or another gate, may have the last word by now.
    async fn tell(&self, verdict: &Verdict) -> bool;
}
