//! A client as a plugin's must be: one connection, the certificate pinned, the token with every call.

use std::{net::SocketAddr, sync::Arc, time::Duration};

use hyper_util::rt::TokioIo;
use rustls::{
    ClientConfig, DigitallySignedStruct, SignatureScheme,
    client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier},
    crypto::{CryptoProvider, aws_lc_rs::default_provider, verify_tls13_signature},
    pki_types::{CertificateDer, ServerName, UnixTime},
    version::TLS13,
};
use stillpoint_proto::agent::{
    Begin, HoldEvent, HoldRequest, agent_client::AgentClient, hold_request,
};
use tokio::{net::TcpStream, sync::mpsc};
use tokio_rustls::{TlsConnector, client::TlsStream};
use tokio_stream::wrappers::ReceiverStream;
use tonic::{
    Request, Status, Streaming,
    metadata::MetadataValue,
    service::interceptor::InterceptedService,
    transport::{Channel, Endpoint},
};

type Signed = InterceptedService<Channel, Bearer>;

pub(crate) struct Client {
    pub(crate) agent: AgentClient<Signed>,
}

impl Client {
    pub(crate) async fn connect(
        address: SocketAddr,
        fingerprint: &str,
        token: &str,
    ) -> Result<Self, String> {
        let mut stream = Some(TokioIo::new(tls(address, fingerprint).await?));
        let connector = tower::service_fn(move |_| {
            let stream = stream.take().ok_or_else(|| std::io::Error::other("once"));
            std::future::ready(stream)
        });
        let channel = Endpoint::from_static("https://stillpoint-agent")
            .connect_with_connector(connector)
            .await
            .map_err(|error| error.to_string())?;
        let agent = AgentClient::with_interceptor(channel, Bearer(token.to_owned()));
        Ok(Self { agent })
    }

    /// Asks for a hold of a minute; it lasts as long as the sender.
    pub(crate) async fn hold(
        &mut self,
        volume: &str,
    ) -> Result<(mpsc::Sender<HoldRequest>, Streaming<HoldEvent>), Status> {
        let (side, requests) = mpsc::channel(1);
        let begin = hold_request::Request::Begin(Begin {
            hold_id: "hold-1".into(),
            volumes: vec![volume.to_owned()],
            limit: prost_types::Duration::try_from(Duration::from_secs(60)).ok(),
        });
        let begin = HoldRequest {
            request: Some(begin),
        };
        side.send(begin).await.unwrap();
        let events = self.agent.hold(ReceiverStream::new(requests)).await?;
        Ok((side, events.into_inner()))
    }
}

/// A connection that is good as far as TLS goes.
pub(crate) async fn tls(
    address: SocketAddr,
    fingerprint: &str,
) -> Result<TlsStream<TcpStream>, String> {
    let stream = TcpStream::connect(address).await.unwrap();
    let mut config = ClientConfig::builder_with_provider(Arc::new(default_provider()))
        .with_protocol_versions(&[&TLS13])
        .unwrap()
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(Pin(fingerprint.to_owned(), default_provider())))
        .with_no_client_auth();
    config.alpn_protocols = vec![b"h2".to_vec()];
    let name = ServerName::try_from("stillpoint-agent").unwrap();
    TlsConnector::from(Arc::new(config))
        .connect(name, stream)
        .await
        .map_err(|error| error.to_string())
}

#[derive(Clone)]
pub(crate) struct Bearer(String);

impl tonic::service::Interceptor for Bearer {
    fn call(&mut self, mut request: Request<()>) -> Result<Request<()>, Status> {
        if !self.0.is_empty() {
            let value: MetadataValue<_> = format!("Bearer {}", self.0).parse().unwrap();
            request.metadata_mut().insert("authorization", value);
        }
        Ok(request)
    }
}

/// Takes that certificate alone, and has the server prove that it holds its key.
#[derive(Debug)]
struct Pin(String, CryptoProvider);

impl ServerCertVerifier for Pin {
    fn verify_server_cert(
        &self,
        certificate: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        _: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        let digest = aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA256, certificate);
        let seen: String = digest.as_ref().iter().map(|b| format!("{b:02x}")).collect();
        if seen == self.0 {
            Ok(ServerCertVerified::assertion())
        } else {
            Err(rustls::Error::General("not the pinned certificate".into()))
        }
    }

    fn verify_tls12_signature(
        &self,
        _: &[u8],
        _: &CertificateDer<'_>,
        _: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        Err(rustls::Error::General("TLS 1.3 only".into()))
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        let algorithms = &self.1.signature_verification_algorithms;
        verify_tls13_signature(message, certificate, signature, algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.1.signature_verification_algorithms.supported_schemes()
    }
}
