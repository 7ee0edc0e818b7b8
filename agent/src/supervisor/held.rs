//! What the supervisor may have to thaw, and the children that do it.
//!
//! A filesystem is thawed from a child of its own, for FITHAW blocks while its FIFREEZE flushes. FIFREEZE may begin
//! after a FITHAW found nothing to thaw; so one that is not known to have succeeded is thawed again and again, until
//! the worker that could call it is reaped.

use std::{
    os::fd::{AsFd as _, OwnedFd},
    path::PathBuf,
    time::Duration,
};

use rustix::{
    io::Errno,
    process::{Pid, WaitOptions, waitpid},
};

use crate::{control::monotonic, sys};

/// How late the supervisor is on purpose: the worker thaws at the deadline itself. Before a second has passed it is done.
const GRACE: Duration = Duration::from_millis(500);
/// Between two FITHAWs of a filesystem whose worker is dying.
const AGAIN: Duration = Duration::from_millis(100);
/// Between two FITHAWs otherwise.
const RETRY: Duration = Duration::from_secs(1);

/// One freeze, as the worker announced it or the journal names it.
pub(super) struct Held {
    pub(super) key: String,
    pub(super) device: String,
    pub(super) mount_point: PathBuf,
    pub(super) root: OwnedFd,
    pub(super) deadline: Duration,
    /// FIFREEZE is known to have succeeded.
    pub(super) frozen: bool,
    /// Nobody is left who could call FIFREEZE.
    pub(super) orphan: bool,
    /// The worker is done with it.
    pub(super) released: bool,
    /// Undone for certain.
    pub(super) settled: bool,
    child: Option<Child>,
    next: Duration,
}

struct Child {
    pid: Pid,
    /// Started when nobody could call FIFREEZE any more.
    last: bool,
}

impl Held {
    pub(super) fn new(
        key: String,
        device: String,
        mount_point: PathBuf,
        root: OwnedFd,
        deadline: Duration,
    ) -> Self {
        Self {
            key,
            device,
            mount_point,
            root,
            deadline,
            frozen: false,
            orphan: false,
            released: false,
            settled: false,
            child: None,
            next: Duration::ZERO,
        }
    }

    /// When something is to be done for it, if ever. `dying`: its worker is dead but not reaped.
    pub(super) fn due(&self, dying: bool) -> Option<Duration> {
        if self.settled || self.released || self.child.is_some() {
            None
        } else if self.orphan || dying {
            Some(self.next)
        } else {
            Some(self.next.max(self.deadline + GRACE))
        }
    }

    /// Nothing is left to do, not even a child to wait for.
    pub(super) fn is_over(&self) -> bool {
        self.released && self.child.is_none()
    }

    /// Leaves it for a later look.
    pub(super) fn postpone(&mut self) {
        self.next = monotonic() + RETRY;
    }

    /// Starts a thaw.
    pub(super) fn thaw(&mut self) {
        match sys::thaw_in_child(self.root.as_fd()) {
            Ok(pid) => {
                let last = self.orphan;
                self.child = Some(Child { pid, last });
            }
            Err(error) => {
                tracing::error!(device = self.device, %error, "no child to thaw from");
                self.next = monotonic() + RETRY;
                // Waits for nobody: its FIFREEZE is done.
                if self.frozen {
                    let code =
                        sys::thaw(self.root.as_fd()).map_or_else(Errno::raw_os_error, |()| 0);
                    self.ended(Some(code), self.orphan);
                }
            }
        }
    }

    /// Takes the outcome of a thaw that has ended.
    pub(super) fn reap(&mut self, dying: bool) {
        let Some(child) = &self.child else { return };
        let status = match waitpid(Some(child.pid), WaitOptions::NOHANG) {
            Ok(None) => return,
            Ok(Some((_, status))) => status.exit_status(),
            Err(_) => None,
        };
        let last = child.last;
        self.child = None;
        self.next = monotonic() + if dying || self.orphan { AGAIN } else { RETRY };
        self.ended(status, last);
    }

    /// `code`: 0 or an errno, none if the child was killed; `last`: it began when nobody could call FIFREEZE any more.
    fn ended(&mut self, code: Option<i32>, last: bool) {
        let (device, path) = (&self.device, self.mount_point.display());
        match code {
            Some(0) => {
                // FIFREEZE is called once, and this undid it.
                self.settled = true;
                tracing::warn!(device, mount_point = %path, "thawed by the supervisor");
            }
            Some(code) if code == Errno::INVAL.raw_os_error() => {
                self.settled = last || self.frozen;
            }
            Some(code) => {
                self.next = monotonic() + RETRY;
                let error = std::io::Error::from_raw_os_error(code);
                tracing::error!(device, mount_point = %path, %error, "FITHAW failed; trying again");
            }
            // Killed from outside.
            None => {}
        }
    }
}
