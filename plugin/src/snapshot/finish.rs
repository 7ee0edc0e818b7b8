//! What is left once the filesystem runs again: judge, wait for a background copy, upgrade the tags.

use tokio::time::timeout;
use tokio_util::sync::CancellationToken;

use super::{SnapshotError, Snapshots, Taken, attempt::Fixed, cleanup::delete, prepare::Target};
use crate::{
    config::FreezeMode,
    hold::{Attachment, Standing, attachment, judge},
    model::{Consistency, Worth},
    ports::{AzureError, Stage},
    tags::Sources,
};

pub(super) async fn finish(
    site: &Snapshots,
    target: &Target,
    fixed: Fixed,
    mode: FreezeMode,
    cancel: &CancellationToken,
) -> Result<Taken, SnapshotError> {
    let id = fixed.snapshot.id.clone();
    let ended = complete(site, target, fixed, mode, cancel).await;
    if ended.is_err() {
        delete(&*site.azure, &id).await;
    }
    ended
}

/// On an error the snapshot is still there and still marked pending.
async fn complete(
    site: &Snapshots,
    target: &Target,
    fixed: Fixed,
    mode: FreezeMode,
    cancel: &CancellationToken,
) -> Result<Taken, SnapshotError> {
    let Fixed {
        snapshot,
        hold,
        standing,
        end,
        permit,
        at_work,
    } = fixed;
    let (disk, id) = (&target.disk, snapshot.id);
    let cancelled = || SnapshotError::Cancelled {
        disk: disk.id.clone(),
    };

    let attachment = look_again(site, target, &standing).await;
    let mut worth = judge(disk.attached_to.len(), &standing, end.as_ref(), &attachment);
    if mode == FreezeMode::Required && !worth.consistency.is_consistent() {
        return Err(SnapshotError::NotHeld {
            disk: disk.id.clone(),
            reason: worth.reason,
        });
    }
    // A copy takes minutes: the room in the request budget is not kept for so long.
    let permit = if disk.properties.sku.copies_in_background() {
        drop(permit);
        site.reached(&disk.id, Stage::Copying);
        tokio::select! {
            () = cancel.cancelled() => return Err(cancelled()),
            copied = wait_for_copy(site, &id, &mut worth) => {
                copied.map_err(|error| SnapshotError::of_snapshot(&id, error))?;
            }
        }
        None
    } else {
        Some(permit)
    };
    if cancel.is_cancelled() {
        return Err(cancelled());
    }
    let sources = Sources {
        hold: &hold,
        disk,
        backup: &target.backup,
        backup_uid: target.backup_uid.as_deref(),
        home: target.home.as_ref(),
        location: &site.location.settings.tags,
    };
    let tagged = site.azure.tag_snapshot(&id, sources.complete(&worth)).await;
    tagged.map_err(|error| SnapshotError::of_snapshot(&id, error))?;
    drop(permit);
    if cancel.is_cancelled() {
        return Err(cancelled());
    }
    drop(at_work);
    report(&disk.id.to_string(), &id.to_string(), &hold, mode, &worth);
    Ok(Taken {
        disk: disk.id.clone(),
        snapshot: id,
        worth,
    })
}

/// A disk that was attached nowhere must be so still; one that several machines can share must not have come to others.
async fn look_again(site: &Snapshots, target: &Target, standing: &Standing) -> Attachment {
    let look = match standing {
        Standing::Still { .. } => target.disk.is_shareable(),
        Standing::Moving { mounted, .. } => !mounted && target.is_attached_nowhere(),
    };
    if !look {
        return Attachment::Attached;
    }
    match site.azure.disk(&target.disk.id).await {
        Ok(after) => attachment(&target.disk, &after),
        Err(error) => Attachment::Changed(format!("its attachment is not known: {error}")),
    }
}

/// Waits within `copyTimeout`. Only a copy that failed is an error: else the backup goes on and a restore waits.
async fn wait_for_copy(
    site: &Snapshots,
    id: &crate::model::SnapshotId,
    worth: &mut Worth,
) -> Result<(), AzureError> {
    let limit = site.location.settings.copy_timeout;
    let why = match timeout(limit, site.azure.copied(id)).await {
        Ok(Ok(())) => return Ok(()),
        Ok(Err(error @ (AzureError::Failed { .. } | AzureError::NotFound { .. }))) => {
            return Err(error);
        }
        Ok(Err(error)) => error.to_string(),
        Err(_) => format!("not done within `copyTimeout` ({limit:?})"),
    };
    tracing::warn!(
        snapshot = %id, reason = %why,
        "the background copy goes on; a restore from this snapshot waits for it"
    );
    worth
        .reason
        .push_str("; its background copy was not complete when the backup went on");
    Ok(())
}

fn report(disk: &str, snapshot: &str, hold: &str, mode: FreezeMode, worth: &Worth) {
    let frozen_ms = u64::try_from(worth.frozen.as_millis()).unwrap_or(u64::MAX);
    let (consistency, reason) = (worth.consistency, &worth.reason);
    if consistency == Consistency::Crash && mode != FreezeMode::Off {
        tracing::warn!(
            disk, snapshot, hold, %consistency, frozen_ms, %reason,
            "snapshot taken, but it is crash-consistent only"
        );
    } else {
        tracing::info!(disk, snapshot, hold, %consistency, frozen_ms, %reason, "snapshot taken");
    }
}
