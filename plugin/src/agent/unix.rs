//! One agent on this host, by its unix socket. The connection is made ahead and kept.

use std::{
    path::{Path, PathBuf},
    time::Duration,
};

use async_trait::async_trait;
use hyper_util::rt::TokioIo;
use stillpoint_proto::agent::agent_client::AgentClient;
use tokio::net::UnixStream;
use tonic::{
    Request,
    transport::{Channel, Endpoint, Uri},
};
use tower::{ServiceExt as _, service_fn};

use super::call;
use crate::{
    model::VolumeId,
    ports::{Hold, Holder, HolderError},
};

const CONNECT: Duration = Duration::from_secs(5);

/// An agent behind a unix socket.
pub struct UnixAgent {
    socket: String,
    pub(super) client: AgentClient<Channel>,
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
}

#[async_trait]
impl Holder for UnixAgent {
    async fn hold(
        &self,
        hold: &str,
        volumes: &[VolumeId],
        limit: Duration,
    ) -> Result<Box<dyn Hold>, HolderError> {
        let begun = call::begin(
            &self.client,
            |requests| Ok(Request::new(requests)),
            hold,
            volumes,
            limit,
            "this host",
        );
        match begun.await {
            Ok(hold) => Ok(Box::new(hold)),
            Err(not_held) => Err(HolderError::Agent {
                agent: self.socket.clone(),
                message: not_held.reason,
            }),
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
