//! What the use cases speak of: disks, snapshots, zones, and what a snapshot is worth. No transport.

mod disk;
mod id;
mod snapshot;
mod volume;
mod worth;
mod zone;

pub use disk::{Access, Disk, DiskProperties, DiskSpec, Encryption, Sku};
pub use id::{DiskId, InvalidId, ResourceGroup, SnapshotId};
pub use snapshot::{ProvisioningState, Snapshot, SnapshotName, SnapshotSpec};
pub use volume::VolumeId;
pub use worth::{Consistency, Worth};
pub use zone::{InvalidZone, Zone, region};
