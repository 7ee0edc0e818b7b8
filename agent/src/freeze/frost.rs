//! The frozen filesystem itself, as a guard, and the order in which it comes to be. All calls here block.

use std::{
    os::fd::{AsFd as _, OwnedFd},
    sync::Arc,
};

use rustix::io::Errno;
use tokio::time::Instant;

use super::{Freeze, Record, Shared, Span};
use crate::{
    error::HoldError,
    kernel::Kernel,
    volume::{self, Target},
};

/// A frozen filesystem. Dropped, it is thawed: on a blocking thread, please.
#[must_use = "dropping it thaws the filesystem"]
pub(super) struct Frost {
    kernel: Arc<dyn Kernel>,
    root: OwnedFd,
    record: Option<Box<dyn Record>>,
    pub(super) span: Span,
}

impl Frost {
    /// Opens, writes down the intent, flushes while writers run, freezes, writes down the fact.
    pub(super) fn make(shared: &Shared, freeze: &Freeze) -> Result<Self, HoldError> {
        let target = &freeze.target;
        let refused = |call, errno| volume::refusal(call, target, errno);
        let kernel = shared.kernel.clone();
        let root = kernel
            .open(&target.mount)
            .map_err(|errno| refused("open", errno))?;
        let mut record = shared
            .ledger
            .intent(target, &freeze.hold)
            .map_err(|error| unrecorded(target, &error))?;
        if let Err(errno) = kernel.sync(root.as_fd()) {
            record.close();
            return Err(refused("syncfs", errno));
        }
        if freeze.members.borrow().closing || shared.stop.is_cancelled() {
            record.close();
            return Err(HoldError::Abandoned);
        }
        if let Err(error) = record.freezing(root.as_fd(), freeze.limit) {
            record.close();
            return Err(unrecorded(target, &error));
        }
        let started = Instant::now();
        if let Err(errno) = kernel.freeze(root.as_fd()) {
            record.close();
            return Err(refused("FIFREEZE", errno));
        }
        let took = started.elapsed();
        let mut frost = Self {
            kernel,
            root,
            record: Some(record),
            span: Span {
                started,
                took,
                deadline: started + freeze.limit,
            },
        };
        if let Some(record) = &mut frost.record
            && let Err(error) = record.frozen()
        {
            return Err(unrecorded(target, &error));
        }
        if took >= freeze.limit {
            return Err(HoldError::TooSlow {
                mount_point: target.mount.point.clone(),
                took,
                limit: freeze.limit,
            });
        }
        Ok(frost)
    }

    /// Thaws; `EINVAL` means that someone else did before. After any other error it is still frozen.
    pub(super) fn thaw(&mut self) -> Result<(), Errno> {
        let result = self.kernel.thaw(self.root.as_fd());
        if matches!(result, Ok(()) | Err(Errno::INVAL))
            && let Some(record) = self.record.take()
        {
            record.close();
        }
        result
    }
}

impl Drop for Frost {
    fn drop(&mut self) {
        if self.record.is_some()
            && let Err(error) = self.thaw()
        {
            // The supervisor has the directory, too, and tries again.
            tracing::error!(%error, "FITHAW");
        }
    }
}

fn unrecorded(target: &Target, error: &std::io::Error) -> HoldError {
    HoldError::Unrecorded {
        mount_point: target.mount.point.clone(),
        detail: error.to_string(),
    }
}
