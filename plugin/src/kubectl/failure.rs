//! Why a command did not do what it was asked to, and how the program then exits.

use std::io;

use super::plan::Refusal;
use crate::{
    azure::ConnectError,
    config::ConfigError,
    kubernetes::WriteError,
    ports::AzureError,
    pv::{InlineError, PvError},
    restore::RestoreError,
    snapshot::SnapshotError,
};

/// How the program exits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Exit {
    /// All of it was done.
    Done,
    /// None of it was done.
    Failed,
    /// The command line was not understood.
    Usage,
    /// Some of it was done.
    Partly,
    /// Somebody interrupted it.
    Interrupted,
}

impl Exit {
    /// For the shell.
    pub fn code(self) -> u8 {
        match self {
            Self::Done => 0,
            Self::Failed => 1,
            Self::Usage => 2,
            Self::Partly => 3,
            Self::Interrupted => 130,
        }
    }

    /// Of several, of which so many were done.
    pub(super) fn of(done: usize, all: usize) -> Self {
        match done {
            done if done == all => Self::Done,
            0 => Self::Failed,
            _ => Self::Partly,
        }
    }
}

/// Why it was not done.
#[derive(Debug, thiserror::Error)]
pub(super) enum Failure {
    /// Options that are not understood.
    #[error("{0}")]
    Usage(String),
    /// Kubernetes did not answer as it should.
    #[error("{0}")]
    Kubernetes(String),
    #[error(transparent)]
    Connect(#[from] ConnectError),
    #[error(transparent)]
    Config(#[from] ConfigError),
    #[error(transparent)]
    Azure(#[from] AzureError),
    #[error(transparent)]
    Snapshot(#[from] SnapshotError),
    #[error(transparent)]
    Restore(#[from] RestoreError),
    #[error(transparent)]
    Pv(#[from] PvError),
    #[error(transparent)]
    Inline(#[from] InlineError),
    #[error(transparent)]
    Write(#[from] WriteError),
    /// It would do harm, or not work.
    #[error(transparent)]
    Refused(#[from] Refusal),
    /// Somebody does not wait any longer.
    #[error("the claim was made; whether it is bound was not awaited")]
    NotAwaited,
    /// Nobody said yes.
    #[error("{0} Nobody can be asked here: say --yes if it is meant")]
    Unconfirmed(String),
    /// Somebody said no.
    #[error("nothing was changed")]
    Declined,
    /// stdout, stderr, stdin.
    #[error("cannot read or write the terminal: {0}")]
    Io(#[from] io::Error),
}

impl Failure {
    pub(super) fn exit(&self) -> Exit {
        match self {
            Self::Usage(_) => Exit::Usage,
            Self::Kubernetes(_)
            | Self::Connect(_)
            | Self::Config(_)
            | Self::Azure(_)
            | Self::Snapshot(_)
            | Self::Restore(_)
            | Self::Pv(_)
            | Self::Inline(_)
            | Self::Write(_)
            | Self::Refused(_)
            | Self::NotAwaited
            | Self::Unconfirmed(_)
            | Self::Declined
            | Self::Io(_) => Exit::Failed,
        }
    }
}
