//! A hold's share in a freeze.

use std::{
    os::fd::AsFd as _,
    sync::{Arc, PoisonError},
    time::Duration,
};

use tokio::{
    task::spawn_blocking,
    time::{Instant, sleep_until},
};

use super::{Freeze, Progress, Shared, Span};
use crate::{error::HoldError, volume::Target};

/// A share in the freeze of one filesystem, which is thawed when the last share is gone.
#[must_use = "dropping the last lease thaws the filesystem"]
pub(crate) struct Lease {
    shared: Arc<Shared>,
    freeze: Arc<Freeze>,
    joined: Instant,
    limit: Duration,
    left: bool,
}

/// Why a share is given back.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Departure {
    /// Whoever asked for the hold let go, or is gone.
    Released,
    /// This hold's limit has passed.
    Expired,
}

/// What became of a share.
#[derive(Clone, Debug)]
pub(crate) struct Outcome {
    /// From the start of FIFREEZE, or from joining, until thawed or left.
    pub(crate) frozen_for: Duration,
    /// Why it was not frozen all the time; `None` if it was.
    pub(crate) lost: Option<String>,
}

impl Lease {
    /// Counts itself in; the caller holds the lock of the slots.
    pub(super) fn new(shared: &Arc<Shared>, freeze: &Arc<Freeze>, limit: Duration) -> Self {
        freeze.members.send_modify(|members| members.holders += 1);
        Self {
            shared: shared.clone(),
            freeze: freeze.clone(),
            joined: Instant::now(),
            limit,
            left: false,
        }
    }

    /// Waits until the filesystem is frozen or refused.
    pub(super) async fn frozen(self) -> Result<Self, HoldError> {
        let mut progress = self.freeze.progress.subscribe();
        let refused = match progress
            .wait_for(|progress| !matches!(progress, Progress::Freezing))
            .await
            .as_deref()
        {
            Ok(Progress::Refused(error)) => Some(error.clone()),
            Ok(_) => None,
            Err(_) => Some(HoldError::Abandoned),
        };
        match refused {
            Some(error) => Err(error),
            None => Ok(self),
        }
    }

    pub(crate) fn target(&self) -> &Target {
        &self.freeze.target
    }

    /// When it was frozen; `None` while it is not yet.
    pub(crate) fn span(&self) -> Option<Span> {
        match *self.freeze.progress.borrow() {
            Progress::Frozen(span) | Progress::Ended { span, .. } => Some(span),
            Progress::Freezing | Progress::Refused(_) => None,
        }
    }

    /// When this share's time is over: at the freeze's limit or at its own, if that is earlier.
    pub(crate) fn deadline(&self) -> Instant {
        let own = self.joined + self.limit;
        self.span().map_or(own, |span| {
            if self.joined <= span.started {
                span.deadline
            } else {
                span.deadline.min(own)
            }
        })
    }

    /// Waits until the share is worth nothing any more, and says why the hold should end.
    pub(crate) async fn over(&self) -> Departure {
        let mut progress = self.freeze.progress.subscribe();
        tokio::select! {
            _ = progress.wait_for(|progress| matches!(progress, Progress::Ended { .. })) => Departure::Released,
            () = sleep_until(self.deadline()) => Departure::Expired,
        }
    }

    /// Gives the share back. If it was the last, the filesystem is thawed when this returns.
    pub(crate) async fn leave(mut self, departure: Departure) -> Outcome {
        let now = Instant::now();
        let lost = match departure {
            Departure::Expired => Some(format!("the limit of {:?} passed", self.limit)),
            Departure::Released if self.is_shared() => self.lost_so_far().await,
            Departure::Released => None,
        };
        let since = |span: Span| span.started.max(self.joined);
        let from = self.span().map_or(self.joined, since);
        if self.depart(departure) {
            return Outcome {
                frozen_for: now.saturating_duration_since(from),
                lost,
            };
        }
        let mut progress = self.freeze.progress.subscribe();
        let ended = progress
            .wait_for(|progress| matches!(progress, Progress::Ended { .. } | Progress::Refused(_)))
            .await;
        match ended.as_deref() {
            Ok(Progress::Ended { at, lost: end, .. }) => Outcome {
                frozen_for: at.saturating_duration_since(from),
                lost: lost.or_else(|| end.clone()),
            },
            _ => Outcome {
                frozen_for: Duration::ZERO,
                lost: Some("it was never frozen".into()),
            },
        }
    }

    fn is_shared(&self) -> bool {
        self.freeze.members.borrow().holders > 1
    }

    /// A freeze that goes on for others cannot be thawed to learn whether it lasted; freezing tells as well.
    async fn lost_so_far(&self) -> Option<String> {
        let (shared, freeze) = (self.shared.clone(), self.freeze.clone());
        let probe = spawn_blocking(move || {
            // Opened anew: the root belongs to the freeze's task.
            let root = shared.kernel.open(&freeze.target.mount)?;
            let _turn = freeze.turn.lock().unwrap_or_else(PoisonError::into_inner);
            if freeze.members.borrow().closing {
                // The end itself will tell.
                return Ok(true);
            }
            shared.kernel.is_frozen(root.as_fd())
        });
        match probe.await {
            Ok(Ok(true)) => None,
            Ok(Ok(false)) => Some("thawed by someone else before the hold was let go".into()),
            Ok(Err(errno)) => Some(format!("whether it stayed frozen cannot be known: {errno}")),
            Err(error) => Some(format!("whether it stayed frozen cannot be known: {error}")),
        }
    }

    /// Counts itself out; whether the freeze goes on for others.
    fn depart(&mut self, departure: Departure) -> bool {
        self.left = true;
        let _slots = self.shared.slots();
        let mut stay = false;
        self.freeze.members.send_modify(|members| {
            members.holders -= 1;
            if members.holders == 0 && !members.closing {
                members.expired = departure == Departure::Expired;
                members.closing = true;
            }
            stay = !members.closing;
        });
        stay
    }
}

impl Drop for Lease {
    fn drop(&mut self) {
        if !self.left {
            self.depart(Departure::Released);
        }
    }
}
