//! When the supervisor has something to do next.

use std::{io, time::Duration};

use rustix::{
    event::{PollFd, PollFlags, Timespec, poll},
    io::Errno,
    process::Signal,
};

use super::{Supervisor, Worker};
use crate::control::monotonic;

/// Between two looks whether a dying worker is dead altogether: some thread of it may hang in the kernel.
const DYING: Duration = Duration::from_millis(20);
/// Between two SIGKILLs to a worker that was told to stop and did not.
const KILL: Duration = Duration::from_millis(100);

impl Supervisor<'_> {
    /// The worker is dead, but some thread of it may still be in FIFREEZE.
    pub(super) fn is_dying(&self) -> bool {
        self.worker.as_ref().is_some_and(Worker::is_dead)
    }

    /// Sleeps until something happens or is due.
    pub(super) fn wait(&self) -> io::Result<()> {
        let now = monotonic();
        let dying = self.is_dying();
        let mut due: Vec<Duration> = self.held.iter().filter_map(|h| h.due(dying)).collect();
        if !self.unreachable.is_empty() {
            due.push(self.look);
        }
        match (&self.worker, self.stopping) {
            (None, None) if self.held.is_empty() => due.push(self.start),
            (None, None) => due.push(self.settle.max(self.start)),
            // Told to stop, killed when that took too long.
            (Some(worker), Some(end)) if end <= now => {
                worker.signal(Signal::KILL);
                due.push(now + KILL);
            }
            (Some(_), Some(end)) => due.push(end),
            _ => {}
        }
        let mut fds = vec![PollFd::new(&self.signals, PollFlags::IN)];
        if let Some(worker) = &self.worker {
            if let Some(control) = &worker.control {
                fds.push(PollFd::new(control, PollFlags::IN));
            }
            if dying {
                due.push(now + DYING);
            } else {
                due.push(worker.silence.next);
                fds.push(PollFd::new(&worker.death, PollFlags::IN));
            }
        }
        let timeout = due.into_iter().min().map(|due| {
            let left = due.saturating_sub(now) + Duration::from_millis(1);
            Timespec {
                tv_sec: i64::try_from(left.as_secs()).unwrap_or(i64::MAX),
                tv_nsec: left.subsec_nanos().into(),
            }
        });
        match poll(&mut fds, timeout.as_ref()) {
            Ok(_) | Err(Errno::INTR) => Ok(()),
            Err(errno) => Err(errno.into()),
        }
    }
}
