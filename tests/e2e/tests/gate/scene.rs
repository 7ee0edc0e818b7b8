//! A world with a gate, volumes that are written to, and what is asserted of every snapshot.

use std::{
    collections::BTreeMap,
    sync::atomic::{AtomicUsize, Ordering},
    time::Duration,
};

use anyhow::{Context as _, Result, ensure};
use kube::core::{DynamicObject, ResourceExt as _};
use serde_json::Value;
use stillpoint_cluster::{Companion, until};
use stillpoint_e2e::{
    Options, World,
    application::Volume,
    csi::objects::{self, contents, snapshots},
    gate::GateOptions,
    world::SOON,
};
use stillpoint_lab::{Action, Fault, SnapshotView};
use stillpoint_loopfs::Kind;
use stillpoint_system::{inspect, writers::Writer};

use crate::service::Service;

pub(crate) const NAME: &str = "till";
/// Azure lets seven snapshots be taken of a disk within five minutes.
const PODS: usize = 3;
const VOLUMES: usize = 2;

/// Dropped in this order.
pub(crate) struct Scene {
    writers: Vec<Writer>,
    service: Service,
    pub(crate) gate: Companion,
    pub(crate) world: World,
    volumes: Vec<Volume>,
    next: AtomicUsize,
    /// The gate's `--freeze-timeout`.
    limit: &'static str,
}

/// What is said of a snapshot, on its VolumeSnapshot and its content.
pub(crate) struct Said {
    pub(crate) consistency: String,
    pub(crate) reason: String,
    pub(crate) frozen: Duration,
}

/// A VolumeSnapshot of a volume.
pub(crate) struct Taken {
    pub(crate) name: String,
    pub(crate) volume: usize,
}

impl Scene {
    pub(crate) async fn start(options: Options, gate: GateOptions) -> Result<Self> {
        let world = World::start(options).await?;
        let replicas = [world.gate_address(0), world.gate_address(1)];
        let service = Service::start(world.cluster.spare_address(5), replicas)?;
        let gate = GateOptions {
            service: Some(service.address()),
            ..gate
        };
        let limit = gate.freeze_timeout;
        let gate = world.start_gate(&gate).await?;
        world.deploy(NAME, PODS, VOLUMES).await?;
        let pods = world.deployed(NAME, PODS, VOLUMES).await?;
        let volumes: Vec<_> = pods.into_iter().flat_map(|pod| pod.volumes).collect();
        let mut writers = Vec::new();
        for volume in &volumes {
            writers.push(Writer::files(&volume.path)?);
        }
        let scene = Self {
            writers,
            service,
            limit,
            gate,
            world,
            volumes,
            next: AtomicUsize::new(0),
        };
        scene.all_write().await?;
        Ok(scene)
    }

    /// An error with what the programs said.
    pub(crate) fn explained(&self, ended: Result<()>) -> Result<()> {
        let snapshots = self.world.snapshots.as_ref();
        let log = snapshots
            .map(stillpoint_e2e::csi::Snapshots::log)
            .unwrap_or_default();
        ended.with_context(|| format!("{}\n{}", self.gate.log(), log))
    }

    pub(crate) fn volume(&self, number: usize) -> &Volume {
        &self.volumes[number]
    }

    /// Where it is mounted.
    pub(crate) fn node(&self, number: usize) -> String {
        self.volumes[number].node.clone()
    }

    pub(crate) fn writer(&self, number: usize) -> &Writer {
        &self.writers[number]
    }

    /// A VolumeSnapshot of the volume whose turn it is.
    pub(crate) async fn take(&self, name: &str) -> Result<Taken> {
        // The last is for forgers, who have it barred for a while.
        let volume = self.next.fetch_add(1, Ordering::Relaxed) % (self.volumes.len() - 1);
        self.take_of(name, volume).await
    }

    pub(crate) async fn take_of(&self, name: &str, volume: usize) -> Result<Taken> {
        objects::take(&self.world, NAME, name, &self.volumes[volume].claim).await?;
        let name = name.to_owned();
        Ok(Taken { name, volume })
    }

    /// Arms a fault for the next PUT of a snapshot.
    pub(crate) fn next_put(&self, action: Action) {
        self.world.lab.inject(Fault {
            method: Some("PUT".into()),
            path: "**/snapshots/*".into(),
            skip: 0,
            times: 1,
            action,
        });
    }

    /// Waits until the snapshot is ready: its content.
    pub(crate) async fn ready(&self, taken: &Taken) -> Result<DynamicObject> {
        objects::ready(&self.world, NAME, &taken.name, SOON).await
    }

    pub(crate) async fn content(&self, taken: &Taken) -> Result<Option<DynamicObject>> {
        self.content_of(&taken.name).await
    }

    /// The content of a VolumeSnapshot.
    pub(crate) async fn content_of(&self, snapshot: &str) -> Result<Option<DynamicObject>> {
        let snapshot = snapshots(self.world.client(), NAME).get(snapshot).await?;
        let uid = snapshot.metadata.uid.unwrap_or_default();
        let content = format!("snapcontent-{uid}");
        Ok(contents(self.world.client()).get_opt(&content).await?)
    }

    /// Waits for the annotation of a VolumeSnapshot's content to have that value.
    async fn marked(&self, snapshot: &str, key: &str, value: &str) -> Result<DynamicObject> {
        until(&format!("{key} is {value}"), SOON, async || {
            let content = self.content_of(snapshot).await?.context("no content")?;
            let seen = content.annotations().get(key);
            ensure!(
                seen.map(String::as_str) == Some(value),
                "{:?}",
                content.annotations()
            );
            Ok(Some(content))
        })
        .await
    }

    /// What a content says now, if its verdict is there.
    pub(crate) async fn said_of_content(&self, taken: &Taken) -> Result<Said> {
        let content = self.content(taken).await?.context("no content")?;
        let annotations = content.annotations();
        let state = annotations.get("stillpoint.io/state");
        ensure!(
            state.is_some_and(|state| state == "complete"),
            "{annotations:?}"
        );
        said(annotations)
    }

    /// The volume that nothing else is done with.
    pub(crate) fn spare(&self) -> usize {
        self.volumes.len() - 1
    }

    /// Waits until a volume is being held for it, with the PUT on its way or taken.
    pub(crate) async fn held(&self, taken: &Taken) -> Result<()> {
        self.marked(&taken.name, "stillpoint.io/state", "pending")
            .await
            .map(drop)
    }

    /// Waits for the verdict on a VolumeSnapshot, which has to be the same wherever it is told.
    pub(crate) async fn said_of(&self, snapshot: &str) -> Result<Said> {
        let content = self
            .marked(snapshot, "stillpoint.io/state", "complete")
            .await?;
        let of_content = said(content.annotations())?;
        let all = snapshots(self.world.client(), NAME);
        until("the VolumeSnapshot has the verdict", SOON, async || {
            let found = all.get(snapshot).await?;
            let said = said(found.annotations())?;
            let reason = &said.reason;
            ensure!(*reason == of_content.reason, "{snapshot}: {reason}");
            Ok(Some(()))
        })
        .await?;
        Ok(of_content)
    }

    /// The snapshot as Azure has it.
    pub(crate) fn made(&self, content: &DynamicObject) -> Result<SnapshotView> {
        let id = objects::handle(content)?;
        self.world.lab.snapshot(&id).context("not in Azure")
    }

    /// Ready, with a verdict that says no more than what the copy is.
    pub(crate) async fn truth(&self, taken: &Taken) -> Result<Said> {
        let content = self.ready(taken).await?;
        let said = self.said_of(&taken.name).await?;
        let made = self.made(&content)?;
        let journal = inspect::journal(&self.world.lab.copy_of(&made.id)?, Kind::Ext4)?;
        if said.consistency == "filesystem" {
            ensure!(
                journal.clean,
                "{}: {journal:?}, {}",
                taken.name,
                said.reason
            );
        }
        self.all_write().await?;
        Ok(said)
    }

    /// The same of a snapshot that has to be worth that.
    pub(crate) async fn expect(
        &self,
        taken: &Taken,
        consistency: &str,
        part: &str,
    ) -> Result<Said> {
        let said = self.truth(taken).await?;
        ensure!(
            said.consistency == consistency && said.reason.contains(part),
            "{}: {} because {}; expected {consistency}, {part}",
            taken.name,
            said.consistency,
            said.reason
        );
        Ok(said)
    }

    /// An Event on that object with the reason; its message.
    pub(crate) async fn event(&self, kind: &str, name: &str, reason: &str) -> Result<String> {
        self.world.told_of(kind, NAME, name, reason).await
    }

    /// Starts the second replica of the gate.
    pub(crate) async fn other_gate(&self) -> Result<Companion> {
        let options = GateOptions {
            freeze_timeout: self.limit,
            replica: 1,
            service: Some(self.service.address()),
            ..GateOptions::default()
        };
        self.world.start_gate(&options).await
    }

    /// Nothing is frozen: every volume takes writes.
    pub(crate) async fn all_write(&self) -> Result<()> {
        for (writer, volume) in self.writers.iter().zip(&self.volumes) {
            let before = writer.count();
            until(&format!("{} is written", volume.claim), SOON, async || {
                Ok((writer.count() > before + 2).then_some(()))
            })
            .await?;
        }
        Ok(())
    }
}

pub(crate) fn said(annotations: &BTreeMap<String, String>) -> Result<Said> {
    let of = |key: &str| {
        let found = annotations.get(&format!("stillpoint.io/{key}"));
        found
            .cloned()
            .with_context(|| format!("no {key} in {annotations:?}"))
    };
    Ok(Said {
        consistency: of("consistency")?,
        reason: of("consistency-reason")?,
        frozen: Duration::from_millis(of("frozen-ms")?.parse()?),
    })
}

/// Why a VolumeSnapshot is not ready, as its status says.
pub(crate) fn error(snapshot: &DynamicObject) -> Option<&str> {
    let message: &Value = &snapshot.data["status"]["error"]["message"];
    message.as_str()
}
