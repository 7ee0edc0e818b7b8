//! How long the API server waits for the gate, beyond the freeze itself.

use std::{
    process::Command,
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, ensure};
use kube::{
    Api, ResourceExt as _,
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
    let (mut held, mut bare, mut freeze, mut beyond) = (vec![], vec![], vec![], vec![]);
    for round in 0..rounds {
        let volume = volumes[round % volumes.len()];
        let disk = world.lab.disk_id(&volume.pv).to_string();
        let plain = marked(world, OTHER, &disk, false).await?;
        let asked = marked(world, OURS, &disk, true).await?;
        let frozen = frozen(&volume.path)?;
        beyond.push(asked.saturating_sub(plain + frozen));
        held.push(asked);
        bare.push(plain);
        freeze.push(frozen);
    }
    load.stop()?;
    Ok(Answer {
        rounds,
        held: median(&mut held),
        bare: median(&mut bare),
        freeze: median(&mut freeze),
        beyond: median(&mut beyond),
        beyond_max: beyond.last().copied().map_or(0.0, millis),
    })
}

/// How long the update takes that newly marks a content.
async fn marked(world: &World, driver: &str, disk: &str, held: bool) -> Result<Duration> {
    let contents = objects::contents(world.client());
    let name = format!("answer-{}", rand_name());
    world.cluster.apply(content(&name, driver, disk)).await?;
    let mark = Patch::Merge(json!({ "metadata": { "annotations": { MARK: "yes" } } }));
    let begun = Instant::now();
    let made = contents.patch(&name, &PatchParams::default(), &mark).await;
    let took = begun.elapsed();
    let made = made?;
    let reason = made.annotations().get("stillpoint.io/consistency-reason");
    let is_held = reason.is_some_and(|reason| reason == "the hold has not ended well yet");
    ensure!(is_held == held, "{:?}", made.annotations());
    remove(&contents, &name).await?;
    Ok(took)
}

fn rand_name() -> String {
    use std::sync::atomic::{AtomicU64, Ordering};
    static NEXT: AtomicU64 = AtomicU64::new(0);
    NEXT.fetch_add(1, Ordering::Relaxed).to_string()
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

/// What the gate holds for it ends with it.
async fn remove(contents: &Api<DynamicObject>, name: &str) -> Result<()> {
    let strip = Patch::Merge(json!({ "metadata": { "finalizers": null } }));
    contents
        .patch(name, &PatchParams::default(), &strip)
        .await?;
    contents.delete(name, &DeleteParams::default()).await?;
    until("the content is gone", SOON, async || {
        Ok(contents.get_opt(name).await?.is_none().then_some(()))
    })
    .await
}

/// How long it takes to freeze that filesystem, which is being written; it has a watchdog.
fn frozen(path: &std::path::Path) -> Result<Duration> {
    let fsfreeze = |how: &str| {
        let output = Command::new("fsfreeze").arg(how).arg(path).output();
        output.context("cannot run fsfreeze")
    };
    let deadline = Instant::now() + SOON;
    loop {
        let begun = Instant::now();
        let output = fsfreeze("--freeze")?;
        let took = begun.elapsed();
        if output.status.success() {
            let thawed = fsfreeze("--unfreeze")?;
            ensure!(thawed.status.success(), "{thawed:?}");
            return Ok(took);
        }
        // The gate's hold is about to end.
        ensure!(Instant::now() < deadline, "{output:?}");
        std::thread::sleep(Duration::from_millis(5));
    }
}

fn median(times: &mut [Duration]) -> f64 {
    times.sort();
    times.get(times.len() / 2).copied().map_or(0.0, millis)
}

fn millis(time: Duration) -> f64 {
    time.as_secs_f64() * 1000.0
}
