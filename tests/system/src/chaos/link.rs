//! A connection that can be cut and stalled: a listener that passes everything on to another.

use std::{net::SocketAddr, path::Path, sync::Arc};

use anyhow::Result;
use tokio::{
    io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _, split},
    net::{TcpListener, TcpStream, UnixListener, UnixStream},
    sync::watch,
    task::JoinHandle,
};

/// What becomes of what goes through.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    Open,
    Stalled,
    /// Connections are refused.
    Shut,
}

/// Passes connections on as long as it lives.
#[derive(Debug)]
pub(super) struct Link {
    state: Arc<watch::Sender<State>>,
    /// Each new number breaks the connections that there are.
    cut: Arc<watch::Sender<u64>>,
    task: JoinHandle<()>,
}

type Ends = (watch::Receiver<State>, watch::Receiver<u64>);

impl Link {
    fn with(task: impl FnOnce(Ends) -> JoinHandle<()>) -> Self {
        let state = Arc::new(watch::Sender::new(State::Open));
        let cut = Arc::new(watch::Sender::new(0));
        let task = task((state.subscribe(), cut.subscribe()));
        Self { state, cut, task }
    }

    /// Between unix sockets.
    pub(super) fn unix(socket: &Path, target: &Path) -> Result<Self> {
        let listener = UnixListener::bind(socket)?;
        let target = target.to_owned();
        Ok(Self::with(|ends| {
            tokio::spawn(async move {
                while let Ok((client, _)) = listener.accept().await {
                    if *ends.0.borrow() != State::Shut
                        && let Ok(server) = UnixStream::connect(&target).await
                    {
                        tokio::spawn(pass(client, server, ends.clone()));
                    }
                }
            })
        }))
    }

    /// From a port of its own at the same address.
    pub(super) async fn tcp(target: SocketAddr) -> Result<(Self, SocketAddr)> {
        let listener = TcpListener::bind((target.ip(), 0)).await?;
        let address = listener.local_addr()?;
        let link = Self::with(|ends| {
            tokio::spawn(async move {
                while let Ok((client, _)) = listener.accept().await {
                    if *ends.0.borrow() != State::Shut
                        && let Ok(server) = TcpStream::connect(target).await
                    {
                        tokio::spawn(pass(client, server, ends.clone()));
                    }
                }
            })
        });
        Ok((link, address))
    }

    /// Breaks the connections that there are.
    pub(super) fn cut(&self) {
        self.cut.send_modify(|number| *number += 1);
    }

    /// Breaks them, and takes no others.
    pub(super) fn shut(&self) {
        self.state.send_replace(State::Shut);
        self.cut();
    }

    /// Passes nothing on.
    pub(super) fn stall(&self) {
        self.state.send_replace(State::Stalled);
    }

    /// As at first.
    pub(super) fn mend(&self) {
        self.state.send_replace(State::Open);
    }
}

impl Drop for Link {
    fn drop(&mut self) {
        self.task.abort();
        self.cut();
    }
}

async fn pass<S: AsyncRead + AsyncWrite>(client: S, server: S, (state, mut cut): Ends) {
    let (from_client, to_client) = split(client);
    let (from_server, to_server) = split(server);
    cut.mark_unchanged();
    tokio::select! {
        () = one_way(from_client, to_server, state.clone()) => {}
        () = one_way(from_server, to_client, state) => {}
        _ = cut.changed() => {}
    }
}

async fn one_way(
    mut from: impl AsyncRead + Unpin,
    mut to: impl AsyncWrite + Unpin,
    mut state: watch::Receiver<State>,
) {
    let mut buffer = vec![0; 16 << 10];
    while let Ok(read @ 1..) = from.read(&mut buffer).await {
        if state
            .wait_for(|state| *state != State::Stalled)
            .await
            .is_err()
            || to.write_all(&buffer[..read]).await.is_err()
        {
            return;
        }
    }
}
