//! One agent on this host, by its unix socket. The connection is made ahead and kept.

use std::{
    path::{Path, PathBuf},
    time::Duration,
};

use async_trait::async_trait;
use hyper_util::rt::TokioIo;
use stillpoint_proto::agent::{
    Begin, HoldRequest, agent_client::AgentClient, hold_request::Request,
};
use tokio::{net::UnixStream, sync::mpsc, time::timeout};
use tokio_stream::wrappers::ReceiverStream;
use tonic::transport::{Channel, Endpoint, Uri};
use tower::{ServiceExt as _, service_fn};

use super::hold::AgentHold;
use crate::{
    model::DiskId,
    ports::{Hold, Holder, HolderError},
};

/// How long an agent may take until it has frozen: it first writes back what is dirty, while writers still run. The limit
/// of the hold counts from the freeze, on the node.
const BEGIN: Duration = Duration::from_secs(60);
const CONNECT: Duration = Duration::from_secs(5);

/// An agent behind a unix socket.
pub struct UnixAgent {
    socket: String,
    client: AgentClient<Channel>,
}

impl UnixAgent {
    /// The agent at that socket. Must be called within a runtime; connects in the background, and again when needed.
    pub fn new(path: &Path) -> Self {
        let socket = PathBuf::from(path);
        let connect = move |_: Uri| {
            let socket = socket.clone();
            async move { UnixStream::connect(socket).await.map(TokioIo::new) }
        };
        // The name is the connector's business; tonic wants one.
        let endpoint = Endpoint::from_static("http://stillpoint-agent").connect_timeout(CONNECT);
        let channel = endpoint.connect_with_connector_lazy(service_fn(connect));
        let mut ahead = channel.clone();
        tokio::spawn(async move {
            // Whether it succeeds is told when it is needed.
            let _ = ahead.ready().await.map(drop);
        });
        Self {
            socket: format!("unix:{}", path.display()),
            client: AgentClient::new(channel),
        }
    }

    fn error(&self, message: impl Into<String>) -> HolderError {
        HolderError::Agent {
            agent: self.socket.clone(),
            message: message.into(),
        }
    }
}

#[async_trait]
impl Holder for UnixAgent {
    async fn hold(
        &self,
        hold: &str,
        volumes: &[DiskId],
        limit: Duration,
    ) -> Result<Box<dyn Hold>, HolderError> {
        let begin = HoldRequest {
            request: Some(Request::Begin(Begin {
                hold_id: hold.to_owned(),
                volumes: volumes.iter().map(DiskId::to_string).collect(),
                limit: prost_types::Duration::try_from(limit).ok(),
            })),
        };
        // Our side stays open as long as this sender lives.
        let (ours, requests) = mpsc::channel(1);
        ours.send(begin)
            .await
            .map_err(|_| self.error("the call ended before it began"))?;
        let mut client = self.client.clone();
        let begun = async {
            let events = client
                .hold(ReceiverStream::new(requests))
                .await
                .map_err(|status| self.error(described(&status)))?
                .into_inner();
            AgentHold::begin(ours, events, volumes)
                .await
                .map_err(|message| self.error(message))
        };
        match timeout(BEGIN, begun).await {
            Ok(begun) => Ok(Box::new(begun?)),
            // Dropping the call makes the agent thaw whatever it may have frozen by now.
            Err(_) => Err(self.error(format!("it did not freeze within {BEGIN:?}"))),
        }
    }
}

/// A status with what is behind it: tonic says "transport error" and keeps the reason.
pub(super) fn described(status: &tonic::Status) -> String {
    let mut text = status.message().to_owned();
    let mut source = std::error::Error::source(status);
    while let Some(error) = source {
        let more = error.to_string();
        if !text.contains(&more) {
            text = format!("{text}: {more}");
        }
        source = error.source();
    }
    if text.is_empty() {
        status.code().to_string()
    } else {
        text
    }
}
