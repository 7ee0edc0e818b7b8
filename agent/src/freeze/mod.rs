//! Freezes of filesystems, each shared by all holds of that filesystem.
//!
//! ```text
//!            first hold                FIFREEZE done            last hold left, limit, stop
//!   (vacant) ──────────► Freezing ────────────────────► Frozen ────────────────────────────► closing ──► (vacant)
//!                           │ refused, or all holds left                                        │ limit passed
//!                           └──────────────────► (vacant)                                       └──► Resting ──► (vacant)
//! ```
//!
//! - The limit counts from the start of the first hold's FIFREEZE, for then writers begin to wait. It is kept on
//!   `CLOCK_MONOTONIC`, which wall-clock changes do not move and which stands still while the machine sleeps: then no
//!   writer runs either.
//! - A hold that comes while the filesystem is Freezing or Frozen joins for what remains of the limit; one that comes
//!   while it is closing waits and then freezes anew.
//! - After a limit has passed the filesystem rests for as long as it had been frozen: however many ask, writers get at
//!   least half of the time.
//! - `holders` and `closing` change only under the lock of the slots, so nobody joins a freeze that is ending.
//!
//! Each freeze is a task of its own, so a caller that goes away, at any point, cannot leave it behind.

mod frost;
mod lease;
mod life;
#[cfg(test)]
mod tests;

use std::{
    collections::{HashMap, hash_map::Entry},
    io,
    os::fd::BorrowedFd,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use tokio::{sync::watch, time::Instant};
use tokio_util::{sync::CancellationToken, task::TaskTracker};

pub(crate) use self::lease::{Lease, Outcome};
use crate::{
    error::HoldError, kernel::Kernel, metrics::Metrics, mountinfo::Device, volume::Target,
};

/// Where freezes are written down so that others can undo them.
pub(crate) trait Ledger: Send + Sync + 'static {
    /// Writes down that `target` will be frozen, before anything is done to it.
    fn intent(&self, target: &Target, hold: &str) -> io::Result<Box<dyn Record>>;
}

/// The record of one freeze. It stays if it is dropped without being closed.
pub(crate) trait Record: Send {
    /// FIFREEZE is the next call. From here on someone else thaws `root` when this process dies or is late.
    fn freezing(&mut self, root: BorrowedFd<'_>, limit: Duration) -> io::Result<()>;
    /// FIFREEZE has succeeded.
    fn frozen(&mut self) -> io::Result<()>;
    /// The filesystem was seen thawed, or was never frozen by us.
    fn close(self: Box<Self>);
}

/// All freezes of this agent.
pub(crate) struct Freezes(Arc<Shared>);

struct Shared {
    kernel: Arc<dyn Kernel>,
    ledger: Arc<dyn Ledger>,
    metrics: Metrics,
    slots: Mutex<HashMap<Device, Slot>>,
    /// New holds are refused.
    closed: CancellationToken,
    stop: CancellationToken,
    tasks: TaskTracker,
}

enum Slot {
    Active(Arc<Freeze>),
    Resting(Instant),
}

/// One freeze of one filesystem.
struct Freeze {
    target: Target,
    /// The hold that asked first.
    hold: String,
    limit: Duration,
    members: watch::Sender<Members>,
    progress: watch::Sender<Progress>,
    /// Held during the thaw and during a look whether it is still frozen, which freezes for a moment.
    turn: Mutex<()>,
}

#[derive(Debug, Default)]
struct Members {
    holders: usize,
    /// The last one left because its limit had passed.
    expired: bool,
    closing: bool,
    /// The slot is free again.
    gone: bool,
}

#[derive(Clone, Debug)]
enum Progress {
    Freezing,
    Frozen(Span),
    /// `lost`: why the freeze did not last until everyone had left.
    Ended {
        span: Span,
        at: Instant,
        lost: Option<String>,
    },
    Refused(HoldError),
}

/// When a filesystem was frozen.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Span {
    /// Just before FIFREEZE.
    pub(crate) started: Instant,
    /// How long FIFREEZE took.
    pub(crate) took: Duration,
    pub(crate) deadline: Instant,
}

enum Joined {
    Lease(Lease),
    Closing(Arc<Freeze>),
}

impl Freezes {
    pub(crate) fn new(kernel: Arc<dyn Kernel>, ledger: Arc<dyn Ledger>, metrics: Metrics) -> Self {
        Self(Arc::new(Shared {
            kernel,
            ledger,
            metrics,
            slots: Mutex::default(),
            closed: CancellationToken::new(),
            stop: CancellationToken::new(),
            tasks: TaskTracker::new(),
        }))
    }

    /// Freezes the filesystem of `target`, or joins its freeze, for at most `limit`.
    pub(crate) async fn acquire(
        &self,
        target: &Target,
        hold: &str,
        limit: Duration,
    ) -> Result<Lease, HoldError> {
        loop {
            match self.join(target, hold, limit)? {
                Joined::Lease(lease) => return lease.frozen().await,
                Joined::Closing(freeze) => freeze.gone().await,
            }
        }
    }

    fn join(&self, target: &Target, hold: &str, limit: Duration) -> Result<Joined, HoldError> {
        let mut slots = self.0.slots();
        if self.0.closed.is_cancelled() {
            return Err(HoldError::Stopping);
        }
        let slot = slots.entry(target.mount.device);
        if let Entry::Occupied(occupied) = &slot {
            match occupied.get() {
                Slot::Active(freeze) => {
                    if freeze.members.borrow().closing {
                        return Ok(Joined::Closing(freeze.clone()));
                    }
                    return Ok(Joined::Lease(Lease::new(&self.0, freeze, limit)));
                }
                Slot::Resting(until) => {
                    let remaining = until.saturating_duration_since(Instant::now());
                    if !remaining.is_zero() {
                        return Err(HoldError::Resting {
                            mount_point: target.mount.point.clone(),
                            device: target.mount.device,
                            remaining,
                        });
                    }
                }
            }
        }
        let freeze = Arc::new(Freeze {
            target: target.clone(),
            hold: hold.to_owned(),
            limit,
            members: watch::Sender::default(),
            progress: watch::Sender::new(Progress::Freezing),
            turn: Mutex::default(),
        });
        slot.insert_entry(Slot::Active(freeze.clone()));
        let lease = Lease::new(&self.0, &freeze, limit);
        self.0.tasks.spawn(life::run(self.0.clone(), freeze));
        Ok(Joined::Lease(lease))
    }

    pub(crate) fn metrics(&self) -> &Metrics {
        &self.0.metrics
    }

    /// Whether this agent has the filesystem frozen.
    pub(crate) fn is_frozen(&self, device: Device) -> bool {
        matches!(
            self.0.slots().get(&device),
            Some(Slot::Active(freeze)) if matches!(*freeze.progress.borrow(), Progress::Frozen(_))
        )
    }

    /// Filesystems that are still frozen `grace` after their deadline.
    pub(crate) fn late(&self, grace: Duration) -> Vec<Device> {
        let now = Instant::now();
        let is_late = |slot: &Slot| match slot {
            Slot::Active(freeze) => match *freeze.progress.borrow() {
                Progress::Frozen(span) => span.deadline + grace < now,
                // Ended, but its FITHAW has not succeeded, or the slot would be free.
                Progress::Ended { span, .. } => span.deadline + grace < now,
                // While FIFREEZE flushes the kernel lets no thaw in.
                Progress::Freezing | Progress::Refused(_) => false,
            },
            Slot::Resting(_) => false,
        };
        let slots = self.0.slots();
        let late = slots.iter().filter(|(_, slot)| is_late(slot));
        late.map(|(device, _)| *device).collect()
    }

    /// What remains of the rest of a filesystem.
    pub(crate) fn resting(&self, device: Device) -> Option<Duration> {
        match self.0.slots().get(&device) {
            Some(Slot::Resting(until)) => Some(until.saturating_duration_since(Instant::now()))
                .filter(|remaining| !remaining.is_zero()),
            _ => None,
        }
    }

    /// Whether new holds are refused.
    pub(crate) fn is_closed(&self) -> bool {
        self.0.closed.is_cancelled()
    }

    /// Refuses new holds, and waits until those that there are have ended.
    pub(crate) async fn drain(&self) {
        self.0.closed.cancel();
        // A join that was not refused has spawned its task under the lock.
        drop(self.0.slots());
        self.0.tasks.close();
        self.0.tasks.wait().await;
    }

    /// Refuses new holds, thaws everything and waits until that is done.
    pub(crate) async fn stop(&self) {
        self.0.stop.cancel();
        self.drain().await;
    }
}

impl Shared {
    fn slots(&self) -> MutexGuard<'_, HashMap<Device, Slot>> {
        self.slots.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Freeze {
    async fn gone(&self) {
        // The sender lives in `self`, so waiting cannot fail.
        let _ = self.members.subscribe().wait_for(|m| m.gone).await;
    }
}
