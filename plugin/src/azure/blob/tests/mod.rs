//! How requests are authorised, sent and tried again.

mod open;
mod redaction;
mod renewal;
mod server;
mod wire;

use std::{path::Path, sync::Arc};

use object_store::client::{HttpRequest, HttpRequestBody, HttpResponse};
use url::Url;

use self::server::ACCOUNT;
use super::{
    access::{Access, NamedKey, Source},
    wire::Wire,
};
use crate::azure::{failure::Failure, transport::Transport};

/// A wire to `service`, by the key that the variable `KEY` of `file` holds.
fn wire_by_key(service: &Url, certificate: &str, file: &Path) -> Wire {
    let named = NamedKey {
        variable: "KEY".to_owned(),
        credentials_file: Some(file.to_owned()),
    };
    let (key, _) = named.read(&|_| None).unwrap();
    let access = Access::new(Source::Named(named), Some(key));
    let transport = Transport::new(Some(certificate)).unwrap();
    Wire::new(
        ACCOUNT.to_owned(),
        service.clone(),
        access,
        Arc::new(transport),
    )
}

async fn get(wire: &Wire, path: &str) -> Result<HttpResponse, Failure> {
    let uri = format!("{}/{path}", wire.url("c"));
    let request = HttpRequest::new(HttpRequestBody::empty());
    let (mut parts, body) = request.into_parts();
    parts.uri = uri.parse().unwrap();
    wire.send(HttpRequest::from_parts(parts, body)).await
}
