//! Deletes the snapshots of attempts that came to nothing.

use std::time::Duration;

use futures::future::join_all;
use tokio::time::{Instant, sleep, sleep_until};

use crate::{
    model::SnapshotId,
    ports::{Azure, AzureError},
};

/// How long a PUT that nobody answered may still take effect. What lands later is marked pending and is swept.
const LATE: Duration = Duration::from_secs(10);
const LOOK: Duration = Duration::from_secs(1);
/// How long Azure may go on making a snapshot that is to be deleted.
const IN_THE_MAKING: Duration = Duration::from_secs(60);

/// Snapshots that may be there although nobody said so.
#[derive(Default)]
pub(super) struct Leftovers(Vec<(SnapshotId, Instant)>);

impl Leftovers {
    /// Deletes what there is, and remembers what may come yet.
    pub(super) async fn delete(
        &mut self,
        azure: &dyn Azure,
        there: Vec<SnapshotId>,
        maybe: Vec<SnapshotId>,
    ) {
        join_all(there.iter().chain(&maybe).map(|id| delete(azure, id))).await;
        let until = Instant::now() + LATE;
        self.0.extend(maybe.into_iter().map(|id| (id, until)));
    }

    /// Waits for what may come late, and deletes it.
    pub(super) async fn settle(self, azure: &dyn Azure) {
        join_all(self.0.iter().map(|(id, until)| settle(azure, id, *until))).await;
    }
}

async fn settle(azure: &dyn Azure, id: &SnapshotId, until: Instant) {
    loop {
        match azure.snapshot(id).await {
            Ok(_) => return delete(azure, id).await,
            Err(AzureError::NotFound { .. }) => {}
            Err(error) => {
                tracing::debug!(snapshot = %id, %error, "cannot look for a late snapshot")
            }
        }
        if Instant::now() >= until {
            return;
        }
        tokio::select! {
            () = sleep(LOOK) => {}
            () = sleep_until(until) => {}
        }
    }
}

/// Deletes a snapshot of ours whose ID nobody gets. While Azure still makes it, it refuses (409); so ask again until
/// that is over.
pub(super) async fn delete(azure: &dyn Azure, id: &SnapshotId) {
    let until = Instant::now() + IN_THE_MAKING;
    loop {
        match azure.delete_snapshot(id).await {
            Ok(()) => return,
            Err(AzureError::Conflict { .. }) if Instant::now() < until => sleep(LOOK / 4).await,
            Err(error) => {
                tracing::warn!(
                    snapshot = %id, %error,
                    "an unfinished snapshot could not be deleted; it is marked pending and will be swept"
                );
                return;
            }
        }
    }
}
