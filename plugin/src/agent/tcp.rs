//! The agent of one node, by TLS. One connection for all its holds, made ahead and kept.

use std::{
    io,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use hyper_util::rt::TokioIo;
use rustls::{ClientConfig, pki_types::ServerName};
use stillpoint_proto::agent::{StatusRequest, StatusResponse, agent_client::AgentClient};
use tokio::time::{Instant, timeout};
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
    hold::{AgentHold, NotHeld},
    pin,
    reach::{Reach, Stream},
    unix::described,
};
use crate::model::VolumeId;

/// Once connected: the review of the token and an answer.
const ANSWER: Duration = Duration::from_secs(1);
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
    patience: Duration,
}

impl TcpAgent {
    /// The agent of that node at that address. Connects when needed, and again.
    pub(super) fn new(
        node: &str,
        address: AgentAddress,
        reach: Arc<dyn Reach>,
    ) -> Result<Self, String> {
        let tls = pin::config(&address.fingerprint).map_err(|error| error.to_string())?;
        let patience = reach.patience();
        let way = Arc::new((node.to_owned(), address.clone(), reach));
        let tls = Arc::new(tls);
        let connect = move |_: Uri| {
            let (tls, way) = (Arc::clone(&tls), Arc::clone(&way));
            async move {
                let (node, address, reach) = &*way;
                let stream = reach.connect(node, address).await?;
                secure(stream, tls).await.map(TokioIo::new)
            }
        };
        // The name is the connector's business; tonic wants one.
        let endpoint = Endpoint::from_static("http://stillpoint-agent")
            .connect_timeout(patience)
            .http2_keep_alive_interval(PING)
            .keep_alive_timeout(PONG)
            .keep_alive_while_idle(true);
        let channel = endpoint.connect_with_connector_lazy(service_fn(connect));
        Ok(Self {
            address,
            client: AgentClient::new(channel),
            answered: Mutex::default(),
            patience: patience + ANSWER,
        })
    }

    /// Makes sure that the agent is there and lets us in, so that a hold need not find out.
    pub(super) async fn prove(&self, token: &Token) -> Result<(), String> {
        let answered = *self.answered();
        if answered.is_some_and(|answered| answered.elapsed() < GOOD_FOR) {
            return Ok(());
        }
        self.status(token).await.map(drop)
    }

    /// What is mounted on its node.
    pub(super) async fn status(&self, token: &Token) -> Result<StatusResponse, String> {
        let request = authorized(StatusRequest {}, token)?;
        let patience = self.patience;
        let answer = timeout(patience, self.client.clone().status(request)).await;
        let answer = answer.map_err(|_| format!("no answer within {patience:?}"))?;
        let answer = answer.map_err(|status| refusal(&status))?;
        *self.answered() = Some(Instant::now());
        Ok(answer.into_inner())
    }

    /// Begins a hold of those volumes.
    pub(super) async fn hold(
        &self,
        token: &Token,
        node: &str,
        hold: &str,
        volumes: &[VolumeId],
        limit: Duration,
    ) -> Result<AgentHold, NotHeld> {
        let authorize = |requests| authorized(requests, token);
        let begun = call::begin(&self.client, authorize, hold, volumes, limit, node).await;
        if begun.is_err() {
            // It has to prove itself again.
            *self.answered() = None;
        }
        begun
    }

    /// The reason for a person.
    pub(super) fn did_not_hold(&self, node: &str, not_held: &NotHeld) -> String {
        let (authority, reason) = (&self.address.authority, &not_held.reason);
        format!("the agent of {node} at {authority} did not hold the volume: {reason}")
    }

    fn answered(&self) -> std::sync::MutexGuard<'_, Option<Instant>> {
        self.answered.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

async fn secure(stream: Stream, tls: Arc<ClientConfig>) -> io::Result<TlsStream<Stream>> {
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
