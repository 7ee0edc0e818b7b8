//! A cluster, a driver and an Azure for the gate, on tokio's paused clock.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex},
    time::Duration,
};

use async_trait::async_trait;
use tokio::{
    sync::watch,
    time::{Instant, sleep},
};

use super::super::{
    Arm, Gate, Settings,
    admit::Decision,
    attempt::Attempt,
    ports::{Class, Cluster, Content, ContentId, Kind, SnapshotRef, Verdict},
};
use crate::{
    config::FreezeMode,
    model::{Consistency, DiskId, SnapshotId, SnapshotSpec, VolumeId, Worth},
    ports::{Azure, News, Owners, Refusal},
    pv::DRIVER,
    snapshot::fake::{World, disk, disk_id, group},
};

/// The API server's patience.
const PATIENCE: Duration = Duration::from_secs(10);

#[derive(Default)]
pub(super) struct Objects {
    contents: Mutex<HashMap<ContentId, Content>>,
    pub(super) classes: Mutex<HashMap<String, Class>>,
    changes: watch::Sender<u64>,
    pub(super) told: Mutex<Vec<Verdict>>,
    pub(super) wishes: Mutex<HashMap<VolumeId, FreezeMode>>,
}

impl Objects {
    pub(super) fn change(&self, id: &ContentId, change: impl FnOnce(&mut Content)) {
        let mut contents = self.contents.lock().unwrap();
        change(contents.entry(id.clone()).or_default());
        drop(contents);
        self.changes.send_modify(|count| *count += 1);
    }

    pub(super) fn delete(&self, id: &ContentId) {
        self.contents.lock().unwrap().remove(id);
        self.changes.send_modify(|count| *count += 1);
    }
}

#[async_trait]
impl Cluster for Objects {
    fn content(&self, id: &ContentId) -> Option<Content> {
        self.contents.lock().unwrap().get(id).cloned()
    }

    fn pending(&self) -> Vec<(ContentId, Content)> {
        let contents = self.contents.lock().unwrap();
        let pending = contents.iter().filter(|(_, content)| content.pending);
        pending
            .map(|(id, content)| (id.clone(), content.clone()))
            .collect()
    }

    fn changes(&self) -> watch::Receiver<u64> {
        self.changes.subscribe()
    }

    async fn class(&self, _: Kind, name: &str) -> Result<Class, String> {
        let classes = self.classes.lock().unwrap();
        classes
            .get(name)
            .cloned()
            .ok_or_else(|| "no such class".to_owned())
    }

    async fn tell(&self, verdict: &Verdict) -> bool {
        let mut ours = false;
        self.change(&verdict.content, |content| {
            ours = content.hold.as_ref() == Some(&verdict.hold)
                && (!verdict.orphan || content.pending);
            content.pending &= !ours;
        });
        if ours {
            self.told.lock().unwrap().push(verdict.clone());
        }
        ours
    }
}

#[async_trait]
impl Owners for Objects {
    async fn wish(&self, volume: &VolumeId) -> Option<FreezeMode> {
        self.wishes.lock().unwrap().get(volume).copied()
    }

    fn tell(&self, _: &VolumeId, _: News) {}
}

pub(super) struct Scene {
    pub(super) world: World,
    pub(super) objects: Arc<Objects>,
    pub(super) gate: Gate,
}

impl Scene {
    pub(super) fn new() -> Self {
        Self::with(World::with([disk("data"), disk("more")]), true, |_| {})
    }

    pub(super) fn with(world: World, azure: bool, change: impl FnOnce(&mut Settings)) -> Self {
        let objects = Arc::new(Objects::default());
        let mut settings = Settings::default();
        change(&mut settings);
        let arm = azure.then(|| Arm::new(Arc::new(world.clone()) as Arc<dyn Azure>, None));
        let gate = Gate::new(
            settings,
            Arc::new(world.clone()),
            objects.clone(),
            objects.clone(),
            arm,
        );
        Self {
            world,
            objects,
            gate,
        }
    }

    /// snapshot-controller makes the content.
    pub(super) fn make(&self, attempt: &Attempt) {
        self.objects.change(&attempt.content, |content| {
            content.volumes.clone_from(&attempt.volumes);
        });
    }

    pub(super) async fn ask(&self, attempt: &Attempt) -> Decision {
        self.make(attempt);
        let stored = self.objects.content(&attempt.content);
        let attempt = Attempt {
            hold_before: stored.and_then(|content| content.hold),
            ..attempt.clone()
        };
        self.gate.admit(attempt, Instant::now() + PATIENCE).await
    }

    /// Asks, and stores the answer as the API server does.
    pub(super) async fn begin(&self, attempt: &Attempt) -> String {
        let Decision::Held(hold) = self.ask(attempt).await else {
            panic!("not held")
        };
        sleep(Duration::from_millis(5)).await;
        self.store(attempt, &hold);
        hold
    }

    pub(super) fn store(&self, attempt: &Attempt, hold: &str) {
        self.objects.change(&attempt.content, |content| {
            content.uid.clone_from(&attempt.content.uid);
            content.being_created = true;
            content.hold = Some(hold.to_owned());
            content.pending = true;
            content.volumes.clone_from(&attempt.volumes);
        });
    }

    /// The driver's PUT, accepted after a moment. Whether it was of a frozen filesystem.
    pub(super) async fn put(&self, attempt: &Attempt, fixing: Duration) -> bool {
        sleep(Duration::from_millis(30)).await;
        self.world.foreign_put(&spec(attempt), fixing)
    }

    /// The driver has answered, with a handle.
    pub(super) fn created(&self, attempt: &Attempt) {
        self.objects
            .change(&attempt.content, |content| content.created = true);
        self.objects
            .change(&attempt.content, |content| content.being_created = false);
    }

    /// The driver has answered, with a final error.
    pub(super) fn failed(&self, attempt: &Attempt, error: &str) {
        self.objects
            .change(&attempt.content, |content| content.being_created = false);
        self.objects.change(&attempt.content, |content| {
            content.error = Some(error.to_owned())
        });
    }

    /// From now on the agent refuses a volume.
    pub(super) fn refuse(&self, volume: &VolumeId, not_mounted: bool, message: &str) {
        let refusal = Refusal {
            not_mounted,
            message: message.to_owned(),
        };
        let mut node = self.world.node.lock().unwrap();
        node.refuses.insert(volume.clone(), refusal);
    }

    pub(super) fn frozen(&self) -> bool {
        self.world.node.lock().unwrap().frozen > 0
    }

    /// Waits until it is thawed; how long that took.
    pub(super) async fn thawed(&self) -> Duration {
        let since = Instant::now();
        while self.frozen() {
            sleep(Duration::from_millis(1)).await;
        }
        since.elapsed()
    }

    /// The last verdict that was told, once all holds are over and nothing is frozen.
    pub(super) async fn verdict(&self) -> Verdict {
        self.gate.drained().await;
        assert!(!self.frozen(), "something is frozen");
        self.objects
            .told
            .lock()
            .unwrap()
            .last()
            .cloned()
            .expect("a verdict")
    }

    pub(super) async fn expect(&self, consistency: Consistency, reason: &str) -> Worth {
        let worth = self.verdict().await.worth;
        assert_eq!(worth.consistency, consistency, "{}", worth.reason);
        assert!(worth.reason.contains(reason), "{}", worth.reason);
        worth
    }
}

/// The first attempt at a snapshot of disk `data`.
pub(super) fn attempt() -> Attempt {
    Attempt {
        content: ContentId {
            kind: Kind::Snapshot,
            name: "snapcontent-1".to_owned(),
            uid: "c-1".to_owned(),
        },
        snapshot: SnapshotRef {
            namespace: "shop".to_owned(),
            name: "nightly".to_owned(),
            uid: "u-1".to_owned(),
        },
        driver: DRIVER.to_owned(),
        volumes: vec![disk_id("data").into()],
        class: None,
        first: true,
        hold_before: None,
        consistent_already: false,
    }
}

/// A later one.
pub(super) fn retry() -> Attempt {
    Attempt {
        first: false,
        ..attempt()
    }
}

pub(super) fn spec(attempt: &Attempt) -> SnapshotSpec {
    let source: DiskId = attempt.volumes[0].disk().unwrap().clone();
    SnapshotSpec {
        id: SnapshotId::new(group(), "snapshot-u-1"),
        location: "westeurope".to_owned(),
        access: crate::snapshot::fake::properties("Premium_LRS").access(),
        source,
        incremental: true,
        tags: [("k8s-azure-created-by".to_owned(), "driver".to_owned())].into(),
    }
}
