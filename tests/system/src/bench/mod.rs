//! The bench: the same work for both plugins, one after the other, on the same simulated Azure.
//!
//! The stock plugin knows only the public cloud's names, so everything runs in a network and mount
//! namespace of its own, whose hosts file leads those names to the lab.

mod objects;
mod plugins;
mod report;
mod tally;
mod work;

use std::{
    collections::BTreeMap, env, os::unix::process::CommandExt as _, path::PathBuf, time::Duration,
};

use anyhow::{Context as _, Result, bail};
use serde::Serialize;
use stillpoint_lab::{
    Settings,
    settings::{Incremental, Limits},
};

use crate::{namespace, table::progress};
use objects::Objects;
use plugins::Candidate;
use work::Bench;

/// What was measured of one plugin; times in milliseconds.
#[derive(Clone, Debug, Default, Serialize)]
pub struct Figures(BTreeMap<String, f64>);

impl Figures {
    fn set(&mut self, name: &str, value: f64) {
        self.0.insert(name.to_owned(), value);
    }

    fn time(&mut self, name: &str, value: Duration) {
        self.set(name, value.as_secs_f64() * 1000.0);
    }

    fn get(&self, name: &str) -> Option<f64> {
        self.0.get(name).copied()
    }
}

/// How much work; by environment variables, so that a short run is possible.
#[derive(Clone, Copy, Debug, Serialize)]
pub struct Size {
    /// Volumes of the runs without request limits (`BENCH_VOLUMES`, 100).
    pub volumes: usize,
    /// Volumes of the run under request limits (`BENCH_LIMITED`, 150).
    pub limited: usize,
    /// Restores and deletes (`BENCH_RESTORES`, 10).
    pub restores: usize,
    /// Starts (`BENCH_STARTS`, 30).
    pub starts: usize,
    /// MiB of the object whose throughput is measured (`BENCH_OBJECT_MIB`, 1024).
    pub object: u64,
    /// GiB of the object whose memory is measured (`BENCH_LARGE_GIB`, 10).
    pub large: u64,
    /// Objects in a list (`BENCH_LISTED`, 20000).
    pub listed: usize,
}

impl Size {
    fn read() -> Result<Self> {
        Ok(Self {
            volumes: size("BENCH_VOLUMES", 100)?,
            limited: size("BENCH_LIMITED", 150)?,
            restores: size("BENCH_RESTORES", 10)?,
            starts: size("BENCH_STARTS", 30)?,
            object: size("BENCH_OBJECT_MIB", 1024)? as u64,
            large: size("BENCH_LARGE_GIB", 10)? as u64,
            listed: size("BENCH_LISTED", 20_000)?,
        })
    }
}

/// The number in a variable of the bench.
pub fn size(name: &str, default: usize) -> Result<usize> {
    match env::var(name) {
        Ok(text) => text
            .parse()
            .with_context(|| format!("{name}={text}: expected a number")),
        Err(_) => Ok(default),
    }
}

/// Runs the bench, prints a table and writes `target/bench/bench.json`.
pub fn run() -> Result<()> {
    let target = env::current_exe()?
        .ancestors()
        .nth(2)
        .context("no target directory")?
        .to_owned();
    let only = env::var("BENCH_ONLY").unwrap_or_default();
    if ["cluster", "gate"].contains(&&*only) {
        // The other program's.
        return Ok(());
    }
    if !namespace::is_inside() {
        return Err(namespace::command()?.exec()).context("cannot run setpriv");
    }
    let namespace = namespace::prepare()?;
    let runtime = tokio::runtime::Runtime::new()?;
    runtime.block_on(measure(&only, target.join("bench/bench.json"), &namespace))
}

async fn measure(only: &str, json: PathBuf, namespace: &namespace::Namespace) -> Result<()> {
    let size = Size::read()?;
    let settings = Settings {
        listen: namespace.https(),
        // Seven snapshots of a disk in five minutes would be Azure's limit; the runs are closer together.
        incremental: Incremental {
            most: 1000,
            ..Incremental::default()
        },
        ..Settings::default()
    };
    let mut candidates = vec![Candidate::ours()?];
    candidates.extend(Candidate::stock()?);
    let mut figures = vec![Figures::default(); candidates.len()];
    match only {
        "" => {
            objects(size, &candidates, &mut figures).await?;
            disks(size, settings.clone(), &candidates, &mut figures).await?;
        }
        "objects" => objects(size, &candidates, &mut figures).await?,
        "disks" => disks(size, settings.clone(), &candidates, &mut figures).await?,
        _ => bail!("BENCH_ONLY={only}: expected objects, disks, cluster, gate or nothing"),
    }
    let names: Vec<_> = candidates.iter().map(|candidate| candidate.name).collect();
    report::print(size, &names, &figures);
    report::write(&json, size, &settings, &names, &figures)
}

async fn objects(size: Size, candidates: &[Candidate], figures: &mut [Figures]) -> Result<()> {
    let objects = Objects::start(size).await?;
    progress(format!("{} objects for a list …", size.listed));
    objects.fill().await?;
    objects.server(&mut figures[0]).await?;
    for (candidate, figures) in candidates.iter().zip(figures) {
        let name = candidate.name;
        progress(format!(
            "{name}: an object of {} MiB, near and 20 ms away …",
            size.object
        ));
        objects.throughput(candidate, figures).await?;
        progress(format!("{name}: a list of {} objects …", size.listed));
        objects.list(candidate, figures).await?;
        progress(format!("{name}: an object of {} GiB …", size.large));
        objects.memory(candidate, figures).await?;
    }
    Ok(())
}

async fn disks(
    size: Size,
    settings: Settings,
    candidates: &[Candidate],
    figures: &mut [Figures],
) -> Result<()> {
    progress(format!(
        "{} disks, formatted and mounted …",
        size.volumes.max(size.limited)
    ));
    let bench = Bench::start(settings, size).await?;
    progress(format!(
        "start to ListPlugins, {} times each …",
        size.starts
    ));
    bench.discovery(candidates, figures).await?;
    for (candidate, figures) in candidates.iter().zip(figures) {
        let name = candidate.name;
        progress(format!("{name}: {} volumes in sequence …", size.volumes));
        bench.sequence(candidate, figures).await?;
        progress(format!("{name}: {} volumes, 8 at once …", size.volumes));
        bench.eight(candidate, figures, "eight").await?;
        progress(format!("{name}: {} restores and deletes …", size.restores));
        bench.restores(candidate, figures).await?;
        bench.limits(Some(Limits::default()));
        progress(format!(
            "{name}: {} volumes by 50 workers under Azure's request limits …",
            size.limited
        ));
        bench.limited(candidate, figures).await?;
        bench.limits(Some(Limits::default()));
        progress(format!(
            "{name}: {} volumes, 8 at once, under the limits …",
            size.volumes
        ));
        bench.eight(candidate, figures, "limited_eight").await?;
        bench.limits(None);
    }
    Ok(())
}
