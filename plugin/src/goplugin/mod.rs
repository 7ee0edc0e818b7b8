//! The server side of HashiCorp's go-plugin protocol, version 1, over gRPC.
//!
//! ```text
//! host: starts the process ─► cookie, versions, certificate in its environment
//! plugin:  socket ─► handshake line on stdout ─► serves ─► stopping ─► drained ─► ended
//!                                                   │          │
//!            Shutdown · SIGTERM · host's death ─────┘          └ calls in flight clean up
//! ```
//!
//! Facts are checked against go-plugin 1.7, which Velero 1.18 uses.

mod broker;
mod calls;
mod connection;
mod control;
mod environment;
mod handshake;
mod parent;
mod server;
mod socket;
mod stop;
mod tls;

pub use calls::{CallError, Calls};
pub use environment::{APP_PROTOCOL, Environment, EnvironmentError, VersionsUnmet};
pub use parent::Parent;
pub use server::{ServeError, serve};
pub use socket::SocketError;
pub use stop::StopReason;
pub use tls::TlsError;
