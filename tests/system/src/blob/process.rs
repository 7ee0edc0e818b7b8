//! A child process that outlives neither its guard nor the process that started it.

use std::{
    ffi::OsStr,
    os::unix::process::CommandExt as _,
    process::{Command, ExitStatus},
    sync::{Arc, OnceLock},
    thread::{self, JoinHandle},
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, ensure};
use rustix::process::{Pid, Signal, kill_process, kill_process_group};

const STOPS_WITHIN: Duration = Duration::from_secs(10);

/// A child in a process group of its own, killed when this is dropped. A thread starts it and waits for it: the
/// kernel kills it when that thread ends, so it cannot be a test's.
#[derive(Debug)]
pub(super) struct Process {
    pid: Pid,
    waiting: Option<JoinHandle<()>>,
    ended: Arc<OnceLock<ExitStatus>>,
}

impl Process {
    /// A command for [`Process::start`].
    pub(super) fn command(program: impl AsRef<OsStr>) -> Command {
        let mut command = Command::new("setpriv");
        command
            .args(["--pdeathsig", "KILL"])
            .arg(program)
            .process_group(0);
        command
    }

    pub(super) fn start(mut command: Command) -> Result<Self> {
        let (started, starting) = std::sync::mpsc::channel();
        let ended = Arc::new(OnceLock::new());
        let ending = Arc::clone(&ended);
        let waiting = thread::Builder::new()
            .name("waiting".into())
            .spawn(move || match command.spawn() {
                Ok(mut child) => {
                    let _ = started.send(Ok(Pid::from_child(&child)));
                    if let Ok(status) = child.wait() {
                        let _ = ending.set(status);
                    }
                }
                Err(error) => drop(started.send(Err(error))),
            })?;
        let pid = starting.recv()?;
        Ok(Self {
            pid: pid.context("cannot run setpriv (Debian package util-linux)")?,
            waiting: Some(waiting),
            ended,
        })
    }

    pub(super) fn pid(&self) -> Pid {
        self.pid
    }

    pub(super) fn ended(&self) -> Option<ExitStatus> {
        self.ended.get().copied()
    }

    /// Asks it to end, and waits.
    pub(super) fn stop(self) -> Result<()> {
        let told = Instant::now();
        if self.ended().is_none() {
            kill_process(self.pid, Signal::TERM)?;
        }
        while self.ended().is_none() {
            ensure!(
                told.elapsed() < STOPS_WITHIN,
                "it still runs {STOPS_WITHIN:?} after SIGTERM"
            );
            thread::sleep(Duration::from_millis(5));
        }
        Ok(())
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        if self.ended().is_none() {
            let _ = kill_process_group(self.pid, Signal::KILL);
        }
        if let Some(waiting) = self.waiting.take() {
            let _ = waiting.join();
        }
    }
}
