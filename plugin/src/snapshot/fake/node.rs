//! A node with its agent.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex},
    time::Duration,
};

use async_trait::async_trait;
use tokio::time::{Instant, sleep};

use super::World;
use crate::{
    model::VolumeId,
    ports::{Hold, HoldEnd, Holder, HolderError, Refusal, VolumeHold},
};

/// A node with its agent.
#[derive(Default)]
pub(crate) struct Node {
    /// Holds that last.
    pub(crate) frozen: usize,
    still: Vec<VolumeId>,
    /// How many more nodes the volumes are on, all with agents that hold them.
    pub(crate) more: usize,
    /// Volumes that are not frozen, and why.
    pub(crate) refuses: HashMap<VolumeId, Refusal>,
    /// No agent answers.
    pub(crate) down: bool,
    /// The hold is lost after that time, whatever its limit.
    pub(crate) lost_after: Option<Duration>,
    /// The agent is silent at the release.
    pub(crate) lies_low: bool,
    pub(crate) holds: usize,
    /// Volumes whose holds were announced.
    pub(crate) expected: Vec<VolumeId>,
}

impl Node {
    pub(super) fn is_frozen(&self, volume: &VolumeId) -> bool {
        self.still.contains(volume)
    }

    fn thaw(&mut self, volumes: &[VolumeId]) {
        self.frozen -= 1;
        self.still.retain(|volume| !volumes.contains(volume));
    }
}

#[async_trait]
impl Holder for World {
    fn expect(&self, volume: &VolumeId) {
        self.node.lock().unwrap().expected.push(volume.clone());
    }

    async fn hold(
        &self,
        _hold: &str,
        volumes: &[VolumeId],
        limit: Duration,
    ) -> Result<Box<dyn Hold>, HolderError> {
        sleep(Duration::from_millis(10)).await;
        let mut node = self.node.lock().unwrap();
        node.holds += 1;
        if node.down {
            let agent = "unix:/agent.sock".to_owned();
            return Err(HolderError::Agent {
                agent,
                message: "connection refused".to_owned(),
            });
        }
        let outcome = |volume: &VolumeId| match node.refuses.get(volume) {
            Some(refusal) => VolumeHold::Refused(refusal.clone()),
            None => VolumeHold::Frozen {
                filesystem: "ext4".to_owned(),
                nodes: (1..=1 + node.more).map(|n| format!("node-{n}")).collect(),
            },
        };
        let outcomes: Vec<_> = volumes.iter().map(outcome).collect();
        let frozen =
            |(_, outcome): &(&VolumeId, &VolumeHold)| matches!(outcome, VolumeHold::Frozen { .. });
        let still: Vec<VolumeId> = volumes
            .iter()
            .zip(&outcomes)
            .filter(frozen)
            .map(|(volume, _)| volume.clone())
            .collect();
        node.frozen += 1;
        node.still.extend(still.clone());
        let lasts = node.lost_after.map_or(limit, |lost| lost.min(limit));
        let since = Instant::now();
        Ok(Box::new(FakeHold {
            node: Arc::clone(&self.node),
            outcomes,
            still,
            since,
            until: since + lasts,
            thawed: false,
        }))
    }
}

struct FakeHold {
    node: Arc<Mutex<Node>>,
    outcomes: Vec<VolumeHold>,
    still: Vec<VolumeId>,
    since: Instant,
    until: Instant,
    thawed: bool,
}

impl FakeHold {
    fn thaw(&mut self) {
        if !std::mem::replace(&mut self.thawed, true) {
            self.node.lock().unwrap().thaw(&self.still);
        }
    }
}

#[async_trait]
impl Hold for FakeHold {
    fn volumes(&self) -> &[VolumeHold] {
        &self.outcomes
    }

    async fn lost(&mut self) {
        tokio::time::sleep_until(self.until).await;
        self.thaw();
    }

    async fn release(mut self: Box<Self>) -> Vec<HoldEnd> {
        let held = Instant::now() < self.until && !self.thawed;
        let silent = self.node.lock().unwrap().lies_low;
        self.thaw();
        let frozen = Instant::now().min(self.until) - self.since;
        let ends = self.outcomes.iter().map(|outcome| match outcome {
            VolumeHold::Refused(refusal) => HoldEnd {
                frozen: Duration::ZERO,
                held: Err(refusal.message.clone()),
            },
            VolumeHold::Frozen { .. } if silent => HoldEnd {
                frozen,
                held: Err("the agent said nothing".to_owned()),
            },
            VolumeHold::Frozen { .. } if held => HoldEnd {
                frozen,
                held: Ok(()),
            },
            VolumeHold::Frozen { .. } => HoldEnd {
                frozen,
                held: Err("its limit passed".to_owned()),
            },
        });
        ends.collect()
    }
}

impl Drop for FakeHold {
    fn drop(&mut self) {
        self.thaw();
    }
}
