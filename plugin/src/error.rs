//! The one place where errors become what Velero sees: a gRPC status.

use std::error::Error;

use tonic::{Code, Status};

use crate::{
    azure::blob::BlobError,
    backup_location::StoreError,
    goplugin::CallError,
    ports::AzureError,
    restore::RestoreError,
    snapshot::SnapshotError,
    snapshot_location::LocationError,
    velero::{InitError, NameError, RequestError},
};

/// An error and what caused it, in one line. Velero shows the message of a status and nothing else.
pub fn report(error: &dyn Error) -> String {
    let mut line = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        let text = error.to_string();
        // Some errors repeat their cause in their own message.
        if !line.contains(&text) {
            line.push_str(": ");
            line.push_str(&text);
        }
        cause = error.source();
    }
    line
}

impl From<CallError> for Status {
    fn from(error: CallError) -> Self {
        let code = match error {
            CallError::Stopping => Code::Unavailable,
            CallError::Panicked => Code::Internal,
        };
        Self::new(code, report(&error))
    }
}

impl From<NameError> for Status {
    fn from(error: NameError) -> Self {
        let code = match error {
            NameError::AlsoServe(_) => Code::FailedPrecondition,
            NameError::NotServed { .. } => Code::InvalidArgument,
        };
        Self::new(code, report(&error))
    }
}

impl From<InitError> for Status {
    fn from(error: InitError) -> Self {
        let code = match error {
            InitError::Never(_) | InitError::Failed { .. } => Code::FailedPrecondition,
        };
        Self::new(code, report(&error))
    }
}

impl From<RequestError> for Status {
    fn from(error: RequestError) -> Self {
        let code = match error {
            RequestError::PersistentVolume(_)
            | RequestError::NoObject
            | RequestError::Lifetime(_) => Code::InvalidArgument,
            RequestError::Answer(_) => Code::Internal,
        };
        Self::new(code, report(&error))
    }
}

impl From<LocationError> for Status {
    fn from(error: LocationError) -> Self {
        let code = match &error {
            LocationError::Config(_) | LocationError::Pv(_) => Code::InvalidArgument,
            LocationError::Connect(_) | LocationError::NoCluster => Code::FailedPrecondition,
            LocationError::Snapshot(error) => code_of_snapshot(error),
            LocationError::Restore(error) => code_of_restore(error),
        };
        Self::new(code, report(&error))
    }
}

impl From<StoreError> for Status {
    fn from(error: StoreError) -> Self {
        let code = match &error {
            StoreError::Config(_) => Code::InvalidArgument,
            StoreError::Connect(_) => Code::FailedPrecondition,
            StoreError::Account(error) => code_of_azure(error),
            StoreError::Blob(error) => code_of_blob(error),
        };
        Self::new(code, report(&error))
    }
}

impl From<BlobError> for Status {
    fn from(error: BlobError) -> Self {
        Self::new(code_of_blob(&error), report(&error))
    }
}

fn code_of_blob(error: &BlobError) -> Code {
    match error {
        BlobError::NotFound { .. } => Code::NotFound,
        BlobError::Refused {
            status: 401 | 403, ..
        } => Code::PermissionDenied,
        BlobError::Refused { .. } => Code::FailedPrecondition,
        BlobError::Unanswered { .. } => Code::Unavailable,
        BlobError::Credentials { .. } => Code::Unauthenticated,
        BlobError::Broken(_) | BlobError::Replaced { .. } => Code::Aborted,
        BlobError::Name { .. } | BlobError::Lifetime { .. } => Code::InvalidArgument,
        BlobError::TooLarge { .. } => Code::OutOfRange,
        BlobError::Cancelled => Code::Cancelled,
    }
}

fn code_of_snapshot(error: &SnapshotError) -> Code {
    match error {
        SnapshotError::InvalidVolume(_) | SnapshotError::InvalidSnapshot(_) => {
            Code::InvalidArgument
        }
        SnapshotError::AzureUnable { source, .. } | SnapshotError::AzureRefused { source, .. } => {
            code_of_azure(source)
        }
        SnapshotError::NotFrozen { .. } | SnapshotError::IncrementalElsewhere { .. } => {
            Code::FailedPrecondition
        }
        SnapshotError::NotHeld { .. } => Code::Aborted,
        SnapshotError::TimedOut { .. } => Code::DeadlineExceeded,
        SnapshotError::Cancelled { .. } => Code::Cancelled,
    }
}

fn code_of_restore(error: &RestoreError) -> Code {
    match error {
        RestoreError::InvalidSnapshot(_)
        | RestoreError::InvalidVolume(_)
        | RestoreError::InvalidZone { .. } => Code::InvalidArgument,
        RestoreError::AzureUnable { source, .. } | RestoreError::AzureRefused { source, .. } => {
            code_of_azure(source)
        }
        RestoreError::Unfinished { .. }
        | RestoreError::Record { .. }
        | RestoreError::NoSku { .. }
        | RestoreError::OtherRegion { .. }
        | RestoreError::SectorSize { .. } => Code::FailedPrecondition,
        RestoreError::Cancelled { .. } => Code::Cancelled,
    }
}

fn code_of_azure(error: &AzureError) -> Code {
    match error {
        AzureError::NotFound { .. } => Code::NotFound,
        AzureError::Throttled { .. } => Code::ResourceExhausted,
        AzureError::Unanswered { .. } => Code::Unavailable,
        AzureError::Conflict { .. } => Code::Aborted,
        AzureError::Refused {
            status: 401 | 403, ..
        } => Code::PermissionDenied,
        AzureError::Refused { .. } => Code::FailedPrecondition,
        AzureError::Failed { .. } => Code::Internal,
        AzureError::Credentials(_) => Code::Unauthenticated,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Debug, thiserror::Error)]
    #[error("{0}")]
    struct Layer(&'static str, #[source] Option<Box<Layer>>);

    #[test]
    fn report_tells_causes_once() {
        let error = Layer(
            "a",
            Some(Box::new(Layer("b", Some(Box::new(Layer("c", None)))))),
        );
        assert_eq!(report(&error), "a: b: c");
        let error = Layer(
            "a: no such file",
            Some(Box::new(Layer("no such file", None))),
        );
        assert_eq!(report(&error), "a: no such file");
    }
}
