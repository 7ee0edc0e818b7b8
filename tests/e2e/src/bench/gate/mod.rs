//! The bench of the gate: how long it keeps volumes frozen, beside Velero's CSI path with `fsfreeze` in exec hooks; how
//! long the API server waits for it; what it does with many VolumeSnapshots at once, and with many that it knows.

mod answer;
mod burst;
mod known;
mod report;
mod snapshots;

use std::{path::Path, time::Duration};

use anyhow::{Context as _, Result};
use serde::Serialize;
use stillpoint_cluster::Companion;
use stillpoint_lab::host::Usage;
use stillpoint_system::{bench::size, namespace::Namespace, table::progress};

use super::{case::Application, case::Case, figures::Figures, lab};
use crate::{Options, World, csi::Maker, gate::GateOptions};
use answer::Answer;
use burst::Burst;

/// How much work; by environment variables, so that a short run is possible.
#[derive(Clone, Copy, Debug, Serialize)]
struct Size {
    /// VolumeSnapshots of each sort, and of as many answers of the webhook tens (`BENCH_REPEATS`, 3).
    repeats: usize,
    /// Velero's backups of each sort (`BENCH_BACKUPS`, 1).
    backups: usize,
    /// Pods with a volume each (`BENCH_PODS`, 50).
    pods: usize,
    /// VolumeSnapshots of them at once; 0: none (`BENCH_BURST`, 200).
    burst: usize,
    /// VolumeSnapshots that a gate knows (`BENCH_KNOWN`, 500).
    known: usize,
}

/// All that was measured, in milliseconds and MiB.
#[derive(Debug, Serialize)]
struct Measured {
    /// The driver's first VolumeSnapshot, for which it logs in while the volume is frozen.
    first: Figures,
    /// One VolumeSnapshot, and of five volumes at once.
    snapshots: [Figures; 2],
    /// Velero's backups of one pod with one and with five volumes: with the gate, and with hooks.
    backups: [[Figures; 2]; 2],
    answer: Answer,
    burst: Option<Burst>,
    /// Most memory that the gate of all of the above ever had resident.
    peak: f64,
    /// The same of one that began with that many.
    known: f64,
}

/// Applications of one pod: their volumes.
const VOLUMES: [usize; 2] = [1, 5];
/// How often the driver asks for the end of a snapshot.
const DRIVERS_POLL: Duration = Duration::from_secs(5);

/// Prints a table and writes JSON.
pub(super) async fn measure(json: &Path, namespace: &Namespace) -> Result<()> {
    let size = Size {
        repeats: size("BENCH_REPEATS", 3)?,
        backups: size("BENCH_BACKUPS", 1)?,
        pods: size("BENCH_PODS", 50)?,
        burst: size("BENCH_BURST", 200)?,
        known: size("BENCH_KNOWN", 500)?,
    };
    let maker = Maker::azure_disk()?;
    let driver = match &maker {
        Some(_) => "azuredisk-csi-driver",
        None => "what stands in for azuredisk-csi-driver",
    };
    progress(format!(
        "A cluster, Velero with EnableCSI, {driver}, the gate and a simulated Azure …"
    ));
    let options = Options {
        lab: lab(),
        parent: "/dev/shm".into(),
        snapshots: Some(maker.unwrap_or(Maker::StandIn(DRIVERS_POLL))),
        ..Options::default()
    };
    let settings = options.lab.clone();
    let mut world = World::start(options.public(namespace)).await?;
    let mut gate = world.start_gate(&GateOptions::default()).await?;
    let measured = all(&mut world, &mut gate, size).await;
    let measured = measured.with_context(|| gate.log())?;
    report::print(size, driver, &measured);
    report::write(json, size, driver, &settings, &measured)
}

async fn all(world: &mut World, gate: &mut Companion, size: Size) -> Result<Measured> {
    let of = |pods, volumes, repeats| Case {
        pods,
        volumes,
        workers: 1,
        repeats,
    };
    let mut cases = VOLUMES.map(|volumes| of(1, volumes, size.backups)).to_vec();
    if size.burst > 0 {
        cases.push(of(size.pods, 1, 1));
    }
    let applications = Application::all(world, &cases).await?;
    let [one, five, ..] = &applications[..] else {
        unreachable!("there are two at least");
    };
    let answer = answer::of(world, five, size.repeats * 10).await?;
    let first = snapshots::by_hand(world, one, "first", 1).await?;
    let snapshots = [
        snapshots::by_hand(world, one, "one", size.repeats).await?,
        snapshots::by_hand(world, five, "of-five", size.repeats).await?,
    ];
    let held = [
        snapshots::by_velero(world, one, size.backups, true).await?,
        snapshots::by_velero(world, five, size.backups, true).await?,
    ];
    let burst = match applications.get(VOLUMES.len()) {
        Some(crowd) => Some(burst::of(world, crowd, size.burst).await?),
        None => None,
    };
    let peak = peak(gate)?;
    gate.kill();
    let hooked = [
        snapshots::by_velero(world, one, size.backups, false).await?,
        snapshots::by_velero(world, five, size.backups, false).await?,
    ];
    known::make(world, size.known).await?;
    gate.start().await?;
    world.gate_is_ready(0).await?;
    answer::of(world, five, VOLUMES[1]).await?;
    let [held_one, held_five] = held;
    let [hooked_one, hooked_five] = hooked;
    Ok(Measured {
        first,
        snapshots,
        backups: [[held_one, hooked_one], [held_five, hooked_five]],
        answer,
        burst,
        peak,
        known: self::peak(gate)?,
    })
}

/// In MiB.
fn peak(gate: &Companion) -> Result<f64> {
    let pid = gate.pid().context("the gate ended by itself")?;
    Ok(Usage::of(pid)?.peak_resident as f64 / f64::from(1 << 20))
}
