//! What the use cases speak of: disks, snapshots, zones, and what a snapshot is worth. No transport.

mod disk;
mod id;
mod snapshot;
mod worth;
mod zone;

pub use disk::{Disk, DiskProperties, DiskSpec, Encryption, Sku};
pub use id::{DiskId, InvalidId, ResourceGroup, SnapshotId};
pub use snapshot::{ProvisioningState, Snapshot, SnapshotName, SnapshotSpec};
pub use worth::{Consistency, Worth};
pub use zone::{InvalidZone, Zone, region};
