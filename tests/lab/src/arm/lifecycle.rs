//! What goes on after the answer.
//!
//! ```text
//! snapshot   PUT arrives ─────────► cut ─────────► Succeeded ─► background copy ─► 100 percent
//!            (accepted, Creating)   (one reflink)              (PremiumV2, Ultra only)
//!                    └── disk gone, fault, limit ─► Failed
//! disk       PUT arrives ─► file made ─► Succeeded
//! delete     accepted, Deleting ─► gone
//! ```
//!
//! The cut is never before the PUT arrived and never after Succeeded: Succeeded waits for it.

use std::{
    path::PathBuf,
    sync::Arc,
    time::{Duration, Instant},
};

use http::StatusCode;

use super::{context::Context, operations, refusal::Refusal};
use crate::{
    Kind, Moment, ResourceId,
    shared::Shared,
    store,
    web::Answer,
    world::{Disk, Provisioning, World},
};

/// A snapshot to be made.
pub(crate) struct SnapshotWork {
    pub(crate) id: ResourceId,
    pub(crate) operation: String,
    pub(crate) accepted: Instant,
    pub(crate) duration: Duration,
    /// Where in `duration` the cut is.
    pub(crate) fraction: f64,
    pub(crate) fail: Option<(String, String)>,
}

type Failure = (String, String);

pub(crate) async fn snapshot(shared: Arc<Shared>, work: SnapshotWork) {
    let key = work.id.key();
    sleep_until(work.accepted + work.duration.mul_f64(work.fraction)).await;
    let cut = match &work.fail {
        Some(failure) => Err(failure.clone()),
        None => cut(&shared, &key).await,
    };
    sleep_until(work.accepted + work.duration).await;
    let mut world = shared.world();
    let world = &mut *world;
    let now = Moment::now();
    if let Some(snapshot) = world.snapshots.get_mut(&key) {
        snapshot.state = match &cut {
            Ok(()) => Provisioning::Succeeded,
            Err(_) => Provisioning::Failed,
        };
        snapshot.succeeded = cut.is_ok().then_some(now);
    }
    match cut {
        Ok(()) => operations::succeed(world, &work.operation, now),
        Err((code, message)) => operations::fail(world, &work.operation, now, &code, &message),
    }
}

async fn cut(shared: &Arc<Shared>, key: &str) -> Result<(), Failure> {
    let gone = || {
        (
            "ResourceNotFound".into(),
            "The source disk of the snapshot was not found.".into(),
        )
    };
    let (source, target) = {
        let world = shared.world();
        let snapshot = world.snapshots.get(key).ok_or_else(gone)?;
        let disk = world.disks.get(&snapshot.source.key()).ok_or_else(gone)?;
        if disk.unique_id != snapshot.source_unique_id {
            return Err(gone());
        }
        (disk.file.clone(), snapshot.file.clone())
    };
    let cut = tokio::task::spawn_blocking(move || {
        let began = Moment::now();
        let bytes = store::cut(&source, &target)?;
        Ok::<_, std::io::Error>((began, Moment::now(), bytes))
    });
    let (began, ended, bytes) = match cut.await {
        Ok(Ok(cut)) => cut,
        Ok(Err(error)) if error.kind() == std::io::ErrorKind::NotFound => return Err(gone()),
        Ok(Err(error)) => return Err(storage(&error)),
        Err(error) => return Err(storage(&error)),
    };
    let mut world = shared.world();
    match world.snapshots.get_mut(key) {
        Some(snapshot) => {
            snapshot.cut = Some((began, ended));
            snapshot.size_bytes = bytes;
            Ok(())
        }
        None => Err(gone()),
    }
}

fn storage(error: &dyn std::error::Error) -> Failure {
    (
        "InternalServerError".into(),
        format!("The lab's storage failed: {error}"),
    )
}

/// A disk to be made.
pub(crate) struct DiskWork {
    pub(crate) id: ResourceId,
    pub(crate) operation: String,
    pub(crate) done: Instant,
    pub(crate) fail: Option<Failure>,
    /// What it is a copy of.
    pub(crate) source: Option<PathBuf>,
    pub(crate) file: PathBuf,
    pub(crate) bytes: u64,
}

pub(crate) async fn disk(shared: Arc<Shared>, work: DiskWork) {
    let DiskWork {
        id,
        operation,
        done,
        fail,
        source,
        file,
        bytes,
    } = work;
    let made =
        tokio::task::spawn_blocking(move || make_disk(source.as_deref(), &file, bytes)).await;
    sleep_until(done).await;
    let failure = fail.or(match made {
        Ok(Ok(())) => None,
        Ok(Err(error)) => Some(storage(&error)),
        Err(error) => Some(storage(&error)),
    });
    let mut world = shared.world();
    let world = &mut *world;
    if let Some(disk) = world.disks.get_mut(&id.key()) {
        disk.state = if failure.is_none() {
            Provisioning::Succeeded
        } else {
            Provisioning::Failed
        };
    }
    match failure {
        None => operations::succeed(world, &operation, Moment::now()),
        Some((code, message)) => {
            operations::fail(world, &operation, Moment::now(), &code, &message)
        }
    }
}

/// A disk's file: empty, or a copy of `source` grown to size.
pub(crate) fn make_disk(
    source: Option<&std::path::Path>,
    file: &std::path::Path,
    bytes: u64,
) -> std::io::Result<()> {
    match source {
        None => store::create(file, bytes),
        Some(source) => {
            store::cut(source, file)?;
            store::grow(file, bytes)
        }
    }
}

/// Ends an update when it is due.
pub(crate) fn update(context: &Context<'_>, id: &ResourceId, operation: &str, done: Instant) {
    let shared = Arc::clone(context.shared);
    let (id, operation) = (id.clone(), operation.to_owned());
    let fail = context.call.effects.fail.clone();
    context.shared.spawn(async move {
        sleep_until(done).await;
        let mut world = shared.world();
        let world = &mut *world;
        let state = match id.kind {
            Kind::Disk => world.disks.get_mut(&id.key()).map(|disk| &mut disk.state),
            Kind::Snapshot => world
                .snapshots
                .get_mut(&id.key())
                .map(|snapshot| &mut snapshot.state),
            Kind::DiskEncryptionSet
            | Kind::DiskAccess
            | Kind::VirtualMachine
            | Kind::StorageAccount => None,
        };
        if let Some(state) = state {
            *state = Provisioning::Succeeded;
        }
        match fail {
            None => operations::succeed(world, &operation, Moment::now()),
            Some((code, message)) => {
                operations::fail(world, &operation, Moment::now(), &code, &message)
            }
        }
    });
}

/// Accepts a deletion; the resource is gone when it is due.
pub(crate) fn delete(
    context: &mut Context<'_>,
    id: &ResourceId,
    location: &str,
) -> Result<Answer, Refusal> {
    let arrived = context.call.arrived;
    let world = &mut *context.world;
    let retry_after = world.settings.retry_after;
    let operation = operations::begin(world, arrived, id, location, true, retry_after);
    let key = id.key();
    if let Some(disk) = world.disks.get_mut(&key) {
        (disk.state, disk.operation) = (Provisioning::Deleting, operation.clone());
    }
    if let Some(snapshot) = world.snapshots.get_mut(&key) {
        (snapshot.state, snapshot.operation) = (Provisioning::Deleting, operation.clone());
    }
    let done = arrived.instant + world.settings.delete_duration + context.call.effects.stay;
    let fail = context.call.effects.fail.clone();
    let (shared, ending) = (Arc::clone(context.shared), operation.clone());
    context.shared.spawn(async move {
        sleep_until(done).await;
        let mut world = shared.world();
        let world = &mut *world;
        if let Some((code, message)) = fail {
            let states = world.disks.get_mut(&key).map(|disk| &mut disk.state);
            let states = states.into_iter().chain(
                world
                    .snapshots
                    .get_mut(&key)
                    .map(|snapshot| &mut snapshot.state),
            );
            states.for_each(|state| *state = Provisioning::Succeeded);
            operations::fail(world, &ending, Moment::now(), &code, &message);
            return;
        }
        remove_disk(world, &key);
        remove_snapshot(world, &key);
        operations::succeed(world, &ending, Moment::now());
    });
    Ok(operations::accepted(
        context,
        StatusCode::ACCEPTED,
        &operation,
        None,
    ))
}

pub(crate) fn remove_disk(world: &mut World, key: &str) {
    if let Some(disk) = world.disks.remove(key) {
        store::remove(&disk.file);
        world.locks.remove(key);
    }
}

pub(crate) fn remove_snapshot(world: &mut World, key: &str) {
    if let Some(snapshot) = world.snapshots.remove(key) {
        store::remove(&snapshot.file);
        world.locks.remove(key);
    }
}

/// Growing a PremiumV2 or Ultra disk fails its snapshots that are still being copied.
pub(crate) fn fail_pending(world: &mut World, disk: &Disk) {
    let now = Moment::now().instant;
    for snapshot in world.snapshots.values_mut() {
        if snapshot.source_unique_id == disk.unique_id
            && snapshot.succeeded.is_some()
            && snapshot.pending(now)
        {
            snapshot.state = Provisioning::Failed;
        }
    }
}

async fn sleep_until(instant: Instant) {
    tokio::time::sleep_until(instant.into()).await;
}
