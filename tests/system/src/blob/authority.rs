//! The certificate authority of the blob server and of what stands before it.

use std::sync::Arc;

use ::aws_lc_rs::rand;
use anyhow::{Context as _, Result};
use rcgen::{BasicConstraints, CertificateParams, DnType, IsCa, Issuer, KeyPair, KeyUsagePurpose};
use rustls::{
    ClientConfig, RootCertStore, ServerConfig,
    crypto::{CryptoProvider, aws_lc_rs},
    pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer},
};

/// What the certificates are good for: this host, and accounts under their real names, for hosts files.
const NAMES: [&str; 5] = [
    "127.0.0.1",
    "localhost",
    "*.blob.core.windows.net",
    "*.blob.core.chinacloudapi.cn",
    "*.blob.core.usgovcloudapi.net",
];

/// A CA, and one server certificate of it that all share.
#[derive(Clone, Debug)]
pub struct Authority(Arc<Made>);

#[derive(Debug)]
struct Made {
    root: CertificateDer<'static>,
    root_pem: String,
    leaf: rcgen::Certificate,
    key: KeyPair,
}

impl Authority {
    /// A fresh one.
    pub fn new() -> Result<Self> {
        // By its name too it differs from another, else a client that trusts the other calls the signature bad.
        let mut number = [0; 8];
        rand::fill(&mut number).context("no randomness")?;
        let name = format!("Stillpoint blob CA {:x}", u64::from_ne_bytes(number));
        let mut ca = CertificateParams::new(Vec::new())?;
        ca.distinguished_name.push(DnType::CommonName, name);
        ca.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        ca.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
        let ca_key = KeyPair::generate()?;
        let root = ca.self_signed(&ca_key)?;
        let issuer = Issuer::new(ca, ca_key);

        let mut leaf = CertificateParams::new(NAMES.map(String::from))?;
        leaf.distinguished_name
            .push(DnType::CommonName, "Stillpoint blob server");
        leaf.use_authority_key_identifier_extension = true;
        let key = KeyPair::generate()?;
        Ok(Self(Arc::new(Made {
            root: root.der().clone(),
            root_pem: root.pem(),
            leaf: leaf.signed_by(&key, &issuer)?,
            key,
        })))
    }

    /// The CA's certificate: what `caCert` takes.
    pub fn pem(&self) -> &str {
        &self.0.root_pem
    }

    /// The server's certificate and its key, both PEM.
    pub(super) fn server_pem(&self) -> (String, String) {
        (self.0.leaf.pem(), self.0.key.serialize_pem())
    }

    /// A server that speaks HTTP/1.1, as Azure Storage does.
    pub(super) fn server(&self) -> Result<Arc<ServerConfig>> {
        let key = PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(self.0.key.serialize_der()));
        let mut config = ServerConfig::builder_with_provider(provider())
            .with_safe_default_protocol_versions()?
            .with_no_client_auth()
            .with_single_cert(vec![self.0.leaf.der().clone()], key)?;
        config.alpn_protocols = vec![b"http/1.1".to_vec()];
        Ok(Arc::new(config))
    }

    /// A client that trusts this CA alone.
    pub(super) fn client(&self) -> Result<Arc<ClientConfig>> {
        let mut roots = RootCertStore::empty();
        roots.add(self.0.root.clone())?;
        let config = ClientConfig::builder_with_provider(provider())
            .with_safe_default_protocol_versions()?
            .with_root_certificates(roots)
            .with_no_client_auth();
        Ok(Arc::new(config))
    }
}

fn provider() -> Arc<CryptoProvider> {
    Arc::new(aws_lc_rs::default_provider())
}
