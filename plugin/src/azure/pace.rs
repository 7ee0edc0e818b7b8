//! When to look again whether Azure is done: seldom until it usually is, then often.

use std::{collections::VecDeque, sync::Mutex, time::Duration};

use super::transport::lock;

/// Between two looks while the end is near, and it is well known when.
pub(super) const NEAR: Duration = Duration::from_millis(5);
/// The same if operations of this sort vary: so many looks would be spent until the end.
const DENSE: Duration = Duration::from_millis(20);
/// Looks that the time in which the end may come is worth.
const LOOKS: u32 = 24;
/// What was never seen takes so many times longer than the distance of two looks at it: a first snapshot's filesystem
/// stands still for one more percent of its time on average.
const UNKNOWN: u32 = 50;
/// The first look, and the least distance of those before the end is near.
const SPARSE: Duration = Duration::from_millis(150);
/// Between two looks when it takes unusually long.
const LATE: Duration = Duration::from_millis(250);
const MEMORY: usize = 16;

/// How long operations of one sort took: at least, at most.
#[derive(Debug, Default)]
pub(super) struct Pace(Mutex<VecDeque<(Duration, Duration)>>);

impl Pace {
    /// An operation was still running after `least` and done after `most`.
    pub(super) fn learn(&self, least: Duration, most: Duration) {
        let mut seen = lock(&self.0);
        if seen.len() == MEMORY {
            seen.pop_front();
        }
        seen.push_back((least, most));
    }

    /// How long to wait for the next look at an operation that has run for `elapsed`, with a request
    /// budget that is `fill` full.
    pub(super) fn next(&self, elapsed: Duration, fill: f64) -> Duration {
        self.window()
            .map_or_else(
                || (elapsed / UNKNOWN).clamp(DENSE, LATE),
                |(from, to)| {
                    if elapsed < from {
                        (elapsed / 2).max(SPARSE).min(from - elapsed)
                    } else if elapsed <= to {
                        ((to - from) / LOOKS).clamp(NEAR, DENSE)
                    } else {
                        ((elapsed - to) / 15).clamp(DENSE, LATE)
                    }
                },
            )
            .max(floor(fill))
    }

    /// When the end is near. The quickest of many does not count: one odd snapshot should not cost polls
    /// for the next sixteen.
    fn window(&self) -> Option<(Duration, Duration)> {
        let seen = lock(&self.0);
        let mut least: Vec<_> = seen.iter().map(|(least, _)| *least).collect();
        least.sort_unstable();
        let quickest = *least.get(usize::from(least.len() >= 8))?;
        let slowest = seen.iter().map(|(_, most)| *most).max()?;
        let margin = Duration::from_millis(10);
        Some((
            quickest.mul_f64(0.98).saturating_sub(margin),
            slowest.mul_f64(1.02) + margin * 2,
        ))
    }
}

/// A budget that is fuller than this is rich.
pub(super) const PLENTY: f64 = 0.75;
/// How full a budget counts at most if many wait for it.
pub(super) const CROWDED: f64 = 0.7;

/// The least distance of two looks with a budget that is so full.
pub(super) fn floor(fill: f64) -> Duration {
    let (enough, poor) = (0.5, 0.1);
    if fill >= PLENTY {
        return NEAR;
    }
    if fill >= enough {
        return DENSE;
    }
    if fill <= poor {
        return LATE;
    }
    let scarcity = (enough - fill) / (enough - poor);
    DENSE + (LATE / 2).mul_f64(scarcity)
}

#[cfg(test)]
mod tests {
    use super::*;

    const fn ms(count: u64) -> Duration {
        Duration::from_millis(count)
    }

    /// Looks until `end`, and how late its end is seen.
    fn run(pace: &Pace, end: Duration) -> (u32, Duration) {
        let (mut at, mut looks) = (Duration::ZERO, 0);
        while at < end {
            at += pace.next(at, 1.0);
            looks += 1;
        }
        (looks, at - end)
    }

    #[test]
    fn what_usually_takes_so_long_is_seen_at_once_with_few_looks() {
        let pace = Pace::default();
        for _ in 0..16 {
            pace.learn(ms(1480), ms(1510));
        }
        for end in [1450, 1490, 1500, 1530, 1555, 1600] {
            let (looks, late) = run(&pace, ms(end));
            assert!(late <= ms(40), "{end}: {late:?}");
            assert!(looks <= 32, "{end}: {looks} looks");
            let usual = (1470..=1530).contains(&end);
            assert!(!usual || late <= ms(5), "{end}: {late:?}");
        }
    }

    #[test]
    fn what_was_never_seen_is_seen_soon() {
        for end in [100, 700, 1500, 4000] {
            let (looks, late) = run(&Pace::default(), ms(end));
            assert!(late <= ms(end / 50 + 20), "{end}: {late:?}");
            assert!(looks < 125, "{end}: {looks}");
        }
    }

    #[test]
    fn a_scarce_budget_thins_the_looks() {
        let pace = Pace::default();
        assert_eq!(pace.next(ms(100), 1.0), DENSE);
        assert!(pace.next(ms(100), 0.3) > ms(50));
        assert_eq!(pace.next(ms(100), 0.05), LATE);
    }
}
