//! What a Service is to the API server: one address, behind which are the replicas that take connections.

use std::net::SocketAddr;

use anyhow::Result;
use tokio::{
    io::copy_bidirectional,
    net::{TcpListener, TcpStream},
    task::{JoinHandle, JoinSet},
};

/// Passes connections on as long as it lives.
pub(crate) struct Service {
    address: SocketAddr,
    task: JoinHandle<()>,
}

impl Service {
    /// Listens on `address`; each connection is for the first of the replicas that takes it.
    pub(crate) fn start(address: SocketAddr, replicas: [SocketAddr; 2]) -> Result<Self> {
        let listener = std::net::TcpListener::bind(address)?;
        listener.set_nonblocking(true)?;
        let listener = TcpListener::from_std(listener)?;
        let task = tokio::spawn(async move {
            let mut connections = JoinSet::new();
            while let Ok((mut client, _)) = listener.accept().await {
                connections.spawn(async move {
                    for replica in replicas {
                        if let Ok(mut server) = TcpStream::connect(replica).await {
                            let _ = copy_bidirectional(&mut client, &mut server).await;
                            break;
                        }
                    }
                });
            }
        });
        Ok(Self { address, task })
    }

    pub(crate) fn address(&self) -> SocketAddr {
        self.address
    }
}

impl Drop for Service {
    fn drop(&mut self) {
        self.task.abort();
    }
}
