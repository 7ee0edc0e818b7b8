//! The worker: opens the doors, answers, and thaws everything before it goes.

use std::{os::fd::AsFd as _, path::Path, sync::Arc, thread, time::Duration};

use futures::future::try_join;
use rustix::event::{PollFd, PollFlags, poll};
use stillpoint_proto::agent::agent_server::AgentServer;
use thiserror::Error;
use tokio::{
    runtime,
    signal::unix::{SignalKind, signal},
    time::{sleep, timeout},
};
use tokio_util::sync::CancellationToken;
use tonic::transport::Server;

use crate::{
    cli::ServeOptions,
    control::{Control, Message},
    door::unix::{self, SocketError},
    freeze::Freezes,
    hold::Holds,
    journal::Journal,
    kernel::Linux,
    ledger::Books,
    metrics::Metrics,
    remote::{Remote, RemoteError},
    service::Service,
    sys::Signals,
    ttl::TtlHolds,
    volume::{Protected, Resolver},
};

/// What a client has not read is lost to it when it writes to a closed connection; so that stays for a moment after the
/// last Thawed.
const LAST_WORDS: Duration = Duration::from_millis(200);
/// How long connections may take to close.
const FAREWELL: Duration = Duration::from_secs(1);

/// Why the worker cannot run.
#[derive(Debug, Error)]
pub(crate) enum WorkerError {
    #[error(
        "`worker` is started by `serve`, not by hand: its standard input is the supervisor ({0})"
    )]
    Orphan(std::io::Error),
    #[error(transparent)]
    Socket(#[from] SocketError),
    #[error("{0}: {1}")]
    Start(&'static str, std::io::Error),
    #[error(transparent)]
    Remote(#[from] RemoteError),
    #[error("a door: {0}")]
    Serve(#[from] tonic::transport::Error),
}

/// Runs until it is told to end or its supervisor is gone.
pub(crate) fn run(options: &ServeOptions) -> Result<(), WorkerError> {
    Signals::unblock().map_err(|error| WorkerError::Start("signals", error))?;
    let stdin = std::io::stdin().as_fd().try_clone_to_owned();
    let control = stdin
        .and_then(Control::inherited)
        .map_err(WorkerError::Orphan)?;
    runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .thread_keep_alive(Duration::from_secs(60))
        .enable_all()
        .build()
        .map_err(|error| WorkerError::Start("runtime", error))?
        .block_on(serve(options, Arc::new(control)))
}

async fn serve(options: &ServeOptions, control: Arc<Control>) -> Result<(), WorkerError> {
    let end = CancellationToken::new();
    end_with_signals(&end).map_err(|error| WorkerError::Start("signals", error))?;
    end_with_supervisor(&control, &end).map_err(|error| WorkerError::Start("thread", error))?;

    let socket = &options.door.socket;
    let connections = unix::open(socket)?;
    let journal = Journal::at(options.journal.clone());
    let protected = Protected::new(&options.kubelet_root, journal.directory(), socket);
    let resolver = Resolver::new(options.kubelet_root.clone(), protected);
    let books = Books::new(journal.clone(), control.clone());
    let metrics = Metrics::new();
    let freezes = Freezes::new(Arc::new(Linux), Arc::new(books), metrics.clone());
    let holds = Holds::new(resolver, freezes);
    let service = Service {
        node: options.node_name.clone(),
        holds: holds.clone(),
        ttl: TtlHolds::new(holds.clone()),
        journal,
    };
    let service = AgentServer::new(service);
    let closed = CancellationToken::new();
    let local = Server::builder()
        .add_service(service.clone())
        .serve_with_incoming_shutdown(connections, closed.clone().cancelled_owned());
    let mut announced = None;
    let mut server = match Remote::open(&options.remote, &options.node_name).await? {
        None => tokio::spawn(local),
        Some(remote) => {
            let (remote, lease) =
                remote.serve(service, metrics.clone(), end.clone(), closed.clone());
            announced = Some(lease);
            tokio::spawn(async { try_join(local, remote).await.map(drop) })
        }
    };
    if let Err(error) = control.send(&Message::Ready, None) {
        return Err(WorkerError::Start("supervisor", error));
    }
    greet(options);
    tokio::select! {
        () = end.cancelled() => {}
        ended = &mut server => {
            holds.stop().await;
            return ended.map_err(|error| WorkerError::Start("server", error.into()))?.map_err(Into::into);
        }
    }
    let told = !holds.list().is_empty();
    holds.stop().await;
    if told {
        sleep(LAST_WORDS).await;
    }
    closed.cancel();
    // A client that does not read keeps nobody.
    let _ = timeout(FAREWELL, server).await;
    if let Some(announced) = announced {
        // It ends by itself soon, and began to when `end` was told.
        let _ = timeout(FAREWELL, announced).await;
    }
    tracing::info!("nothing is frozen; ending");
    Ok(())
}

fn greet(options: &ServeOptions) {
    let (node, socket) = (&options.node_name, options.door.socket.display());
    tracing::info!(node, %socket, journal = %options.journal.display(), "ready");
    if !Path::new(&options.kubelet_root).is_dir() {
        tracing::warn!(
            kubelet_root = %options.kubelet_root.display(),
            "no such directory: volumes will not be found; set it with --kubelet-root (STILLPOINT_KUBELET_ROOT)"
        );
    }
}

fn end_with_signals(end: &CancellationToken) -> std::io::Result<()> {
    for kind in [SignalKind::terminate(), SignalKind::interrupt()] {
        let mut signals = signal(kind)?;
        let end = end.clone();
        tokio::spawn(async move {
            signals.recv().await;
            end.cancel();
        });
    }
    Ok(())
}

/// The supervisor never speaks; its end of the socket closes when it dies.
fn end_with_supervisor(control: &Arc<Control>, end: &CancellationToken) -> std::io::Result<()> {
    let (control, end) = (control.clone(), end.clone());
    thread::Builder::new()
        .name("supervisor".into())
        .stack_size(64 * 1024)
        .spawn(move || {
            let mut fds = [PollFd::new(control.as_ref(), PollFlags::IN)];
            while poll(&mut fds, None).is_err() {}
            if !end.is_cancelled() {
                tracing::error!("the supervisor died; thawing everything");
                end.cancel();
            }
        })?;
    Ok(())
}
