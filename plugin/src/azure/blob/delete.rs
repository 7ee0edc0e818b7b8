//! Deleting a blob.

use std::time::Instant;

use bytes::Bytes;
use http::{HeaderValue, Method};

use super::{
    Account, BlobError,
    ask::{request, url},
};
use crate::velero::Object;

pub(super) async fn delete(account: &Account, object: &Object) -> Result<(), BlobError> {
    let Object { container, key } = object;
    let started = Instant::now();
    let wire = &account.wire;
    let url = url(wire, object)?;
    let deleted = async {
        let mut request = request(Method::DELETE, &url, Bytes::new())?;
        // Azure refuses to delete a blob that has snapshots without them, and Velero would never get rid of its backup.
        let headers = request.headers_mut();
        headers.insert("x-ms-delete-snapshots", HeaderValue::from_static("include"));
        wire.send(request).await
    };
    match deleted.await {
        Ok(_) => Ok(()),
        Err(failure) if failure.is_code("BlobNotFound") => Ok(()),
        Err(failure) => {
            let resource = wire.resource(container, Some(key));
            Err(BlobError::of(failure, resource, started.elapsed()))
        }
    }
}
