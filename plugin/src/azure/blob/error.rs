//! Why an object could not be written, read, listed, deleted or signed.

use std::time::Duration;

use super::hint::hint;
use crate::{azure::failure::Failure, velero::Broken};

/// See the module. Never shows a key, a token or a signature.
#[derive(Clone, Debug, thiserror::Error)]
pub enum BlobError {
    /// The blob or its container is not there.
    #[error("{resource} is not there ({code}){hint}")]
    NotFound {
        /// What was asked for.
        resource: String,
        /// Storage's code.
        code: String,
        /// Empty, or ` — ` and what to do.
        hint: String,
    },
    /// Storage said no.
    #[error("{resource}: Azure Storage refused with {status} {code}: {message}{hint}")]
    Refused {
        /// What was asked for.
        resource: String,
        /// HTTP status.
        status: u16,
        /// Storage's code.
        code: String,
        /// Storage's words.
        message: String,
        /// Empty, or ` — ` and what to do.
        hint: String,
    },
    /// No answer, or none that can be understood, in spite of retries.
    #[error("{resource}: {message}, tried for {after:.1?}{hint}")]
    Unanswered {
        /// What was asked for.
        resource: String,
        /// What happened.
        message: String,
        /// Since the first attempt.
        after: Duration,
        /// Empty, or ` — ` and what to do.
        hint: String,
    },
    /// No token or key to ask with.
    #[error("{resource}: {message}")]
    Credentials {
        /// What was asked for.
        resource: String,
        /// Which credential, where it is set, and what is wrong with it.
        message: String,
    },
    /// The body never came to its end; nothing was written.
    #[error(transparent)]
    Broken(#[from] Broken),
    /// The object was replaced while it was read.
    #[error(
        "{resource} was replaced while it was read, after {read} bytes: what was read is not whole, read it again"
    )]
    Replaced {
        /// The object.
        resource: String,
        /// How much had been read.
        read: u64,
    },
    /// A name that Azure cannot have.
    #[error("{what} {value:?} is no name that Azure Storage can have: expected {expected}")]
    Name {
        /// `container` or `key`.
        what: &'static str,
        /// The name.
        value: String,
        /// What would do.
        expected: &'static str,
    },
    /// More than a blob can hold.
    #[error(
        "{resource} is larger than {limit} bytes, the most that a blob of its block size holds: set the location's `blockSizeInBytes` higher"
    )]
    TooLarge {
        /// The object.
        resource: String,
        /// The most that goes in.
        limit: u64,
    },
    /// A signed URL for longer than Azure signs.
    #[error(
        "{resource}: a URL for {asked:?} was asked for; without an account key Azure signs for 7 days at most (give the location a key with `storageAccountKeyEnvVar`)"
    )]
    Lifetime {
        /// The object.
        resource: String,
        /// What was asked for.
        asked: Duration,
    },
    /// Nobody waits any more.
    #[error("cancelled")]
    Cancelled,
}

impl BlobError {
    /// `failure` about `resource`, `after` its first attempt.
    pub(super) fn of(failure: Failure, resource: String, after: Duration) -> Self {
        let hint = hint(&failure);
        match failure {
            Failure::Http {
                status: 404, code, ..
            } => Self::NotFound {
                resource,
                code,
                hint,
            },
            Failure::Http {
                status: 408 | 429 | 500..=599,
                ..
            }
            | Failure::Connection(_)
            | Failure::Timeout(_)
            | Failure::Malformed(_) => Self::Unanswered {
                resource,
                message: failure.to_string(),
                after,
                hint,
            },
            Failure::Http {
                status,
                code,
                message,
                ..
            } => Self::Refused {
                resource,
                status,
                code,
                message,
                hint,
            },
            Failure::Login(message) => Self::Credentials { resource, message },
        }
    }
}
