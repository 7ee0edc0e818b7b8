//! Snapshots of an application while it writes: by hand, and by Velero's CSI path.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Instant,
};

use anyhow::{Result, ensure};
use futures::future::try_join_all;
use stillpoint_cluster::until;
use stillpoint_lab::SnapshotView;
use stillpoint_system::table::progress;

use super::super::{
    backup::{self, Done},
    case::Application,
    figures::{Figures, Run},
};
use crate::{World, csi::objects, world::SOON};

/// One VolumeSnapshot of each volume, all at once; `sort` is a part of their names.
pub(super) async fn by_hand(
    world: &World,
    application: &Application,
    sort: &str,
    repeats: usize,
) -> Result<Figures> {
    let namespace = &application.namespace;
    let volumes = application.volumes().count();
    let mut runs = Vec::new();
    for repeat in 0..repeats {
        progress(format!(
            "Gate: {volumes} at once, {} of {repeats} …",
            repeat + 1
        ));
        let work = async {
            let begun = Instant::now();
            let all = application.volumes().map(async |volume| {
                let name = format!("{}-{sort}-{repeat}", volume.claim);
                objects::take(world, namespace, &name, &volume.claim).await?;
                objects::ready(world, namespace, &name, SOON).await
            });
            try_join_all(all).await?;
            Ok(Done {
                took: begun.elapsed(),
                told: begun.elapsed(),
            })
        };
        runs.push(watched(world, application, work, true).await?);
    }
    Ok(Figures::of(&runs))
}

/// Backups by Velero: with the gate, or without one and with `fsfreeze` in hooks.
pub(super) async fn by_velero(
    world: &World,
    application: &Application,
    repeats: usize,
    gate: bool,
) -> Result<Figures> {
    application.hooks(world, !gate).await?;
    let side = if gate { "gate" } else { "hooks" };
    let mut runs = Vec::new();
    for repeat in 0..repeats {
        let name = format!("{}-{side}-{repeat}", application.namespace);
        progress(format!("Velero's backup {name} …"));
        let work = backup::run(world, &name, &application.namespace);
        runs.push(watched(world, application, work, gate).await?);
    }
    application.hooks(world, false).await?;
    Ok(Figures::of(&runs))
}

async fn watched(
    world: &World,
    application: &Application,
    work: impl Future<Output = Result<Done>>,
    gate: bool,
) -> Result<Run> {
    let before = world.lab.snapshots().into_iter();
    let before: BTreeSet<_> = before.map(|one| one.id.to_string()).collect();
    let made = || {
        let mut all = world.lab.snapshots();
        all.retain(|one| !before.contains(&one.id.to_string()));
        let by_disk = |one: SnapshotView| (one.source.name.clone(), one);
        all.into_iter().map(by_disk).collect::<BTreeMap<_, _>>()
    };
    let work = async {
        let done = work.await?;
        // They come when the driver is done.
        until("all snapshots have their tags", SOON, async || {
            let tagged = |one: &SnapshotView| one.tags.contains_key("stillpoint-consistency");
            ensure!(!gate || made().values().all(tagged), "{:?}", made());
            Ok(Some(()))
        })
        .await?;
        Ok(done)
    };
    Run::watched(world, application, work, made, gate).await
}
