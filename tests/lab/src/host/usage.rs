//! What a process has used, from /proc.

use std::{fs, io, time::Duration};

/// Of one process, so far.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Usage {
    /// Most memory that it ever had resident, in bytes.
    pub peak_resident: u64,
    /// In user and kernel mode, in steps of a clock tick.
    pub cpu: Duration,
}

impl Usage {
    /// # Errors
    /// If there is no such process any more.
    pub fn of(pid: u32) -> io::Result<Self> {
        let status = fs::read_to_string(format!("/proc/{pid}/status"))?;
        let stat = fs::read_to_string(format!("/proc/{pid}/stat"))?;
        let unreadable = || io::Error::other(format!("/proc/{pid}/stat cannot be understood"));
        Ok(Self {
            peak_resident: peak(&status).ok_or_else(unreadable)?,
            cpu: cpu(&stat).ok_or_else(unreadable)?,
        })
    }
}

fn peak(status: &str) -> Option<u64> {
    let line = status
        .lines()
        .find_map(|line| line.strip_prefix("VmHWM:"))?;
    let kibibytes: u64 = line.trim().strip_suffix(" kB")?.parse().ok()?;
    Some(kibibytes * 1024)
}

/// Fields 14 and 15, counted behind the name, which may hold anything.
fn cpu(stat: &str) -> Option<Duration> {
    let mut fields = stat.rsplit_once(") ")?.1.split(' ').skip(11);
    let user: u64 = fields.next()?.parse().ok()?;
    let system: u64 = fields.next()?.parse().ok()?;
    let ticks_a_second = rustix::param::clock_ticks_per_second();
    Some(Duration::from_millis(
        (user + system) * 1000 / ticks_a_second.max(1),
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn own_usage_is_plausible() {
        let usage = Usage::of(std::process::id()).unwrap();
        assert!(usage.peak_resident > 100_000, "{usage:?}");
        assert!(usage.cpu < Duration::from_secs(3600), "{usage:?}");
    }
}
