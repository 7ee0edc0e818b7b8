//! The worker as a process: its start, its end, and the pause before the next.

use std::{
    io,
    os::fd::{AsFd as _, OwnedFd},
    process::{Child, Command, Stdio},
    time::Duration,
};

use rustix::{
    io::Errno,
    process::{Pid, PidfdFlags, Signal, kill_process, pidfd_open},
};

use super::endure::Score;
use crate::{
    cli::ServeOptions,
    control::{Control, monotonic},
};

/// `PIDFD_THREAD` (Linux 6.9): readable when the leading thread is dead, though others may hang in the kernel.
const PIDFD_THREAD: PidfdFlags = PidfdFlags::from_bits_retain(0x80);

const SHORTEST_PAUSE: Duration = Duration::from_millis(100);
const LONGEST_PAUSE: Duration = Duration::from_secs(10);
/// A worker that lived so long was not broken from the start.
const GOOD_LIFE: Duration = Duration::from_secs(60);

/// Between two looks whether the worker was heard, which beats every second.
const LISTEN: Duration = Duration::from_secs(2);
/// So often not heard in a row, it hangs.
const MISSES: u32 = 5;
/// A worker that is larger is sick. It is replaced before the kernel ends the whole container, whose limit is 128 MiB.
const LARGEST: u64 = 96 << 20;

/// A running worker.
pub(super) struct Worker {
    child: Child,
    /// Readable once the worker is dead.
    pub(super) death: OwnedFd,
    /// `None` when the worker's end is closed.
    pub(super) control: Option<Control>,
    started: Duration,
    pub(super) silence: Silence,
}

impl Worker {
    /// Runs this same program as a worker; the control socket is its standard input.
    pub(super) fn start(options: &ServeOptions, score: Score) -> io::Result<Self> {
        let (ours, theirs) = Control::pair()?;
        let child = Command::new("/proc/self/exe")
            .arg("worker")
            .args(options.to_args())
            .stdin(Stdio::from(theirs.into_fd()))
            .spawn()?;
        if let Err(error) = score.give(child.id()) {
            tracing::warn!(%error, "the worker is spared by the OOM killer as its supervisor is");
        }
        let pid = pid(&child)?;
        let death = match pidfd_open(pid, PIDFD_THREAD) {
            Err(Errno::INVAL) => pidfd_open(pid, PidfdFlags::empty()),
            opened => opened,
        }?;
        Ok(Self {
            child,
            death,
            control: Some(ours),
            started: monotonic(),
            silence: Silence::new(),
        })
    }

    pub(super) fn pid(&self) -> u32 {
        self.child.id()
    }

    pub(super) fn signal(&self, signal: Signal) {
        // Not reaped yet, so the number is still this process's; a dead one does not mind.
        if let Ok(pid) = pid(&self.child) {
            let _ = kill_process(pid, signal);
        }
    }

    pub(super) fn is_dead(&self) -> bool {
        use rustix::event::{PollFd, PollFlags, Timespec, poll};
        let mut fds = [PollFd::from_borrowed_fd(self.death.as_fd(), PollFlags::IN)];
        let now = Timespec {
            tv_sec: 0,
            tv_nsec: 0,
        };
        matches!(poll(&mut fds, Some(&now)), Ok(1..))
    }

    /// In bytes, if it is too large.
    pub(super) fn excess(&self) -> Option<u64> {
        let statm = std::fs::read_to_string(format!("/proc/{}/statm", self.pid())).ok()?;
        let pages: u64 = statm.split(' ').nth(1)?.parse().ok()?;
        let resident = pages * u64::try_from(rustix::param::page_size()).ok()?;
        (resident > LARGEST).then_some(resident)
    }

    /// How it ended, if all of it has.
    pub(super) fn reap(&mut self) -> Option<String> {
        match self.child.try_wait() {
            Ok(None) => None,
            Ok(Some(status)) => Some(status.to_string()),
            Err(error) => Some(error.to_string()),
        }
    }
}

fn pid(child: &Child) -> io::Result<Pid> {
    i32::try_from(child.id())
        .ok()
        .and_then(Pid::from_raw)
        .ok_or_else(|| io::Error::other("no process id"))
}

/// How often in a row the worker was not heard. Looks are counted, not time: a machine or container that was suspended
/// costs one.
pub(super) struct Silence {
    heard: bool,
    missed: u32,
    pub(super) next: Duration,
}

impl Silence {
    fn new() -> Self {
        Self {
            heard: false,
            missed: 0,
            next: monotonic() + LISTEN,
        }
    }

    pub(super) fn broken(&mut self) {
        self.heard = true;
    }

    /// Whether it is time to look.
    pub(super) fn is_due(&self) -> bool {
        monotonic() >= self.next
    }

    /// Looks; whether the worker hangs.
    pub(super) fn is_too_long(&mut self) -> bool {
        self.next = monotonic() + LISTEN;
        self.missed = if std::mem::take(&mut self.heard) {
            0
        } else {
            self.missed + 1
        };
        self.missed >= MISSES
    }
}

/// How long to wait before the next start.
pub(super) struct BackOff(Duration);

impl BackOff {
    pub(super) fn new() -> Self {
        Self(SHORTEST_PAUSE)
    }

    /// The pause after `worker`, and a longer one after the next if that lives no longer.
    pub(super) fn after(&mut self, worker: &Worker) -> Duration {
        if monotonic().saturating_sub(worker.started) >= GOOD_LIFE {
            self.0 = SHORTEST_PAUSE;
        }
        let pause = self.0;
        self.0 = (pause * 2).min(LONGEST_PAUSE);
        pause
    }
}
