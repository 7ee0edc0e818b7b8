//! Who is connected. Whoever only stands in the door makes way for the next one, so it is never shut by silence.
//!
//! ```text
//!   enters ──► has asked nothing ──► is being answered ──► has asked before ─┐
//!                │ FIRST               (never sent away)     │ IDLE    ▲     │
//!                └──────────► closed ◄───────────────────────┘         └─────┘
//! ```
//!
//! Where it is full, the one that has waited longest is closed: first of those that have asked nothing, then of the others.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use tokio::time::{Instant, sleep_until};
use tokio_util::sync::CancellationToken;

/// From the first packet to the first request that was read.
const FIRST: Duration = Duration::from_secs(10);
/// Longer than the 90 s for which Go's clients keep a connection that is not used.
const IDLE: Duration = Duration::from_secs(120);

/// All connections of one door.
pub(super) struct Crowd {
    most: usize,
    guests: Mutex<Guests>,
}

#[derive(Default)]
struct Guests {
    entered: u64,
    /// In the order in which they came.
    present: BTreeMap<u64, Guest>,
}

struct Guest {
    leave: CancellationToken,
    answered: usize,
    has_asked: bool,
    since: Instant,
}

impl Crowd {
    pub(super) fn new(most: usize) -> Arc<Self> {
        Arc::new(Self {
            most,
            guests: Mutex::default(),
        })
    }

    /// `None` if everyone here is being answered.
    pub(super) fn enter(self: &Arc<Self>) -> Option<Place> {
        let mut guests = self.guests();
        if guests.present.len() >= self.most {
            let waiting = guests.present.iter();
            let waiting = waiting.filter(|(_, guest)| guest.answered == 0);
            let longest = waiting.min_by_key(|(_, guest)| (guest.has_asked, guest.since));
            let longest = longest.map(|(id, _)| *id)?;
            if let Some(guest) = guests.present.remove(&longest) {
                guest.leave.cancel();
            }
        }
        let leave = CancellationToken::new();
        let id = guests.entered;
        guests.entered += 1;
        let guest = Guest {
            leave: leave.clone(),
            answered: 0,
            has_asked: false,
            since: Instant::now(),
        };
        guests.present.insert(id, guest);
        Some(Place {
            crowd: Arc::clone(self),
            id,
            leave,
        })
    }

    /// Closes every connection.
    pub(super) fn disperse(&self) {
        for guest in self.guests().present.values() {
            guest.leave.cancel();
        }
    }

    fn guests(&self) -> MutexGuard<'_, Guests> {
        self.guests.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The place of one connection.
pub(super) struct Place {
    crowd: Arc<Crowd>,
    id: u64,
    leave: CancellationToken,
}

impl Place {
    /// Counts as being answered until the guard is dropped.
    pub(super) fn asks(self: &Arc<Self>) -> Asking {
        self.change(|guest| guest.answered += 1);
        Asking(Arc::clone(self))
    }

    /// Ends when the connection has to be closed; says why.
    pub(super) async fn outstays(&self) -> &'static str {
        tokio::select! {
            // Whoever was sent away has no time left either.
            biased;
            () = self.leave.cancelled() => "it makes way for another",
            () = self.waits_too_long() => "it asks nothing",
        }
    }

    async fn waits_too_long(&self) {
        loop {
            let now = Instant::now();
            let until = self.change(|guest| match (guest.answered, guest.has_asked) {
                (0, false) => guest.since + FIRST,
                (0, true) => guest.since + IDLE,
                // Looked at again when it may have become idle.
                _ => now + FIRST,
            });
            match until {
                Some(until) if until > now => sleep_until(until).await,
                _ => return,
            }
        }
    }

    /// `None` if it has been sent away.
    fn change<T>(&self, change: impl FnOnce(&mut Guest) -> T) -> Option<T> {
        self.crowd.guests().present.get_mut(&self.id).map(change)
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.crowd.guests().present.remove(&self.id);
    }
}

/// A request that is being answered.
#[must_use = "the connection counts as idle once this is dropped"]
pub(super) struct Asking(Arc<Place>);

impl Drop for Asking {
    fn drop(&mut self) {
        self.0.change(|guest| {
            guest.answered -= 1;
            guest.has_asked = true;
            guest.since = Instant::now();
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn enter(crowd: &Arc<Crowd>) -> Arc<Place> {
        Arc::new(crowd.enter().unwrap())
    }

    fn is_in(place: &Place) -> bool {
        !place.leave.is_cancelled()
    }

    #[tokio::test]
    async fn the_one_that_waits_longest_makes_way_and_who_has_asked_stays_longer() {
        let crowd = Crowd::new(3);
        let asked = enter(&crowd);
        drop(asked.asks());
        let (first, second) = (enter(&crowd), enter(&crowd));
        let third = enter(&crowd);
        assert!(!is_in(&first) && is_in(&second) && is_in(&asked));
        let _fourth = enter(&crowd);
        assert!(!is_in(&second) && is_in(&third) && is_in(&asked));
        assert_eq!(first.outstays().await, "it makes way for another");
    }

    #[tokio::test]
    async fn nobody_who_is_being_answered_is_sent_away() {
        let crowd = Crowd::new(2);
        let places = [enter(&crowd), enter(&crowd)];
        let answered = places.each_ref().map(Place::asks);
        assert!(crowd.enter().is_none());
        drop(answered);
        assert!(crowd.enter().is_some());
    }

    #[tokio::test]
    async fn a_place_is_free_when_its_connection_ends() {
        let crowd = Crowd::new(1);
        drop(enter(&crowd));
        let place = enter(&crowd);
        let asking = place.asks();
        drop(place);
        assert!(crowd.enter().is_none(), "the request still holds it");
        drop(asking);
        assert!(crowd.enter().is_some());
    }

    #[tokio::test(start_paused = true)]
    async fn silence_is_borne_for_a_while_and_longer_after_a_request() {
        let crowd = Crowd::new(4);
        let place = enter(&crowd);
        let begun = Instant::now();
        assert_eq!(place.outstays().await, "it asks nothing");
        assert_eq!(begun.elapsed(), FIRST);

        let place = enter(&crowd);
        let asking = place.asks();
        let long = tokio::time::timeout(IDLE * 3, place.outstays());
        assert!(long.await.is_err(), "while it is answered it stays");
        drop(asking);
        let begun = Instant::now();
        place.outstays().await;
        assert_eq!(begun.elapsed(), IDLE);
    }
}
