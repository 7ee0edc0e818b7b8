//! Opening what a location's config describes.

use std::collections::BTreeMap;

use tokio_util::sync::CancellationToken;

/// The `config` of a VolumeSnapshotLocation or BackupStorageLocation, with what Velero adds.
pub type Config = BTreeMap<String, String>;

/// Opens locations.
pub trait Open: Send + Sync + 'static {
    /// What it opens.
    type Opened: Send + Sync + 'static;
    /// Of opening; converted to a gRPC status in [`crate::error`].
    type Error: std::error::Error + Send + Sync + 'static;

    /// Checks `config` and gets ready to use it. Called once per config and process, however often Velero calls
    /// Init with it, unless it fails.
    fn open(
        &self,
        config: Config,
        cancel: CancellationToken,
    ) -> impl Future<Output = Result<Self::Opened, Self::Error>> + Send;
}
