//! The bench on a whole cluster: how long an application's writes stall during a backup, and how long that takes. Our
//! plugin with our agents, and the stock plugin with `fsfreeze` in Velero's exec hooks, on the same pods.

mod backup;
mod case;
mod figures;
mod gate;
mod load;
mod report;

use std::{env, os::unix::process::CommandExt as _, path::Path};

use anyhow::{Context as _, Result, bail};
use serde::Serialize;
use stillpoint_lab::{Settings, settings::Incremental};
use stillpoint_system::{
    bench::size,
    namespace::{self, Namespace},
    table::progress,
};

use crate::{Options, Plugin, World};
use case::{Application, Case};
use figures::{Figures, Run};

/// How much work; by environment variables, so that a short run is possible.
#[derive(Clone, Copy, Debug, Serialize)]
pub struct Size {
    /// Backups of each application of one pod (`BENCH_REPEATS`, 3).
    pub repeats: usize,
    /// Pods of the large application; 0: there is none (`BENCH_PODS`, 50).
    pub pods: usize,
    /// Item-block workers of another backup of it; 0: there is none (`BENCH_WORKERS`, 8).
    pub workers: usize,
}

/// A plugin to measure.
struct Candidate {
    name: &'static str,
    plugin: Plugin,
    /// Whether Velero's hooks freeze, because the plugin does not.
    hooks: bool,
}

/// Runs the bench, prints a table and writes `target/bench/cluster.json`.
pub fn run() -> Result<()> {
    let only = env::var("BENCH_ONLY").unwrap_or_default();
    if !["", "cluster", "gate"].contains(&&*only) {
        // The other program's.
        return Ok(());
    }
    if let Some(why) = World::missing() {
        bail!("it cannot run here: {why}");
    }
    let runtime = tokio::runtime::Runtime::new()?;
    if !namespace::is_inside() {
        // In there nothing can be fetched.
        runtime.block_on(stillpoint_cluster::build())?;
        return Err(namespace::command()?.exec()).context("cannot run setpriv");
    }
    let target = env::current_exe()?;
    let target = target.ancestors().nth(2).context("no target directory")?;
    let namespace = namespace::prepare()?;
    if only != "gate" {
        runtime.block_on(measure(&target.join("bench/cluster.json"), &namespace))?;
    }
    if only != "cluster" {
        runtime.block_on(gate::measure(&target.join("bench/gate.json"), &namespace))?;
    }
    Ok(())
}

async fn measure(json: &Path, namespace: &Namespace) -> Result<()> {
    let size = Size {
        repeats: size("BENCH_REPEATS", 3)?,
        pods: size("BENCH_PODS", 50)?,
        workers: size("BENCH_WORKERS", 8)?,
    };
    let candidates = candidates()?;
    progress("A cluster, Velero, a blob server and a simulated Azure …");
    let options = Options {
        lab: lab(),
        // A freeze flushes the disk, and this machine's is not what is measured.
        parent: "/dev/shm".into(),
        ..Options::default()
    };
    let settings = options.lab.clone();
    let mut world = World::start(options.public(namespace)).await?;
    let cases = case::all(size);
    let applications = Application::all(&world, &cases).await?;
    let mut figures = Vec::new();
    for candidate in &candidates {
        figures.push(of(&mut world, candidate, &cases, &applications).await?);
    }
    let names: Vec<_> = candidates.iter().map(|candidate| candidate.name).collect();
    report::print(&names, &cases, &figures);
    report::write(json, size, &settings, &names, &cases, &figures)
}

fn candidates() -> Result<Vec<Candidate>> {
    let mut candidates = vec![Candidate {
        name: "stillpoint",
        plugin: Plugin::Stillpoint,
        hooks: false,
    }];
    match Plugin::stock()? {
        Some(plugin) => candidates.push(Candidate {
            name: "stock + hooks",
            plugin,
            hooks: true,
        }),
        None => progress("Only ours is measured: STOCK_PLUGIN=PATH names the one to compare with."),
    }
    Ok(candidates)
}

fn lab() -> Settings {
    Settings {
        // Seven snapshots of a disk in five minutes would be Azure's limit; the runs are closer together.
        incremental: Incremental {
            most: 1000,
            ..Incremental::default()
        },
        ..Settings::default()
    }
}

/// One candidate's figures, a case each.
async fn of(
    world: &mut World,
    candidate: &Candidate,
    cases: &[Case],
    applications: &[Application],
) -> Result<Vec<Figures>> {
    let mut figures = Vec::new();
    let mut workers = None;
    for (number, case) in cases.iter().enumerate() {
        if workers.replace(case.workers) != Some(case.workers) {
            let flags = [format!("--item-block-worker-count={}", case.workers)];
            world.exchange_plugin(&candidate.plugin, &flags).await?;
            world.snapshot_location(candidate.plugin.settings()).await?;
        }
        let application = applications
            .iter()
            .find(|application| application.is_of(case));
        let application = application.context("a case without its pods")?;
        application.hooks(world, candidate.hooks).await?;
        let mut runs = Vec::new();
        for repeat in 0..case.repeats {
            progress(format!(
                "{}: {case}, backup {} of {} …",
                candidate.name,
                repeat + 1,
                case.repeats
            ));
            let side = if candidate.hooks { "stock" } else { "ours" };
            let name = format!("{side}-{number}-{repeat}");
            let run = Run::of(world, &name, application, !candidate.hooks).await;
            runs.push(run.with_context(|| format!("{}: {case}", candidate.name))?);
        }
        figures.push(Figures::of(&runs));
    }
    Ok(figures)
}
