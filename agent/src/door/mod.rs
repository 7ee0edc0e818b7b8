//! The ways in. Each lets connections in and says who is behind them; the service is the same.
//!
//! The unix socket is for the node itself, the TCP door for accounts of the cluster; what its clients must do is written in
//! `agent.proto`.

mod admission;
mod certificate;
mod tcp;
#[cfg(test)]
mod tests;
pub(crate) mod unix;

use std::{sync::Arc, time::Duration};

use stillpoint_proto::agent::agent_server::{Agent, AgentServer};
use tonic::{
    Request,
    transport::{Server, server::UdsConnectInfo},
};

use self::admission::Admission;
pub(crate) use self::tcp::{TcpDoor, TcpError};
use crate::{
    account::{Account, Accounts},
    metrics::Metrics,
};

/// Whoever vanishes without a word is noticed within the sum of both, and what it held is thawed.
const PING: Duration = Duration::from_secs(2);
const PONG: Duration = Duration::from_secs(3);
/// Calls at once on one connection.
const CALLS: u32 = 128;
/// A token has 1 to 2 kB.
const HEADERS: u32 = 16 * 1024;
/// What a connection may send before anybody reads it. Requests are small, and so is the agent.
const WINDOW: u32 = 64 * 1024;
/// A request that says all that a hold may is half of that.
const MESSAGE: usize = 128 * 1024;
/// For a call to be answered at all; a hold is at once.
const PATIENCE: Duration = Duration::from_secs(15);

/// Answers at the TCP door those whom `accounts` admit, until `closed`; then what is being answered is brought to its end.
pub(crate) async fn serve<S: Agent>(
    door: TcpDoor,
    accounts: Arc<Accounts>,
    metrics: Metrics,
    service: AgentServer<S>,
    closed: impl Future<Output = ()>,
) -> Result<(), tonic::transport::Error> {
    Server::builder()
        .http2_keepalive_interval(Some(PING))
        .http2_keepalive_timeout(Some(PONG))
        .http2_max_header_list_size(HEADERS)
        .max_concurrent_streams(CALLS)
        .initial_stream_window_size(WINDOW)
        .initial_connection_window_size(WINDOW)
        .timeout(PATIENCE)
        .layer(Admission { accounts, metrics })
        .add_service(service)
        .serve_with_incoming_shutdown(door.connections(), closed)
        .await
}

/// The service behind every door.
pub(crate) fn service<S: Agent>(service: S) -> AgentServer<S> {
    AgentServer::new(service).max_decoding_message_size(MESSAGE)
}

/// Who asks, as holds and logs name it.
pub(crate) fn holder<T>(request: &Request<T>) -> String {
    let extensions = request.extensions();
    if let Some(account) = extensions.get::<Account>() {
        return account.to_string();
    }
    extensions
        .get::<UdsConnectInfo>()
        .and_then(|info| info.peer_cred)
        .map_or_else(|| "unknown".into(), |peer| format!("uid:{}", peer.uid()))
}

/// Whether the request came from this node itself.
pub(crate) fn is_local<T>(request: &Request<T>) -> bool {
    request.extensions().get::<UdsConnectInfo>().is_some()
}
