//! What keeps the supervisor going when the machine is short of memory: the OOM killer passes it by, and what it needs
//! for a thaw is in memory and stays there.
//!
//! The first needs CAP_SYS_RESOURCE, which the DaemonSet does without: the kubelet gives a node-critical pod nearly the
//! lowest score. The second needs CAP_IPC_LOCK where the limit of locked memory is small, as in most containers.

use std::{fs, io};

use rustix::{
    fs::{Mode, OFlags, open},
    io::Errno,
    mm::{MlockAllFlags, mlockall},
    process::{WaitOptions, waitpid},
};

use crate::sys;

/// Never killed for memory.
const LOWEST: i32 = -1000;
/// By how much the worker goes before what else has the supervisor's original score: a tenth of the memory there is.
const WORKER: i32 = 100;
const HIGHEST: i32 = 1000;

/// The worker's score.
#[derive(Clone, Copy, Debug)]
pub(super) struct Score(i32);

impl Score {
    /// Of a worker that was started with the supervisor's.
    pub(super) fn give(self, worker: u32) -> io::Result<()> {
        fs::write(format!("/proc/{worker}/oom_score_adj"), self.0.to_string())
    }
}

/// Prepares this process; without the right to, it says so and goes on.
pub(super) fn prepare() -> Score {
    let own = fs::read_to_string("/proc/self/oom_score_adj");
    let own = own.ok().and_then(|text| text.trim().parse().ok());
    let own: i32 = own.unwrap_or_default();
    if let Err(error) = fs::write("/proc/self/oom_score_adj", LOWEST.to_string()) {
        tracing::info!(%error, oom_score_adj = own, "the supervisor keeps its score: to lower it takes CAP_SYS_RESOURCE");
    }
    rehearse();
    // What is never used need not be read in: the program is mostly the worker's.
    let flags = MlockAllFlags::CURRENT | MlockAllFlags::FUTURE | MlockAllFlags::ONFAULT;
    if let Err(error) = mlockall(flags) {
        tracing::warn!(%error, "the supervisor's memory is not locked: that takes CAP_IPC_LOCK");
    }
    Score((own + WORKER).min(HIGHEST))
}

/// A thaw of what cannot be frozen, so that all of its way has been gone once.
fn rehearse() {
    let outcome = open(
        "/proc",
        OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC,
        Mode::empty(),
    )
    .map_err(io::Error::from)
    .and_then(sys::thaw_in_child)
    .and_then(|child| Ok(waitpid(Some(child), WaitOptions::empty())?));
    let code = outcome.map(|ended| ended.and_then(|(_, status)| status.exit_status()));
    match code {
        Ok(Some(code)) if code == Errno::PERM.raw_os_error() => {
            tracing::error!(
                "nothing can be frozen or thawed: that needs CAP_SYS_ADMIN in the initial user namespace"
            );
        }
        Ok(_) => {}
        Err(error) => tracing::warn!(%error, "no child to thaw from"),
    }
}
