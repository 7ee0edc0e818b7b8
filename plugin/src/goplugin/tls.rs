//! Mutual TLS as go-plugin's hosts ask for it: each side names its one certificate to the other beforehand.

use std::sync::Arc;

use rcgen::{CertificateParams, ExtendedKeyUsagePurpose, KeyPair};
use rustls::{
    DigitallySignedStruct, DistinguishedName, ServerConfig, SignatureScheme,
    client::danger::HandshakeSignatureValid,
    crypto::{CryptoProvider, aws_lc_rs, verify_tls12_signature, verify_tls13_signature},
    pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer, UnixTime, pem::PemObject as _},
    server::danger::{ClientCertVerified, ClientCertVerifier},
};
use thiserror::Error;
use tokio_rustls::TlsAcceptor;

/// Mutual TLS was asked for and cannot be set up.
#[derive(Debug, Error)]
pub enum TlsError {
    /// The host's certificate.
    #[error("PLUGIN_CLIENT_CERT, which the host sets, holds no readable PEM certificate")]
    HostCertificate,
    /// Our certificate.
    #[error("cannot make a certificate for this process")]
    OwnCertificate(#[from] rcgen::Error),
    /// Both together.
    #[error("cannot set up TLS")]
    Config(#[from] rustls::Error),
}

/// Our side of the agreement.
pub(super) struct Tls {
    pub(super) acceptor: TlsAcceptor,
    pub(super) certificate: CertificateDer<'static>,
}

impl Tls {
    /// A fresh certificate for us; `host_pem` is the only one that is let in.
    pub(super) fn new(host_pem: &str) -> Result<Self, TlsError> {
        let pinned: Vec<_> = CertificateDer::pem_slice_iter(host_pem.as_bytes())
            .collect::<Result<_, _>>()
            .map_err(|_| TlsError::HostCertificate)?;
        if pinned.is_empty() {
            return Err(TlsError::HostCertificate);
        }
        let (certificate, key) = own_certificate()?;
        let provider = Arc::new(aws_lc_rs::default_provider());
        let verifier = PinnedHost {
            pinned,
            provider: Arc::clone(&provider),
        };
        let mut config = ServerConfig::builder_with_provider(provider)
            .with_protocol_versions(rustls::ALL_VERSIONS)?
            .with_client_cert_verifier(Arc::new(verifier))
            .with_single_cert(vec![certificate.clone()], key)?;
        // grpc-go refuses a server that does not choose it.
        config.alpn_protocols = vec![b"h2".to_vec()];
        Ok(Self {
            acceptor: TlsAcceptor::from(Arc::new(config)),
            certificate,
        })
    }
}

fn own_certificate() -> Result<(CertificateDer<'static>, PrivateKeyDer<'static>), rcgen::Error> {
    let key = KeyPair::generate()?;
    // The name that go-plugin's hosts expect.
    let mut params = CertificateParams::new(vec!["localhost".to_owned()])?;
    params.extended_key_usages = vec![
        ExtendedKeyUsagePurpose::ServerAuth,
        ExtendedKeyUsagePurpose::ClientAuth,
    ];
    let certificate = params.self_signed(&key)?;
    Ok((
        certificate.der().clone(),
        PrivatePkcs8KeyDer::from(key.serialize_der()).into(),
    ))
}

/// Lets in whoever has the private key of exactly the certificate that the host handed over.
///
/// The usual verifier cannot: Go's is self-signed and a CA used as a leaf, which webpki refuses.
#[derive(Debug)]
struct PinnedHost {
    pinned: Vec<CertificateDer<'static>>,
    provider: Arc<CryptoProvider>,
}

impl ClientCertVerifier for PinnedHost {
    fn root_hint_subjects(&self) -> &[DistinguishedName] {
        &[]
    }

    fn verify_client_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        _intermediates: &[CertificateDer<'_>],
        _now: UnixTime,
    ) -> Result<ClientCertVerified, rustls::Error> {
        if self.pinned.contains(end_entity) {
            Ok(ClientCertVerified::assertion())
        } else {
            Err(rustls::CertificateError::ApplicationVerificationFailure.into())
        }
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        let algorithms = &self.provider.signature_verification_algorithms;
        verify_tls12_signature(message, certificate, signature, algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        let algorithms = &self.provider.signature_verification_algorithms;
        verify_tls13_signature(message, certificate, signature, algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.provider
            .signature_verification_algorithms
            .supported_schemes()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_no_certificate_is_refused() {
        for pem in [
            "",
            "hello",
            "-----BEGIN CERTIFICATE-----\n*\n-----END CERTIFICATE-----\n",
        ] {
            let error = Tls::new(pem).err();
            assert!(
                matches!(error, Some(TlsError::HostCertificate)),
                "{pem:?}: {error:?}"
            );
        }
    }
}
