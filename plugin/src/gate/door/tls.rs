//! What the door proves itself with: exchanged while it serves.

use std::sync::{Arc, PoisonError, RwLock};

use rustls::{
    ServerConfig,
    crypto::aws_lc_rs::default_provider,
    server::{NoServerSessionStorage, WebPkiClientVerifier, danger::ClientCertVerifier},
    sign::{CertifiedKey, SingleCertAndKey},
    version::TLS13,
};

use super::{DoorError, certificate};

/// The door's side of TLS; each connection takes what is there when it comes.
pub(super) struct Tls {
    /// Who may come in, if not everyone.
    clients: Option<Arc<dyn ClientCertVerifier>>,
    served: RwLock<Option<Served>>,
}

struct Served {
    certified: Arc<CertifiedKey>,
    config: Arc<ServerConfig>,
}

impl Tls {
    /// With the PEM of `clients` a certificate signed by one of those is asked for.
    pub(super) fn new(clients: Option<&[u8]>) -> Result<Self, String> {
        let clients = clients.map(|pem| {
            let roots = certificate::roots(pem).map_err(|error| error.to_string())?;
            let provider = Arc::new(default_provider());
            let verifier = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider);
            verifier.build().map_err(|error| error.to_string())
        });
        Ok(Self {
            clients: clients.transpose()?,
            served: RwLock::default(),
        })
    }

    /// From now on new connections see this one.
    pub(super) fn serve(&self, certified: Arc<CertifiedKey>) -> Result<(), rustls::Error> {
        let builder = ServerConfig::builder_with_provider(Arc::new(default_provider()))
            .with_protocol_versions(&[&TLS13])?;
        let builder = match &self.clients {
            Some(clients) => builder.with_client_cert_verifier(Arc::clone(clients)),
            None => builder.with_no_client_auth(),
        };
        let resolver = SingleCertAndKey::from(Arc::clone(&certified));
        let mut config = builder.with_cert_resolver(Arc::new(resolver));
        config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
        // An API server keeps its connections; sessions to resume would only take memory.
        config.session_storage = Arc::new(NoServerSessionStorage {});
        config.send_tls13_tickets = 0;
        let served = Served {
            certified,
            config: Arc::new(config),
        };
        *self.served.write().unwrap_or_else(PoisonError::into_inner) = Some(served);
        Ok(())
    }

    pub(super) fn current(&self) -> Option<Arc<ServerConfig>> {
        let served = self.served.read().unwrap_or_else(PoisonError::into_inner);
        served.as_ref().map(|served| Arc::clone(&served.config))
    }

    /// The certificate that new connections see.
    pub(super) fn certified(&self) -> Option<Arc<CertifiedKey>> {
        let served = self.served.read().unwrap_or_else(PoisonError::into_inner);
        served.as_ref().map(|served| Arc::clone(&served.certified))
    }
}

/// A file of certificates that clients must be signed by.
pub(super) fn clients_of(path: &std::path::Path) -> Result<Tls, DoorError> {
    let failed = |reason| DoorError::ClientCa {
        path: path.to_owned(),
        reason,
    };
    let pem = std::fs::read(path).map_err(|error| failed(error.to_string()))?;
    Tls::new(Some(&pem)).map_err(failed)
}
