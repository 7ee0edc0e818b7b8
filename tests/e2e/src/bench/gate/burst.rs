//! Many VolumeSnapshots at once.

use std::{
    collections::BTreeMap,
    fs,
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, ensure};
use futures::{StreamExt as _, TryStreamExt as _, stream};
use kube::{ResourceExt as _, api::DynamicObject};
use serde::Serialize;
use stillpoint_cluster::until;
use stillpoint_loopfs::Kind;
use stillpoint_system::{inspect, table::progress};

use super::super::{case::Application, load::Load};
use crate::{
    World,
    csi::{Record, objects},
};

/// For all of them, one driver's.
const WITHIN: Duration = Duration::from_secs(600);
/// Requests to the API server that are on their way at once.
const AT_ONCE: usize = 50;

/// What became of them.
#[derive(Clone, Debug, Serialize)]
pub(super) struct Burst {
    pub(super) snapshots: usize,
    pub(super) volumes: usize,
    /// Until the last was ready, in seconds.
    pub(super) took: f64,
    /// Refused by the gate.
    pub(super) denied: usize,
    /// Without a verdict.
    pub(super) left: usize,
    /// With the verdict `filesystem`.
    pub(super) filesystem: usize,
    /// Of these, those whose copy is not.
    pub(super) untrue: usize,
    /// How many others there are for each reason.
    pub(super) others: BTreeMap<String, usize>,
}

/// Takes so many of an application that writes, each volume's turn after the other.
pub(super) async fn of(world: &World, application: &Application, count: usize) -> Result<Burst> {
    progress(format!("{count} VolumeSnapshots at once …"));
    let load = Load::start(application).await?;
    let record = Record::begin(world).await?;
    let begun = Instant::now();
    let namespace = &application.namespace;
    let volumes: Vec<_> = application.volumes().collect();
    let ended = async {
        let all = (0..count).map(async |number| {
            let claim = &volumes[number % volumes.len()].claim;
            objects::take(world, namespace, &name(number), claim).await
        });
        let all: Vec<()> = stream::iter(all)
            .buffer_unordered(AT_ONCE)
            .try_collect()
            .await?;
        drop(all);
        all_ready(&record, namespace, count).await
    };
    let snapshots = tokio::select! {
        ended = ended => ended?,
        failed = load.guard(world) => {
            failed?;
            anyhow::bail!("the watchdogs are not put off any more")
        }
    };
    let took = begun.elapsed().as_secs_f64();
    load.stop()?;
    let mut burst = Burst {
        snapshots: count,
        volumes: volumes.len(),
        took,
        denied: denied(world),
        left: 0,
        filesystem: 0,
        untrue: 0,
        others: BTreeMap::new(),
    };
    for snapshot in snapshots {
        count_one(world, &mut burst, &snapshot)?;
    }
    Ok(burst)
}

fn name(number: usize) -> String {
    format!("burst-{number}")
}

/// Waits until all are ready, and those that get a verdict have it: their contents.
async fn all_ready(record: &Record, namespace: &str, count: usize) -> Result<Vec<DynamicObject>> {
    until("all are ready", WITHIN, async || {
        let mut of_burst = record.contents();
        of_burst.retain(|content| {
            let of = &content.data["spec"]["volumeSnapshotRef"];
            let named = of["name"]
                .as_str()
                .is_some_and(|name| name.starts_with("burst-"));
            named && of["namespace"] == *namespace
        });
        let ready = of_burst.iter().filter(|content| {
            let state = content.annotations().get("stillpoint.io/state");
            let pending = state.is_some_and(|state| state == "pending");
            content.data["status"]["readyToUse"] == true && !pending
        });
        let ready = ready.count();
        ensure!(ready == count, "{ready} of {count} are ready");
        Ok(Some(of_burst))
    })
    .await
}

/// What csi-snapshotter says of requests that the gate denied.
fn denied(world: &World) -> usize {
    let log = world
        .snapshots
        .as_ref()
        .map(|snapshots| snapshots.sidecar.log());
    log.unwrap_or_default()
        .matches("Stillpoint: no snapshot")
        .count()
}

fn count_one(world: &World, burst: &mut Burst, content: &DynamicObject) -> Result<()> {
    let said = |key: &str| content.annotations().get(&format!("stillpoint.io/{key}"));
    let Some(consistency) = said("consistency") else {
        burst.left += 1;
        return Ok(());
    };
    if consistency != "filesystem" {
        let reason = said("consistency-reason").cloned().unwrap_or_default();
        *burst.others.entry(reason).or_default() += 1;
        return Ok(());
    }
    burst.filesystem += 1;
    let id = objects::handle(content).context("ready without a handle")?;
    let copy = world.lab.copy_of(&id)?;
    let journal = inspect::journal(&copy, Kind::Ext4)?;
    fs::remove_file(copy)?;
    burst.untrue += usize::from(!journal.clean);
    Ok(())
}
