//! From the handshake to a channel.

use std::io;

use hyper_util::rt::TokioIo;
use rustls::pki_types::ServerName;
use thiserror::Error;
use tokio::net::UnixStream;
use tonic::transport::{Channel, Endpoint};

use super::{handshake::Handshake, tls::Identity};

/// The plugin announced itself and cannot be reached.
#[derive(Debug, Error)]
pub enum ConnectError {
    /// It was asked for TLS.
    #[error("the plugin announced no certificate")]
    NoCertificate,
    /// Ours.
    #[error("cannot set up TLS")]
    Tls(#[from] rustls::Error),
    /// Its socket.
    #[error("cannot connect to the plugin")]
    Transport(#[from] tonic::transport::Error),
}

impl Handshake {
    /// Connects, under mutual TLS if there is an `identity` to show.
    ///
    /// # Errors
    /// If the plugin does not let us.
    pub async fn connect(&self, identity: Option<&Identity>) -> Result<Channel, ConnectError> {
        let socket = self.socket.clone();
        // The address is a formality: the connector knows where to go.
        let endpoint = Endpoint::from_static("http://localhost");
        let Some(identity) = identity else {
            let connector = tower::service_fn(move |_| {
                let socket = socket.clone();
                async move { UnixStream::connect(socket).await.map(TokioIo::new) }
            });
            return Ok(endpoint.connect_with_connector(connector).await?);
        };
        let certificate = self
            .certificate
            .as_deref()
            .ok_or(ConnectError::NoCertificate)?;
        let tls = identity.connector(certificate)?;
        let connector = tower::service_fn(move |_| {
            let (socket, tls) = (socket.clone(), tls.clone());
            async move {
                let stream = UnixStream::connect(socket).await?;
                let name = ServerName::try_from("localhost").map_err(io::Error::other)?;
                tls.connect(name, stream).await.map(TokioIo::new)
            }
        });
        Ok(endpoint.connect_with_connector(connector).await?)
    }
}
