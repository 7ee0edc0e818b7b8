//! Verdicts that their gate did not live to tell: what admission wrote stands, crash, and is told as the end.

use std::{collections::HashMap, time::Duration};

use tokio::time::{Instant, sleep};

use super::{Gate, ports::Verdict};
use crate::model::{Consistency, Worth};

const LOOK: Duration = Duration::from_secs(2);
/// For a gate to tell once its hold is over.
const TOLD_WITHIN: Duration = Duration::from_secs(15);

impl Gate {
    /// Ends the verdicts of gates that are gone. Never returns.
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
                        reason: "the gate that held it ended before it could tell".to_owned(),
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
