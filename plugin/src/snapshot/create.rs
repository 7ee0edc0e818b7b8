//! The way from a request to snapshots: look up, attempts, finish.

use std::time::Duration;

use futures::future::join_all;
use tokio::time::{Instant, sleep};
use tokio_util::sync::CancellationToken;

use super::{
    SnapshotError, Snapshots, Taken, Volume,
    attempt::{Attempt, Fixed, Outcome},
    cleanup::Leftovers,
    finish::finish,
    prepare::Target,
};
use crate::{
    config::FreezeMode,
    model::{Disk, DiskId},
    ports::AzureError,
};

/// The first pause after an attempt that Azure throttled without saying for how long; doubled each time.
const PAUSE: Duration = Duration::from_secs(1);
const LONGEST_PAUSE: Duration = Duration::from_secs(30);

/// Velero's tag with the backup's name.
const BACKUP: &str = "velero.io/backup";

type Results = Vec<Result<Taken, SnapshotError>>;

pub(super) async fn run(
    site: &Snapshots,
    volumes: Vec<Volume>,
    mode: FreezeMode,
    cancel: &CancellationToken,
) -> Results {
    let alone = volumes.len() == 1;
    let looked_up = join_all(
        volumes
            .into_iter()
            .map(|volume| target(site, volume, alone)),
    )
    .await;
    let mut targets = Vec::new();
    let mut places = Vec::new();
    for found in looked_up {
        match found {
            Ok(target) => {
                targets.push(target);
                places.push(None);
            }
            Err(error) => places.push(Some(error)),
        }
    }
    let mut leftovers = Leftovers::default();
    let fixed = attempts(site, &mut targets, mode, cancel, &mut leftovers).await;
    let finished = fixed
        .into_iter()
        .zip(&targets)
        .map(async |(fixed, target)| finish(site, target, fixed?, mode, cancel).await);
    let mut finished = join_all(finished).await.into_iter();
    leftovers.settle(&*site.azure).await;
    let results = places.into_iter().filter_map(|place| match place {
        Some(error) => Some(Err(error)),
        None => finished.next(),
    });
    results.collect()
}

async fn target(site: &Snapshots, volume: Volume, alone: bool) -> Result<Target, SnapshotError> {
    let id = site
        .location
        .disk(&volume.id)
        .map_err(SnapshotError::InvalidVolume)?;
    // A disk seen attached a moment ago needs no second look; one seen unattached may have been attached since, and a
    // shareable one to more machines.
    let recent = site
        .process
        .recent(&id)
        .filter(|disk| alone && !disk.attached_to.is_empty() && !disk.is_shareable());
    let current = recent.is_none();
    let look_up = async {
        match recent {
            Some(disk) => Ok(disk),
            None => site.look_up(&id).await,
        }
    };
    let (disk, backup_uid) = tokio::join!(look_up, backup_uid(site, &volume));
    let disk = disk?;
    let incremental = incremental(site, &disk)?;
    Ok(Target {
        disk,
        current,
        incremental,
        backup: volume.tags,
        home: volume.home,
        backup_uid,
    })
}

async fn backup_uid(site: &Snapshots, volume: &Volume) -> Option<String> {
    let name = volume.tags.get(BACKUP)?;
    site.backups.as_ref()?.uid(name).await
}

/// Whether the snapshot is incremental: wherever Azure can, unless the location says no. PremiumV2 and Ultra have no
/// other, and an incremental one stays in its disk's subscription.
fn incremental(site: &Snapshots, disk: &Disk) -> Result<bool, SnapshotError> {
    let group = site.location.snapshots();
    let at_home = group
        .subscription
        .eq_ignore_ascii_case(&disk.id.group.subscription);
    let only = disk.properties.sku.copies_in_background();
    let refused = |advice| {
        Err(SnapshotError::IncrementalElsewhere {
            disk: disk.id.clone(),
            group: group.to_string(),
            advice,
        })
    };
    match (site.location.settings.incremental, only, at_home) {
        (_, true, false) => refused(
            "PremiumV2 and Ultra disks have no other kind: use a location without `subscriptionId` for them",
        ),
        (Some(true), false, false) => refused(
            "remove `subscriptionId` from the location, or set `incremental` to false for full snapshots",
        ),
        (_, true, true) | (Some(true) | None, false, true) => Ok(true),
        (Some(false), false, _) | (None, false, false) => Ok(false),
    }
}

async fn attempts(
    site: &Snapshots,
    targets: &mut [Target],
    mode: FreezeMode,
    cancel: &CancellationToken,
    leftovers: &mut Leftovers,
) -> Vec<Result<Fixed, SnapshotError>> {
    let mut deadline: Option<Instant> = None;
    let mut pause = PAUSE;
    if targets.is_empty() {
        return Vec::new();
    }
    loop {
        let attempt = Attempt {
            site,
            mode,
            cancel,
            deadline: &mut deadline,
            leftovers: &mut *leftovers,
        };
        let error = match attempt.run(targets).await {
            Outcome::Ended(results) => return results,
            Outcome::Again(error) => error,
        };
        let wait = match &error {
            AzureError::Throttled { retry_after, .. } => retry_after.unwrap_or(pause),
            _ => pause,
        };
        pause = (pause * 2).min(LONGEST_PAUSE);
        if deadline.is_some_and(|deadline| Instant::now() + wait >= deadline) {
            let failed =
                |target: &Target| Err(SnapshotError::of_disk(&target.disk.id, error.clone()));
            return targets.iter().map(failed).collect();
        }
        tracing::info!(
            disk = %targets[0].disk.id, %error, ?wait,
            "nothing is frozen and the snapshot will be started again"
        );
        tokio::select! {
            () = sleep(wait) => {}
            () = cancel.cancelled() => {
                let cancelled = |id: &DiskId| Err(SnapshotError::Cancelled { disk: id.clone() });
                return targets.iter().map(|target| cancelled(&target.disk.id)).collect();
            }
        }
        // What was seen before the wait may not be so any more.
        for target in targets.iter_mut() {
            target.current = false;
            if target.disk.attached_to.is_empty()
                && let Ok(disk) = site.look_up(&target.disk.id).await
            {
                (target.disk, target.current) = (disk, true);
            }
        }
    }
}
