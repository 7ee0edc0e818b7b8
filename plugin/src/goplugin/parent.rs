//! Notices the death of the host, which otherwise leaves its plugins running for ever.

use std::{io, time::Duration};

use rustix::{
    fd::OwnedFd,
    process::{Pid, PidfdFlags, getppid, pidfd_open},
};
use tokio::io::{Interest, unix::AsyncFd};

const POLL: Duration = Duration::from_secs(1);

/// The process that started this one.
///
/// A pidfd, not `PR_SET_PDEATHSIG`: that signal comes when the *thread* dies that started us, and hosts start
/// plugins from short-lived threads.
#[derive(Debug)]
pub struct Parent {
    pid: Option<Pid>,
    // None on kernels before 5.3 and in sandboxes that refuse the call.
    pidfd: Option<OwnedFd>,
}

impl Parent {
    /// To be called first of all. A parent that is dead already has closed our stdout, so that the handshake
    /// fails; `None` if it is in another PID namespace, where its death cannot be seen.
    pub fn current() -> Option<Self> {
        let pid = getppid()?;
        let pidfd = pidfd_open(pid, PidfdFlags::empty()).ok();
        Some(Self {
            pid: Some(pid),
            pidfd,
        })
    }

    /// Resolves when it has died.
    pub async fn gone(self) {
        // Its number may have been another's by the time it was opened.
        if getppid() != self.pid {
            return;
        }
        if let Some(pidfd) = self.pidfd
            && readable(pidfd).await.is_ok()
        {
            return;
        }
        while getppid() == self.pid {
            tokio::time::sleep(POLL).await;
        }
    }
}

#[expect(unsafe_code, reason = "tokio's only way to wait for a pidfd")]
async fn readable(fd: OwnedFd) -> io::Result<()> {
    // SAFETY: an OwnedFd names the same open file until it is dropped, with the AsyncFd.
    let fd = unsafe { AsyncFd::register_with_interest(fd, Interest::READABLE) }?;
    fd.readable().await?.retain_ready();
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn living_parent_is_not_gone() {
        let gone = Parent::current().unwrap().gone();
        assert!(
            tokio::time::timeout(Duration::from_millis(50), gone)
                .await
                .is_err()
        );
    }

    #[tokio::test]
    async fn other_parent_means_gone() {
        let other = Parent {
            pid: Some(rustix::process::getpid()),
            pidfd: None,
        };
        other.gone().await;
    }
}
