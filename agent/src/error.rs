//! Why a hold cannot be, told to a person, and the one conversion of it, and of a caller's refusal, to a gRPC status.

use std::{path::PathBuf, time::Duration};

use rustix::io::Errno;
use stillpoint_proto::agent::{Refusal, refusal::Reason};
use thiserror::Error;
use tonic::{Code, Status};

use crate::{account::Refusal as Refused, mountinfo::Device};

/// The shortest and the longest hold.
pub(crate) const LIMITS: std::ops::RangeInclusive<Duration> =
    Duration::from_secs(1)..=Duration::from_secs(60);

/// Why a filesystem is not frozen, or a request not accepted.
#[derive(Clone, Debug, Error)]
pub(crate) enum HoldError {
    #[error("{0}")]
    Invalid(String),
    #[error("{field} is {seen}: expected 1s to 60s")]
    Limit { field: &'static str, seen: String },
    #[error("volume {volume}: {detail}")]
    NotMounted { volume: String, detail: String },
    #[error(
        "volume {volume} is a raw block volume ({}): it has no filesystem of the node's to freeze",
        .record.display()
    )]
    Block { volume: String, record: PathBuf },
    #[error("{} (device {device}) is never frozen: it is the filesystem of {because}", .mount_point.display())]
    Protected {
        mount_point: PathBuf,
        device: Device,
        because: String,
    },
    #[error("{} (device {device}) is frozen already by someone else, whose it is to thaw", .mount_point.display())]
    Foreign {
        mount_point: PathBuf,
        device: Device,
    },
    #[error("{} (device {device}) is read-only: {detail}", .mount_point.display())]
    ReadOnly {
        mount_point: PathBuf,
        device: Device,
        detail: &'static str,
    },
    #[error("{} (device {device}) is in an error state: {detail}", .mount_point.display())]
    Unhealthy {
        mount_point: PathBuf,
        device: Device,
        detail: String,
    },
    #[error("{} is {filesystem}, which cannot be frozen", .mount_point.display())]
    Unsupported {
        mount_point: PathBuf,
        filesystem: String,
    },
    #[error(
        "{} (device {device}) was thawed a moment ago at the limit of a hold; it rests for another {remaining:.1?}",
        .mount_point.display()
    )]
    Resting {
        mount_point: PathBuf,
        device: Device,
        remaining: Duration,
    },
    #[error("{call} of {}: {source}{}", .mount_point.display(), hint(*.source))]
    Kernel {
        call: &'static str,
        mount_point: PathBuf,
        source: Errno,
    },
    #[error(
        "{} took {took:.1?} to freeze, longer than the limit of {limit:?}: thawed at once",
        .mount_point.display()
    )]
    TooSlow {
        mount_point: PathBuf,
        took: Duration,
        limit: Duration,
    },
    #[error("cannot write down the freeze of {}, so it was not made: {detail}", .mount_point.display())]
    Unrecorded {
        mount_point: PathBuf,
        detail: String,
    },
    #[error("{0}")]
    Node(String),
    #[error("the hold was let go before its freeze was done")]
    Abandoned,
    #[error(
        "{most} holds are open or being asked for already, the most there may be: try again in some seconds"
    )]
    TooMany { most: usize },
    #[error("the agent is stopping")]
    Stopping,
    #[error("{0} is already frozen by an earlier `freeze`: thaw it first")]
    AlreadyHeld(String),
    #[error("nothing on the filesystem of {0} is frozen by `freeze`")]
    NotHeld(String),
}

fn hint(errno: Errno) -> &'static str {
    match errno {
        Errno::PERM => " (freezing needs CAP_SYS_ADMIN in the initial user namespace)",
        Errno::ACCESS => " (a root directory of mode 0700 needs CAP_DAC_READ_SEARCH)",
        _ => "",
    }
}

impl HoldError {
    /// All that [`name`](Self::name) may say.
    pub(crate) const NAMES: [&str; 18] = [
        "invalid",
        "not_mounted",
        "block",
        "protected",
        "foreign",
        "read_only",
        "unhealthy",
        "unsupported",
        "resting",
        "kernel",
        "too_slow",
        "unrecorded",
        "node",
        "abandoned",
        "stopping",
        "too_many",
        "already_held",
        "not_held",
    ];

    /// As metrics name it.
    pub(crate) fn name(&self) -> &'static str {
        match self {
            Self::Invalid(_) | Self::Limit { .. } => "invalid",
            Self::NotMounted { .. } => "not_mounted",
            Self::Block { .. } => "block",
            Self::Protected { .. } => "protected",
            Self::Foreign { .. } => "foreign",
            Self::ReadOnly { .. } => "read_only",
            Self::Unhealthy { .. } => "unhealthy",
            Self::Unsupported { .. } => "unsupported",
            Self::Resting { .. } => "resting",
            Self::Kernel { .. } => "kernel",
            Self::TooSlow { .. } => "too_slow",
            Self::Unrecorded { .. } => "unrecorded",
            Self::Node(_) => "node",
            Self::Abandoned => "abandoned",
            Self::Stopping => "stopping",
            Self::TooMany { .. } => "too_many",
            Self::AlreadyHeld(_) => "already_held",
            Self::NotHeld(_) => "not_held",
        }
    }

    /// The reason that a [`Refusal`] gives.
    fn reason(&self) -> Reason {
        match self {
            Self::NotMounted { .. } => Reason::NotMounted,
            Self::Block { .. } => Reason::Block,
            Self::Protected { .. } => Reason::Protected,
            Self::Foreign { .. } => Reason::Foreign,
            Self::ReadOnly { .. } => Reason::ReadOnly,
            Self::Unhealthy { .. } => Reason::Unhealthy,
            Self::Unsupported { .. } => Reason::Unsupported,
            Self::Resting { .. } => Reason::Resting,
            Self::Kernel { .. } | Self::TooSlow { .. } => Reason::Kernel,
            Self::Invalid(_)
            | Self::Limit { .. }
            | Self::Unrecorded { .. }
            | Self::Node(_)
            | Self::Abandoned
            | Self::TooMany { .. }
            | Self::Stopping
            | Self::AlreadyHeld(_)
            | Self::NotHeld(_) => Reason::Unspecified,
        }
    }

    pub(crate) fn refusal(&self) -> Refusal {
        Refusal {
            reason: self.reason().into(),
            message: self.to_string(),
        }
    }
}

impl From<HoldError> for Status {
    fn from(error: HoldError) -> Self {
        let code = match &error {
            HoldError::Invalid(_) | HoldError::Limit { .. } => Code::InvalidArgument,
            HoldError::NotMounted { .. } | HoldError::NotHeld(_) => Code::NotFound,
            HoldError::Protected { .. } => Code::PermissionDenied,
            HoldError::Foreign { .. } => Code::Aborted,
            HoldError::Block { .. }
            | HoldError::ReadOnly { .. }
            | HoldError::Unhealthy { .. }
            | HoldError::Unsupported { .. } => Code::FailedPrecondition,
            HoldError::Resting { .. } | HoldError::Stopping => Code::Unavailable,
            HoldError::AlreadyHeld(_) => Code::AlreadyExists,
            HoldError::TooSlow { .. } => Code::DeadlineExceeded,
            HoldError::Abandoned => Code::Cancelled,
            HoldError::TooMany { .. } => Code::ResourceExhausted,
            HoldError::Kernel { .. } | HoldError::Unrecorded { .. } | HoldError::Node(_) => {
                Code::Internal
            }
        };
        Self::new(code, error.to_string())
    }
}

impl From<Refused> for Status {
    fn from(refusal: Refused) -> Self {
        let code = match &refusal {
            Refused::NoToken
            | Refused::Unreadable(_)
            | Refused::Rejected(_)
            | Refused::Audience(_) => Code::Unauthenticated,
            Refused::Account(_) | Refused::Foreign(_) => Code::PermissionDenied,
            Refused::TooMany(_) => Code::ResourceExhausted,
            Refused::Unreachable(_) => Code::Unavailable,
        };
        Self::new(code, refusal.to_string())
    }
}
