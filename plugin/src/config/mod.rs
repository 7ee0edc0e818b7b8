//! The `config` of Velero's locations: every key typed, checked and defaulted, once, at Init.
//!
//! The keys are the stock Azure plugin's and Stillpoint's own. Velero adds `credentialsFile` where a location
//! names a credential (velero 1.18, `internal/volume/snapshotlocation.go`), and for a BackupStorageLocation
//! `bucket`, `prefix` and `caCert` (`pkg/persistence/object_store.go`).

mod backup_settings;
pub(crate) mod duration;
mod error;
mod freeze;
mod keys;
mod location;
mod settings;
mod value;

pub use backup_settings::BackupSettings;
pub use error::ConfigError;
pub use freeze::FreezeMode;
pub use location::Location;
pub use settings::{AgentChoice, ServiceAccount, Settings};

#[cfg(test)]
mod tests;
