//! The ways in. Each lets connections in and says who is behind them; the service is the same.
//!
//! So far the unix socket, for the node itself.

pub(crate) mod unix;

use tonic::{Request, transport::server::UdsConnectInfo};

/// Who asks, as holds and logs name it.
pub(crate) fn holder<T>(request: &Request<T>) -> String {
    request
        .extensions()
        .get::<UdsConnectInfo>()
        .and_then(|info| info.peer_cred)
        .map_or_else(|| "unknown".into(), |peer| format!("uid:{}", peer.uid()))
}

/// Whether the request came from this node itself.
pub(crate) fn is_local<T>(request: &Request<T>) -> bool {
    request.extensions().get::<UdsConnectInfo>().is_some()
}
