//! A line with latency and no limit of bandwidth.

use std::{net::SocketAddr, sync::Arc, time::Duration};

use anyhow::Result;
use bytes::{Bytes, BytesMut};
use tokio::{
    io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _},
    net::{TcpListener, TcpStream},
    sync::{OwnedSemaphorePermit, Semaphore, mpsc},
    task::JoinSet,
    time::{Instant, sleep, sleep_until},
};

use super::threads::Threads;

/// So many bytes are on their way in one direction at most: at 10 ms each way, more than a GB/s.
const WINDOW: usize = 16 << 20;
const CHUNK: usize = 64 << 10;

/// Passes connections on; every byte arrives `delay` after it was sent, and a new connection costs a round trip
/// before its first byte, as TCP's handshake does. Timers are of one millisecond: a byte may be that much later.
/// TCP's slow start is not in it.
#[derive(Debug)]
pub struct Link {
    address: SocketAddr,
    _threads: Threads,
}

impl Link {
    /// A line to `target` on a free port of this host.
    pub fn start(target: SocketAddr, delay: Duration) -> Result<Self> {
        Self::listen(([127, 0, 0, 1], 0).into(), target, delay)
    }

    /// The same on a given address, for a network namespace.
    pub fn listen(address: SocketAddr, target: SocketAddr, delay: Duration) -> Result<Self> {
        let threads = Threads::start("link")?;
        let (listener, address) = threads.listen(address)?;
        threads.spawn(accept(listener, target, delay));
        Ok(Self {
            address,
            _threads: threads,
        })
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// An account as it is reached over this line.
    pub fn endpoint(&self, account: &str) -> String {
        format!("https://{}/{account}", self.address)
    }
}

async fn accept(listener: TcpListener, target: SocketAddr, delay: Duration) {
    let mut connections = JoinSet::new();
    while let Ok((client, _)) = listener.accept().await {
        connections.spawn(connection(client, target, delay));
        while connections.try_join_next().is_some() {}
    }
}

async fn connection(client: TcpStream, target: SocketAddr, delay: Duration) {
    sleep(2 * delay).await;
    let Ok(server) = TcpStream::connect(target).await else {
        return;
    };
    let _ = client.set_nodelay(true);
    let _ = server.set_nodelay(true);
    let (from_client, to_client) = client.into_split();
    let (from_server, to_server) = server.into_split();
    // An error on either side breaks both, as a reset does.
    let _ = tokio::try_join!(
        direction(from_client, to_server, delay),
        direction(from_server, to_client, delay),
    );
}

/// What was read, when it is to arrive, and its share of the window.
type Flying = (Bytes, Instant, OwnedSemaphorePermit);

/// One direction, until its end, which arrives late as well.
async fn direction(
    mut from: impl AsyncRead + Unpin,
    mut to: impl AsyncWrite + Unpin,
    delay: Duration,
) -> std::io::Result<()> {
    let window = Arc::new(Semaphore::new(WINDOW));
    let (sender, mut receiver) = mpsc::unbounded_channel::<Flying>();
    let reading = async move {
        let mut buffer = BytesMut::new();
        loop {
            buffer.reserve(CHUNK);
            let length = from.read_buf(&mut buffer).await?;
            let due = Instant::now() + delay;
            let share = u32::try_from(length).unwrap_or(u32::MAX);
            let Ok(permit) = Arc::clone(&window).acquire_many_owned(share).await else {
                return Ok(());
            };
            if sender.send((buffer.split().freeze(), due, permit)).is_err() || length == 0 {
                return Ok(());
            }
        }
    };
    let writing = async move {
        while let Some((bytes, due, _permit)) = receiver.recv().await {
            sleep_until(due).await;
            if bytes.is_empty() {
                to.shutdown().await?;
            } else {
                to.write_all(&bytes).await?;
            }
        }
        Ok(())
    };
    tokio::try_join!(reading, writing).map(|_| ())
}
