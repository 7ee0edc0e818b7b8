//! What the VolumeSnapshotter service needs of the use cases, free of gRPC.

use std::collections::BTreeMap;

use serde_json::Value;
use tokio_util::sync::CancellationToken;

/// One VolumeSnapshotLocation. Calls overlap.
///
/// `cancel` tells a call that nobody waits for it any more (host gone, call cancelled, process stopping): it
/// cleans up and returns, within about a second and a half. Its future is never dropped before it is ready.
pub trait Location: Send + Sync + 'static {
    /// Of every call.
    type Error;

    /// Type and IOPS of a volume.
    fn volume_info(
        &self,
        volume: String,
        zone: Option<String>,
        cancel: CancellationToken,
    ) -> impl Future<Output = Result<VolumeInfo, Self::Error>> + Send;

    /// The ID of a new snapshot.
    fn create_snapshot(
        &self,
        request: CreateSnapshot,
        cancel: CancellationToken,
    ) -> impl Future<Output = Result<String, Self::Error>> + Send;

    /// Deletes a snapshot; gone already is success.
    fn delete_snapshot(
        &self,
        snapshot: String,
        cancel: CancellationToken,
    ) -> impl Future<Output = Result<(), Self::Error>> + Send;

    /// The ID of a new volume.
    fn create_volume(
        &self,
        request: CreateVolume,
        cancel: CancellationToken,
    ) -> impl Future<Output = Result<String, Self::Error>> + Send;

    /// The ID of the volume behind a PV; none if it is not one of Azure's disks.
    fn volume_id(
        &self,
        persistent_volume: Value,
        cancel: CancellationToken,
    ) -> impl Future<Output = Result<Option<String>, Self::Error>> + Send;

    /// The PV, made to tell of `volume`.
    fn set_volume_id(
        &self,
        persistent_volume: Value,
        volume: String,
        cancel: CancellationToken,
    ) -> impl Future<Output = Result<Value, Self::Error>> + Send;
}

/// What Velero writes down of a volume at backup, and hands back at restore.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct VolumeInfo {
    /// The SKU.
    pub volume_type: String,
    /// None where the SKU decides.
    pub iops: Option<i64>,
}

/// A snapshot to be taken.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct CreateSnapshot {
    /// From [`Location::volume_id`].
    pub volume: String,
    /// As Velero read it from the PV: `westeurope-1`, `0`, …
    pub zone: Option<String>,
    /// Of the backup.
    pub tags: BTreeMap<String, String>,
}

/// A volume to be made from a snapshot.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct CreateVolume {
    /// From [`Location::create_snapshot`].
    pub snapshot: String,
    /// [`VolumeInfo::volume_type`] at the time of the backup.
    pub volume_type: String,
    /// The zone of the original.
    pub zone: Option<String>,
    /// [`VolumeInfo::iops`] at the time of the backup.
    pub iops: Option<i64>,
}
