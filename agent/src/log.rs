//! Logs on standard error. A line that would have to wait is dropped: who reads the log must not delay a thaw.

use std::{io, os::fd::AsFd as _};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use tracing_subscriber::EnvFilter;

/// Starts the log. `STILLPOINT_LOG` filters it as `RUST_LOG` does elsewhere.
pub(crate) fn start() {
    let filter =
        EnvFilter::try_from_env("STILLPOINT_LOG").unwrap_or_else(|_| EnvFilter::new("info"));
    tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_target(false)
        .with_ansi(io::IsTerminal::is_terminal(&io::stderr()))
        .with_writer(|| Patient)
        .init();
}

/// Writes to standard error if that takes no waiting.
struct Patient;

impl io::Write for Patient {
    fn write(&mut self, line: &[u8]) -> io::Result<usize> {
        let stderr = io::stderr();
        let now = Timespec {
            tv_sec: 0,
            tv_nsec: 0,
        };
        let ready = poll(
            &mut [PollFd::from_borrowed_fd(stderr.as_fd(), PollFlags::OUT)],
            Some(&now),
        );
        if matches!(ready, Ok(0)) {
            return Ok(line.len());
        }
        stderr.lock().write(line)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
