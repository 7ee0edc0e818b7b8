//! Reading a blob as a stream, resumed where the connection broke.

mod blob;
mod resume;
#[cfg(test)]
mod tests;

use std::time::Instant;

use bytes::Bytes;
use futures::stream::BoxStream;
use object_store::ObjectStoreExt as _;

use self::blob::StoredBlob;
use super::{Account, BlobError, key};
use crate::{
    azure::failure::Failure,
    velero::{Body, Object},
};

pub(super) async fn exists(account: &Account, object: &Object) -> Result<bool, BlobError> {
    let store = account.container(&object.container)?;
    let path = key::to_path(&object.key)?;
    let begun = Instant::now();
    let Err(error) = store.head(&path).await else {
        return Ok(true);
    };
    let failure = Failure::of_store(&error);
    if failure.is_code("BlobNotFound") || failure.is_code("ContainerNotFound") {
        return Ok(false);
    }
    let resource = account.wire.resource(&object.container, Some(&object.key));
    Err(BlobError::of(failure, resource, begun.elapsed()))
}

pub(super) async fn get(account: &Account, object: Object) -> Result<Body<BlobError>, BlobError> {
    resume::read(StoredBlob::new(account, &object)?).await
}

/// A blob that is there.
trait Blob: Send + Sync + 'static {
    /// Asks for it, or for the rest of it.
    fn open(&self, rest: Option<Rest>) -> impl Future<Output = Result<Opened, Failure>> + Send;

    /// What failures are about.
    fn resource(&self) -> String;
}

/// Of one version, what comes after so many bytes.
#[derive(Clone, Debug)]
struct Rest {
    version: String,
    read: u64,
    size: u64,
}

/// An answer whose body is still to come.
struct Opened {
    version: Option<String>,
    /// Of the whole blob.
    size: u64,
    parts: BoxStream<'static, Result<Bytes, Failure>>,
}
