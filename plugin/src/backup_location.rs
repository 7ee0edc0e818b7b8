//! A BackupStorageLocation with all that it needs: its config, its credentials and its storage account.

use tokio_util::sync::CancellationToken;

use crate::{
    azure::{
        self, ConnectError,
        blob::{Account, BlobError},
    },
    config::{BackupSettings, ConfigError},
    ports::AzureError,
    velero::{Config, Open},
};

/// Opens storage accounts.
#[derive(Debug, Default)]
pub struct AzureStores;

/// Why a location cannot be used, or a call on it failed.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// Its config.
    #[error(transparent)]
    Config(#[from] ConfigError),
    /// Its credentials.
    #[error(transparent)]
    Connect(#[from] ConnectError),
    /// The resource manager, asked for the account.
    #[error(transparent)]
    Account(#[from] AzureError),
    /// Blob storage.
    #[error(transparent)]
    Blob(#[from] BlobError),
}

impl Open for AzureStores {
    type Opened = Account;
    type Error = StoreError;

    async fn open(&self, config: Config, cancel: CancellationToken) -> Result<Account, StoreError> {
        let settings = BackupSettings::parse(&config.into_iter().collect())?;
        azure::blob::open(&settings, &cancel).await
    }
}
