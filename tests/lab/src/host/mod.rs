//! A host of plugins, as Velero is one: starts a plugin as go-plugin does, speaks with it, and ends it.
//!
//! ```text
//! Host ── start ─► Plugin ── shut_down · kill ─► Ended
//! ```

mod connect;
mod discovery;
mod handshake;
mod logs;
mod object_store;
mod plugin;
mod start;
mod tls;
mod usage;

pub use connect::ConnectError;
pub use discovery::{DiscoverError, Discovery};
pub use handshake::{Handshake, HandshakeError};
pub use logs::{Entry, Level, Logs};
pub use object_store::ObjectStore;
pub use plugin::{Ended, Plugin, Snapshotter};
pub use start::{Host, StartError, TlsMode};
pub use tls::Identity;
pub use usage::Usage;
