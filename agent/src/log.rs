//! Logs on standard error. A line that would have to wait is dropped: who reads the log must not delay a thaw.

use std::{env, io, os::fd::AsFd as _};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use tracing_subscriber::{
    filter::{LevelFilter, Targets},
    layer::SubscriberExt as _,
    util::SubscriberInitExt as _,
};

/// Starts the log. `STILLPOINT_LOG` is a level (info), or `target=level,…`.
pub(crate) fn start() {
    let wanted = env::var("STILLPOINT_LOG")
        .ok()
        .filter(|wanted| !wanted.is_empty());
    let filter = wanted
        .and_then(|wanted| wanted.parse().ok())
        .unwrap_or_else(|| Targets::new().with_default(LevelFilter::INFO));
    // It shows answers that it cannot read, in which a reviewed token may be; its errors are ours to tell.
    let filter = filter.with_target("kube_client", LevelFilter::OFF);
    let lines = tracing_subscriber::fmt::layer()
        .with_target(false)
        .with_ansi(io::IsTerminal::is_terminal(&io::stderr()))
        .with_writer(|| Patient);
    tracing_subscriber::registry()
        .with(lines)
        .with(filter)
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
