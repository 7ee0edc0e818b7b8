//! What one backup showed, and what several of one case show together.

use std::{collections::BTreeMap, fs, time::Duration};

use anyhow::{Context as _, Result, ensure};
use serde::Serialize;
use stillpoint_lab::SnapshotView;
use stillpoint_loopfs::Kind;
use stillpoint_system::inspect;

use super::{
    backup::{self, Done},
    case::Application,
    load::Load,
};
use crate::World;

/// One backup.
pub(super) struct Run {
    done: Done,
    volumes: Vec<Seen>,
}

/// What was seen of one volume.
#[derive(Clone, Copy)]
struct Seen {
    /// The longest that its writer stood still.
    stall: Duration,
    /// Azure's own time: from the arrival of the snapshot's PUT until it was Succeeded.
    call: Duration,
}

/// Backups of one case, in milliseconds; of volumes, the median and the worst of all of them.
#[derive(Clone, Debug, Serialize)]
pub(super) struct Figures {
    pub(super) stall_p50: f64,
    pub(super) stall_max: f64,
    /// Azure's own time.
    pub(super) call_p50: f64,
    /// The stall beyond that.
    pub(super) beyond_p50: f64,
    pub(super) beyond_max: f64,
    /// Whole backups, from the request until the object says that it is done: the median of all.
    pub(super) backup: f64,
    /// The same by the backup's own timestamps.
    pub(super) backup_told: f64,
}

impl Run {
    /// Backs an application up while it writes. Each snapshot must be of a frozen filesystem, and say so if `ours`.
    pub(super) async fn of(
        world: &World,
        name: &str,
        application: &Application,
        ours: bool,
    ) -> Result<Self> {
        let backup = backup::run(world, name, &application.namespace);
        let made = || snapshots(world, name);
        Self::watched(world, application, backup, made, ours).await
    }

    /// The same of whatever makes one snapshot of each volume, to be found once it is done.
    pub(super) async fn watched(
        world: &World,
        application: &Application,
        work: impl Future<Output = Result<Done>>,
        made: impl FnOnce() -> BTreeMap<String, SnapshotView>,
        ours: bool,
    ) -> Result<Self> {
        let load = Load::start(application).await?;
        let done = tokio::select! {
            done = work => done?,
            failed = load.guard(world) => {
                failed?;
                anyhow::bail!("the watchdogs are not put off any more")
            }
        };
        let stalls = load.stalls();
        load.stop()?;
        let snapshots = made();
        ensure!(
            snapshots.keys().eq(stalls.keys()),
            "not one snapshot of each volume"
        );
        let mut volumes = Vec::new();
        for (pv, snapshot) in &snapshots {
            let frozen = frozen(world, snapshot, ours);
            frozen.with_context(|| format!("the snapshot of {pv}"))?;
            let succeeded = snapshot.succeeded.context("it did not succeed")?;
            volumes.push(Seen {
                stall: stalls[pv],
                call: succeeded.since(&snapshot.accepted),
            });
        }
        Ok(Self { done, volumes })
    }
}

/// The snapshots of a backup, by their disk.
fn snapshots(world: &World, backup: &str) -> BTreeMap<String, SnapshotView> {
    let snapshots = world.lab.snapshots().into_iter();
    let of = |snapshot: &SnapshotView| {
        snapshot.tags.get("velero.io-backup").map(String::as_str) == Some(backup)
    };
    snapshots
        .filter(of)
        .map(|snapshot| (snapshot.source.name.clone(), snapshot))
        .collect()
}

/// Fails if there is anything to be replayed in what the snapshot holds.
fn frozen(world: &World, snapshot: &SnapshotView, ours: bool) -> Result<()> {
    let consistency = snapshot.tags.get("stillpoint-consistency");
    ensure!(
        consistency.map(String::as_str) == ours.then_some("filesystem"),
        "{:?}",
        snapshot.tags
    );
    let copy = world.lab.copy_of(&snapshot.id)?;
    let journal = inspect::journal(&copy, Kind::Ext4)?;
    fs::remove_file(copy)?;
    ensure!(journal.clean, "{journal:?}");
    Ok(())
}

impl Figures {
    pub(super) fn of(runs: &[Run]) -> Self {
        let volumes = || runs.iter().flat_map(|run| &run.volumes);
        let stalls = sorted(volumes().map(|seen| seen.stall));
        let calls = sorted(volumes().map(|seen| seen.call));
        let beyond = sorted(volumes().map(|seen| seen.stall.saturating_sub(seen.call)));
        Self {
            stall_p50: median(&stalls),
            stall_max: most(&stalls),
            call_p50: median(&calls),
            beyond_p50: median(&beyond),
            beyond_max: most(&beyond),
            backup: median(&sorted(runs.iter().map(|run| run.done.took))),
            backup_told: median(&sorted(runs.iter().map(|run| run.done.told))),
        }
    }
}

fn sorted(times: impl Iterator<Item = Duration>) -> Vec<f64> {
    let mut times: Vec<_> = times.map(|time| time.as_secs_f64() * 1000.0).collect();
    times.sort_by(f64::total_cmp);
    times
}

fn median(sorted: &[f64]) -> f64 {
    sorted.get(sorted.len() / 2).copied().unwrap_or_default()
}

fn most(sorted: &[f64]) -> f64 {
    sorted.last().copied().unwrap_or_default()
}
