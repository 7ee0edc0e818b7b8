//! Why the process ends, and how long it may take to.

use std::{fmt, io, time::Duration};

use tokio::{
    signal::unix::{Signal, SignalKind, signal},
    sync::mpsc,
};

use super::parent::Parent;

/// What ended the process.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum StopReason {
    /// The host called `GRPCController/Shutdown`.
    Shutdown,
    /// SIGTERM.
    Terminated,
    /// The host died.
    HostGone,
}

impl StopReason {
    /// How long calls in flight may clean up.
    pub fn patience(self) -> Duration {
        match self {
            // go-plugin kills 2 s after the call.
            Self::Shutdown => Duration::from_millis(1700),
            // A kubelet kills after 30 s unless told otherwise.
            Self::Terminated => Duration::from_secs(25),
            // Nobody waits. Enough to delete a snapshot that nobody will ask for.
            Self::HostGone => Duration::from_secs(60),
        }
    }
}

impl fmt::Display for StopReason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Shutdown => "shut down by the host",
            Self::Terminated => "terminated by a signal",
            Self::HostGone => "the host is gone",
        })
    }
}

/// The signals that concern a plugin, caught from its making on.
pub(super) struct Signals {
    interrupt: Signal,
    terminate: Signal,
}

impl Signals {
    pub(super) fn catch() -> io::Result<Self> {
        Ok(Self {
            interrupt: signal(SignalKind::interrupt())?,
            terminate: signal(SignalKind::terminate())?,
        })
    }
}

/// Resolves with the first reason. SIGINT is none: a terminal's Ctrl-C reaches the whole process group, and the
/// host decides what it means.
pub(super) async fn reason(
    mut signals: Signals,
    mut shutdown: mpsc::Receiver<()>,
    parent: Option<Parent>,
) -> StopReason {
    let host_gone = async {
        match parent {
            Some(parent) => parent.gone().await,
            None => std::future::pending().await,
        }
    };
    tokio::pin!(host_gone);
    loop {
        tokio::select! {
            Some(()) = shutdown.recv() => return StopReason::Shutdown,
            Some(()) = signals.terminate.recv() => return StopReason::Terminated,
            () = &mut host_gone => return StopReason::HostGone,
            Some(()) = signals.interrupt.recv() => {
                tracing::trace!("interrupt ignored: the host decides");
            }
        }
    }
}
