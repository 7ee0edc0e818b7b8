//! Moments on both clocks: the monotonic one to compare with other processes of this machine, the
//! system's to show.

use std::{
    fmt,
    time::{Duration, Instant, SystemTime},
};

use serde::{Serialize, Serializer, ser::SerializeStruct as _};

/// A moment. In JSON: `{"monotonicNs": …, "time": "2026-11-23T10:50:08.1234567+00:00"}`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Moment {
    /// For arithmetic within this process.
    pub instant: Instant,
    /// `CLOCK_MONOTONIC`: the same for all processes of a machine.
    pub monotonic: Duration,
    /// Wall clock.
    pub system: SystemTime,
}

impl Moment {
    /// This moment.
    pub fn now() -> Self {
        let clock = rustix::time::clock_gettime(rustix::time::ClockId::Monotonic);
        Self {
            instant: Instant::now(),
            monotonic: Duration::new(
                u64::try_from(clock.tv_sec).unwrap_or(0),
                u32::try_from(clock.tv_nsec).unwrap_or(0),
            ),
            system: SystemTime::now(),
        }
    }

    /// How long after `earlier` this is; zero if it is not.
    pub fn since(&self, earlier: &Self) -> Duration {
        self.instant.saturating_duration_since(earlier.instant)
    }
}

impl fmt::Display for Moment {
    /// As Azure writes `timeCreated`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match jiff::Timestamp::try_from(self.system) {
            Ok(time) => write!(f, "{}", time.strftime("%Y-%m-%dT%H:%M:%S%.7f+00:00")),
            Err(_) => f.write_str("1601-01-01T00:00:00+00:00"),
        }
    }
}

impl Serialize for Moment {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut moment = serializer.serialize_struct("Moment", 2)?;
        let nanoseconds = u64::try_from(self.monotonic.as_nanos()).unwrap_or(u64::MAX);
        moment.serialize_field("monotonicNs", &nanoseconds)?;
        moment.serialize_field("time", &self.to_string())?;
        moment.end()
    }
}
