//! What the ObjectStore service needs of the use cases, free of gRPC. Velero's bucket is Azure's container.

use std::time::Duration;

use bytes::Bytes;
use futures::stream::BoxStream;
use tokio_util::sync::CancellationToken;

/// An object in a container.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Object {
    /// The container.
    pub container: String,
    /// The key: `backups/nightly/nightly.tar.gz`.
    pub key: String,
}

/// The parts of an object, in order. From Velero, an error means that the rest will never come: what was read so
/// far is no object.
pub type Body<E> = BoxStream<'static, Result<Bytes, E>>;

/// Velero's stream broke before its end.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the object's stream from Velero broke: {0}")]
pub struct Broken(pub String);

/// One BackupStorageLocation. Calls overlap.
///
/// `cancel` tells a call that nobody waits for it any more (host gone, call cancelled, process stopping): it
/// returns at once. Its future is never dropped before it is ready.
pub trait Store: Send + Sync + 'static {
    /// Of every call.
    type Error;

    /// Writes an object, whole or not at all: cancelled, or with an error in `body`, whatever was there before stays.
    /// After an error some of `body` may be unread.
    fn put(
        &self,
        object: Object,
        body: &mut Body<Broken>,
        cancel: CancellationToken,
    ) -> impl Future<Output = Result<(), Self::Error>> + Send;

    /// Whether the object is there; not if its container is not.
    fn exists(
        &self,
        object: Object,
        cancel: CancellationToken,
    ) -> impl Future<Output = Result<bool, Self::Error>> + Send;

    /// The object, read as fast as it is polled, all of it from one version.
    fn get(
        &self,
        object: Object,
        cancel: CancellationToken,
    ) -> impl Future<Output = Result<Body<Self::Error>, Self::Error>> + Send;

    /// The beginnings of keys up to and with the first `delimiter` after `prefix`, each once, in the order of the store.
    fn common_prefixes(
        &self,
        container: String,
        prefix: String,
        delimiter: String,
        cancel: CancellationToken,
    ) -> impl Future<Output = Result<Vec<String>, Self::Error>> + Send;

    /// All keys that begin with `prefix`, in the order of the store.
    fn objects(
        &self,
        container: String,
        prefix: String,
        cancel: CancellationToken,
    ) -> impl Future<Output = Result<Vec<String>, Self::Error>> + Send;

    /// Deletes an object; gone already is success.
    fn delete(
        &self,
        object: Object,
        cancel: CancellationToken,
    ) -> impl Future<Output = Result<(), Self::Error>> + Send;

    /// A URL with which anybody can read the object, at once and for `lifetime`.
    fn signed_url(
        &self,
        object: Object,
        lifetime: Duration,
        cancel: CancellationToken,
    ) -> impl Future<Output = Result<String, Self::Error>> + Send;
}
