//! A world with a gate, volumes that are written to, and what is asserted of every snapshot.

use std::{
    collections::BTreeMap,
    sync::atomic::{AtomicUsize, Ordering},
    time::Duration,
};

use anyhow::{Context as _, Result, ensure};
use k8s_openapi::api::core::v1::Event;
use kube::{
    Api,
    core::{DynamicObject, ResourceExt as _},
};
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

pub(crate) const NAME: &str = "till";
/// Azure lets seven snapshots be taken of a disk within five minutes.
const PODS: usize = 3;
const VOLUMES: usize = 2;

/// Dropped in this order.
pub(crate) struct Scene {
    writers: Vec<Writer>,
    pub(crate) gate: Companion,
    pub(crate) world: World,
    volumes: Vec<Volume>,
    nodes: Vec<String>,
    next: AtomicUsize,
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
        let gate = world.start_gate(&gate).await?;
        world.deploy(NAME, PODS, VOLUMES).await?;
        let pods = world.deployed(NAME, PODS, VOLUMES).await?;
        let (mut volumes, mut nodes) = (Vec::new(), Vec::new());
        for pod in pods {
            nodes.extend(pod.volumes.iter().map(|_| pod.node.clone()));
            volumes.extend(pod.volumes);
        }
        let mut writers = Vec::new();
        for volume in &volumes {
            writers.push(Writer::files(&volume.path)?);
        }
        let scene = Self {
            writers,
            gate,
            world,
            volumes,
            nodes,
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
        self.nodes[number].clone()
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
        let snapshot = snapshots(self.world.client(), NAME)
            .get(&taken.name)
            .await?;
        let uid = snapshot.metadata.uid.unwrap_or_default();
        let content = format!("snapcontent-{uid}");
        Ok(contents(self.world.client()).get_opt(&content).await?)
    }

    /// Waits for a content's annotation to have that value.
    pub(crate) async fn marked(
        &self,
        taken: &Taken,
        key: &str,
        value: &str,
    ) -> Result<DynamicObject> {
        until(&format!("{key} is {value}"), SOON, async || {
            let content = self.content(taken).await?.context("no content")?;
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
        self.marked(taken, "stillpoint.io/state", "pending")
            .await
            .map(drop)
    }

    /// Waits for the verdict, which has to be the same wherever it is told.
    pub(crate) async fn said(&self, taken: &Taken) -> Result<Said> {
        let content = self
            .marked(taken, "stillpoint.io/state", "complete")
            .await?;
        let of_content = said(content.annotations())?;
        let all = snapshots(self.world.client(), NAME);
        until("the VolumeSnapshot has the verdict", SOON, async || {
            let snapshot = all.get(&taken.name).await?;
            let said = said(snapshot.annotations())?;
            ensure!(
                said.reason == of_content.reason,
                "{}: {}",
                taken.name,
                said.reason
            );
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
        let said = self.said(taken).await?;
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
        let events: Api<Event> = Api::namespaced(self.world.client(), NAME);
        until(
            &format!("an Event {reason} on {kind} {name}"),
            SOON,
            async || {
                let all = events.list(&Default::default()).await?;
                let found = all.into_iter().find(|event| {
                    let object = &event.involved_object;
                    object.kind.as_deref() == Some(kind)
                        && object.name.as_deref() == Some(name)
                        && event.reason.as_deref() == Some(reason)
                });
                Ok(found.and_then(|event| event.message))
            },
        )
        .await
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

fn said(annotations: &BTreeMap<String, String>) -> Result<Said> {
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
