//! Fifty pods with a volume each.

use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use stillpoint_e2e::{World, application::writes};
use stillpoint_lab::SnapshotView;

use crate::WORKERS;

const NAMESPACE: &str = "crowd";
const PODS: usize = 50;
/// So many of them write all the time: two cores are not enough for more.
const WRITERS: usize = 5;
/// See [`World::is_backed_up`].
const ATTEMPTS: u32 = 5;

pub(crate) async fn fifty_volumes_are_frozen_by_as_many_workers_as_there_are(
    world: &mut World,
) -> Result<()> {
    let volumes = world.volumes(NAMESPACE, PODS).await?;
    let mut writers = Vec::new();
    for volume in volumes.iter().step_by(PODS / WRITERS) {
        writers.push((volume, volume.writer().await?));
    }
    let mut usual = Duration::ZERO;
    for (volume, writer) in &writers {
        writes(&volume.claim, writer).await?;
        usual = usual.max(writer.longest_stall());
    }

    let mut attempt = 1;
    let backup = loop {
        let name = format!("crowd-{attempt}");
        for (_, writer) in &writers {
            writer.longest_stall();
        }
        if world.is_backed_up(&name, NAMESPACE).await? {
            break name;
        }
        attempt += 1;
        ensure!(attempt <= ATTEMPTS, "the server died each time");
    };

    let snapshots = world.snapshots_of(&backup);
    ensure!(snapshots.len() == PODS, "{} snapshots", snapshots.len());
    let recorded = world.recorded(&backup).await?;
    for snapshot in &snapshots {
        let tags = &snapshot.tags;
        ensure!(tags["stillpoint-consistency"] == "filesystem", "{tags:?}");
        let id = snapshot.id.to_string();
        ensure!(recorded.contains(&id), "{recorded:?} lacks {id}");
        let journal = world.journal(snapshot)?;
        ensure!(journal.clean, "{snapshot:?}: {journal:?}");
    }
    let most = most_at_once(&snapshots)?;
    ensure!((2..=WORKERS).contains(&most), "{most} were made at once");

    for (volume, writer) in &writers {
        let mut all = snapshots.iter();
        let snapshot = all.find(|one| one.source.name == volume.pv);
        let own = made_in(snapshot.context("a volume without a snapshot")?)?;
        writes(&volume.claim, writer).await?;
        let stall = writer.longest_stall();
        ensure!(
            stall > own / 2 && stall < usual + own * 2,
            "{} stood still for {stall:?}, and its snapshot was made in {own:?}",
            volume.claim
        );
    }
    writers
        .into_iter()
        .try_for_each(|(_, writer)| writer.stop())
}

/// From the arrival of the PUT until the data was fixed: it was frozen for that long at least.
fn made_in(snapshot: &SnapshotView) -> Result<Duration> {
    let succeeded = snapshot.succeeded.context("not made")?;
    Ok(succeeded.since(&snapshot.accepted))
}

/// How many were being made at one moment.
fn most_at_once(snapshots: &[SnapshotView]) -> Result<usize> {
    let mut most = 0;
    for one in snapshots {
        let begin = one.accepted.instant;
        let at_work = snapshots.iter().filter(|other| {
            let end = other.succeeded.map(|moment| moment.instant);
            other.accepted.instant <= begin && end.is_some_and(|end| begin < end)
        });
        most = most.max(at_work.count());
    }
    Ok(most)
}
