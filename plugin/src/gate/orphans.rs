//! Contents that say that a verdict is still to come although nobody is at it.
//!
//! Their gate did not live to tell, or had let go before their hold was stored: what admission wrote stands, crash, and is
//! told as the end. Or it told, and was overwritten: to set its mark csi-snapshotter replaces all annotations by those that it
//! saw last (external-snapshotter, pkg/sidecar-controller: setAnnVolumeSnapshotBeingCreated), also when it looks again at
//! a snapshot that has a handle and is not ready. Then it is told again.

use std::{
    collections::HashMap,
    sync::{Mutex, PoisonError},
    time::Duration,
};

use tokio::time::{Instant, sleep};

use super::{Gate, live::CONFIRMED_WITHIN, ports::Verdict};
use crate::model::{Consistency, Worth};

const LOOK: Duration = Duration::from_secs(2);
/// For a gate to tell once its hold is over.
const TOLD_WITHIN: Duration = Duration::from_secs(15);

/// For csi-snapshotter to see what was written.
const OVERWRITTEN_WITHIN: Duration = Duration::from_secs(600);

/// Verdicts of late, by their holds.
#[derive(Default)]
pub(super) struct Told(Mutex<HashMap<String, (Instant, Verdict)>>);

impl Told {
    pub(super) fn remember(&self, verdict: &Verdict) {
        let mut told = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        told.retain(|_, (at, _)| at.elapsed() < OVERWRITTEN_WITHIN);
        told.insert(verdict.hold.clone(), (Instant::now(), verdict.clone()));
    }

    fn of(&self, hold: &str) -> Option<Verdict> {
        let told = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        told.get(hold).map(|(_, verdict)| verdict.clone())
    }
}

impl Gate {
    /// Ends the verdicts of gates that are gone, and restores those that were overwritten. Never returns.
    pub async fn end_orphans(&self) {
        let site = &self.0;
        // A hold with nothing frozen lasts longer, and says crash all the while.
        let patience = site.settings.freeze_timeout + TOLD_WITHIN;
        let mut since: HashMap<String, Instant> = HashMap::new();
        loop {
            sleep(LOOK).await;
            let pending = site.cluster.pending();
            let holds: Vec<_> = pending
                .iter()
                .filter_map(|(_, content)| content.hold.clone())
                .collect();
            since.retain(|hold, _| holds.contains(hold));
            for (id, content) in pending {
                let Some(hold) = content.hold else { continue };
                if let Some(verdict) = site.told.of(&hold) {
                    tracing::debug!(content = id.name, hold, "the verdict was overwritten");
                    let again = Verdict {
                        // People know already.
                        taken: false,
                        orphan: true,
                        ..verdict
                    };
                    site.cluster.tell(&again).await;
                    continue;
                }
                let first_seen = *since.entry(hold.clone()).or_insert_with(Instant::now);
                if site.live.contains(&hold)
                    || content.being_created
                    || first_seen.elapsed() < patience
                {
                    continue;
                }
                tracing::info!(
                    content = id.name,
                    hold,
                    "the verdict of a gate that is gone"
                );
                let verdict = Verdict {
                    content: id,
                    snapshot: content.snapshot,
                    hold,
                    worth: Worth {
                        consistency: Consistency::Crash,
                        reason: format!(
                            "the gate that held it ended before it could tell, or let go since the API server did not \
                             store the hold within {CONFIRMED_WITHIN:?}"
                        ),
                        frozen: Duration::ZERO,
                    },
                    mode: None,
                    volumes: content.volumes,
                    taken: content.created,
                    orphan: true,
                };
                site.tell(&verdict).await;
            }
        }
    }
}
