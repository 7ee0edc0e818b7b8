//! When to try again.

use std::time::Duration;

use rand::RngExt;

const FIRST: Duration = Duration::from_millis(100);
const LONGEST: Duration = Duration::from_secs(20);

/// Exponential, with full jitter over the upper half, so that many clients do not come back together.
#[derive(Debug, Default)]
pub(super) struct Backoff {
    attempts: u32,
}

impl Backoff {
    /// How long to wait; at least what the service asks for.
    pub(super) fn next(&mut self, retry_after: Option<Duration>) -> Duration {
        let ceiling = FIRST
            .saturating_mul(1 << self.attempts.min(10))
            .min(LONGEST);
        self.attempts += 1;
        let jittered = ceiling.mul_f64(rand::rng().random_range(0.5..=1.0));
        match retry_after {
            // Clients that were told the same second should not all keep it to the millisecond.
            Some(asked) if !asked.is_zero() => asked + jittered.min(asked / 4),
            _ => jittered,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_wait_grows_and_honours_what_is_asked() {
        let mut backoff = Backoff::default();
        let waits: Vec<_> = (0..12).map(|_| backoff.next(None)).collect();
        assert!(waits[0] <= FIRST && waits[0] >= FIRST / 2);
        assert!(waits.iter().all(|wait| *wait <= LONGEST));
        assert!(waits[11] >= LONGEST / 2);
        let asked = Duration::from_secs(3);
        let wait = Backoff::default().next(Some(asked));
        assert!(wait >= asked && wait <= asked * 5 / 4);
    }
}
