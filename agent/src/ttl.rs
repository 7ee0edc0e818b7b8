//! Holds that the agent keeps by itself, from `freeze` to `thaw` or to the end of their time: one a filesystem.

use std::{
    collections::HashMap,
    path::{Path, PathBuf},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use tokio::sync::{oneshot, watch};
use uuid::Uuid;

use crate::{
    error::HoldError,
    freeze::{Outcome, Span},
    hold::{Hold, Holds},
    mountinfo::{Device, Mount},
};

/// The holds of `freeze`, by filesystem. One that ended by itself stays until it is asked for, so that `thaw` can say
/// what became of it, or until the next `freeze` there.
pub(crate) struct TtlHolds {
    holds: Arc<Holds>,
    kept: Mutex<HashMap<Device, Kept>>,
}

struct Kept {
    path: PathBuf,
    /// Dropped or sent on to let go.
    release: oneshot::Sender<()>,
    outcome: watch::Receiver<Option<Outcome>>,
}

impl TtlHolds {
    pub(crate) fn new(holds: Arc<Holds>) -> Self {
        Self {
            holds,
            kept: Mutex::default(),
        }
    }

    /// Freezes the filesystem of `path` and keeps it so.
    pub(crate) async fn freeze(
        &self,
        path: &Path,
        ttl: Duration,
        holder: String,
    ) -> Result<(Mount, Span), HoldError> {
        check(path)?;
        if let Ok(device) = self.holds.device_of(path).await
            && self.is_kept(device)
        {
            return Err(HoldError::AlreadyHeld(path.display().to_string()));
        }
        let id = format!("ttl-{}", Uuid::new_v4());
        let hold = self.holds.begin_at(path, id, ttl, holder).await?;
        let frozen = hold
            .volumes
            .first()
            .and_then(|(_, lease)| lease.as_ref().ok())
            .and_then(|lease| Some((lease.target().mount.clone(), lease.span()?)));
        let (mount, span) = frozen.ok_or(HoldError::Abandoned)?;
        let (release, released) = oneshot::channel();
        let (sender, outcome) = watch::channel(None);
        let kept = Kept {
            path: path.to_owned(),
            release,
            outcome,
        };
        {
            let mut map = self.kept();
            // Two at once: the later one must not make the earlier one impossible to thaw.
            if map.get(&mount.device).is_some_and(Kept::is_open) {
                return Err(HoldError::AlreadyHeld(path.display().to_string()));
            }
            map.insert(mount.device, kept);
        }
        tokio::spawn(keep(hold, released, sender));
        Ok((mount, span))
    }

    /// Thaws what `freeze` froze, and says what became of it.
    pub(crate) async fn thaw(&self, path: &Path) -> Result<(String, Outcome), HoldError> {
        check(path)?;
        // Unmounted meanwhile, the path leads elsewhere; it is remembered as it was given.
        let device = self.holds.device_of(path).await.ok();
        let kept = {
            let mut map = self.kept();
            let by_path = map.iter().find(|(_, kept)| kept.path == path);
            let device = by_path.map(|(device, _)| *device).or(device);
            device.and_then(|device| map.remove(&device))
        };
        let Some(Kept {
            path: frozen,
            release,
            mut outcome,
        }) = kept
        else {
            return Err(HoldError::NotHeld(path.display().to_string()));
        };
        // Fails if the hold has ended by itself.
        let _ = release.send(());
        let ended = outcome.wait_for(Option::is_some).await;
        let outcome = ended.ok().and_then(|outcome| outcome.clone());
        let outcome = outcome.ok_or(HoldError::Abandoned)?;
        Ok((frozen.display().to_string(), outcome))
    }

    fn is_kept(&self, device: Device) -> bool {
        self.kept().get(&device).is_some_and(Kept::is_open)
    }

    fn kept(&self) -> MutexGuard<'_, HashMap<Device, Kept>> {
        self.kept.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Kept {
    fn is_open(&self) -> bool {
        self.outcome.borrow().is_none()
    }
}

fn check(path: &Path) -> Result<(), HoldError> {
    if path.is_absolute() {
        return Ok(());
    }
    Err(HoldError::Invalid(format!(
        "path is {:?}: expected an absolute path",
        path.display().to_string()
    )))
}

async fn keep(
    hold: Hold,
    released: oneshot::Receiver<()>,
    outcome: watch::Sender<Option<Outcome>>,
) {
    let ended = tokio::select! {
        biased;
        _ = released => None,
        departure = hold.over() => Some(departure),
    };
    let outcomes = hold.end(ended).await;
    let ended = outcomes.into_iter().next().map(|(_, ended)| ended);
    outcome.send_replace(ended);
}
