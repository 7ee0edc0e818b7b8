//! Storage accounts as a test makes and changes them. Their blobs are where the test says, in a real server.

use std::collections::BTreeMap;

use serde::Deserialize;
use serde_json::Value;
use url::Url;

use super::{Lab, LabError};
use crate::{
    AccountKey, KeyName, Kind, Moment, ResourceId,
    arm::{disks, refusal::Refusal, rules, storage_accounts},
    shared::Shared,
    storage_account::StorageAccount,
};

/// SKUs of accounts.
const SKUS: [&str; 8] = [
    "Standard_LRS",
    "Standard_ZRS",
    "Standard_GRS",
    "Standard_RAGRS",
    "Standard_GZRS",
    "Standard_RAGZRS",
    "Premium_LRS",
    "Premium_ZRS",
];

/// A storage account to be made at once.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub struct NewStorageAccount {
    /// Its ID; the resource group must exist.
    pub id: ResourceId,
    /// Where its blobs are, `https://127.0.0.1:PORT/ACCOUNT`.
    pub blob_endpoint: String,
    /// The first key (a new one).
    #[serde(default)]
    pub key1: Option<AccountKey>,
    /// The second key (a new one).
    #[serde(default)]
    pub key2: Option<AccountKey>,
    /// `allowSharedKeyAccess` (never set, which allows). The lab only shows it.
    #[serde(default)]
    pub allow_shared_key_access: Option<bool>,
    /// Region (westeurope).
    #[serde(default = "region")]
    pub location: String,
    /// SKU (Standard_LRS).
    #[serde(default = "sku")]
    pub sku: String,
}

fn region() -> String {
    "westeurope".into()
}

fn sku() -> String {
    SKUS[0].into()
}

impl NewStorageAccount {
    /// A Standard_LRS account in westeurope with new keys.
    pub fn new(id: ResourceId, blob_endpoint: &str) -> Self {
        Self {
            id,
            blob_endpoint: blob_endpoint.into(),
            key1: None,
            key2: None,
            allow_shared_key_access: None,
            location: region(),
            sku: sku(),
        }
    }
}

impl Lab {
    /// Makes a storage account at once, by Azure's rules.
    pub fn create_storage_account(&self, new: &NewStorageAccount) -> Result<ResourceId, LabError> {
        self.shared().create_storage_account(new)
    }

    /// A storage account as GET shows it.
    pub fn storage_account(&self, id: &ResourceId) -> Option<Value> {
        let world = self.shared().world();
        world
            .storage_accounts
            .get(&id.key())
            .map(storage_accounts::view)
    }

    /// A key of a storage account, if it has it.
    pub fn account_key(&self, id: &ResourceId, name: KeyName) -> Option<AccountKey> {
        let world = self.shared().world();
        let account = world.storage_accounts.get(&id.key())?;
        account.keys.get(&name).map(|(key, _)| key.clone())
    }

    /// Replaces a key by this one or a new one, and says which; Kerberos keys begin to exist by it.
    pub fn regenerate_key(
        &self,
        id: &ResourceId,
        name: KeyName,
        key: Option<AccountKey>,
    ) -> Result<AccountKey, LabError> {
        self.shared().regenerate_key(id, name, key)
    }

    /// Sets what a storage account shows as `allowSharedKeyAccess`.
    pub fn allow_shared_key_access(
        &self,
        id: &ResourceId,
        allowed: Option<bool>,
    ) -> Result<(), LabError> {
        self.shared().allow_shared_key_access(id, allowed)
    }

    /// Removes a storage account with its lock.
    pub fn delete_storage_account(&self, id: &ResourceId) {
        self.shared().delete_storage_account(id);
    }
}

impl Shared {
    pub(crate) fn create_storage_account(
        &self,
        new: &NewStorageAccount,
    ) -> Result<ResourceId, LabError> {
        let NewStorageAccount {
            id,
            blob_endpoint,
            key1,
            key2,
            allow_shared_key_access,
            location,
            sku,
        } = new;
        if id.kind != Kind::StorageAccount {
            return Err(LabError::Settings(format!(
                "{id} is a {}; expected a {}",
                id.kind,
                Kind::StorageAccount
            )));
        }
        if !SKUS.contains(&sku.as_str()) {
            return Err(LabError::Settings(format!(
                "sku {sku:?}; expected one of {}",
                SKUS.join(", ")
            )));
        }
        let blob_endpoint = endpoint(blob_endpoint)?;
        let mut world = self.world();
        world
            .group(&id.subscription, &id.group)
            .ok_or_else(|| Refusal::Group(id.group.clone()))?;
        storage_accounts::name(&world, &id.name)?;
        let location = rules::location(&world.settings, id.kind, Some(location))?;
        let id = disks::canonical(&world, id);
        let created = Moment::now();
        let keys = [(KeyName::Key1, key1), (KeyName::Key2, key2)].map(|(name, key)| {
            let key = key.clone().unwrap_or_else(AccountKey::random);
            (name, (key, created))
        });
        let account = StorageAccount {
            id: id.clone(),
            location,
            sku: sku.clone(),
            blob_endpoint,
            allow_shared_key_access: *allow_shared_key_access,
            created,
            keys: BTreeMap::from(keys),
        };
        world.storage_accounts.insert(id.key(), account);
        Ok(id)
    }

    pub(crate) fn regenerate_key(
        &self,
        id: &ResourceId,
        name: KeyName,
        key: Option<AccountKey>,
    ) -> Result<AccountKey, LabError> {
        let key = key.unwrap_or_else(AccountKey::random);
        self.change_account(id, |account| {
            account.keys.insert(name, (key.clone(), Moment::now()));
        })?;
        Ok(key)
    }

    pub(crate) fn allow_shared_key_access(
        &self,
        id: &ResourceId,
        allowed: Option<bool>,
    ) -> Result<(), LabError> {
        self.change_account(id, |account| account.allow_shared_key_access = allowed)
    }

    fn change_account(
        &self,
        id: &ResourceId,
        change: impl FnOnce(&mut StorageAccount),
    ) -> Result<(), LabError> {
        let mut world = self.world();
        let account = world.storage_accounts.get_mut(&id.key());
        change(account.ok_or_else(|| LabError::Missing(format!("storage account {id}")))?);
        Ok(())
    }

    pub(crate) fn delete_storage_account(&self, id: &ResourceId) {
        let mut world = self.world();
        world.storage_accounts.remove(&id.key());
        world.locks.remove(&id.key());
    }
}

/// As Azure shows it, with a slash at its end.
fn endpoint(text: &str) -> Result<String, LabError> {
    let url = Url::parse(text)
        .ok()
        .filter(|url| matches!(url.scheme(), "http" | "https") && url.query().is_none());
    let url = url.ok_or_else(|| {
        LabError::Settings(format!(
            "blobEndpoint {text:?}; expected a URL such as https://127.0.0.1:10000/devstoreaccount1"
        ))
    })?;
    Ok(format!("{}/", url.as_str().trim_end_matches('/')))
}
