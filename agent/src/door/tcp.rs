//! The TCP door: TLS, for those whose token is accepted.
//!
//! A connection counts from its first packet to its last among a bounded number of them. Without a handshake in time, or
//! without a call that is let in soon after, it is closed: whoever has no token cannot keep the door shut for long.

use std::{
    io,
    net::{IpAddr, Ipv6Addr, SocketAddr},
    pin::Pin,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    task::{Context, Poll},
    time::Duration,
};

use thiserror::Error;
use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    net::{TcpListener, TcpStream},
    sync::{OwnedSemaphorePermit, Semaphore, mpsc},
    time::{Instant, Sleep, sleep, sleep_until, timeout_at},
};
use tokio_rustls::{TlsAcceptor, server::TlsStream};
use tokio_stream::wrappers::ReceiverStream;
use tonic::transport::server::Connected;

use super::certificate::{Identity, TlsError};

/// Where agents listen.
pub(crate) const PORT: u16 = 7443;
/// Connections at once, each of one client at most; there are few.
const CONNECTIONS: usize = 64;
const HANDSHAKE: Duration = Duration::from_secs(5);
/// From the handshake to a call that is let in.
const FIRST_CALL: Duration = Duration::from_secs(10);
const PAUSE_AFTER_ERROR: Duration = Duration::from_millis(100);

/// Why the door cannot be opened.
#[derive(Debug, Error)]
pub(crate) enum TcpError {
    #[error(
        "{address}: {source}; expected an address and port to listen on: set it with --listen (STILLPOINT_LISTEN)"
    )]
    Listen {
        address: SocketAddr,
        source: io::Error,
    },
    #[error(transparent)]
    Tls(#[from] TlsError),
}

/// A door that nobody has come through yet.
pub(crate) struct TcpDoor {
    listener: TcpListener,
    /// What it listens on.
    pub(crate) address: SocketAddr,
    pub(crate) identity: Identity,
}

impl TcpDoor {
    /// Listens on `address`; if none is given on every address of this machine.
    pub(crate) async fn open(address: Option<SocketAddr>) -> Result<Self, TcpError> {
        let wanted = address.unwrap_or((Ipv6Addr::UNSPECIFIED, PORT).into());
        let mut bound = TcpListener::bind(wanted).await;
        if address.is_none() && bound.as_ref().is_err_and(lacks_ipv6) {
            bound = TcpListener::bind((std::net::Ipv4Addr::UNSPECIFIED, PORT)).await;
        }
        let with_address = bound.and_then(|listener| Ok((listener.local_addr()?, listener)));
        let (address, listener) = with_address.map_err(|source| TcpError::Listen {
            address: wanted,
            source,
        })?;
        Ok(Self {
            listener,
            address,
            identity: Identity::new()?,
        })
    }

    /// Connections with their handshake done, until the receiver is dropped.
    pub(crate) fn connections(self) -> ReceiverStream<io::Result<Connection>> {
        let (sender, receiver) = mpsc::channel(1);
        let acceptor = TlsAcceptor::from(self.identity.config);
        tokio::spawn(async move {
            tokio::select! {
                () = accept(self.listener, &acceptor, &sender) => {}
                () = sender.closed() => {}
            }
        });
        ReceiverStream::new(receiver)
    }
}

fn lacks_ipv6(error: &io::Error) -> bool {
    use rustix::io::Errno;
    let errno = Errno::from_io_error(error);
    matches!(errno, Some(Errno::AFNOSUPPORT | Errno::ADDRNOTAVAIL))
}

type Connections = mpsc::Sender<io::Result<Connection>>;

async fn accept(listener: TcpListener, acceptor: &TlsAcceptor, sender: &Connections) {
    let places = Arc::new(Semaphore::new(CONNECTIONS));
    let mut told = false;
    loop {
        let free = places.available_permits();
        if free == 0 && !told {
            tracing::warn!(
                most = CONNECTIONS,
                "too many connections; the next ones wait"
            );
        }
        told = free == 0 || told && free < CONNECTIONS / 2;
        // Never closed.
        let Ok(place) = places.clone().acquire_owned().await else {
            return;
        };
        match listener.accept().await {
            Ok((stream, peer)) => {
                let (acceptor, sender) = (acceptor.clone(), sender.clone());
                tokio::spawn(async move {
                    if let Some(connection) = handshake(acceptor, stream, peer, place).await {
                        // Fails only when the server ends.
                        let _ = sender.send(Ok(connection)).await;
                    }
                });
            }
            Err(error) => {
                tracing::warn!(%error, "a connection cannot be accepted");
                sleep(PAUSE_AFTER_ERROR).await;
            }
        }
    }
}

async fn handshake(
    acceptor: TlsAcceptor,
    stream: TcpStream,
    peer: SocketAddr,
    place: OwnedSemaphorePermit,
) -> Option<Connection> {
    let deadline = Instant::now() + HANDSHAKE;
    let failed = match stream.set_nodelay(true) {
        Ok(()) => match timeout_at(deadline, acceptor.accept(stream)).await {
            Ok(Ok(stream)) => {
                return Some(Connection {
                    stream,
                    remote: Remote {
                        peer: peer.ip().to_canonical(),
                        is_admitted: Arc::default(),
                    },
                    closing: Some(Box::pin(sleep_until(Instant::now() + FIRST_CALL))),
                    _place: place,
                });
            }
            Ok(Err(error)) => error.to_string(),
            Err(_) => format!("not within {HANDSHAKE:?}"),
        },
        Err(error) => error.to_string(),
    };
    // Port scanners and probes do this all day.
    tracing::debug!(%peer, reason = failed, "no TLS handshake");
    None
}

/// Who is at the other end of a connection.
#[derive(Clone, Debug)]
pub(crate) struct Remote {
    pub(crate) peer: IpAddr,
    is_admitted: Arc<AtomicBool>,
}

impl Remote {
    /// One of its calls has been let in.
    pub(super) fn admitted(&self) {
        self.is_admitted.store(true, Ordering::Relaxed);
    }
}

/// A connection, closed by itself if no call of it is let in.
pub(crate) struct Connection {
    stream: TlsStream<TcpStream>,
    remote: Remote,
    closing: Option<Pin<Box<Sleep>>>,
    _place: OwnedSemaphorePermit,
}

impl Connected for Connection {
    type ConnectInfo = Remote;

    fn connect_info(&self) -> Remote {
        self.remote.clone()
    }
}

impl AsyncRead for Connection {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        if self.remote.is_admitted.load(Ordering::Relaxed) {
            self.closing = None;
        }
        if let Some(closing) = &mut self.closing
            && closing.as_mut().poll(cx).is_ready()
        {
            let error = format!("no call was let in within {FIRST_CALL:?}");
            return Poll::Ready(Err(io::Error::new(io::ErrorKind::TimedOut, error)));
        }
        Pin::new(&mut self.stream).poll_read(cx, buf)
    }
}

impl AsyncWrite for Connection {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(cx, buf)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}
