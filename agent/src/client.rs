//! The commands that talk to a running agent.

use std::{
    path::{Path, PathBuf},
    time::Duration,
};

use hyper_util::rt::TokioIo;
use stillpoint_proto::agent::{
    FreezeRequest, StatusRequest, StatusResponse, ThawRequest, agent_client::AgentClient,
};
use thiserror::Error;
use tokio::{net::UnixStream, runtime};
use tonic::{
    Code, Status,
    transport::{Channel, Endpoint},
};
use tower::service_fn;

use crate::report;

/// What came of a command.
#[derive(Debug, Error)]
pub(crate) enum ClientError {
    #[error(
        "no agent answers at {}: {detail}; is `stillpoint-agent serve` running? Set the path with --socket (STILLPOINT_SOCKET)", .socket.display()
    )]
    Unreachable { socket: PathBuf, detail: String },
    #[error("{}", .0.message())]
    Agent(Status),
    #[error("{0}: expected a path in UTF-8 that exists")]
    Path(String),
    #[error("thawed, but it had not been frozen all the time: {0}")]
    NotHeld(String),
    #[error("{0}")]
    Runtime(std::io::Error),
}

impl ClientError {
    /// As the help text lists them.
    pub(crate) fn exit_code(&self) -> u8 {
        match self {
            Self::Unreachable { .. } => 4,
            Self::NotHeld(_) => 5,
            Self::Path(_) => 2,
            Self::Runtime(_) => 1,
            Self::Agent(status) => match status.code() {
                Code::InvalidArgument => 2,
                Code::Internal | Code::Unknown | Code::DataLoss => 1,
                _ => 3,
            },
        }
    }
}

/// What the agent knows.
pub(crate) async fn ask_status(socket: &Path) -> Result<StatusResponse, ClientError> {
    let response = connect(socket).await?.status(StatusRequest {}).await;
    Ok(response.map_err(ClientError::Agent)?.into_inner())
}

/// Prints what the agent knows.
pub(crate) fn status(socket: &Path, json: bool) -> Result<(), ClientError> {
    block_on(async {
        let status = ask_status(socket).await?;
        report::print(&if json {
            report::json(&status)
        } else {
            report::table(&status)
        });
        Ok(())
    })
}

/// Freezes the filesystem of `path`.
pub(crate) fn freeze(socket: &Path, path: &Path, ttl: Duration) -> Result<(), ClientError> {
    block_on(async {
        let request = FreezeRequest {
            path: absolute(path)?,
            ttl: prost_types::Duration::try_from(ttl).ok(),
        };
        let response = connect(socket).await?.freeze(request).await;
        let frozen = response.map_err(ClientError::Agent)?.into_inner().frozen;
        let frozen = frozen.unwrap_or_default();
        report::print(&format!(
            "frozen: {} ({}, device {}), in {} ms, for at most {ttl:?}\n",
            frozen.mount_point,
            frozen.filesystem,
            frozen.device,
            report::millis(frozen.freeze_took),
        ));
        Ok(())
    })
}

/// Thaws the filesystem of `path`.
pub(crate) fn thaw(socket: &Path, path: &Path) -> Result<(), ClientError> {
    block_on(async {
        let request = ThawRequest {
            path: absolute(path)?,
        };
        let response = connect(socket).await?.thaw(request).await;
        let thawed = response.map_err(ClientError::Agent)?.into_inner().thawed;
        let thawed = thawed.unwrap_or_default();
        if !thawed.held {
            return Err(ClientError::NotHeld(thawed.reason));
        }
        report::print(&format!(
            "thawed: {}, frozen for {} ms\n",
            thawed.volume,
            report::millis(thawed.frozen_for),
        ));
        Ok(())
    })
}

fn block_on<T>(work: impl Future<Output = Result<T, ClientError>>) -> Result<T, ClientError> {
    runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(ClientError::Runtime)?
        .block_on(work)
}

async fn connect(socket: &Path) -> Result<AgentClient<Channel>, ClientError> {
    let unreachable = |detail: String| ClientError::Unreachable {
        socket: socket.to_owned(),
        detail,
    };
    let stream = UnixStream::connect(socket)
        .await
        .map_err(|error| unreachable(error.to_string()))?;
    let mut stream = Some(TokioIo::new(stream));
    let channel = Endpoint::from_static("http://agent")
        .connect_with_connector(service_fn(move |_| {
            let stream = stream.take();
            std::future::ready(stream.ok_or_else(|| std::io::Error::other("the agent hung up")))
        }))
        .await
        .map_err(|error| unreachable(error.to_string()))?;
    Ok(AgentClient::new(channel))
}

fn absolute(path: &Path) -> Result<String, ClientError> {
    let wrong = || ClientError::Path(path.display().to_string());
    let absolute = std::path::absolute(path).map_err(|_| wrong())?;
    absolute.to_str().map(str::to_owned).ok_or_else(wrong)
}
