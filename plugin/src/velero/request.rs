//! Requests that make no sense.

use thiserror::Error;

/// A request that cannot be decoded, or an answer that cannot be encoded.
#[derive(Debug, Error)]
pub enum RequestError {
    /// Not JSON.
    #[error("the PersistentVolume in the request is no JSON")]
    PersistentVolume(#[source] serde_json::Error),
    /// A defect.
    #[error("the PersistentVolume cannot be written as JSON")]
    Answer(#[source] serde_json::Error),
    /// An upload without a message.
    #[error(
        "the upload ended before its first message, which would have named the object: Velero cannot write an empty one"
    )]
    NoObject,
    /// A time before now.
    #[error("a signed URL for {0} ns was asked for, expected a positive time")]
    Lifetime(i64),
}
