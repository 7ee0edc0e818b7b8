//! Requests of our own, and their answers whole.

use bytes::Bytes;
use http::{Method, header::CONTENT_LENGTH};
use object_store::client::HttpRequest;
use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};

use super::{BlobError, key, wire::Wire};
use crate::{
    azure::{answer::causes, failure::Failure},
    velero::Object,
};

/// How often an answer that breaks off is asked for; before it begins the wire tries again by itself.
const ATTEMPTS: u32 = 5;

/// `value` as it stands in a query.
pub(super) fn in_query(value: &str) -> String {
    utf8_percent_encode(value, NON_ALPHANUMERIC).to_string()
}

/// Where an object is, for a request of our own.
pub(super) fn url(wire: &Wire, object: &Object) -> Result<String, BlobError> {
    let path = key::to_path(&object.key)?;
    Ok(format!(
        "{}/{}",
        wire.url(&object.container),
        key::escaped(&path)
    ))
}

pub(super) fn request(method: Method, url: &str, body: Bytes) -> Result<HttpRequest, Failure> {
    let mut request = http::Request::builder().method(method).uri(url);
    if !body.is_empty() {
        // It is signed, so it cannot be left to the client.
        request = request.header(CONTENT_LENGTH, body.len());
    }
    request.body(body.into()).map_err(|error| {
        let address = url.split('?').next().unwrap_or_default();
        Failure::Malformed(format!("{address} is no URL: {error}"))
    })
}

/// Sends a request that may be repeated, and reads the whole answer.
pub(super) async fn ask(
    wire: &Wire,
    method: Method,
    url: &str,
    body: Bytes,
) -> Result<Bytes, Failure> {
    let mut attempt = 1;
    loop {
        let request = request(method.clone(), url, body.clone())?;
        let answer = wire.send(request).await?;
        match answer.into_body().bytes().await {
            Ok(whole) => return Ok(whole),
            Err(_) if attempt < ATTEMPTS => attempt += 1,
            Err(error) => return Err(Failure::Connection(causes(&error))),
        }
    }
}
