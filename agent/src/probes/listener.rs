//! The listener of probes: HTTP/1.1, one request a connection, a bounded number and time of them.

use std::{
    convert::Infallible,
    io,
    net::{Ipv4Addr, Ipv6Addr, SocketAddr},
    sync::Arc,
    time::Duration,
};

use hyper::{server::conn::http1, service::service_fn};
use hyper_util::rt::TokioIo;
use thiserror::Error;
use tokio::{
    net::{TcpListener, TcpStream},
    sync::Semaphore,
    time::{sleep, timeout},
};

use super::Pages;

/// Where agents answer probes.
pub(crate) const PORT: u16 = 9464;
/// Connections at once: the kubelet has two probes, and someone else may look.
const CONNECTIONS: usize = 16;
/// From the first packet of a connection to its last.
const PATIENCE: Duration = Duration::from_secs(5);
const BUFFER: usize = 16 * 1024;
const PAUSE_AFTER_ERROR: Duration = Duration::from_millis(100);

/// Why probes cannot be answered.
#[derive(Debug, Error)]
#[error(
    "{address}: {source}; expected an address and port for probes: set it with --probes (STILLPOINT_PROBES)"
)]
pub(crate) struct ProbesError {
    address: SocketAddr,
    source: io::Error,
}

/// A port that nobody has asked at yet.
pub(crate) struct Listener {
    socket: TcpListener,
    pub(crate) address: SocketAddr,
}

impl Listener {
    /// Listens on `address`; if none is given on port 9464 of every address of this machine.
    pub(crate) async fn open(address: Option<SocketAddr>) -> Result<Self, ProbesError> {
        let wanted = address.unwrap_or((Ipv6Addr::UNSPECIFIED, PORT).into());
        let mut bound = TcpListener::bind(wanted).await;
        if address.is_none() && bound.is_err() {
            // A machine without IPv6.
            bound = TcpListener::bind((Ipv4Addr::UNSPECIFIED, PORT)).await;
        }
        let with_address = bound.and_then(|socket| Ok((socket.local_addr()?, socket)));
        let (address, socket) = with_address.map_err(|source| ProbesError {
            address: wanted,
            source,
        })?;
        Ok(Self { socket, address })
    }

    /// Answers for as long as it is polled.
    pub(crate) async fn serve(self, pages: Arc<Pages>) {
        let places = Arc::new(Semaphore::new(CONNECTIONS));
        loop {
            match self.socket.accept().await {
                Ok((stream, _)) => {
                    // Beyond that the connection is closed at once: a probe would not be answered in time anyway.
                    if let Ok(place) = places.clone().try_acquire_owned() {
                        let pages = pages.clone();
                        tokio::spawn(async move {
                            // Whoever is slow or breaks off asks again.
                            let _ = timeout(PATIENCE, answer(stream, &pages)).await;
                            drop(place);
                        });
                    }
                }
                Err(error) => {
                    tracing::warn!(%error, "a probe's connection cannot be accepted");
                    sleep(PAUSE_AFTER_ERROR).await;
                }
            }
        }
    }
}

async fn answer(stream: TcpStream, pages: &Arc<Pages>) -> hyper::Result<()> {
    let service = service_fn(|request: http::Request<hyper::body::Incoming>| {
        let pages = pages.clone();
        async move {
            let (method, uri) = (request.method(), request.uri());
            Ok::<_, Infallible>(pages.answer(method, uri.path()).await)
        }
    });
    http1::Builder::new()
        .keep_alive(false)
        .header_read_timeout(None)
        .max_buf_size(BUFFER)
        .serve_connection(TokioIo::new(stream), service)
        .await
}
