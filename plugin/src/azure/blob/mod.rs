//! Azure Blob Storage: one storage account, as one BackupStorageLocation reaches it.
//!
//! ```text
//! Account                                     what the ObjectStore service asks for
//!   upload, download, list, delete, sign      one operation each
//!   key, sas, delegation, xml                 how Storage writes: keys, signatures, answers
//!   ask                                       requests of our own, whose answers are read whole
//!   wire                                      authorises, sends, tries again
//!   open, access, account_key                 with which key or token
//!   answer, error, hint                       what went wrong, and what to do
//! ```
//!
//! `object_store` shapes the requests for blobs; listing, deleting and committing are our own, on the same wire.

mod access;
mod account_key;
mod answer;
mod ask;
mod checksum;
mod delegation;
mod delete;
mod download;
mod error;
mod hint;
mod key;
mod list;
mod open;
mod sas;
mod sign;
#[cfg(test)]
mod tests;
mod upload;
mod wire;
mod xml;

use std::{
    collections::HashMap,
    sync::{Arc, Mutex},
    time::Duration,
};

use object_store::azure::MicrosoftAzure;
use tokio_util::sync::CancellationToken;

pub use self::error::BlobError;
pub(crate) use self::open::open;
use self::{delegation::Delegation, wire::Wire};
use super::transport::lock;
use crate::velero::{Body, Broken, Object, Store};

/// A storage account.
pub struct Account {
    wire: Wire,
    /// `blockSizeInBytes`, where the location sets it.
    block_size: Option<usize>,
    containers: Mutex<HashMap<String, Arc<MicrosoftAzure>>>,
    delegation: Delegation,
}

impl Account {
    /// The container of that name; nothing is sent.
    fn container(&self, name: &str) -> Result<Arc<MicrosoftAzure>, BlobError> {
        if let Some(known) = lock(&self.containers).get(name) {
            return Ok(Arc::clone(known));
        }
        let made = Arc::new(self.wire.container(name)?);
        Ok(lock(&self.containers)
            .entry(name.to_owned())
            .or_insert(made)
            .clone())
    }
}

impl Store for Account {
    type Error = BlobError;

    async fn put(
        &self,
        object: Object,
        body: &mut Body<Broken>,
        cancel: CancellationToken,
    ) -> Result<(), BlobError> {
        upload::put(self, &object, body, &cancel).await
    }

    async fn exists(&self, object: Object, cancel: CancellationToken) -> Result<bool, BlobError> {
        unless_cancelled(&cancel, download::exists(self, &object)).await
    }

    async fn get(
        &self,
        object: Object,
        cancel: CancellationToken,
    ) -> Result<Body<BlobError>, BlobError> {
        unless_cancelled(&cancel, download::get(self, object)).await
    }

    async fn common_prefixes(
        &self,
        container: String,
        prefix: String,
        delimiter: String,
        cancel: CancellationToken,
    ) -> Result<Vec<String>, BlobError> {
        let prefixes = list::common_prefixes(self, &container, &prefix, &delimiter);
        unless_cancelled(&cancel, prefixes).await
    }

    async fn objects(
        &self,
        container: String,
        prefix: String,
        cancel: CancellationToken,
    ) -> Result<Vec<String>, BlobError> {
        unless_cancelled(&cancel, list::objects(self, &container, &prefix)).await
    }

    async fn delete(&self, object: Object, cancel: CancellationToken) -> Result<(), BlobError> {
        unless_cancelled(&cancel, delete::delete(self, &object)).await
    }

    async fn signed_url(
        &self,
        object: Object,
        lifetime: Duration,
        cancel: CancellationToken,
    ) -> Result<String, BlobError> {
        unless_cancelled(&cancel, sign::url(self, &object, lifetime)).await
    }
}

/// `call`, unless it is cancelled before.
async fn unless_cancelled<T>(
    cancel: &CancellationToken,
    call: impl Future<Output = Result<T, BlobError>>,
) -> Result<T, BlobError> {
    tokio::select! {
        biased;
        () = cancel.cancelled() => Err(BlobError::Cancelled),
        done = call => done,
    }
}
