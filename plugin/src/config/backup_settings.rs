//! A BackupStorageLocation's config.

use std::{collections::HashMap, path::PathBuf};

use url::Url;

use super::{ConfigError, keys::Keys, value};

/// A location's config.
#[derive(Clone, Debug, PartialEq)]
pub struct BackupSettings {
    /// `storageAccount`.
    pub account: String,
    /// `storageAccountURI`: its blob endpoint, if not the one that the resource manager tells or the cloud's usual one.
    pub account_uri: Option<Url>,
    /// `storageAccountKeyEnvVar`: which variable of the credentials holds an account key.
    pub key_variable: Option<String>,
    /// `resourceGroup`: the account's, if not the cluster's.
    pub resource_group: Option<String>,
    /// `subscriptionId`: the account's, if not the cluster's.
    pub subscription: Option<String>,
    /// `blockSizeInBytes`.
    pub block_size: Option<usize>,
    /// `useAAD`; false: a key is looked up through the resource manager.
    pub use_entra: bool,
    /// `activeDirectoryAuthorityURI`.
    pub authority: Option<Url>,
    /// `resourceManagerEndpoint`.
    pub resource_manager: Option<Url>,
    /// `credentialsFile`.
    pub credentials_file: Option<PathBuf>,
    /// `caCert`: PEM.
    pub ca_cert: Option<String>,
}

impl BackupSettings {
    /// All keys.
    pub const KEYS: [&str; 13] = [
        "storageAccount",
        "storageAccountURI",
        "storageAccountKeyEnvVar",
        "resourceGroup",
        "subscriptionId",
        "blockSizeInBytes",
        "useAAD",
        "activeDirectoryAuthorityURI",
        "resourceManagerEndpoint",
        "credentialsFile",
        "caCert",
        // Velero names them in every call.
        "bucket",
        "prefix",
    ];

    /// The settings that the config map of a BackupStorageLocation gives.
    ///
    /// # Errors
    /// The first key, in alphabetical order, that nobody reads; else the first value that is not allowed.
    pub fn parse(config: &HashMap<String, String>) -> Result<Self, ConfigError> {
        let keys = Keys::of("BackupStorageLocation", config, &Self::KEYS)?;
        Ok(Self {
            account: keys.required("storageAccount", value::storage_account)?,
            account_uri: keys.read("storageAccountURI", value::blob_endpoint)?,
            key_variable: keys.read("storageAccountKeyEnvVar", value::variable)?,
            resource_group: keys.read("resourceGroup", value::resource_group)?,
            subscription: keys.read("subscriptionId", value::subscription)?,
            block_size: keys.read("blockSizeInBytes", value::block_size)?,
            use_entra: keys.read("useAAD", value::boolean)?.unwrap_or(false),
            authority: keys.read("activeDirectoryAuthorityURI", value::endpoint)?,
            resource_manager: keys.read("resourceManagerEndpoint", value::endpoint)?,
            credentials_file: keys.read("credentialsFile", value::path)?,
            ca_cert: keys.read("caCert", value::pem)?,
        })
    }
}
