//! The way to an agent: straight to its address, or through something that can reach it.

use std::{io, time::Duration};

use async_trait::async_trait;
use tokio::{
    io::{AsyncRead, AsyncWrite},
    net::TcpStream,
};

use super::directory::AgentAddress;

const CONNECT: Duration = Duration::from_secs(2);

/// A connection.
pub type Stream = Box<dyn Duplex>;

/// Both directions of one.
pub trait Duplex: AsyncRead + AsyncWrite + Send + Unpin {}

impl<T: AsyncRead + AsyncWrite + Send + Unpin> Duplex for T {}

/// Connects to agents.
#[async_trait]
pub trait Reach: Send + Sync {
    /// A connection to the agent of that node. What is at its other end shows by the agent's certificate.
    async fn connect(&self, node: &str, address: &AgentAddress) -> io::Result<Stream>;

    /// How long that may take, with the handshake.
    fn patience(&self) -> Duration;
}

/// By TCP, from within the cluster.
pub(super) struct Direct;

#[async_trait]
impl Reach for Direct {
    async fn connect(&self, _node: &str, address: &AgentAddress) -> io::Result<Stream> {
        let stream = TcpStream::connect(&address.authority).await?;
        stream.set_nodelay(true)?;
        Ok(Box::new(stream))
    }

    fn patience(&self) -> Duration {
        CONNECT
    }
}
