//! Volumes that are written to all the time, a backup of them in which one is frozen for long, and how it ends.

use std::{
    collections::BTreeSet,
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, ensure};
use serde_json::Value;
use stillpoint_cluster::until;
use stillpoint_e2e::{
    Options, World,
    application::{Volume, writes},
    world::SOON,
};
use stillpoint_lab::{Action, Fault, ResourceId, SnapshotView};
use stillpoint_system::writers::Writer;

pub(crate) const NAMESPACE: &str = "app";
/// One on each node.
const VOLUMES: usize = 3;
/// So much longer Azure takes for the snapshot in whose making something breaks.
const STAYS: Duration = Duration::from_secs(4);

/// Fields are dropped in their order.
pub(crate) struct Scene {
    writers: Vec<(String, Writer)>,
    pub(crate) world: World,
    volumes: Vec<Volume>,
    /// What the next start of the plugin is to sweep.
    pub(crate) abandoned: Vec<ResourceId>,
    /// The IDs of the snapshots that are some backup's, as Velero has written them down; for a failed one it has not.
    pub(crate) recorded: BTreeSet<String>,
}

/// How a backup ended.
pub(crate) struct Ended {
    pub(crate) phase: String,
    pub(crate) status: Value,
    /// Its snapshots that it has.
    pub(crate) taken: Vec<SnapshotView>,
    /// Its snapshots that it does not have; the next start sweeps them.
    pub(crate) left: Vec<SnapshotView>,
}

impl Scene {
    pub(crate) async fn start() -> Result<Self> {
        let mut options = Options {
            location: vec![("apiTimeout", "6s")],
            ..Options::default()
        };
        // The same disks come again and again here.
        options.lab.incremental.most = 100;
        let world = World::start(options).await?;
        let volumes = world.volumes(NAMESPACE, VOLUMES).await?;
        let mut writers = Vec::new();
        for volume in &volumes {
            writers.push((volume.claim.clone(), volume.writer().await?));
        }
        Ok(Self {
            writers,
            world,
            volumes,
            abandoned: Vec::new(),
            recorded: BTreeSet::new(),
        })
    }

    /// Begins a backup, and waits until it has that many snapshots and the next is being made: its volume is frozen.
    pub(crate) async fn frozen_after(&mut self, backup: &str, taken: u32) -> Result<Volume> {
        self.world.lab.clear_requests();
        self.world.lab.inject(Fault {
            method: Some("PUT".into()),
            path: "**/snapshots/*".into(),
            skip: taken,
            times: 1,
            action: Action::Stay { period: STAYS },
        });
        self.world.begin_backup(backup, NAMESPACE).await?;
        let lab = &self.world.lab;
        let made = until("the snapshot is being made", SOON, async || {
            let requests = lab.requests();
            let mut stays = requests
                .iter()
                .filter(|one| one.faults.iter().any(|fault| fault.starts_with("stay")));
            let snapshots = lab.snapshots();
            Ok(stays.find_map(|put| {
                let made = |one: &&SnapshotView| put.path.ends_with(&one.id.name);
                snapshots.iter().find(made).cloned()
            }))
        });
        let made = made.await?;
        let volume = self.volumes.iter().find(|one| one.pv == made.source.name);
        let volume = volume.context("a snapshot of no volume")?.clone();
        let frozen = self.frozen(&volume.node)?;
        let disk = made.source.to_string();
        ensure!(frozen == [disk], "{frozen:?}");
        ensure!(self.is_being_made(&made.id), "it was broken too late");
        Ok(volume)
    }

    /// Whether Azure has yet to finish that snapshot.
    fn is_being_made(&self, id: &ResourceId) -> bool {
        let seen = self.world.lab.snapshot(id);
        seen.is_some_and(|seen| seen.succeeded.is_none())
    }

    /// What the agent of a node says to be frozen.
    fn frozen(&mut self, node: &str) -> Result<Vec<String>> {
        let status = tokio::task::block_in_place(|| self.world.agent(node)?.status())?;
        let mounts = status["mounts"].as_array().context("no mounts")?;
        let frozen = mounts.iter().filter(|mount| mount["frozen"] == true);
        let volumes = frozen.filter_map(|mount| mount["volume"].as_str().map(Into::into));
        Ok(volumes.collect())
    }

    /// Waits until every volume takes writes.
    pub(crate) async fn nothing_is_frozen(&self) -> Result<()> {
        for (claim, writer) in &self.writers {
            writes(claim, writer).await?;
        }
        Ok(())
    }

    /// Waits for the end of a backup: nothing is frozen, what was left before is swept, and each snapshot that there is
    /// is accounted for.
    pub(crate) async fn ended(&mut self, backup: &str) -> Result<Ended> {
        let (phase, status) = self.world.ended_backup(backup).await?;
        self.nothing_is_frozen().await?;
        for volume in self.volumes.clone() {
            let frozen = self.frozen(&volume.node)?;
            ensure!(frozen.is_empty(), "{frozen:?} are frozen");
        }
        if phase != "Failed" {
            self.recorded.extend(self.world.recorded(backup).await?);
        }
        self.are_swept().await?;
        let (taken, left) = self.account(backup).await?;
        Ok(Ended {
            phase,
            status,
            taken,
            left,
        })
    }

    /// A backup like any other, at the end.
    pub(crate) async fn nothing_breaks(&mut self) -> Result<()> {
        self.world.begin_backup("last", NAMESPACE).await?;
        let ended = self.ended("last").await?;
        ended.is("Completed", VOLUMES, 0)
    }

    /// The longest that a volume stood still since this was last asked.
    pub(crate) fn stall(&self, volume: &Volume) -> Result<Duration> {
        let mut writers = self.writers.iter();
        let found = writers.find(|(claim, _)| *claim == volume.claim);
        Ok(found.context("it has no writer")?.1.longest_stall())
    }

    /// Until that moment, whatever happens meanwhile.
    pub(crate) async fn wait_until(&self, moment: Instant) {
        tokio::time::sleep_until(moment.into()).await;
    }
}

impl Ended {
    /// The backup ended so, with that many snapshots, and so many are left for the next start to sweep.
    pub(crate) fn is(&self, phase: &str, taken: usize, left: usize) -> Result<()> {
        ensure!(
            self.phase == phase && self.taken.len() == taken && self.left.len() == left,
            "{} with {:#?} and {:#?}; expected {phase} with {taken} and {left}: {:#}",
            self.phase,
            self.taken,
            self.left,
            self.status
        );
        Ok(())
    }
}
