//! What opens a signed URL: a client that knows nothing of Azure.

use reqwest::{Certificate, Client};

use crate::fixture::Setup;

/// Status and body.
pub(crate) async fn fetch(setup: &Setup, url: &str) -> (u16, Vec<u8>) {
    let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
    let ca = Certificate::from_pem(setup.ca.as_bytes()).unwrap();
    let client = Client::builder().tls_certs_only([ca]).build().unwrap();
    let answer = client.get(url).send().await.unwrap();
    let status = answer.status().as_u16();
    (status, answer.bytes().await.unwrap().to_vec())
}
