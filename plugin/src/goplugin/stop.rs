//! Why the process ends, and how long it may take to.

use std::{fmt, time::Duration};

use tokio::{
    signal::unix::{SignalKind, signal},
    sync::mpsc,
};

use super::{parent::Parent, server::ServeError};

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

/// Resolves with the first reason; ignores SIGINT from its first poll on: a terminal's Ctrl-C reaches the whole
/// process group, and the host decides what it means.
pub(super) async fn reason(
    mut shutdown: mpsc::Receiver<()>,
    parent: Option<Parent>,
) -> Result<StopReason, ServeError> {
    let mut interrupt = signal(SignalKind::interrupt()).map_err(ServeError::Signals)?;
    let mut terminate = signal(SignalKind::terminate()).map_err(ServeError::Signals)?;
    let host_gone = async {
        match parent {
            Some(parent) => parent.gone().await,
            None => std::future::pending().await,
        }
    };
    tokio::pin!(host_gone);
    loop {
        tokio::select! {
            Some(()) = shutdown.recv() => return Ok(StopReason::Shutdown),
            Some(()) = terminate.recv() => return Ok(StopReason::Terminated),
            () = &mut host_gone => return Ok(StopReason::HostGone),
            Some(()) = interrupt.recv() => tracing::trace!("interrupt ignored: the host decides"),
        }
    }
}
