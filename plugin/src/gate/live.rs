//! The holds whose verdict is this gate's to tell.
//!
//! ```text
//!  answered ─► confirmed: the API server stored it
//!   │  ▲ └──► given up: it did not within a second
//!   └──┘ asked again: an API server repeats a review when the object changed under its patch, and drops the first answer
//! ```

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use tokio::time::Instant;

use super::{Site, ports::ContentId};

/// For the API server to store what it was answered, and for our watch to see it.
pub(super) const CONFIRMED_WITHIN: Duration = Duration::from_secs(1);

/// By their IDs.
#[derive(Default)]
pub(super) struct Holds(Mutex<HashMap<String, State>>);

struct State {
    content: ContentId,
    answered: Instant,
    confirmed: bool,
}

impl Holds {
    fn lock(&self) -> MutexGuard<'_, HashMap<String, State>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn contains(&self, hold: &str) -> bool {
        self.lock().contains_key(hold)
    }

    /// The hold that was answered for the content and is not stored yet: it is the answer again.
    pub(super) fn asked_again(&self, content: &ContentId) -> Option<String> {
        let mut holds = self.lock();
        let is = |state: &State| state.content == *content && !state.confirmed;
        let (hold, state) = holds.iter_mut().find(|(_, state)| is(state))?;
        state.answered = Instant::now();
        Some(hold.clone())
    }
}

/// One of them, for as long as this lives.
pub(super) struct Live {
    pub(super) site: Arc<Site>,
    pub(super) hold: String,
}

impl Live {
    /// Answered now.
    pub(super) fn new(site: &Arc<Site>, hold: &str, content: &ContentId) -> Self {
        let state = State {
            content: content.clone(),
            answered: Instant::now(),
            confirmed: false,
        };
        site.live.lock().insert(hold.to_owned(), state);
        Self {
            site: Arc::clone(site),
            hold: hold.to_owned(),
        }
    }

    /// The API server has stored it.
    pub(super) fn confirm(&self) {
        if let Some(state) = self.site.live.lock().get_mut(&self.hold) {
            state.confirmed = true;
        }
    }

    /// When it is to be given up.
    pub(super) fn deadline(&self) -> Instant {
        let holds = self.site.live.lock();
        let answered = holds.get(&self.hold).map(|state| state.answered);
        answered.unwrap_or_else(Instant::now) + CONFIRMED_WITHIN
    }

    /// Gives it up if it is time: it is nobody's answer any more.
    pub(super) fn give_up(&self) -> bool {
        let mut holds = self.site.live.lock();
        let late = holds
            .get(&self.hold)
            .is_none_or(|state| state.answered + CONFIRMED_WITHIN <= Instant::now());
        if late {
            holds.remove(&self.hold);
        }
        late
    }
}

impl Drop for Live {
    fn drop(&mut self) {
        self.site.live.lock().remove(&self.hold);
    }
}
