//! The worker: opens the doors, answers, and thaws everything before it goes.

use std::{os::fd::AsFd as _, path::Path, sync::Arc, thread, time::Duration};

use futures::future::try_join;
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
    door::{
        self,
        unix::{self, SocketError},
    },
    freeze::Freezes,
    hold::Holds,
    journal::Journal,
    kernel::{self, Linux},
    kubernetes,
    ledger::Books,
    metrics::Metrics,
    probes::{Conditions, Listener, Pages, ProbesError},
    pulse::Pulse,
    remote::{Remote, RemoteError},
    service::Service,
    sys::Signals,
    ttl::TtlHolds,
    volume::{Protected, Resolver},
};

/// For how long holds may come to their end after SIGTERM. Kubernetes gives a pod 30 s by default, the supervisor needs
/// the last of them, and a hold takes a few seconds.
pub(crate) const DRAIN: Duration = Duration::from_secs(20);
/// What a client has not read is lost to it when it writes to a closed connection; so that stays for a moment after the
/// last Thawed.
const LAST_WORDS: Duration = Duration::from_millis(200);
/// What ends a container ends its supervisor first and this process a moment later. A thaw is not begun in that moment:
/// btrfs reads its superblock then, and if that is interrupted by SIGKILL the kernel makes the filesystem read-only
/// (fs/btrfs/super.c, btrfs_unfreeze; seen with Linux 6.18). The next supervisor thaws.
const LAST_MOMENT: Duration = Duration::from_millis(500);
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
    #[error(transparent)]
    Probes(#[from] ProbesError),
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
    let end = End::default();
    end.with_signals()
        .map_err(|error| WorkerError::Start("signals", error))?;
    let pulse = Arc::new(Pulse::new());
    let gone = end.clone();
    pulse
        .keep(&control, move || gone.with_supervisor())
        .map_err(|error| WorkerError::Start("thread", error))?;

    let socket = &options.door.socket;
    let connections = unix::open(socket)?;
    let journal = Journal::at(options.journal.clone());
    let protected = Protected::new(&options.kubelet_root, journal.directory(), socket);
    let resolver = Resolver::new(options.kubelet_root.clone(), protected);
    let books = Books::new(journal.clone(), control.clone(), pulse.clone());
    let metrics = Metrics::new();
    let freezes = Freezes::new(Arc::new(Linux), Arc::new(books), metrics.clone());
    let holds = Holds::new(resolver, freezes);
    let all = holds.clone();
    metrics.count_overdue(move || all.overdue());
    let service = Service {
        node: options.node_name.clone(),
        holds: holds.clone(),
        ttl: TtlHolds::new(holds.clone()),
        journal: journal.clone(),
    };
    let service = door::service(service);
    let closed = CancellationToken::new();
    let local = Server::builder()
        .add_service(service.clone())
        .serve_with_incoming_shutdown(connections, closed.clone().cancelled_owned());
    let mut conditions = probes(&holds, journal, pulse);
    let mut announced = None;
    let mut server = match Remote::open(&options.remote, &options.node_name).await? {
        None => tokio::spawn(local),
        Some(remote) => {
            let written = remote.announced();
            conditions.1.require("Lease", move || written.check());
            let (remote, lease) =
                remote.serve(service, metrics.clone(), end.begun.clone(), closed.clone());
            announced = Some(lease);
            tokio::spawn(async { try_join(local, remote).await.map(drop) })
        }
    };
    if options.probes.is_some() || kubernetes::in_pod() {
        let listener = Listener::open(options.probes).await?;
        tracing::info!(listen = %listener.address, "probes are answered");
        let (alive, ready) = (Arc::new(conditions.0), Arc::new(conditions.1));
        let pages = Pages {
            alive,
            ready,
            metrics,
        };
        tokio::spawn(listener.serve(Arc::new(pages)));
    }
    if let Err(error) = control.send(&Message::Ready, None) {
        return Err(WorkerError::Start("supervisor", error));
    }
    greet(options);
    tokio::select! {
        () = end.begun.cancelled() => {}
        ended = &mut server => {
            holds.stop().await;
            return ended.map_err(|error| WorkerError::Start("server", error.into()))?.map_err(Into::into);
        }
    }
    let told = !holds.list().is_empty();
    tokio::select! {
        () = holds.drain() => {}
        () = end.at_once.cancelled() => {}
        () = sleep(DRAIN) => {}
    }
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

/// What must hold for liveness, and besides for readiness.
fn probes(holds: &Arc<Holds>, journal: Journal, pulse: Arc<Pulse>) -> (Conditions, Conditions) {
    let mut alive = Conditions::default();
    let all = holds.clone();
    alive.require("thaws", move || all.punctual());
    alive.require("supervisor", move || pulse.check());
    let mut ready = Conditions::default();
    let all = holds.clone();
    ready.require("holds", move || all.accepting());
    ready.require("journal", move || {
        let directory = journal.directory().display();
        let check = journal.check();
        check.map_err(|error| format!("{directory}: {error}"))
    });
    ready.require("privileges", || {
        let refused = |error| {
            format!("FITHAW: {error}; expected CAP_SYS_ADMIN in the initial user namespace")
        };
        kernel::is_allowed().map_err(refused)
    });
    (alive, ready)
}

/// How this process is told to end.
#[derive(Clone, Default)]
struct End {
    /// Nothing new is begun.
    begun: CancellationToken,
    /// Nothing is waited for.
    at_once: CancellationToken,
}

impl End {
    /// SIGTERM lets holds come to their end; a second one, or SIGINT, does not.
    fn with_signals(&self) -> std::io::Result<()> {
        let mut terminate = signal(SignalKind::terminate())?;
        let mut interrupt = signal(SignalKind::interrupt())?;
        let end = self.clone();
        tokio::spawn(async move {
            tokio::select! {
                _ = interrupt.recv() => end.now(),
                _ = terminate.recv() => end.begun.cancel(),
            }
            tokio::select! {
                _ = interrupt.recv() => {}
                _ = terminate.recv() => {}
            }
            end.now();
        });
        Ok(())
    }

    /// Without it nobody thaws after this process. Blocks.
    fn with_supervisor(&self) {
        let unexpected = !self.begun.is_cancelled();
        self.begun.cancel();
        thread::sleep(LAST_MOMENT);
        if unexpected {
            tracing::error!("the supervisor died; thawing everything");
        }
        self.now();
    }

    fn now(&self) {
        self.begun.cancel();
        self.at_once.cancel();
    }
}
