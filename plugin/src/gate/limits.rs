//! How often a volume may be held: whoever can send reviews, forged ones too, must not keep filesystems frozen.

use std::{
    collections::{HashMap, VecDeque},
    sync::{Mutex, PoisonError},
    time::Duration,
};

use tokio::time::Instant;

use crate::model::VolumeId;

/// csi-snapshotter's attempts after failures come after 1 s, 2 s, 4 s and so on, up to 5 minutes.
const MOST: usize = 8;
const WITHIN: Duration = Duration::from_secs(60);
/// After a hold of which the API server knew nothing.
pub(super) const PENANCE: Duration = Duration::from_secs(30);

/// The holds of each volume within the last minute.
#[derive(Default)]
pub(super) struct Limits(Mutex<HashMap<VolumeId, Recent>>);

#[derive(Default)]
struct Recent {
    holds: VecDeque<Instant>,
    barred: Option<Instant>,
}

impl Limits {
    /// Counts a hold of these volumes, all or none.
    ///
    /// # Errors
    /// The reason, if one was held too often.
    pub(super) fn count(&self, volumes: &[VolumeId]) -> Result<(), String> {
        let now = Instant::now();
        let mut all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        all.retain(|_, recent| recent.is_of_use(now));
        for recent in volumes.iter().filter_map(|volume| all.get(volume)) {
            if let Some(until) = recent.barred.filter(|until| *until > now) {
                let seconds = (until - now).as_secs_f64().ceil();
                return Err(format!(
                    "the API server did not store the last hold of the volume, which is not held again for {seconds} s"
                ));
            }
            if recent.holds.len() >= MOST {
                return Err(format!(
                    "the volume was held {MOST} times within {} s, which is the most",
                    WITHIN.as_secs()
                ));
            }
        }
        for volume in volumes {
            all.entry(volume.clone()).or_default().holds.push_back(now);
        }
        Ok(())
    }

    /// The API server did not store that they are held.
    pub(super) fn bar(&self, volumes: &[VolumeId]) {
        let until = Instant::now() + PENANCE;
        let mut all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        for volume in volumes {
            all.entry(volume.clone()).or_default().barred = Some(until);
        }
    }

    /// It stored it after all.
    pub(super) fn pardon(&self, volumes: &[VolumeId]) {
        let mut all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        for volume in volumes {
            if let Some(recent) = all.get_mut(volume) {
                recent.barred = None;
            }
        }
    }
}

impl Recent {
    fn is_of_use(&mut self, now: Instant) -> bool {
        self.holds.retain(|at| now - *at < WITHIN);
        !self.holds.is_empty() || self.barred.is_some_and(|until| until > now)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn volume(handle: &str) -> VolumeId {
        VolumeId::Other {
            driver: "d".to_owned(),
            handle: handle.to_owned(),
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_volume_is_held_so_often_and_no_more_until_a_minute_has_passed() {
        let limits = Limits::default();
        let [a, b] = [volume("a"), volume("b")];
        for _ in 0..MOST {
            limits.count(std::slice::from_ref(&a)).unwrap();
        }
        let refused = limits.count(&[b.clone(), a.clone()]).unwrap_err();
        assert!(refused.contains("8 times within 60 s"), "{refused}");
        for _ in 0..MOST {
            limits.count(std::slice::from_ref(&b)).unwrap();
        }
        tokio::time::advance(WITHIN).await;
        limits.count(&[a, b]).unwrap();
    }

    #[tokio::test(start_paused = true)]
    async fn a_hold_that_was_not_stored_bars_the_next() {
        let limits = Limits::default();
        let a = [volume("a")];
        limits.count(&a).unwrap();
        limits.bar(&a);
        let refused = limits.count(&a).unwrap_err();
        assert!(refused.contains("30 s"), "{refused}");
        tokio::time::advance(PENANCE).await;
        limits.count(&a).unwrap();
    }
}
