//! One PUT and the wait until its data is fixed, interruptible at any moment.

use std::time::Duration;

use tokio::time::{sleep, timeout};
use tokio_util::sync::CancellationToken;

use crate::{
    model::{Snapshot, SnapshotId, SnapshotSpec},
    ports::{Azure, AzureError, CutPermit},
    tags::Marks,
};

/// How long a PUT on its way may take to be answered once nobody wants its snapshot any more.
const ANSWER: Duration = Duration::from_secs(10);
/// How long to look, frozen, for a snapshot whose PUT was not answered.
const GLANCE: Duration = Duration::from_secs(2);

/// A cut that came to nothing.
#[derive(Debug)]
pub(super) struct Loss {
    /// What Azure said; `None` if the cut was stopped.
    pub(super) error: Option<AzureError>,
    /// What is under its name.
    pub(super) remains: Remains,
    /// Whether a new attempt may succeed: Azure did not refuse it.
    pub(super) again: bool,
}

/// What a lost cut left in Azure.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Remains {
    Nothing,
    Maybe,
    Snapshot,
}

pub(super) struct Cut<'a> {
    pub(super) azure: &'a dyn Azure,
    pub(super) permit: &'a CutPermit,
    pub(super) spec: &'a SnapshotSpec,
    pub(super) hold: &'a str,
    /// Ends all cuts of the attempt; also thaws.
    pub(super) stop: &'a CancellationToken,
}

impl Cut<'_> {
    pub(super) async fn run(self) -> Result<Snapshot, Loss> {
        let answer = tokio::select! {
            answer = self.azure.cut(self.permit, self.spec) => answer,
            () = self.abandoned() => {
                return Err(Loss { error: None, remains: Remains::Maybe, again: false });
            }
        };
        if let Err(error) = answer {
            self.adopt(error).await?;
        }
        tokio::select! {
            fixed = self.azure.fixed(self.permit, &self.spec.id) => fixed.map_err(|error| Loss {
                error: Some(error),
                remains: Remains::Snapshot,
                again: false,
            }),
            () = self.stop.cancelled() => {
                Err(Loss { error: None, remains: Remains::Snapshot, again: false })
            }
        }
    }

    /// A PUT without a clear answer may have been taken: what carries this hold's tag is ours.
    async fn adopt(&self, error: AzureError) -> Result<(), Loss> {
        let (look, remains, again) = match &error {
            AzureError::Throttled { .. } => (false, Remains::Nothing, true),
            AzureError::Unanswered { .. } => (true, Remains::Maybe, true),
            AzureError::Conflict { .. } => (true, Remains::Nothing, false),
            AzureError::Failed { .. } => (false, Remains::Snapshot, false),
            AzureError::NotFound { .. }
            | AzureError::Refused { .. }
            | AzureError::Credentials(_) => (false, Remains::Nothing, false),
        };
        if look && self.is_there().await {
            tracing::info!(
                snapshot = %self.spec.id, hold = self.hold, %error,
                "Azure took the snapshot although its answer was lost"
            );
            return Ok(());
        }
        if again {
            // Thaws at once, before anything is tidied up.
            self.stop.cancel();
        }
        Err(Loss {
            error: Some(error),
            remains,
            again,
        })
    }

    async fn is_there(&self) -> bool {
        let id: &SnapshotId = &self.spec.id;
        let found = tokio::select! {
            found = timeout(GLANCE, self.azure.snapshot(id)) => found,
            () = self.stop.cancelled() => return false,
        };
        matches!(found, Ok(Ok(found)) if Marks::read(&found.tags).hold.as_deref() == Some(self.hold))
    }

    async fn abandoned(&self) {
        self.stop.cancelled().await;
        sleep(ANSWER).await;
    }
}
