//! Request buckets, as ARM and the disk provider keep them.

use std::time::{Duration, Instant};

use crate::settings;

/// A bucket of requests that refills steadily.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Bucket {
    rule: settings::Bucket,
    level: f64,
    at: Instant,
}

impl Bucket {
    pub(crate) fn new(rule: settings::Bucket, now: Instant) -> Self {
        Self {
            rule,
            level: f64::from(rule.capacity),
            at: now,
        }
    }

    /// Takes one request and says how many remain, or says after how long one will be there.
    pub(crate) fn take(&mut self, now: Instant) -> Result<u64, Duration> {
        let refilled = now.saturating_duration_since(self.at).as_secs_f64() * self.rule.refill;
        self.level = (self.level + refilled).min(f64::from(self.rule.capacity));
        self.at = now;
        if self.level >= 1.0 {
            self.level -= 1.0;
            #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss)]
            return Ok(self.level as u64);
        }
        let missing = (1.0 - self.level) / self.rule.refill.max(0.001);
        Err(Duration::from_secs_f64(missing))
    }
}

/// The buckets of one principal in one subscription.
#[derive(Debug)]
pub(crate) struct Buckets {
    pub(crate) reads: Bucket,
    pub(crate) writes: Bucket,
    pub(crate) deletes: Bucket,
    pub(crate) resource: Option<Bucket>,
}

impl Buckets {
    pub(crate) fn new(limits: &settings::Limits, now: Instant) -> Self {
        Self {
            reads: Bucket::new(limits.reads, now),
            writes: Bucket::new(limits.writes, now),
            deletes: Bucket::new(limits.deletes, now),
            resource: limits.resource.map(|rule| Bucket::new(rule, now)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bucket_empties_and_refills() {
        let start = Instant::now();
        let mut bucket = Bucket::new(
            settings::Bucket {
                capacity: 3,
                refill: 2.0,
            },
            start,
        );
        let taken: Vec<_> = (0..3).map(|_| bucket.take(start).unwrap()).collect();
        assert_eq!(taken, [2, 1, 0]);
        assert_eq!(bucket.take(start).unwrap_err(), Duration::from_millis(500));
        assert_eq!(bucket.take(start + Duration::from_millis(500)), Ok(0));
        assert_eq!(
            bucket.take(start + Duration::from_secs(60)),
            Ok(2),
            "never above capacity"
        );
    }
}
