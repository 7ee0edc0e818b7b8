//! The agent of one node, by TLS. One connection for all its holds, made ahead and kept.

use std::{
    io,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use hyper_util::rt::TokioIo;
use rustls::{ClientConfig, pki_types::ServerName};
use stillpoint_proto::agent::{StatusRequest, StatusResponse, agent_client::AgentClient};
use tokio::{
    net::TcpStream,
    time::{Instant, timeout},
};
use tokio_rustls::{TlsConnector, client::TlsStream};
use tonic::{
    Request, Status,
    metadata::MetadataValue,
    transport::{Channel, Endpoint, Uri},
};
use tower::service_fn;

use super::{
    call,
    directory::{AgentAddress, Token},
    hold::AgentHold,
    pin,
    unix::described,
};
use crate::model::VolumeId;

const CONNECT: Duration = Duration::from_secs(2);
/// Connecting, the review of the token and an answer.
const ANSWER: Duration = Duration::from_secs(3);
/// From one volume's announcement to its hold. Not longer: an agent that came back has another certificate, and that is
/// better found before a hold than by it.
const GOOD_FOR: Duration = Duration::from_secs(2);
/// An agent that vanished without a word is noticed within the sum of both.
const PING: Duration = Duration::from_secs(2);
const PONG: Duration = Duration::from_secs(2);

/// An agent behind TLS.
pub(super) struct TcpAgent {
    pub(super) address: AgentAddress,
    client: AgentClient<Channel>,
    answered: Mutex<Option<Instant>>,
}

impl TcpAgent {
    /// The agent at that address. Connects when needed, and again.
    pub(super) fn new(address: AgentAddress) -> Result<Self, String> {
        let tls = pin::config(&address.fingerprint).map_err(|error| error.to_string())?;
        let (tls, authority) = (Arc::new(tls), address.authority.clone());
        let connect = move |_: Uri| {
            let (tls, authority) = (Arc::clone(&tls), authority.clone());
            async move { connect(&authority, tls).await.map(TokioIo::new) }
        };
        // The name is the connector's business; tonic wants one.
        let endpoint = Endpoint::from_static("http://stillpoint-agent")
            .connect_timeout(CONNECT)
            .http2_keep_alive_interval(PING)
            .keep_alive_timeout(PONG)
            .keep_alive_while_idle(true);
        let channel = endpoint.connect_with_connector_lazy(service_fn(connect));
        Ok(Self {
            address,
            client: AgentClient::new(channel),
            answered: Mutex::default(),
        })
    }

    /// Makes sure that the agent is there and lets us in, so that a hold need not find out.
    pub(super) async fn prove(&self, token: &Token) -> Result<(), String> {
        let answered = *self.answered();
        if answered.is_some_and(|answered| answered.elapsed() < GOOD_FOR) {
            return Ok(());
        }
        self.status(token).await?;
        *self.answered() = Some(Instant::now());
        Ok(())
    }

    /// What it says of its node.
    pub(super) async fn status(&self, token: &Token) -> Result<StatusResponse, String> {
        let request = authorized(StatusRequest {}, token)?;
        let answer = timeout(ANSWER, self.client.clone().status(request)).await;
        let answer = answer.map_err(|_| format!("no answer within {ANSWER:?}"))?;
        Ok(answer.map_err(|status| refusal(&status))?.into_inner())
    }

    /// Begins a hold of those volumes.
    pub(super) async fn hold(
        &self,
        token: &Token,
        node: &str,
        hold: &str,
        volumes: &[VolumeId],
        limit: Duration,
    ) -> Result<AgentHold, String> {
        let authorize = |requests| authorized(requests, token);
        let begun = call::begin(&self.client, authorize, hold, volumes, limit, node).await;
        if begun.is_err() {
            // It has to prove itself again.
            *self.answered() = None;
        }
        begun
    }

    fn answered(&self) -> std::sync::MutexGuard<'_, Option<Instant>> {
        self.answered.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

async fn connect(authority: &str, tls: Arc<ClientConfig>) -> io::Result<TlsStream<TcpStream>> {
    let stream = TcpStream::connect(authority).await?;
    stream.set_nodelay(true)?;
    // Any: the fingerprint is what counts.
    let name = ServerName::try_from("stillpoint-agent").map_err(io::Error::other)?;
    TlsConnector::from(tls).connect(name, stream).await
}

fn authorized<T>(message: T, token: &Token) -> Result<Request<T>, String> {
    let value = format!("Bearer {}", token.secret());
    let mut value = MetadataValue::try_from(value)
        .map_err(|_| "the token of Kubernetes is no text for a header".to_owned())?;
    value.set_sensitive(true);
    let mut request = Request::new(message);
    request.metadata_mut().insert("authorization", value);
    Ok(request)
}

fn refusal(status: &Status) -> String {
    match status.code() {
        tonic::Code::Unauthenticated | tonic::Code::PermissionDenied => {
            format!("it does not let us in: {}", described(status))
        }
        _ => described(status),
    }
}
