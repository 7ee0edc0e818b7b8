//! Whom a client of TLS trusts: the system's roots, or `SSL_CERT_FILE`, and what a location's `caCert` names.

use std::sync::Arc;

use rustls::pki_types::{CertificateDer, pem::PemObject as _};

/// Of a client that trusts these besides the system's.
///
/// # Errors
/// The reason, for a person, if nobody is trusted.
pub(crate) fn client_config(
    own_roots: &[CertificateDer<'static>],
) -> Result<rustls::ClientConfig, String> {
    let mut store = rustls::RootCertStore::empty();
    let found = rustls_native_certs::load_native_certs();
    // Only what is needed for checking is kept of each, not the certificate.
    store.add_parsable_certificates(found.certs);
    store.add_parsable_certificates(own_roots.iter().cloned());
    if store.is_empty() {
        let errors: Vec<_> = found.errors.iter().map(ToString::to_string).collect();
        return Err(format!(
            "no certificate authority is trusted: this system has none that can be read ({}), \
             SSL_CERT_FILE names none, and the location has no `caCert`",
            errors.join("; ")
        ));
    }
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let mut config = rustls::ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(|error| error.to_string())?
        .with_root_certificates(store)
        .with_no_client_auth();
    config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
    Ok(config)
}

/// The certificates of a `caCert`, PEM.
///
/// # Errors
/// What is wrong with it, for a person.
pub(crate) fn own_roots(pem: &[u8]) -> Result<Vec<CertificateDer<'static>>, String> {
    let roots = CertificateDer::pem_slice_iter(pem)
        .collect::<Result<Vec<_>, _>>()
        .map_err(|error| error.to_string())?;
    if roots.is_empty() {
        return Err("it holds no certificate".to_owned());
    }
    let mut store = rustls::RootCertStore::empty();
    for root in &roots {
        store.add(root.clone()).map_err(|error| error.to_string())?;
    }
    Ok(roots)
}
