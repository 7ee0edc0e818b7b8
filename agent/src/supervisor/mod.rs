//! The supervisor: small, single-threaded, the last to go. It runs the worker and thaws what the worker cannot.
//!
//! ```text
//!   start: lock and resolve the journal ──► worker running ──SIGTERM──► stopping ──► all thawed: end
//!                     ▲                          │ dies, or hangs: SIGKILL  │ too slow: SIGKILL
//!                     │                          ▼                          ▼
//!                   pause ◄── reaped, settled ── dying: every held filesystem is thawed, again and again
//! ```
//!
//! It writes to nothing but the journal's directory and the log, whose filesystems are never frozen.

mod endure;
mod held;
mod process;
mod recover;
mod wait;

use std::{collections::HashSet, io, time::Duration};

use rustix::process::Signal;
use thiserror::Error;

use self::{
    endure::Score,
    held::Held,
    process::{BackOff, Worker},
};
use crate::{
    cli::ServeOptions,
    control::{Message, monotonic},
    journal::{Journal, JournalError, Lock},
    sys::{End, Signals},
    worker::DRAIN,
};

/// How long the worker may take to thaw when it is told to; its holds' clients are told meanwhile.
const STOP: Duration = Duration::from_secs(5);
/// How long a FITHAW that hangs keeps the next worker from starting.
const SETTLE: Duration = Duration::from_secs(2);
/// Between two looks for a filesystem that the journal names and that cannot be reached.
const LOOK: Duration = Duration::from_secs(2);

/// Why the agent cannot run.
#[derive(Debug, Error)]
pub(crate) enum SupervisorError {
    #[error(transparent)]
    Journal(#[from] JournalError),
    #[error("signals: {0}")]
    Signals(io::Error),
    #[error("the worker ended at once ({0}); its message is above")]
    Worker(String),
    #[error("poll: {0}")]
    Poll(io::Error),
}

/// Runs until SIGTERM or SIGINT.
pub(crate) fn run(options: &ServeOptions) -> Result<(), SupervisorError> {
    let journal = Journal::at(options.journal.clone());
    let lock = journal.lock()?;
    if !journal.is_safe() {
        let journal = journal.directory().display();
        tracing::warn!(%journal, "not on tmpfs: who freezes the filesystem of the journal stops the agent");
    }
    let signals = Signals::block().map_err(SupervisorError::Signals)?;
    let score = endure::prepare();
    Supervisor {
        options,
        journal,
        _lock: lock,
        signals,
        score,
        worker: None,
        held: Vec::new(),
        unreachable: HashSet::new(),
        look: Duration::ZERO,
        start: Duration::ZERO,
        settle: Duration::ZERO,
        back_off: BackOff::new(),
        stopping: None,
        served: false,
    }
    .run()
}

struct Supervisor<'a> {
    options: &'a ServeOptions,
    journal: Journal,
    _lock: Lock,
    signals: Signals,
    score: Score,
    worker: Option<Worker>,
    held: Vec<Held>,
    /// Journal entries whose filesystem could not be reached, so that it is said once.
    unreachable: HashSet<String>,
    /// When to look into the journal again.
    look: Duration,
    /// When to start the next worker,
    start: Duration,
    /// and until when that waits for what the last one left to be thawed.
    settle: Duration,
    back_off: BackOff,
    /// When the worker is killed, once it was told to stop.
    stopping: Option<Duration>,
    /// A worker has been seen to work.
    served: bool,
}

impl Supervisor<'_> {
    fn run(mut self) -> Result<(), SupervisorError> {
        self.recover();
        self.look = monotonic() + LOOK;
        self.settle = monotonic() + SETTLE;
        loop {
            self.receive();
            self.listen();
            self.reap()?;
            self.thaw();
            if self.stopping.is_some() && self.worker.is_none() && self.held.is_empty() {
                return Ok(());
            }
            self.start_worker();
            self.wait().map_err(SupervisorError::Poll)?;
            if let Some(end) = self.signals.drain() {
                self.stop(end);
            }
        }
    }

    /// Takes what the worker says; what it sent before its death counts.
    fn receive(&mut self) {
        let Some(worker) = &mut self.worker else {
            return;
        };
        while let Some(control) = &worker.control {
            match control.receive() {
                Ok(Some((message, root))) => match message {
                    Message::Freezing {
                        key,
                        device,
                        mount_point,
                        deadline,
                    } => {
                        if let Some(root) = root {
                            self.held
                                .push(Held::new(key, device, mount_point, root, deadline));
                        }
                    }
                    Message::Ready => self.served = true,
                    Message::Beat => {
                        worker.silence.broken();
                        control.answer();
                    }
                    Message::Frozen { key } => {
                        for held in self.held.iter_mut().filter(|held| held.key == key) {
                            held.frozen = true;
                        }
                    }
                    Message::Released { key } => {
                        for held in self.held.iter_mut().filter(|held| held.key == key) {
                            held.released = true;
                        }
                    }
                },
                Ok(None) => worker.control = None,
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => {
                    tracing::error!(%error, "the worker cannot be understood; ending it");
                    worker.control = None;
                    worker.signal(Signal::KILL);
                }
            }
        }
    }

    /// Ends a worker that hangs, for its holds are worth nothing and it accepts no others, and one that grows.
    fn listen(&mut self) {
        let Some(worker) = &mut self.worker else {
            return;
        };
        if !worker.silence.is_due() || worker.is_dead() {
            return;
        }
        let pid = worker.pid();
        if worker.silence.is_too_long() {
            tracing::error!(
                worker = pid,
                "the worker hangs: not heard for 10 s; ending it"
            );
        } else if let Some(resident) = worker.excess() {
            tracing::error!(
                worker = pid,
                resident,
                "the worker takes too much memory; ending it"
            );
        } else {
            return;
        }
        worker.signal(Signal::KILL);
    }

    fn reap(&mut self) -> Result<(), SupervisorError> {
        let dying = self.is_dying();
        for held in &mut self.held {
            held.reap(dying);
        }
        if let Some(worker) = &mut self.worker
            && let Some(status) = worker.reap()
        {
            // Once more: it may have spoken between the last look and its death.
            self.receive();
            if let Some(worker) = self.worker.take() {
                self.bury(&worker, status)?;
            }
        }
        let journal = &self.journal;
        self.held.retain(|held| {
            if held.is_over() {
                return false;
            }
            let done = held.orphan && held.settled;
            if done && let Err(error) = journal.remove(&held.key) {
                tracing::warn!(device = held.device, %error, "journal entry not removed");
            }
            !done
        });
        Ok(())
    }

    fn bury(&mut self, worker: &Worker, status: String) -> Result<(), SupervisorError> {
        let now = monotonic();
        for held in &mut self.held {
            held.orphan = true;
        }
        self.recover();
        if self.stopping.is_none() {
            if !self.served && self.held.is_empty() {
                // A wrong option or a socket in use is better seen at once than tried for ever.
                return Err(SupervisorError::Worker(status));
            }
            let pause = self.back_off.after(worker);
            let left = self.held.len();
            tracing::error!(
                worker = worker.pid(),
                status,
                ?pause,
                thawing = left,
                "the worker died; starting another"
            );
            self.start = now + pause;
            self.settle = now + SETTLE;
        }
        Ok(())
    }

    fn thaw(&mut self) {
        let now = monotonic();
        if !self.unreachable.is_empty() && self.look <= now {
            self.look = now + LOOK;
            self.recover();
        }
        let dying = self.is_dying();
        // Left over from the past, but frozen anew by the living: theirs to thaw.
        let living: HashSet<String> = self
            .held
            .iter()
            .filter(|held| !held.orphan)
            .map(|held| held.device.clone())
            .collect();
        for held in &mut self.held {
            if held.due(dying).is_none_or(|due| due > now) {
                continue;
            }
            if held.orphan && living.contains(&held.device) {
                held.postpone();
            } else {
                held.thaw();
            }
        }
    }

    fn start_worker(&mut self) {
        let now = monotonic();
        let settled = self.held.is_empty() || self.settle <= now;
        if self.worker.is_some() || self.stopping.is_some() || self.start > now || !settled {
            return;
        }
        match Worker::start(self.options, self.score) {
            Ok(worker) => self.worker = Some(worker),
            Err(error) => {
                tracing::error!(%error, "the worker cannot be started; trying again");
                self.start = monotonic() + LOOK;
            }
        }
    }

    /// The first SIGTERM lets holds come to their end; SIGINT, or a second SIGTERM, thaws at once.
    fn stop(&mut self, end: End) {
        let now = monotonic();
        let (patience, signal) = match (end, self.stopping) {
            (End::Terminate, None) => {
                tracing::info!(
                    "stopping: holds may end within {DRAIN:?}, then everything is thawed"
                );
                (DRAIN + STOP, Signal::TERM)
            }
            _ => {
                tracing::info!("stopping: everything is thawed now");
                (STOP, Signal::INT)
            }
        };
        let kill = now + patience;
        self.stopping = Some(self.stopping.map_or(kill, |earlier| earlier.min(kill)));
        if let Some(worker) = &self.worker {
            worker.signal(signal);
        }
    }
}
