//! The snapshot that the Azure driver is about to make: known by its name before it is there.
//!
//! Name and place are the driver's (azuredisk-csi-driver, CreateSnapshot): `snapshot-` and the UID of the VolumeSnapshot,
//! in the disk's resource group, or where its class says.

use std::sync::Arc;

use super::{
    attempt::Attempt,
    ports::{Class, Kind},
};
use crate::{
    model::{Disk, DiskId, ResourceGroup, Snapshot, SnapshotId},
    ports::{Azure, AzureError, CutPermit},
};

/// Azure, for those who only look.
#[derive(Clone)]
pub struct Arm {
    azure: Arc<dyn Azure>,
    /// The driver's own subscription.
    subscription: Option<String>,
}

/// What was seen before the freeze, and room for the looks during it.
pub(super) struct Sight {
    pub(super) arm: Arm,
    permit: CutPermit,
    pub(super) snapshot: SnapshotId,
    /// The disk, before.
    pub(super) disk: Disk,
}

impl Arm {
    /// That Azure; the driver's subscription if it is known.
    pub fn new(azure: Arc<dyn Azure>, subscription: Option<String>) -> Self {
        Self {
            azure,
            subscription,
        }
    }

    /// What the attempt is going to make of which disk; `None` if nobody can tell.
    pub(super) fn names(&self, attempt: &Attempt, class: &Class) -> Option<(DiskId, SnapshotId)> {
        let ([volume], Kind::Snapshot, None) =
            (&attempt.volumes[..], attempt.content.kind, &class.location)
        else {
            return None;
        };
        let disk = volume.disk()?.clone();
        let subscription = class.subscription.as_ref().or(self.subscription.as_ref());
        let group = ResourceGroup {
            subscription: subscription.unwrap_or(&disk.group.subscription).clone(),
            name: class
                .resource_group
                .as_ref()
                .unwrap_or(&disk.group.name)
                .clone(),
        };
        let name = format!("snapshot-{}", attempt.snapshot.uid);
        Some((disk, SnapshotId::new(group, name)))
    }

    /// Looks at the disk and makes room. `true`: the snapshot is there already.
    pub(super) async fn look(
        &self,
        disk: &DiskId,
        snapshot: &SnapshotId,
    ) -> Result<(Sight, bool), AzureError> {
        let permit = self.azure.reserve_cut(&snapshot.group).await?;
        let (disk, there) = tokio::join!(self.azure.disk(disk), self.is_there(snapshot));
        let sight = Sight {
            arm: self.clone(),
            permit,
            snapshot: snapshot.clone(),
            disk: disk?,
        };
        Ok((sight, there?))
    }

    async fn is_there(&self, snapshot: &SnapshotId) -> Result<bool, AzureError> {
        match self.azure.snapshot(snapshot).await {
            Ok(_) => Ok(true),
            Err(AzureError::NotFound { .. }) => Ok(false),
            Err(error) => Err(error),
        }
    }
}

impl Sight {
    pub(super) async fn is_there(&self) -> Result<bool, AzureError> {
        self.arm.is_there(&self.snapshot).await
    }

    /// Waits until the data is fixed.
    pub(super) async fn fixed(&self) -> Result<Snapshot, AzureError> {
        self.arm.azure.fixed(&self.permit, &self.snapshot).await
    }

    /// The disk as it is now.
    pub(super) async fn disk_again(&self) -> Result<Disk, AzureError> {
        self.arm.azure.disk(&self.disk.id).await
    }

    /// Writes the verdict on the snapshot, where the role allows it.
    pub(super) async fn tag(&self, tags: std::collections::BTreeMap<String, String>) {
        match self.arm.azure.tag_snapshot(&self.snapshot, tags).await {
            Ok(()) => {}
            Err(error @ AzureError::Refused { status: 403, .. }) => {
                tracing::debug!(snapshot = %self.snapshot, %error, "the role allows no tags on the snapshot");
            }
            Err(error) => {
                tracing::warn!(snapshot = %self.snapshot, %error, "no tags on the snapshot");
            }
        }
    }
}
