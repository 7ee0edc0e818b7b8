//! How long the API server waits for the gate, beyond the freeze itself.

use std::{
    path::Path,
    process::Command,
    sync::atomic::{AtomicUsize, Ordering},
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, ensure};
use kube::{
    Api,
    api::{DeleteParams, DynamicObject, Patch, PatchParams},
};
use serde::Serialize;
use serde_json::{Value, json};
use stillpoint_cluster::until;
use stillpoint_system::table::progress;

use super::super::{case::Application, load::Load};
use crate::{World, csi::objects, world::SOON};

const MARK: &str = "snapshot.storage.kubernetes.io/volumesnapshot-being-created";
/// Held by nobody.
const OTHER: &str = "other.csi.example.com";
const OURS: &str = "disk.csi.azure.com";
/// Of each volume in a minute: the gate holds it eight times, and other parts of the bench are about to begin.
const ROUNDS: usize = 4;

/// In milliseconds: medians, and the worst.
#[derive(Clone, Copy, Debug, Serialize)]
pub(super) struct Answer {
    pub(super) rounds: usize,
    /// The update with which csi-snapshotter begins, held.
    pub(super) held: f64,
    /// The same that the gate is not asked about.
    pub(super) bare: f64,
    /// `fsfreeze --freeze` of the same volume.
    pub(super) freeze: f64,
    /// What is left of the first.
    pub(super) beyond: f64,
    pub(super) beyond_max: f64,
}

/// Marks contents of the application's volumes, which no driver takes, while it writes.
pub(super) async fn of(world: &World, application: &Application, rounds: usize) -> Result<Answer> {
    let volumes: Vec<_> = application.volumes().collect();
    let rounds = rounds.min(volumes.len() * ROUNDS);
    progress(format!("The gate's answer, {rounds} times …"));
    let load = Load::start(application).await?;
    let (mut held, mut bare, mut alone, mut beyond) = (vec![], vec![], vec![], vec![]);
    for round in 0..rounds {
        let volume = volumes[round % volumes.len()];
        let disk = world.lab.disk_id(&volume.pv).to_string();
        let plain = marked(world, OTHER, &disk, &volume.path).await?;
        let asked = marked(world, OURS, &disk, &volume.path).await?;
        // The gate's hold is about to end.
        let frozen = until("it is thawed", SOON, async || freeze(&volume.path)).await?;
        beyond.push(asked.saturating_sub(plain + frozen));
        held.push(asked);
        bare.push(plain);
        alone.push(frozen);
    }
    load.stop()?;
    Ok(Answer {
        rounds,
        held: median(&mut held),
        bare: median(&mut bare),
        freeze: median(&mut alone),
        beyond: median(&mut beyond),
        beyond_max: beyond.last().copied().map_or(0.0, millis),
    })
}

/// How long the update takes that newly marks a content. If the driver is ours the volume is frozen then.
async fn marked(world: &World, driver: &str, disk: &str, path: &Path) -> Result<Duration> {
    static NEXT: AtomicUsize = AtomicUsize::new(0);
    let contents = objects::contents(world.client());
    let name = format!("answer-{}", NEXT.fetch_add(1, Ordering::Relaxed));
    world.cluster.apply(content(&name, driver, disk)).await?;
    let mark = Patch::Merge(json!({ "metadata": { "annotations": { MARK: "yes" } } }));
    let begun = Instant::now();
    let made = contents.patch(&name, &PatchParams::default(), &mark).await;
    let took = begun.elapsed();
    made?;
    let held = freeze(path)?.is_none();
    end(&contents, &name).await?;
    ensure!(held == (driver == OURS), "{name} of {driver}: {held}");
    Ok(took)
}

/// One whose class is missing, so that no driver is asked for it.
fn content(name: &str, driver: &str, disk: &str) -> Value {
    json!({
        "apiVersion": "snapshot.storage.k8s.io/v1", "kind": "VolumeSnapshotContent",
        "metadata": { "name": name },
        "spec": {
            "driver": driver, "deletionPolicy": "Retain", "volumeSnapshotClassName": "missing",
            "source": { "volumeHandle": disk },
            "volumeSnapshotRef": { "namespace": "default", "name": name, "uid": name },
        },
    })
}

/// The attempt is over, so the gate lets go. The content is gone some time later.
async fn end(contents: &Api<DynamicObject>, name: &str) -> Result<()> {
    let unmark = Patch::Merge(json!({ "metadata": { "annotations": { MARK: null } } }));
    contents
        .patch(name, &PatchParams::default(), &unmark)
        .await?;
    contents.delete(name, &DeleteParams::default()).await?;
    Ok(())
}

/// How long it takes to freeze that filesystem, which is being written and has a watchdog; it is thawed at once. `None`
/// if it is frozen.
fn freeze(path: &Path) -> Result<Option<Duration>> {
    let fsfreeze = |how: &str| {
        let output = Command::new("fsfreeze").arg(how).arg(path).output();
        output.context("cannot run fsfreeze")
    };
    let begun = Instant::now();
    let frozen = fsfreeze("--freeze")?;
    let took = begun.elapsed();
    if !frozen.status.success() {
        return Ok(None);
    }
    let thawed = fsfreeze("--unfreeze")?;
    ensure!(thawed.status.success(), "{thawed:?}");
    Ok(Some(took))
}

fn median(times: &mut [Duration]) -> f64 {
    times.sort();
    times.get(times.len() / 2).copied().map_or(0.0, millis)
}

fn millis(time: Duration) -> f64 {
    time.as_secs_f64() * 1000.0
}
